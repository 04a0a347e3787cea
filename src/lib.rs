//! alfred: a systemd-native retrieval daemon with a soak runner.
//!
//! The modules in reading order; arrows of dependency point down this list only
//! (`tests/e2e/architecture.rs` checks them):
//!
//! 1. [`cli`]: argv to a verb, wiring only.
//! 2. [`http`], [`ingest`], [`soak`], [`report`], [`notify`]: the ways in, and what they say.
//!    [`stack`] starts what stands around them.
//!    [`access`] says who may come in.
//! 3. [`search`]: the one use case.
//! 4. [`embed`], [`provider`], [`store`], [`extract`], [`chunking`], [`sentences`]: what it stands on.
//! 5. [`config`], [`domain`], [`clock`], [`secret`], [`failure`], [`plain`], [`tls`]: words, settings and leaves.

pub mod access;
pub mod answering;
pub mod chunking;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod counted;
pub mod domain;
pub mod embed;
pub mod extract;
pub mod failure;
pub mod fusion;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod ingest;
pub mod notify;
pub mod plain;
pub mod program;
pub mod provider;
pub mod report;
pub mod search;
pub mod secret;
pub mod sentences;
pub mod soak;
pub mod stack;
pub mod store;
pub mod telemetry;
pub mod terms;
pub mod tls;
pub mod transfer;
