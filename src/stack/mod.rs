//! The stack around alfred: `pg redis minio server grafana prometheus loki`, up, down and listed.
//!
//! Two engines do the work behind [`Engine`]: [`compose`] with containers, [`systemd`] with units of this
//! machine. [`up`] is what both have in common: ports, order, waiting. Whether a service is ready is asked
//! of the service ([`probe`]), not of its engine. What the environment says comes in as values.

pub mod address;
pub mod compose;
pub mod engine;
pub mod follow;
pub mod probe;
pub mod service;
pub mod systemd;
#[cfg(test)]
mod testing;
pub mod up;

pub use address::Addresses;
pub use engine::{Engine, Seen, State};
pub use probe::{Loopback, Prober};
pub use service::Service;
