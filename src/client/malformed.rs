//! What makes an answer no HTTP/1.1.

/// Why what arrived is no HTTP/1.1 answer. Its text has no figure of its own, so that equal faults are
/// equal texts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The status line or a header line.
    #[error("{0}")]
    Head(httparse::Error),
    /// The header section, those of interim answers included, is past the limit.
    #[error("header section too long")]
    HeadTooLong,
    /// A status below 100.
    #[error("invalid response status")]
    Status,
    /// A `Content-Length` that is no length, or several that differ.
    #[error("invalid content-length")]
    ContentLength,
    /// A transfer coding in HTTP/1.0, which has none.
    #[error("a transfer-encoding in HTTP/1.0")]
    TransferEncoding,
    /// The chunked coding of the body.
    #[error("{0}")]
    Chunk(&'static str),
    /// TLS that broke after its handshake.
    #[error("broken TLS: {0}")]
    Tls(rustls::Error),
}
