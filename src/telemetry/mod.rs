//! What alfred says of itself while it runs.

pub mod logging;
