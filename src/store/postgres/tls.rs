//! TLS to the database, as libpq's `sslmode` has it, with rustls.
//!
//! | sslmode | encrypted | certificate checked |
//! |---|---|---|
//! | disable | no | |
//! | allow | when the server refuses plain text | no |
//! | prefer | when the server has TLS | no |
//! | require | always | its chain, where `sslrootcert` is given or `~/.postgresql/root.crt` exists |
//! | verify-ca | always | its chain |
//! | verify-full | always | its chain and the server's name |
//!
//! Over a unix socket there is no TLS, whatever `sslmode` says. Files are read at every connect, so
//! that renewed certificates count without a restart. Differences from libpq: verify-full without
//! any root certificate uses those that the machine trusts; a certificate's common name is not
//! looked at, only its alternative names; TLS before 1.2 is not spoken.

mod verifiers;

#[cfg(test)]
mod tests;

use super::dsn::{RootCertificates, SslMode, Tls, Versions, user_file};
use crate::tls::{Unchecked, read_pem};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, version};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;
use verifiers::Checked;

/// What `tls` asks for, ready to connect.
///
/// # Errors
/// What is wrong with a file, as a sentence without full stop.
pub(super) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = match tls.versions {
        Versions::Both => vec![&version::TLS13, &version::TLS12],
        Versions::Only13 => vec![&version::TLS13],
        Versions::Only12 => vec![&version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, provider)?);
    let mut config = match client_certificate(tls)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("sslcert and sslkey cannot be used: {error}"))?,
    };
    config.enable_sni = tls.sni;
    if tls.direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(
    tls: &Tls,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let roots = match tls.mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => None,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => roots(tls)?,
    };
    let Some(roots) = roots else {
        return Ok(Arc::new(Unchecked(provider)));
    };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
    if added == 0 {
        return Err("sslrootcert holds no certificate that can be used".to_owned());
    }
    let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
    if let Some(path) = &tls.revoked {
        builder = builder.with_crls(read_pem::<CertificateRevocationListDer<'_>>(
            "sslcrl",
            "revocation list",
            path,
        )?);
    }
    Ok(Arc::new(Checked {
        inner: builder
            .build()
            .map_err(|error| format!("sslcrl: {error}"))?,
        roots,
        name_matters: tls.mode == SslMode::VerifyFull,
    }))
}

/// The certificates that are trusted, or `None` where there are none to check against.
fn roots(tls: &Tls) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    let path = match &tls.roots {
        RootCertificates::System => return system_roots().map(Some),
        RootCertificates::File(path) => Some(path.clone()),
        RootCertificates::Default => user_file("root.crt"),
    };
    match (path, tls.mode) {
        (Some(path), _) => read_pem("sslrootcert", "certificate", &path).map(Some),
        (None, SslMode::VerifyFull) => system_roots().map(Some),
        (None, SslMode::VerifyCa) => Err(
            "sslmode=verify-ca needs sslrootcert: anybody has a certificate of a public authority"
                .to_owned(),
        ),
        (None, _) => Ok(None),
    }
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, String> {
    let roots = crate::tls::system_roots();
    if roots.is_empty() {
        return Err("this machine trusts no certificate authority; set sslrootcert".to_owned());
    }
    Ok(roots.to_vec())
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(tls: &Tls) -> Result<Option<ClientCertificate>, String> {
    if !tls.send_certificate {
        return Ok(None);
    }
    let default = |said: &Option<PathBuf>, name| said.clone().or_else(|| user_file(name));
    let Some(certificate) = default(&tls.certificate, "postgresql.crt") else {
        return Ok(None);
    };
    let Some(key) = default(&tls.key, "postgresql.key") else {
        return Err("sslcert is there, and sslkey is not".to_owned());
    };
    check_private(&key)?;
    let chain = read_pem("sslcert", "certificate", &certificate)?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
        format!(
            "cannot read sslkey {}, which has to be PEM without passphrase: {error}",
            key.display()
        )
    })?;
    Ok(Some((chain, key)))
}

/// As libpq: a key that others may read is not used; one of root may be read by its group.
fn check_private(key: &Path) -> Result<(), String> {
    let about = std::fs::metadata(key)
        .map_err(|error| format!("cannot read sslkey {}: {error}", key.display()))?;
    let forbidden = if about.uid() == 0 { 0o027 } else { 0o077 };
    if about.permissions().mode() & forbidden == 0 {
        return Ok(());
    }
    Err(format!(
        "sslkey {} may be read by others than its owner; chmod 600 it",
        key.display()
    ))
}
