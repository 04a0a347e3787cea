//! What the server says of itself.

use super::{Handled, blocking, finish};
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{App, reply};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use warp::reply::Response;

const OPENAPI: &str = include_str!("../openapi.json");

/// The process lives; no dependency is asked.
pub(in crate::http) fn health() -> Response {
    reply::json_bytes(StatusCode::OK, r#"{"status":"ok"}"#)
}

/// Whether a query would be answered now.
pub(in crate::http) fn ready(app: &App, info: &RequestInfo) -> Response {
    let missing = missing(app);
    if missing.is_empty() {
        return reply::json_bytes(StatusCode::OK, r#"{"status":"ready"}"#);
    }
    let missing: Vec<String> = missing
        .into_iter()
        .map(|(name, reason)| format!("{name}: {reason}"))
        .collect();
    let detail = format!("not ready: {}", missing.join("; "));
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail);
    reply::problem(problem, info)
}

/// What the conditions lack, and what the store says of itself.
fn missing(app: &App) -> Vec<(&'static str, String)> {
    let mut missing = app.readiness.missing();
    if app.cases.repo.health().is_err() {
        // Where the store is stays in the journal.
        let reason = "it was deleted or replaced while it was open".to_owned();
        missing.push(("store", reason));
    }
    missing
}

pub(in crate::http) fn openapi() -> Response {
    reply::json_bytes(StatusCode::OK, OPENAPI)
}

pub(in crate::http) async fn status(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_status(&app).await, &info)
}

async fn handle_status(app: &Arc<App>) -> Handled {
    let shared = Arc::clone(app);
    let body = blocking(&app.reads, move |_| {
        let store = shared.cases.repo.info()?;
        let collections = shared.cases.repo.collections()?.len();
        let model = shared.cases.embedder.model();
        let mut body = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": uptime_s(&shared),
            "ready": missing(&shared).is_empty(),
            "store": store,
            "embedder": {"model": model.name, "dimensions": model.dimensions},
            "counts": {
                "documents": store.documents,
                "chunks": store.chunks,
                "collections": collections,
            },
            "http": http(&shared),
        });
        for (name, section) in (shared.status)() {
            body[name] = section;
        }
        Ok(body)
    });
    Ok(reply::ok(&body.await?))
}

fn uptime_s(app: &App) -> u64 {
    app.clock
        .monotonic()
        .saturating_duration_since(app.observer.started())
        .as_secs()
}

fn http(app: &App) -> Value {
    let by_status = app.observer.requests_by_status();
    let by_status: serde_json::Map<String, Value> = by_status
        .into_iter()
        .map(|(status, count)| (status.to_string(), json!(count)))
        .collect();
    json!({
        "connections": app.observer.connections(),
        "in_flight": app.observer.in_flight(),
        "abandoned": app.observer.abandoned(),
        "requests_by_status": by_status,
        "queries_running": app.queries.running(),
        "queries_waiting": app.queries.waiting(),
        "writes_running": app.writes.running(),
        "writes_waiting": app.writes.waiting(),
    })
}
