//! `/v1/documents`: the corpus over HTTP.

use super::{Handled, blocking, check_seen, finish, narrowed};
use crate::access::Scope;
use crate::domain::CollectionName;
use crate::http::admission::forbidden;
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{App, PutFn, body, json, parse, reply};
use crate::ingest::NewDocument;
use crate::store::ListRequest;
use crate::telemetry::trace;
use bytes::Buf;
use futures_util::Stream;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;
use warp::reply::Response;

/// Documents a page unless said otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Most documents a page.
const MAX_LIMIT: usize = 1_000;
const LIST_PARAMETERS: &[&str] = &["source", "collection", "limit", "cursor"];

pub(in crate::http) async fn put<B: Buf>(
    app: Arc<App>,
    info: Arc<RequestInfo>,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Response {
    finish(handle_put(&app, &info, body).await, &info)
}

async fn handle_put<B: Buf>(
    app: &Arc<App>,
    info: &RequestInfo,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Handled {
    let bytes = body::read_json(&app.settings, info, body).await?;
    let scope = info.guest.scope();
    let parsed = blocking(&app.reads, move |_| {
        Ok(within(&scope, parse::documents(&bytes)?))
    });
    let documents = parsed.await?;
    let (put, trail) = (Arc::clone(&app.cases.put), Arc::clone(&info.trail));
    let stored = blocking(&app.writes, move |_| {
        trace::within(&trail, || match documents {
            parse::Documents::One(document) => Ok(vec![put_one(&*put, document?)?]),
            parse::Documents::Many(documents) => put_many(&*put, documents),
        })
    });
    let stored = stored.await;
    // Of a batch that failed some may be there, and one that was given up goes on to its end.
    app.metrics.corpus.changed();
    Ok(reply::ok(&json!({"documents": stored?})))
}

/// Refuses documents for collections that whoever asks is not bound to, there or not.
fn within(scope: &Scope, documents: parse::Documents) -> parse::Documents {
    let check = |read: Result<NewDocument, Problem>| {
        let document = read?;
        if scope.sees(&document.collection) {
            return Ok(document);
        }
        let name = &document.collection;
        Err(forbidden(format!(
            "this key may not write to the collection \"{name}\""
        )))
    };
    match documents {
        parse::Documents::One(read) => parse::Documents::One(check(read)),
        parse::Documents::Many(many) => {
            let checked = many.into_iter().map(|(source, read)| (source, check(read)));
            parse::Documents::Many(checked.collect())
        }
    }
}

fn put_one(put: &PutFn, document: NewDocument) -> Result<Value, Problem> {
    let document = [document];
    let stored = put(&document)?.pop();
    let stored = stored.ok_or_else(|| Problem::internal("the store lost count of documents"))??;
    Ok(reply::upserted(document[0].source.as_str(), &stored))
}

type Read = (Option<String>, Result<NewDocument, Problem>);

/// Stores what is sound. When nothing is, the first reason is the reply, with all of them in it.
fn put_many(put: &PutFn, read: Vec<Read>) -> Result<Vec<Value>, Problem> {
    let mut sound = Vec::with_capacity(read.len());
    let mut refused = Vec::new();
    for (source, document) in read {
        match document {
            Ok(document) => {
                sound.push(document);
                refused.push((source, None));
            }
            Err(problem) => refused.push((source, Some(problem))),
        }
    }
    let mut stored = if sound.is_empty() {
        Vec::new()
    } else {
        put(&sound)?
    }
    .into_iter();
    let mut first_problem = None;
    let mut any_stored = false;
    let mut outcomes = Vec::with_capacity(refused.len());
    for (source, problem) in refused {
        let source = source.as_deref();
        let outcome = match problem {
            Some(problem) => Err(problem),
            None => match stored.next() {
                Some(outcome) => outcome.map_err(Problem::from),
                None => return Err(Problem::internal("the store lost count of documents")),
            },
        };
        outcomes.push(match outcome {
            Ok(document) => {
                any_stored = true;
                reply::upserted(source.unwrap_or_default(), &document)
            }
            Err(problem) => {
                let value = reply::refused(source, &problem);
                first_problem.get_or_insert(problem);
                value
            }
        });
    }
    match first_problem {
        Some(mut problem) if !any_stored => {
            problem.documents = Some(Box::new(Value::Array(outcomes)));
            Err(problem)
        }
        _ => Ok(outcomes),
    }
}

pub(in crate::http) async fn list(
    app: Arc<App>,
    info: Arc<RequestInfo>,
    parameters: Vec<(String, String)>,
) -> Response {
    finish(handle_list(&app, &info, &parameters).await, &info)
}

async fn handle_list(
    app: &Arc<App>,
    info: &RequestInfo,
    parameters: &[(String, String)],
) -> Handled {
    let request = list_request(parameters)?;
    check_seen(app, info, &request.collection).await?;
    let scope = info.guest.scope();
    let repo = Arc::clone(&app.cases.repo);
    let page = blocking(&app.reads, move |_| {
        let one_more = ListRequest {
            limit: request.limit.saturating_add(1).min(MAX_LIMIT),
            ..request.clone()
        };
        let listed = repo.list_documents(&one_more);
        let mut documents = listed.map_err(|error| narrowed(&scope, error))?;
        let more = documents.len() > request.limit || documents.len() == MAX_LIMIT;
        documents.truncate(request.limit);
        let last = documents.last().filter(|_| more);
        let cursor = last.map(|last| reply::hex(last.source.as_str().as_bytes()));
        let documents: Vec<Value> = documents.iter().map(reply::document).collect();
        Ok(json!({"documents": documents, "next_cursor": cursor}))
    });
    Ok(reply::ok(&page.await?))
}

fn list_request(parameters: &[(String, String)]) -> Result<ListRequest, Problem> {
    let mut request = ListRequest {
        limit: DEFAULT_LIMIT,
        ..ListRequest::default()
    };
    let mut seen = Vec::new();
    for (name, value) in parameters {
        if seen.contains(&name) {
            return Err(Problem::field(
                name.as_str(),
                format!("`{name}` stands twice"),
            ));
        }
        match name.as_str() {
            "source" => request.source = Some(source(value)?),
            "collection" => request.collection = CollectionName::new(value)?,
            "limit" => request.limit = limit(value)?,
            "cursor" => request.after = Some(cursor(value)?),
            other => return Err(json::unknown_field(other, LIST_PARAMETERS)),
        }
        seen.push(name);
    }
    Ok(request)
}

fn source(glob: &str) -> Result<String, Problem> {
    if glob.is_empty() {
        let detail = "`source` is empty; leave it out to list all";
        return Err(Problem::field("source", detail));
    }
    let condition = ("source".to_owned(), Value::String(glob.to_owned()));
    crate::domain::Filter::new([condition]).map_err(|error| {
        let problem = error.problem.trim_start_matches("`source`: ").to_owned();
        Problem::field("source", format!("`source` {problem}"))
    })?;
    Ok(glob.to_owned())
}

fn limit(text: &str) -> Result<usize, Problem> {
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let text = crate::domain::query::shorten(text, 40);
        Problem::field(
            "limit",
            format!("`limit` must be 1 to {MAX_LIMIT}, got {text:?}"),
        )
    })
}

/// A cursor is the last source of the page before, in hexadecimal.
fn cursor(text: &str) -> Result<String, Problem> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    let source = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    source
        .filter(|source| !source.is_empty())
        .ok_or_else(|| Problem::field("cursor", "`cursor` must be a `next_cursor` of this route"))
}

pub(in crate::http) async fn get(id: String, app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_get(&app, &info, &id).await, &info)
}

async fn handle_get(app: &Arc<App>, info: &RequestInfo, id: &str) -> Handled {
    let id = parse_id(id)?;
    let scope = info.guest.scope();
    let repo = Arc::clone(&app.cases.repo);
    let found = blocking(&app.reads, move |_| {
        let found = repo.document(id)?;
        let seen = found.filter(|(document, _)| scope.sees(&document.collection));
        let (document, chunks) = seen.ok_or_else(|| no_document(id))?;
        let mut body = reply::document(&document);
        body["chunk_texts"] = json!(chunks);
        Ok(body)
    });
    Ok(reply::ok(&found.await?))
}

pub(in crate::http) async fn delete(id: String, app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_delete(&app, &info, &id).await, &info)
}

async fn handle_delete(app: &Arc<App>, info: &RequestInfo, id: &str) -> Handled {
    let id = parse_id(id)?;
    let scope = info.guest.scope();
    let repo = Arc::clone(&app.cases.repo);
    let deleted = blocking(&app.writes, move |_| {
        // An id stands for a source in a collection, and never moves to another one.
        if scope.is_bound() {
            let found = repo.document(id)?;
            let seen = found.filter(|(document, _)| scope.sees(&document.collection));
            seen.ok_or_else(|| no_document(id))?;
        }
        match repo.delete_documents(&[id])? {
            0 => Err(no_document(id)),
            _ => Ok(json!({"id": id, "status": "deleted"})),
        }
    });
    let deleted = deleted.await;
    app.metrics.corpus.changed();
    Ok(reply::ok(&deleted?))
}

fn parse_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| {
        let text = crate::domain::query::shorten(text, 60);
        Problem::field("id", format!("`id` must be a UUID, got {text:?}"))
    })
}

fn no_document(id: Uuid) -> Problem {
    Problem::not_found(format!("there is no document {id}"))
}
