//! Opens connections to one server.

use super::{ClientError, Endpoint, Stream};
use crate::tls::{Unchecked, read_pem, system_roots};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Whose certificates are trusted over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that this machine trusts.
    #[default]
    System,
    /// Those of the authorities in this PEM file, and no others.
    File(PathBuf),
    /// Anybody's.
    Anybody,
}

/// Opens connections to one server.
#[derive(Clone)]
pub struct Connector {
    endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// Reads what `trust` names, when there is TLS at all.
    ///
    /// # Errors
    /// [`ClientError::Tls`] when there is nobody to trust or the host is no name.
    pub fn new(endpoint: Endpoint, trust: &Trust) -> Result<Self, ClientError> {
        let tls = match &endpoint {
            Endpoint::Tls { host, .. } => {
                let failed = |problem| ClientError::Tls {
                    endpoint: endpoint.to_string(),
                    problem,
                };
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| failed(format!("{host:?}: {error}")))?;
                let config = config(trust).map_err(failed)?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
        };
        Ok(Self { endpoint, tls })
    }

    /// Opens a connection; needs a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::Tls`] or [`ClientError::Local`].
    pub async fn open(&self) -> Result<Stream, ClientError> {
        match &self.endpoint {
            Endpoint::Tcp { host, port } => Ok(Stream::Tcp(self.tcp(host, *port).await?)),
            Endpoint::Tls { host, port } => {
                let stream = self.tcp(host, *port).await?;
                let Some((connector, name)) = &self.tls else {
                    return Err(self.no_tls(&"it was not prepared"));
                };
                let connected = connector.connect(name.clone(), stream).await;
                let stream = connected.map_err(|error| self.no_tls(&in_words(&error)))?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            Endpoint::Unix(path) => UnixStream::connect(path)
                .await
                .map(Stream::Unix)
                .map_err(|source| ClientError::connect(&self.endpoint, source)),
        }
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, ClientError> {
        TcpStream::connect((host, port))
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| ClientError::connect(&self.endpoint, source))
    }

    fn no_tls(&self, problem: &dyn std::fmt::Display) -> ClientError {
        ClientError::Tls {
            endpoint: self.endpoint.to_string(),
            problem: problem.to_string(),
        }
    }
}

/// A certificate that is an authority's own.
pub const CA_AS_SERVER: &str =
    "its certificate is that of an authority (self-signed, CA:TRUE), and cannot be a server's";
/// A certificate of an unknown authority.
pub const UNTRUSTED: &str = "nobody who is trusted signed its certificate (UnknownIssuer)";
/// No TLS at all.
pub const NOT_TLS: &str = "what it answers is no TLS";

/// Why a handshake failed, in plain words where rustls has none.
fn in_words(error: &std::io::Error) -> String {
    use rustls::{CertificateError, Error, InvalidMessage};
    let said = error.get_ref().and_then(|inner| inner.downcast_ref());
    match said {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => UNTRUSTED.to_owned(),
        // Its text is the name of a variant of webpki's.
        Some(Error::InvalidCertificate(CertificateError::Other(other)))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            CA_AS_SERVER.to_owned()
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => NOT_TLS.to_owned(),
        _ => error.to_string(),
    }
}

fn config(trust: &Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match trust {
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
            .with_no_client_auth(),
        Trust::System => builder
            .with_root_certificates(store(system_roots().iter().cloned(), "this machine")?)
            .with_no_client_auth(),
        Trust::File(path) => {
            let roots: Vec<CertificateDer<'static>> = read_pem("ca_file", "certificate", path)?;
            builder
                .with_root_certificates(store(roots, &format!("ca_file {}", path.display()))?)
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn store(
    roots: impl IntoIterator<Item = CertificateDer<'static>>,
    whose: &str,
) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(roots);
    if added == 0 {
        return Err(format!(
            "{whose} has no certificate of an authority to trust"
        ));
    }
    Ok(store)
}
