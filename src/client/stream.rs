//! An open connection, before anything is said on it.

use super::socket::{Plain, Socket};
use std::io;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// An open connection to a server, its TLS handshake done.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The same connection for code that waits in its own way; needs the runtime it was opened in.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(stream) => Socket::new(Plain::Tcp(stream.into_std()?), None),
            Self::Unix(stream) => Socket::new(Plain::Unix(stream.into_std()?), None),
            Self::Tls(stream) => {
                let (stream, session) = stream.into_inner();
                Socket::new(Plain::Tcp(stream.into_std()?), Some(Box::new(session)))
            }
        })
    }
}
