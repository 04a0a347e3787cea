//! `POST /v1/query`.

use super::{Handled, blocking, check_seen, finish, narrowed_search};
use crate::clock::Deadline;
use crate::http::App;
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{body, parse, reply};
use crate::telemetry::trace::{self, Stage};
use bytes::Buf;
use futures_util::Stream;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use warp::reply::Response;

pub(in crate::http) async fn answer<B: Buf>(
    app: Arc<App>,
    info: Arc<RequestInfo>,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Response {
    finish(handle(&app, &info, body).await, &info)
}

async fn handle<B: Buf>(
    app: &Arc<App>,
    info: &RequestInfo,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Handled {
    let bytes = body::read_json(&app.settings, info, body).await?;
    let query = parse::query(&bytes, app.settings.default_answer)?;
    check_seen(app, info, &query.collection).await?;
    let scope = info.guest.scope();
    let answer = Arc::clone(&app.cases.answer);
    let limit = Duration::from_millis(app.settings.request_timeout_ms);
    let deadline = Deadline::after(&*app.clock, limit);
    let trail = Arc::clone(&info.trail);
    if app.settings.log_queries {
        trail.asked(query.text.as_str());
    }
    trail.reached(Stage::Queue, app.clock.monotonic());
    let answered = blocking(&app.queries, move |queued| {
        let answered = trace::within(&trail, || answer(&query, deadline));
        let answer = answered.map_err(|error| narrowed_search(&scope, error))?;
        let body = reply::answer(&answer, queued);
        let body = body.map_err(|error| Problem::internal(error.to_string()))?;
        Ok((body, answer.fallback))
    });
    let (body, fallback) = answered.await?;
    let response = reply::json_bytes(StatusCode::OK, body);
    Ok(match fallback {
        // The chat model owed a generated answer.
        Some(why) => reply::lacking(response, "openai_error", why),
        None => response,
    })
}
