//! Configuration and parts to the application that is served.

use super::super::keys::Source;
use super::super::wiring::Parts;
use super::door::Door;
use super::runs::Shelf;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::http::{App, ReloadFn, Settings, StatusFn, UseCases};
use crate::telemetry::trace::Exporter;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What is told and done beyond the parts.
#[derive(Clone)]
pub(super) struct Extras {
    /// Further sections of the status.
    pub(super) status: Arc<StatusFn>,
    pub(super) reload: Arc<ReloadFn>,
    pub(super) door: Door,
    pub(super) traces: Option<Arc<Exporter>>,
}

pub(super) fn build(config: &Config, parts: &Parts, extras: Extras) -> App {
    let cases = UseCases::new(Arc::clone(&parts.searcher), Arc::clone(&parts.ingester));
    let searcher = Arc::clone(&parts.searcher);
    let provider_stats = parts.provider_stats.clone();
    let door = extras.door.clone();
    if let Some(identity) = &door.tls {
        parts
            .metrics
            .state
            .certificate_expires(identity.not_after());
    }
    let keys = Source::of(config);
    let status = move || -> Map<String, Value> {
        let cache = searcher.cache();
        let mut section = json!({
            "entries": cache.entries(), "hits": cache.hits(), "misses": cache.misses(),
            "memory": {"hits": cache.memory_hits(), "misses": cache.memory_misses()},
        });
        if let Some(shared) = cache.shared() {
            section["redis"] = json!(shared);
        }
        let mut sections = (extras.status)();
        sections.insert("cache".to_owned(), section);
        if let Some(identity) = &extras.door.tls {
            sections.insert("tls".to_owned(), super::tls::describe(identity));
        }
        let access = json!({"keys_file": keys.path.display().to_string(), "is_credential": keys.is_credential});
        sections.insert("access".to_owned(), access);
        if let Some(stats) = &provider_stats {
            sections.insert("provider".to_owned(), json!(stats.snapshot()));
        }
        sections
    };
    App::new(cases, settings(config), Arc::new(SystemClock))
        .with_metrics(Arc::clone(&parts.metrics))
        .with_status(Arc::new(status))
        .with_reload(extras.reload)
        .with_policy(door.policy)
        .with_runs(Arc::new(Shelf::of(config)))
        .with_tls(door.tls)
        .with_traces(extras.traces)
}

fn settings(config: &Config) -> Settings {
    let server = &config.raw.server;
    Settings {
        max_connections: server.max_connections,
        max_body_bytes: server.max_body_bytes,
        max_head_bytes: server.max_head_bytes,
        max_in_flight: server.max_in_flight,
        max_waiting: server.max_waiting,
        queue_timeout_ms: server.queue_timeout_ms,
        request_timeout_ms: server.request_timeout_ms,
        max_writes_in_flight: server.max_writes_in_flight,
        write_timeout_ms: server.write_timeout_ms,
        header_timeout_ms: server.header_timeout_ms,
        body_timeout_ms: server.body_timeout_ms,
        idle_timeout_ms: server.idle_timeout_ms,
        lame_duck_ms: server.lame_duck_ms,
        drain_timeout_s: server.drain_timeout_s,
        default_answer: config.raw.answer.kind,
        console: server.console,
        slow_ms: config.raw.log.slow_ms,
        log_queries: config.raw.log.queries,
        ..Settings::default()
    }
}
