//! What a TLS server shows: a certificate chain with its key, read from PEM files and checked against
//! each other. TLS 1.2 and 1.3 with ring; HTTP/1.1 is what is spoken over it.

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Largest PEM file: far above a chain of the longest certificates, and systemd's own limit of a
/// credential.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A certificate chain with its key, ready to be shown.
#[derive(Debug)]
pub struct Identity {
    config: Arc<ServerConfig>,
    not_before: SystemTime,
    not_after: SystemTime,
    fingerprint: String,
}

/// Why files make no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM of the kind.
    #[error("{} holds no {what} in PEM", path.display())]
    Nothing {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// What a file holds cannot be used.
    #[error("{} is damaged, or of a kind that cannot be used: {problem}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The key is in need of a password.
    #[error("the key in {} is encrypted", path.display())]
    Encrypted {
        /// Which file.
        path: PathBuf,
    },
    /// Each is sound, and they are not of one another.
    #[error(
        "the key in {} does not belong to the first certificate in {}",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

impl IdentityError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { source, path } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!(
                    "let the daemon's group read it: chgrp alfred {0} && chmod 640 {0}, and let it \
                     pass the folders above",
                    path.display()
                )
            }
            Self::Read { .. } | Self::Nothing { .. } | Self::Unusable { .. } => {
                "give `server.tls_cert` the chain (fullchain.pem) and `server.tls_key` the key \
                 (privkey.pem), both as PEM"
                    .to_owned()
            }
            Self::Encrypted { path } => format!(
                "decrypt it: openssl pkey -in {0} -out {0}.plain",
                path.display()
            ),
            Self::Mismatch { .. } => {
                "the server's own certificate comes first in the file, those of authorities after \
                 it; a renewal replaces both files"
                    .to_owned()
            }
        }
    }
}

impl Identity {
    /// Reads the chain, the server's own certificate first, and its key; blocks.
    ///
    /// # Errors
    /// [`IdentityError`]; that a certificate is out of date is none, see [`Identity::trouble`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = read_chain(certificate)?;
        let Some(own) = chain.first() else {
            let (path, what) = (certificate.to_owned(), "certificate");
            return Err(IdentityError::Nothing { path, what });
        };
        let unusable = |path: &Path, problem: &dyn std::fmt::Display| IdentityError::Unusable {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        let parsed = Certificate::from_der(own).map_err(|error| unusable(certificate, &error))?;
        let validity = parsed.tbs_certificate.validity;
        let fingerprint = hex(&Sha256::digest(own));
        let secret = read_key(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let built = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(chain, secret)
            });
        let mut config = built.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            },
            rustls::Error::InvalidCertificate(_) => unusable(certificate, &error),
            _ => unusable(key, &error),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let since_1970 = |time: x509_cert::time::Time| UNIX_EPOCH + time.to_unix_duration();
        Ok(Self {
            config: Arc::new(config),
            not_before: since_1970(validity.not_before),
            not_after: since_1970(validity.not_after),
            fingerprint,
        })
    }

    /// What handshakes are made with.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// When the certificate expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The SHA-256 digest of the certificate, as 64 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whole days from `now` until the certificate expires, rounded down; below 0 afterwards.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let left = OffsetDateTime::from(self.not_after) - OffsetDateTime::from(now);
        left.whole_seconds().div_euclid(86_400)
    }

    /// Why clients will not take the certificate at `now`, as far as its dates go; `None` when they
    /// may.
    #[must_use]
    pub fn trouble(&self, now: SystemTime) -> Option<String> {
        let minute = Duration::from_mins(1);
        if now > self.not_after {
            let date = OffsetDateTime::from(self.not_after).date();
            return Some(format!("the TLS certificate expired on {date}"));
        }
        // Clocks differ a little, and a certificate may be a second old.
        (now + minute < self.not_before).then(|| {
            let date = OffsetDateTime::from(self.not_before).date();
            format!("the TLS certificate is not valid before {date}")
        })
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    chain.map_err(|error| unreadable(path, "certificate", &error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let is_encrypted = memchr::memmem::find(&text, b"ENCRYPTED").is_some();
        if is_encrypted {
            let path = path.to_owned();
            return IdentityError::Encrypted { path };
        }
        unreadable(path, "private key", &error)
    })
}

fn unreadable(path: &Path, what: &'static str, error: &pem::Error) -> IdentityError {
    let path = path.to_owned();
    match error {
        pem::Error::NoItemsFound => IdentityError::Nothing { path, what },
        _ => IdentityError::Unusable {
            path,
            problem: error.to_string(),
        },
    }
}

/// Reads a file, which has to be a regular one: a pipe would hold up a reload for ever.
fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    let found = std::fs::metadata(path).and_then(|found| match found.len() {
        _ if !found.is_file() => wrong("it is no regular file".to_owned()),
        length if length > MAX_FILE_BYTES => wrong(format!(
            "it has {length} bytes, and {MAX_FILE_BYTES} are the most"
        )),
        _ => std::fs::read(path),
    });
    found.map_err(|source| IdentityError::Read {
        path: path.to_owned(),
        source,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
