//! What can go wrong between a request and its whole answer.

use super::answer::Fault;
use super::malformed::Malformed;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why there is no answer. Each variant is one fact that a caller may count or explain.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("{text:?} is not a usable address: {problem}")]
    Address {
        /// As given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No connection: refused, no such host or socket, unreachable.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// A connection, and no TLS over it: an unknown authority, a wrong name, no TLS at all.
    #[error("cannot speak TLS with {endpoint}: {problem}")]
    Tls {
        /// Where to.
        endpoint: String,
        /// What is wrong.
        problem: String,
    },
    /// This machine ran out of descriptors or ports: the client is the bottleneck, not the server.
    #[error("cannot open another connection from this machine")]
    Local {
        /// What the system said.
        source: io::Error,
    },
    /// Not everything had arrived in time.
    #[error("no complete answer within {} ms", after.as_millis())]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended before the answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Reset {
        /// What the system said, if anything.
        source: Option<io::Error>,
    },
    /// What arrived is not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    Protocol {
        /// What is wrong with it.
        source: Malformed,
    },
    /// The body goes on past the limit.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The request cannot be built.
    #[error("cannot make the request")]
    Request {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ClientError {
    pub(super) fn connect(endpoint: &impl std::fmt::Display, source: io::Error) -> Self {
        use rustix::io::Errno;
        let exhausted = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::ADDRNOTAVAIL,
            Errno::NOBUFS,
        ]
        .iter()
        .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
        if exhausted {
            return Self::Local { source };
        }
        Self::Connect {
            endpoint: endpoint.to_string(),
            source,
        }
    }

    /// What the system or TLS said in the middle of an exchange.
    #[must_use]
    pub fn ended(error: io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(broken) => Self::Protocol {
                source: Malformed::Tls(broken.clone()),
            },
            None => Self::Reset {
                source: Some(error),
            },
        }
    }

    /// What is wrong with an answer whose body may have `limit_bytes`.
    #[must_use]
    pub fn faulty(fault: Fault, limit_bytes: u64) -> Self {
        match fault {
            Fault::Malformed(source) => Self::Protocol { source },
            Fault::TooLarge => Self::TooLarge { limit_bytes },
        }
    }
}
