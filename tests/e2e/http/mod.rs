//! The HTTP side over real sockets, with fakes behind it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod client;
mod console;
mod fake_runs;
mod fakes;
mod faulty;
mod hostile;
mod later;
mod limits;
mod metrics;
mod openapi;
mod profile;
mod protocol;
mod routes;
mod server;
mod stopping;

pub(crate) use faulty::panicking;
