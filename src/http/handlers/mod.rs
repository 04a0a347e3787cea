//! What each route does: read, cross over to the use case, reply.

pub(super) mod admin;
pub(super) mod collections;
pub(super) mod debug;
pub(super) mod documents;
pub(super) mod query;

use super::blocking::{Lane, LaneError};
use super::problem::Problem;
use super::reply;
use super::service::RequestInfo;
use http::StatusCode;
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
