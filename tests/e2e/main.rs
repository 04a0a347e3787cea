//! End-to-end tests: one binary, one module a subject.

mod client;
mod soak;
mod soak_bench;
mod soak_runs;
mod soak_target;
