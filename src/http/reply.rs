//! Replies as the API spells them.

use super::problem::Problem;
use super::service::RequestInfo;
use crate::domain::{
    Answer, Citation, CollectionInfo, Metadata, StoredDocument, UpsertStatus, Upserted,
};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use warp::reply::Response;

/// What is amiss with a reply, kept beside it for the record: the problem behind an error, or what
/// a good one lacks.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) kind: &'static str,
    pub(super) cause: Box<str>,
}

/// A reply of JSON that is already serialised.
pub(super) fn json_bytes(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// 200 with a JSON value.
pub(super) fn ok(body: &Value) -> Response {
    json_bytes(StatusCode::OK, body.to_string())
}

/// 200 with a body of a type of its own.
pub(super) fn bytes(body: impl Into<Bytes>, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into().into());
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A good reply that does not hold all that was owed: why, for the record.
pub(super) fn lacking(mut response: Response, kind: &'static str, cause: String) -> Response {
    let cause = cause.into();
    response.extensions_mut().insert(Failed { kind, cause });
    response
}

/// An error reply.
pub(super) fn problem(problem: Problem, info: &RequestInfo) -> Response {
    let body = problem.to_json(info.request_id()).to_string();
    let mut response = json_bytes(problem.status, body);
    problem.headers(response.headers_mut());
    response.extensions_mut().insert(Failed {
        kind: problem.kind,
        cause: problem.cause.unwrap_or(problem.detail.into()),
    });
    response
}

#[derive(Serialize)]
struct AnswerBody<'a> {
    answer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_fallback: Option<&'a str>,
    citations: Vec<CitationBody<'a>>,
    timings_ms: TimingsBody,
    usage: UsageBody,
}

#[derive(Serialize)]
struct CitationBody<'a> {
    id: Uuid,
    document_id: Uuid,
    excerpt: &'a str,
    score: f32,
    source: &'a str,
    title: &'a str,
    chunk: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    metadata: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct TimingsBody {
    queue: f64,
    embed: f64,
    search: f64,
    total: f64,
}

#[derive(Serialize)]
struct UsageBody {
    embedding_tokens: u64,
    embedding_cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
}

/// The body of an answer that waited `queued` for its turn.
pub(super) fn answer(answer: &Answer, queued: Duration) -> Result<Vec<u8>, serde_json::Error> {
    let queue_ms = queued.as_secs_f64() * 1e3;
    serde_json::to_vec(&AnswerBody {
        answer: answer.text.as_deref(),
        answer_fallback: answer.fallback.as_deref(),
        citations: answer.citations.iter().map(citation).collect(),
        timings_ms: TimingsBody {
            queue: microseconds(queue_ms),
            embed: microseconds(answer.timings.embed_ms),
            search: microseconds(answer.timings.search_ms),
            total: microseconds(answer.timings.total_ms + queue_ms),
        },
        usage: UsageBody {
            embedding_tokens: answer.usage.embedding_tokens,
            embedding_cached: answer.usage.embedding_cached,
            prompt_tokens: answer.usage.completion.map(|usage| usage.prompt_tokens),
            completion_tokens: answer.usage.completion.map(|usage| usage.completion_tokens),
        },
    })
}

fn citation(citation: &Citation) -> CitationBody<'_> {
    CitationBody {
        id: citation.id,
        document_id: citation.document_id,
        excerpt: &citation.excerpt,
        score: citation.score,
        source: &citation.source,
        title: &citation.title,
        chunk: citation.chunk,
        page: citation.page,
        metadata: citation.metadata.as_map(),
    }
}

/// Milliseconds rounded to whole microseconds, so that replies stay short.
fn microseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// One stored document of a batch.
pub(super) fn upserted(source: &str, upserted: &Upserted) -> Value {
    let status = match upserted.status {
        UpsertStatus::Created => "created",
        UpsertStatus::Replaced => "replaced",
        UpsertStatus::Unchanged => "unchanged",
    };
    json!({"id": upserted.id, "source": source, "chunks": upserted.chunks, "status": status})
}

/// One refused document of a batch.
pub(super) fn refused(source: Option<&str>, problem: &Problem) -> Value {
    let mut body = json!({
        "source": source,
        "status": "refused",
        "kind": problem.kind,
        "detail": problem.detail,
    });
    if let Some(field) = &problem.field {
        body["field"] = json!(field);
    }
    body
}

/// A document as listed.
pub(super) fn document(document: &StoredDocument) -> Value {
    let metadata: &Metadata = &document.metadata;
    json!({
        "id": document.id,
        "collection": document.collection.as_str(),
        "source": document.source.as_str(),
        "title": document.title,
        "metadata": metadata.as_map(),
        "content_hash": hex(&document.content_hash.0),
        "chunks": document.chunks,
        "bytes": document.bytes,
        "created_at": document.created_at.format(&Rfc3339).unwrap_or_default(),
        "updated_at": document.updated_at.format(&Rfc3339).unwrap_or_default(),
    })
}

/// A collection as listed.
pub(super) fn collection(info: &CollectionInfo) -> Value {
    json!({"name": info.name.as_str(), "documents": info.documents, "chunks": info.chunks})
}

/// Bytes as lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
