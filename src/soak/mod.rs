//! Load on a schedule, measured from when each request was due, and a verdict.
//!
//! Reading order: [`settings`] and [`scenario`] (what is to be done) → [`schedule`] (when) → [`driver`] (doing it)
//! → [`ledger`] and [`tally`] (what came of it) → [`run_log`] (on disk), beside what [`sampler`] saw, and
//! [`recorder`] took at bad moments ([`evidence`]), and which answers were right ([`relevance`])
//! → [`findings`] (by way of [`view`], [`scopes`] and [`stats`]), what the target's own histogram says
//! ([`server`]) → [`verdict`]. [`run`] ties
//! them together, [`capacity`] makes many in search of the highest rate, [`resume`] goes on with one that was cut off; [`run_folder`] reads a run back, [`shelf`] all of them. It is a client over HTTP and knows nothing of
//! stores, models or searching.
//!
//! Why from the due time: a generator that waits for a slow answer before it sends the next request
//! asks a stalled server nothing, and so records one slow answer where users would have seen
//! hundreds (coordinated omission, as Gil Tene named it). Here the schedule never waits.

mod appended;
pub mod capacity;
pub mod causes;
pub mod check;
pub mod clocks;
pub mod driver;
pub mod event;
pub mod evidence;
pub mod figure;
pub mod findings;
mod keeper;
pub mod latency;
pub mod ledger;
pub mod load;
pub mod monotonic;
pub mod notes;
pub mod queries;
pub mod rates;
pub mod record;
pub mod recorder;
pub mod relevance;
pub mod repair;
pub mod resume;
pub mod run;
pub mod run_folder;
pub mod run_log;
pub mod sampler;
pub mod scenario;
pub mod schedule;
pub mod scopes;
pub mod server;
pub mod settings;
pub mod shelf;
pub mod stage;
pub mod stats;
pub mod tally;
pub mod threshold;
pub mod units;
pub mod verdict;
pub mod view;

pub use run::{Failing, FinishedRun, Place, Progress, SoakError, Watch, run};
