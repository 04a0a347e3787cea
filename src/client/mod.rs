//! A small HTTP/1.1 client of our own: `http://` and `https://` over TCP, and unix sockets.
//!
//! Two users: the soak driver, which keeps connections and a loop of its own over [`Socket`], and the
//! command line, which asks the daemon one thing at a time with [`request_blocking`]. Both write with
//! [`Form`] and read with [`Answer`], which do no I/O. It retries nothing and follows no redirect;
//! every body it reads has a limit.

mod answer;
mod blocking;
mod chunked;
mod connector;
mod error;
mod form;
mod malformed;
mod socket;
mod stream;
mod target;

pub use answer::{Answer, BodyLimits, Fault, Fed, MAX_HEADER_BYTES};
pub use blocking::{Limits, Outgoing, Response, request, request_blocking};
pub use connector::{CA_AS_SERVER, Connector, NOT_TLS, Trust, UNTRUSTED};
pub use error::ClientError;
pub use form::Form;
pub use malformed::Malformed;
pub use socket::Socket;
pub use stream::Stream;
pub use target::{Endpoint, Target};
