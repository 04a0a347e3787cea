//! A small HTTP/1.1 client over hyper: `http://` and `https://` over TCP, and unix sockets.
//!
//! Two users: the soak driver, which opens keep-alive [`Connection`]s as it needs them, and the
//! command line, which asks the daemon one thing at a time with [`request_blocking`]. It retries
//! nothing and follows no redirect; every body it reads has a limit.

mod blocking;
mod connection;
mod connector;
mod error;
mod target;

pub use blocking::{Limits, Outgoing, Response, request_blocking};
pub use connection::{BodyLimits, Connection, Reply, Sent};
pub use connector::{Connector, Trust};
pub use error::ClientError;
pub use target::{Endpoint, Target};
