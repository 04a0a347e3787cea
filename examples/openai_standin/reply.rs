//! Replies in OpenAI's shapes.

use crate::behaviour::Behaviour;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// A reply; its body may break off.
pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A reply of JSON.
pub(crate) fn json(status: StatusCode, body: &Value) -> Reply {
    bytes(status, body.to_string().into())
}

fn bytes(status: StatusCode, body: Bytes) -> Reply {
    let body = Full::new(body).map_err(|never| match never {});
    let mut reply = Response::new(body.boxed_unsync());
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

/// An error as OpenAI words it; the type follows from the status.
pub(crate) fn error(status: StatusCode, message: &str) -> Reply {
    error_about(status, message, None, None)
}

/// As [`error`], about one parameter, with a code.
pub(crate) fn error_about(
    status: StatusCode,
    message: &str,
    param: Option<&str>,
    code: Option<&str>,
) -> Reply {
    let kind = match status.as_u16() {
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let error = json!({"message": message, "type": kind, "param": param, "code": code});
    json(status, &json!({ "error": error }))
}

/// What is made of a sound reply when it shall arrive damaged.
pub(crate) fn damage(reply: Reply, behaviour: &Behaviour) -> Reply {
    if !reply.status().is_success() || !(behaviour.truncate || behaviour.cut) {
        return reply;
    }
    let (mut parts, body) = reply.into_parts();
    // The body is in memory: collecting it never waits.
    let whole = futures_util::FutureExt::now_or_never(body.collect());
    let whole = whole
        .and_then(Result::ok)
        .map(http_body_util::Collected::to_bytes);
    let whole = whole.unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    if behaviour.truncate {
        return bytes(parts.status, half);
    }
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let frames = stream::iter([Ok(Frame::data(half)), Err(broken)]);
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}
