//! What the server says of itself.

use super::{Handled, blocking, finish};
use crate::access::{Keys, Scope};
use crate::http::probe::probe;
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{App, Peer, reply};
use crate::store::{EmbeddingRepo, StoreError};
use crate::telemetry::metrics;
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
pub(in crate::http) fn missing(app: &App) -> Vec<(&'static str, String)> {
    let mut missing = app.readiness.missing();
    let repo = &app.cases.repo;
    let sound = repo
        .health()
        .and_then(|()| repo.fits(app.cases.embedder.model()));
    if let Err(error) = sound {
        // Where the store is stays in the journal.
        let reason = match error {
            StoreError::Gone { .. } => "it was deleted or replaced while it was open".to_owned(),
            StoreError::ModelMismatch {
                stored, offered, ..
            } => {
                format!("it was written with {stored}, and {offered} is configured")
            }
            _ => "the database cannot be reached, or is not ready".to_owned(),
        };
        missing.push(("store", reason));
    }
    if let Some(wait) = app.cases.embedder.unavailable_for() {
        let reason = format!("it is down, and asked again in {} s", wait.as_secs() + 1);
        missing.push(("provider", reason));
    }
    missing
}

/// Whether work gets done: a search came back through a blocking thread, and queries move.
pub(in crate::http) async fn live(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    let shared = Arc::clone(&app);
    let lane = match info.peer {
        Peer::Tcp(_) => &app.probes,
        Peer::Unix => &app.own_probes,
    };
    let probed = blocking(lane, move |_| {
        probe(&shared)
            .map_err(|stuck| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stuck", stuck))
    });
    let handled = probed.await;
    finish(
        handled.map(|()| reply::json_bytes(StatusCode::OK, r#"{"status":"working"}"#)),
        &info,
    )
}

/// Applies the configuration as it is now on disk; for those who reach the unix socket, and for
/// administrators.
pub(in crate::http) async fn reload(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_reload(&app, &info).await, &info)
}

async fn handle_reload(app: &Arc<App>, info: &RequestInfo) -> Handled {
    let Some(reload) = app.reload.clone().filter(|_| !info.guest.is_anonymous()) else {
        let detail =
            "a reload is asked for over the unix socket, or with an admin key: see `alfred reload`";
        return Err(Problem::not_found(detail));
    };
    let outcome = blocking(&app.reloads, move |_| {
        let refused = |why| Problem::new(StatusCode::CONFLICT, "reload_refused", why);
        reload().map_err(refused)
    });
    Ok(reply::ok(&outcome.await?))
}

pub(in crate::http) fn openapi() -> Response {
    reply::json_bytes(StatusCode::OK, OPENAPI)
}

/// What was counted, for Prometheus.
pub(in crate::http) async fn metrics(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_metrics(&app).await, &info)
}

async fn handle_metrics(app: &Arc<App>) -> Handled {
    let shared = Arc::clone(app);
    let text = blocking(&app.scrapes, move |_| {
        let pool = shared.cases.repo.pool().unwrap_or_default();
        shared.metrics.pool.set(pool.idle, pool.busy, pool.max);
        shared.metrics.state.ready(missing(&shared).is_empty());
        let text = shared.metrics.render();
        text.map_err(|error| Problem::internal(error.to_string()))
    });
    Ok(reply::bytes(text.await?, metrics::CONTENT_TYPE))
}

pub(in crate::http) async fn status(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_status(&app, &info).await, &info)
}

async fn handle_status(app: &Arc<App>, info: &RequestInfo) -> Handled {
    let shared = Arc::clone(app);
    let scope = info.guest.scope();
    let body = blocking(&app.reads, move |_| {
        if scope.is_bound() {
            return bound_status(&shared, &scope);
        }
        let (store, counts) = match describe_store(&*shared.cases.repo) {
            Ok(described) => described,
            // The status is wanted most when something is down.
            Err(StoreError::Unavailable { .. } | StoreError::Busy { .. }) => {
                let problem = "the database cannot be reached, or is not ready";
                (json!({"problem": problem}), Value::Null)
            }
            Err(error) => return Err(error.into()),
        };
        let model = shared.cases.embedder.model();
        let missing = missing(&shared);
        let mut body = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": uptime_s(&shared),
            "ready": missing.is_empty(),
            "missing": missing_json(&missing),
            "store": store,
            "embedder": {"model": model.name, "dimensions": model.dimensions},
            "counts": counts,
            "http": http(&shared),
            "recent": shared.observer.recent(shared.clock.monotonic()),
        });
        if let Some(pool) = shared.cases.repo.pool() {
            body["pool"] = json!(pool);
        }
        for (name, section) in (shared.status)() {
            body[name] = section;
        }
        let keys = shared.policy.keys.as_ref();
        body["access"]["keys"] = json!(keys.map(Keys::len));
        Ok(body)
    });
    Ok(reply::ok(&body.await?))
}

/// For a key that is bound to collections: what they hold, and nothing of what others do.
fn bound_status(app: &App, scope: &Scope) -> Result<Value, Problem> {
    let counts = match app.cases.repo.collections() {
        Ok(collections) => {
            let seen = || collections.iter().filter(|info| scope.sees(&info.name));
            json!({
                "documents": seen().map(|info| info.documents).sum::<u64>(),
                "chunks": seen().map(|info| info.chunks).sum::<u64>(),
                "collections": seen().count(),
            })
        }
        Err(StoreError::Unavailable { .. } | StoreError::Busy { .. }) => Value::Null,
        Err(error) => return Err(error.into()),
    };
    let model = app.cases.embedder.model();
    let missing = missing(app);
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": uptime_s(app),
        "ready": missing.is_empty(),
        "missing": missing_json(&missing),
        "embedder": {"model": model.name, "dimensions": model.dimensions},
        "counts": counts,
    }))
}

fn missing_json(missing: &[(&'static str, String)]) -> Value {
    let named = missing
        .iter()
        .map(|(name, reason)| json!({"name": name, "reason": reason}));
    Value::Array(named.collect())
}

/// What the store says of itself, and the counts in it.
fn describe_store(repo: &dyn EmbeddingRepo) -> Result<(Value, Value), StoreError> {
    let store = repo.info()?;
    let counts = json!({
        "documents": store.documents,
        "chunks": store.chunks,
        "collections": repo.collections()?.len(),
    });
    Ok((json!(store), counts))
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
