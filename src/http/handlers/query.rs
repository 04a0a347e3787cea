//! `POST /v1/query`.

use super::{Handled, check_seen, finish, narrowed_search};
use crate::access::Scope;
use crate::clock::Deadline;
use crate::domain::{Answer, Query};
use crate::http::blocking::Reply;
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{AnswerLaterFn, App};
use crate::http::{body, parse, reply};
use crate::search::SearchError;
use crate::telemetry::trace::{self, Stage, Trail};
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
    let query = Arc::new(parse::query(&bytes, app.settings.default_answer)?);
    check_seen(app, info, &query.collection).await?;
    let limit = Duration::from_millis(app.settings.request_timeout_ms);
    let deadline = Deadline::after(&*app.clock, limit);
    let trail = Arc::clone(&info.trail);
    if app.settings.log_queries {
        trail.asked(query.text.as_str());
    }
    trail.reached(Stage::Queue, app.clock.monotonic());
    let scope = info.guest.scope();
    let later = app.cases.answer_later.as_ref();
    let later = later.map(|answer| soon(answer, &query, &trail, &scope));
    let answer = Arc::clone(&app.cases.answer);
    let answered = app.queries.run_soon(later, move |queued| {
        let answered = trace::within(&trail, || answer(&query, deadline));
        written(answered, queued, &scope)
    });
    let answered = answered.await.unwrap_or_else(|error| Err(error.into()));
    let (body, fallback) = answered?;
    let response = reply::json_bytes(StatusCode::OK, body);
    Ok(match fallback {
        // The chat model owed a generated answer.
        Some(why) => reply::lacking(response, "openai_error", why),
        None => response,
    })
}

/// A reply's body, and why it lacks what was asked for.
type Written = Result<(Vec<u8>, Option<String>), Problem>;

/// Has the query answered without a thread that waits.
fn soon(
    answer: &Arc<AnswerLaterFn>,
    query: &Arc<Query>,
    trail: &Arc<Trail>,
    scope: &Scope,
) -> impl FnOnce(Duration, Reply<Written>) + use<> {
    let (answer, query, trail) = (Arc::clone(answer), Arc::clone(query), Arc::clone(trail));
    let scope = scope.clone();
    move |queued, reply| {
        let then = move |answered| reply.send(written(answered, queued, &scope));
        trace::within(&trail, || answer(&query, Box::new(then)));
    }
}

fn written(answered: Result<Answer, SearchError>, queued: Duration, scope: &Scope) -> Written {
    let answer = answered.map_err(|error| narrowed_search(scope, error))?;
    let body = reply::answer(&answer, queued);
    let body = body.map_err(|error| Problem::internal(error.to_string()))?;
    Ok((body, answer.fallback))
}
