//! What alfred says of itself while it runs.

pub mod burst;
pub mod events;
pub mod logging;
pub mod metrics;
pub mod notice;
pub mod profile;
pub mod systemd;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
