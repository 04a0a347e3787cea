//! One request from plain, synchronous code.

use super::{BodyLimits, ClientError, Connector, Sent, Target, Trust};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use std::time::Duration;

/// What to send.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The method; `GET` by default.
    pub method: Method,
    /// Headers besides `Host` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body; may be empty.
    pub body: Bytes,
    /// Whose certificates are trusted over https.
    pub trust: Trust,
}

/// How long to wait and how much to read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For everything: connecting, sending, and the whole answer.
    pub timeout: Duration,
    /// Largest body.
    pub max_response_bytes: u64,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status; an error status is an answer too.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Sends one request on a connection of its own and waits for the whole answer.
///
/// Must not be called from inside a tokio runtime: it brings its own.
///
/// # Errors
/// When there is no whole answer within `limits`.
pub fn request_blocking(
    target: &Target,
    outgoing: Outgoing,
    limits: Limits,
) -> Result<Response, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ClientError::Local { source })?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(limits.timeout, request(target, outgoing, limits)).await
    });
    // A name lookup may still hang in its thread; do not wait for it.
    runtime.shutdown_background();
    answer.unwrap_or(Err(ClientError::Timeout {
        after: limits.timeout,
    }))
}

async fn request(
    target: &Target,
    outgoing: Outgoing,
    limits: Limits,
) -> Result<Response, ClientError> {
    let mut request = Request::new(Full::new(outgoing.body));
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = target.path.parse().map_err(refused)?;
    *request.headers_mut() = outgoing.headers;
    let host = target.endpoint.authority().parse().map_err(refused)?;
    request.headers_mut().insert(http::header::HOST, host);

    let body_limits = BodyLimits {
        max_bytes: limits.max_response_bytes,
        keep_bytes: limits.max_response_bytes,
    };
    let connector = Connector::new(target.endpoint.clone(), &outgoing.trust)?;
    let mut connection = connector.open().await?;
    match connection.exchange(request, body_limits).await? {
        Sent::Answered(reply) => Ok(Response {
            status: reply.status,
            headers: reply.headers,
            body: reply.body.unwrap_or_default(),
        }),
        Sent::NotSent(_) => Err(ClientError::Reset { source: None }),
    }
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Request {
        source: Box::new(error),
    }
}
