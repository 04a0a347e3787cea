//! End-to-end tests: one binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod architecture;
mod client;
mod corpus;
mod daemon;
mod disk;
mod extract;
mod help;
mod http;
mod mistakes;
mod model_script;
mod soak;
mod soak_bench;
mod soak_runs;
mod soak_target;
mod support;
