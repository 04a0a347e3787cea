//! The target's own histogram beside what the client measured: asked of a Prometheus at the end of a run.
//!
//! Reading order: [`settings`] and [`selector`] (what was said) → [`asking`] (waits for the last scrape,
//! then asks) over [`api`] → [`increase`] (raw samples to counts, PURE) → [`histogram`] (counts to
//! percentiles between two bounds, PURE) → [`compare`] (whether both agree, PURE) → [`record`].
//!
//! Raw samples instead of `increase()`: PromQL extrapolates to the ends of its window and leaves out what a
//! counter had when it first appeared, so its counts are not those of the run (Prometheus' documentation of
//! `increase`, and its issue 3746). Here the last scrape before the measured part is subtracted from the
//! first one after the last request ended, and each restart between is followed.

mod api;
mod asking;
mod compare;
mod histogram;
mod increase;
mod network;
pub mod record;
mod selector;
pub mod settings;

pub(super) use asking::{Question, ask};
pub use compare::Client;
pub use record::ServerRecord;
