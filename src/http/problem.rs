//! Errors as clients see them: `application/problem+json` (RFC 9457).

use crate::domain::LimitError;
use crate::embed::EmbedError;
use crate::ingest::IngestError;
use crate::search::SearchError;
use crate::store::StoreError;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::time::Duration;

/// What `Retry-After` says, in s: long enough for a queue to empty or a connection to recover.
const RETRY_AFTER_S: u64 = 1;

/// One error reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable word for programs; of the server's own failures also the label in metrics.
    pub(crate) kind: &'static str,
    /// One sentence for people, naming the input.
    pub(crate) detail: String,
    /// The field of the request that is wrong.
    pub(crate) field: Option<Box<str>>,
    /// What each document of a refused batch lacked.
    pub(crate) documents: Option<Box<Value>>,
    /// The methods that the route has.
    pub(crate) allow: Option<&'static str>,
    /// When to try again, where the default is not it.
    pub(crate) retry_after: Option<Duration>,
    /// For the journal only: the cause with paths and addresses.
    pub(crate) cause: Option<Box<str>>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            field: None,
            documents: None,
            allow: None,
            retry_after: None,
            cause: None,
        }
    }

    /// 422: the request is JSON, and `field` is wrong; `detail` says how.
    pub(crate) fn field(field: impl Into<Box<str>>, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail);
        problem.field = Some(field.into());
        problem
    }

    /// 400: what was sent cannot be read as what it says it is.
    pub(crate) fn malformed(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    /// 404 for something named.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 413: the body is over the limit.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let detail = format!("the body is over {limit} bytes (server.max_body_bytes)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// 503: try again in a moment.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    }

    /// 500: a defect; `cause` goes to the journal.
    pub(crate) fn internal(cause: impl Into<Box<str>>) -> Self {
        let detail = "a defect in the server; the journal has it under this request id";
        let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        problem.cause = Some(cause.into());
        problem
    }

    fn dependency(kind: &'static str, what: &str, cause: &dyn std::error::Error) -> Self {
        let detail = format!("{what}; the journal has the cause under this request id");
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail);
        problem.cause = Some(chain(cause).into());
        problem
    }

    /// The fields that belong to this status, without the request id.
    pub(crate) fn to_json(&self, request_id: &str) -> Value {
        let mut body = json!({
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "kind": self.kind,
            "request_id": request_id,
        });
        if let Some(field) = &self.field {
            body["field"] = json!(field);
        }
        if let Some(documents) = &self.documents {
            body["documents"] = (**documents).clone();
        }
        body
    }

    /// Headers beside those of every reply.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        let is_passing = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if is_passing.contains(&self.status) {
            let wait = self.retry_after.map_or(RETRY_AFTER_S, whole_seconds);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
    }
}

/// Seconds, rounded up, at least one.
fn whole_seconds(wait: Duration) -> u64 {
    let part = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + part).max(1)
}

/// An error and its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl From<LimitError> for Problem {
    fn from(error: LimitError) -> Self {
        Self::field(error.field, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let what = match &error {
            StoreError::UnknownCollection { .. } => {
                let detail = error.to_string();
                return Self::new(StatusCode::NOT_FOUND, "unknown_collection", detail);
            }
            StoreError::Busy { .. } => "the store is busy",
            StoreError::Unavailable { .. } => "the store is not available",
            StoreError::Gone { .. } => "the store was deleted or replaced while it was open",
            StoreError::NotWritable { .. } => "the store cannot be written",
            StoreError::ModelMismatch { .. } => "the store holds vectors of another model",
            StoreError::Damaged { .. } => "the store is damaged",
            StoreError::Failed { .. } | StoreError::Open { .. } | StoreError::Refused { .. } => {
                "the store failed"
            }
        };
        Self::dependency("search_error", what, &error)
    }
}

impl From<EmbedError> for Problem {
    fn from(error: EmbedError) -> Self {
        let (what, wait) = match &error {
            EmbedError::TimedOut { .. } => {
                let mut problem = Self::dependency("timeout", "the provider was too slow", &error);
                problem.status = StatusCode::GATEWAY_TIMEOUT;
                return problem;
            }
            EmbedError::Unavailable { retry_after, .. } => {
                ("the embedding provider is not available", *retry_after)
            }
            _ => ("the embedding failed", None),
        };
        let mut problem = Self::dependency("openai_error", what, &error);
        problem.retry_after = wait;
        problem
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Embed(error) => error.into(),
            SearchError::Store(error) => error.into(),
            SearchError::GeneratedUnavailable => Self::field("answer", error.to_string()),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Limit(error) => error.into(),
            IngestError::Embed(error) => error.into(),
            IngestError::Store(error) => error.into(),
            IngestError::Daemon(_) => Self::dependency("internal", "another daemon failed", &error),
            IngestError::Extract(reason) => Self::field("content", format!("`content`: {reason}")),
        }
    }
}
