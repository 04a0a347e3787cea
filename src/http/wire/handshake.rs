//! What comes before HTTP where TLS is spoken over TCP.

use super::socket::Socket;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// The type of the record that a TLS client begins with (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// How a client began.
#[derive(Debug)]
pub(crate) enum Greeted {
    /// TLS is spoken from here on.
    Secure(Socket),
    /// It began in plain text, as HTTP does; nothing was read.
    Plain(Socket),
    /// It left without a word.
    Gone,
    /// There was no agreement.
    Failed(io::Error),
}

/// Waits for the first byte, which tells TLS from plain HTTP, then shakes hands. Takes as long as the
/// client does.
pub(crate) async fn greet(stream: TcpStream, config: Arc<ServerConfig>) -> Greeted {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == HANDSHAKE_RECORD => {}
        Ok(1) if first[0].is_ascii_alphabetic() => return Greeted::Plain(Socket::Tcp(stream)),
        Ok(1) => return Greeted::Failed(io::ErrorKind::InvalidData.into()),
        Ok(_) | Err(_) => return Greeted::Gone,
    }
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Greeted::Secure(Socket::Tls(Box::new(stream))),
        Err(error) => Greeted::Failed(error),
    }
}
