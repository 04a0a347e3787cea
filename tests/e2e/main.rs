//! End-to-end tests: one binary, one module a subject.

mod architecture;
mod corpus;
mod extract;
mod mistakes;
mod soak;
mod soak_target;
mod support;
