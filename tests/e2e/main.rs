//! End-to-end tests: one binary, one module a subject.

mod architecture;
mod corpus;
mod mistakes;
mod support;
