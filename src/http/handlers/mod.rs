//! What each route does: read, cross over to the use case, reply.

pub(super) mod admin;
pub(super) mod collections;
pub(super) mod console;
pub(super) mod debug;
pub(super) mod documents;
pub(super) mod query;
pub(super) mod runs;

use super::App;
use super::blocking::{Lane, LaneError};
use super::problem::Problem;
use super::reply;
use super::service::RequestInfo;
use crate::access::Scope;
use crate::domain::CollectionName;
use crate::search::SearchError;
use crate::store::StoreError;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use warp::reply::Response;

/// A reply, or the problem that becomes one.
type Handled = Result<Response, Problem>;

fn finish(handled: Handled, info: &RequestInfo) -> Response {
    handled.unwrap_or_else(|problem| reply::problem(problem, info))
}

/// Runs blocking `work` in `lane`, with failures of the lane as problems.
async fn blocking<T: Send + 'static>(
    lane: &Lane,
    work: impl FnOnce(Duration) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    lane.run(work)
        .await
        .unwrap_or_else(|error| Err(error.into()))
}

/// Refuses a collection that whoever asks is not to see, in the words for one that does not exist.
async fn check_seen(
    app: &App,
    info: &RequestInfo,
    collection: &CollectionName,
) -> Result<(), Problem> {
    let scope = info.guest.scope();
    if scope.sees(collection) {
        return Ok(());
    }
    let repo = Arc::clone(&app.cases.repo);
    let name = collection.to_string();
    blocking(&app.reads, move |_| {
        let known = repo.collections()?.into_iter();
        let known = known.map(|info| info.name.to_string()).collect();
        Err(narrowed(&scope, StoreError::UnknownCollection { name, known }).into())
    })
    .await
}

/// Without the names of collections that are not seen.
fn narrowed(scope: &Scope, error: StoreError) -> StoreError {
    match error {
        StoreError::UnknownCollection { name, mut known } => {
            let is_seen =
                |name: &String| CollectionName::new(name).is_ok_and(|name| scope.sees(&name));
            known.retain(is_seen);
            StoreError::UnknownCollection { name, known }
        }
        error => error,
    }
}

/// As [`narrowed`].
fn narrowed_search(scope: &Scope, error: SearchError) -> SearchError {
    match error {
        SearchError::Store(error) => SearchError::Store(narrowed(scope, error)),
        error => error,
    }
}

impl From<LaneError> for Problem {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Overloaded { .. } => Self::overloaded(error.to_string()),
            LaneError::TimedOut(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string())
            }
            LaneError::Panicked(message) => Self::internal(message),
        }
    }
}
