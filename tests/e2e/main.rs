//! End-to-end tests: one binary, one module a subject.

mod architecture;
mod client;
mod corpus;
mod extract;
mod mistakes;
mod soak;
mod soak_bench;
mod soak_runs;
mod soak_target;
mod support;
