//! A client with a connection of its own over TLS, which sees the certificate.

use crate::support::PATIENCE;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// A connection on which requests are made one after the other.
pub(super) struct Secure(StreamOwned<ClientConnection, TcpStream>);

/// What a client offers.
pub(super) struct Offer<'a> {
    pub(super) versions: &'a [&'static SupportedProtocolVersion],
    pub(super) protocols: &'a [&'a str],
}

/// What clients offer mostly.
pub(super) const ANY: Offer<'static> = Offer {
    versions: &[&rustls::version::TLS13, &rustls::version::TLS12],
    protocols: &["h2", "http/1.1"],
};

impl Secure {
    /// Shakes hands with who listens on the port of this machine.
    pub(super) fn connect(port: u16, ca: &Path, offer: &Offer<'_>) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(offer.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let protocols = offer.protocols.iter();
        config.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    /// The digest of the server's certificate, as `GET /v1/status` has it.
    pub(super) fn fingerprint(&self) -> String {
        let chain = self.0.conn.peer_certificates().unwrap();
        Sha256::digest(&chain[0])
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
    }

    /// The version that was agreed on, and the protocol over it.
    pub(super) fn agreed(&self) -> (rustls::ProtocolVersion, &str) {
        let protocol = self.0.conn.alpn_protocol().unwrap_or_default();
        (
            self.0.conn.protocol_version().unwrap(),
            std::str::from_utf8(protocol).unwrap(),
        )
    }

    /// The status of one request on this connection, whose answer is read whole.
    pub(super) fn get(&mut self, path: &str) -> io::Result<u16> {
        self.get_with(path, "host: localhost\r\n")
    }

    /// The status of one request with these header lines.
    pub(super) fn get_with(&mut self, path: &str, headers: &str) -> io::Result<u16> {
        write!(self.0, "GET {path} HTTP/1.1\r\n{headers}\r\n")?;
        self.0.flush()?;
        self.answer()
    }

    /// The status of an answer that is read whole.
    pub(super) fn answer(&mut self) -> io::Result<u16> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(head.split(' ').nth(1).unwrap().parse().unwrap())
    }
}
