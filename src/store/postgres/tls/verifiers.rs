//! How a server's certificate is checked where that is less than rustls would: libpq's users ask
//! for it by `sslmode`. The signatures of the handshake are checked always.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// Checks the chain and, for verify-full, the name.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    /// The certificates that `inner` trusts.
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) name_matters: bool,
}

impl Checked {
    /// Whether `error` is no reason to refuse.
    fn pardons(
        &self,
        error: &Error,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
    ) -> Result<bool, Error> {
        match error {
            // Found last, after the chain.
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Ok(!self.name_matters),
            // The manual's self-signed certificate is its own authority, which webpki does not
            // take for a server's. It is trusted to the letter, and was found to be in date.
            Error::InvalidCertificate(CertificateError::Other(other))
                if is_ca_as_server(other) && self.roots.iter().any(|root| root == end_entity) =>
            {
                if self.name_matters {
                    let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&parsed, server_name)?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

fn is_ca_as_server(error: &rustls::OtherError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match checked {
            Err(error) if self.pardons(&error, end_entity, server_name)? => {
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
