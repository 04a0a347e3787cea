//! End-to-end tests: one binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// The server of the unit tests, which finds these where it expects them.
use alfred::{clock, secret};

mod access;
mod answers;
mod architecture;
mod caching;
mod client;
#[path = "../../src/telemetry/trace/testing.rs"]
mod collector;
mod console;
mod corpus;
mod daemon;
mod disk;
mod extract;
mod failures;
mod help;
mod hostile;
mod http;
mod ingest_corpus;
mod journal;
mod loki;
mod manual;
mod metrics;
mod mistakes;
mod model_script;
mod monitoring;
mod objects;
mod performance_plan;
mod postgres;
#[path = "../../src/store/postgres/testing.rs"]
#[expect(dead_code, reason = "the unit tests use the rest")]
mod postgres_server;
mod profile;
mod provider;
mod reembed;
mod report_html;
mod request_logs;
mod runs;
mod soak;
mod soak_bench;
mod soak_beside;
mod soak_capacity;
mod soak_hlog;
mod soak_hostile;
mod soak_journal;
mod soak_law;
mod soak_live;
mod soak_notify;
mod soak_recorder;
mod soak_relevance;
mod soak_requests;
mod soak_resume;
mod soak_runs;
mod soak_server;
mod soak_target;
mod soak_truth;
mod soak_words;
mod stack;
mod support;
mod synthetic_run;
mod systemd;
mod terminal;
mod tls;
mod traces;
