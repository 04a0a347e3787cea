//! One keep-alive connection, one request at a time.

use super::ClientError;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest header section of an answer, in bytes.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// An open connection. Dropping it in the middle of an exchange closes it.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
}

/// How much of an answer is read, and how much of it is kept.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Past this the answer is [`ClientError::TooLarge`].
    pub max_bytes: u64,
    /// A body up to this size is kept; of a larger one only the length is known.
    pub keep_bytes: u64,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, when it was no larger than [`BodyLimits::keep_bytes`].
    pub body: Option<Bytes>,
    /// The length of its body.
    pub body_bytes: u64,
}

/// What became of a request that was given to a connection.
#[derive(Debug)]
pub enum Sent {
    /// The whole answer arrived.
    Answered(Reply),
    /// The connection was already closed; not one byte was written, so the request may go out on
    /// another connection without being a second try.
    NotSent(Request<Full<Bytes>>),
}

impl Connection {
    pub(super) async fn over<S>(stream: S) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_header_size(MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::exchange)?;
        // Its errors reach the caller through the exchange that they end.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// Whether the other side (or an error) has closed it. False is a hint only.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends `request` (origin-form URI, `Host` set) and reads the whole answer. No timeout of its
    /// own: drop the future to give up.
    ///
    /// # Errors
    /// Everything but [`ClientError::Connect`], [`ClientError::Local`] and
    /// [`ClientError::Timeout`]. The connection is of no use after one.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limits: BodyLimits,
    ) -> Result<Sent, ClientError> {
        if self.sender.ready().await.is_err() {
            return Ok(Sent::NotSent(request));
        }
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut failed) => match failed.take_message() {
                Some(request) => return Ok(Sent::NotSent(request)),
                None => return Err(ClientError::exchange(failed.into_error())),
            },
        };
        let (head, body) = response.into_parts();
        let (body, body_bytes) = read_body(body, limits).await?;
        Ok(Sent::Answered(Reply {
            status: head.status,
            headers: head.headers,
            body,
            body_bytes,
        }))
    }
}

async fn read_body(
    mut body: Incoming,
    limits: BodyLimits,
) -> Result<(Option<Bytes>, u64), ClientError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ClientError::exchange)?.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > limits.max_bytes {
            return Err(ClientError::TooLarge {
                limit_bytes: limits.max_bytes,
            });
        }
        if length > limits.keep_bytes {
            first = Bytes::new();
            rest = BytesMut::new();
        } else if length == data.len() as u64 {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    if length > limits.keep_bytes {
        return Ok((None, length));
    }
    let kept = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok((Some(kept), length))
}
