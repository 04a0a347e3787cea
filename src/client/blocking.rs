//! One request from plain, synchronous code.

use super::{Answer, BodyLimits, ClientError, Connector, Form, Stream, Target, Trust};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// So much is read at a time.
const READ_BYTES: usize = 64 * 1024;

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

/// The same from asynchronous code, without the timeout: drop the future to give up.
///
/// # Errors
/// When there is no whole answer within `limits`.
pub async fn request(
    target: &Target,
    outgoing: Outgoing,
    limits: Limits,
) -> Result<Response, ClientError> {
    let mut headers = outgoing.headers;
    let host = HeaderValue::try_from(target.endpoint.authority()).map_err(refused)?;
    headers.insert(header::HOST, host);
    let path: http::uri::PathAndQuery = target.path.parse().map_err(refused)?;
    let form = Form::new(outgoing.method, &headers);
    let mut bytes = Vec::new();
    form.write(&mut bytes, path.as_str(), &outgoing.body);
    let body_limits = BodyLimits {
        max_bytes: limits.max_response_bytes,
        keep_bytes: limits.max_response_bytes,
    };
    let mut answer = Answer::new(form.method(), body_limits).with_headers();
    let connector = Connector::new(target.endpoint.clone(), &outgoing.trust)?;
    match connector.open().await? {
        Stream::Tcp(stream) => exchange(stream, &bytes, &mut answer).await,
        Stream::Unix(stream) => exchange(stream, &bytes, &mut answer).await,
        Stream::Tls(stream) => exchange(stream, &bytes, &mut answer).await,
    }
    .map_err(|failed| match failed {
        Failed::Faulty(fault) => ClientError::faulty(fault, limits.max_response_bytes),
        Failed::Ended(error) => ClientError::ended(error),
        Failed::Short => ClientError::Reset { source: None },
    })?;
    let status = StatusCode::from_u16(answer.status()).map_err(refused)?;
    let (headers, body) = answer.into_parts();
    Ok(Response {
        status,
        headers,
        body: body.into(),
    })
}

enum Failed {
    Faulty(super::Fault),
    Ended(std::io::Error),
    Short,
}

/// Writes and reads at the same time: a server may answer before it has read everything, and stop
/// reading.
async fn exchange<S>(stream: S, request: &[u8], answer: &mut Answer) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        // What could not be written shows in what is read.
        if writer.write_all(request).await.is_ok() {
            let _ = writer.flush().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = read(&mut reader, answer) => read,
        () = write => Err(Failed::Short),
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin), answer: &mut Answer) -> Result<(), Failed> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        if reader.read_buf(&mut buffer).await.map_err(Failed::Ended)? == 0 {
            let complete = answer.end(&buffer).map_err(Failed::Faulty)?;
            return if complete { Ok(()) } else { Err(Failed::Short) };
        }
        let fed = answer.feed(&buffer).map_err(Failed::Faulty)?;
        if fed.is_done {
            return Ok(());
        }
        buffer.drain(..fed.used);
    }
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Request {
        source: Box::new(error),
    }
}
