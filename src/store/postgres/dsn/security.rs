//! What a DSN says of TLS.

use super::DsnError;
use super::said::Said;
use std::path::PathBuf;

/// `sslmode`, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store::postgres) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum RootCertificates {
    /// Not said: `~/.postgresql/root.crt` where it exists.
    Default,
    /// Those the machine trusts.
    System,
    File(PathBuf),
}

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum Versions {
    Both,
    Only12,
    Only13,
}

/// Everything about TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct Tls {
    pub(in crate::store::postgres) mode: SslMode,
    pub(in crate::store::postgres) roots: RootCertificates,
    /// `sslcert` and `sslkey`; `None` where not said.
    pub(in crate::store::postgres) certificate: Option<PathBuf>,
    pub(in crate::store::postgres) key: Option<PathBuf>,
    /// `sslcrl`: certificates that are no longer trusted.
    pub(in crate::store::postgres) revoked: Option<PathBuf>,
    /// Whether a client certificate may be sent: `sslcertmode`.
    pub(in crate::store::postgres) send_certificate: bool,
    /// TLS from the first byte, without asking first (PostgreSQL 17).
    pub(in crate::store::postgres) direct: bool,
    /// Whether the name of the server is sent in the clear.
    pub(in crate::store::postgres) sni: bool,
    pub(in crate::store::postgres) versions: Versions,
}

pub(super) fn tls(said: &Said) -> Result<Tls, DsnError> {
    let roots = match said.text("sslrootcert") {
        None => RootCertificates::Default,
        Some(word) if word == "system" => RootCertificates::System,
        Some(path) => RootCertificates::File(PathBuf::from(path)),
    };
    let mode = said.choice(
        "sslmode",
        &[
            ("prefer", SslMode::Prefer),
            ("disable", SslMode::Disable),
            ("allow", SslMode::Allow),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ],
    )?;
    let mode = match (said.text("sslmode"), said.get("requiressl")) {
        (None, _) if roots == RootCertificates::System => SslMode::VerifyFull,
        (None, Some("1")) => SslMode::Require,
        _ => mode,
    };
    if roots == RootCertificates::System && mode != SslMode::VerifyFull {
        return Err(DsnError::new(
            "`sslrootcert=system` needs `sslmode=verify-full`: anybody has a certificate of a \
             public authority",
        ));
    }
    let direct = said.choice("sslnegotiation", &[("postgres", false), ("direct", true)])?;
    if said.text("sslcrl").is_some() && mode < SslMode::VerifyCa {
        return Err(DsnError::new(
            "`sslcrl` needs `sslmode=verify-ca` or verify-full",
        ));
    }
    if direct && mode < SslMode::Require {
        return Err(DsnError::new(
            "`sslnegotiation=direct` needs `sslmode=require` or stronger",
        ));
    }
    Ok(Tls {
        mode,
        roots,
        certificate: said.path("sslcert"),
        key: said.path("sslkey"),
        revoked: said.path("sslcrl"),
        send_certificate: said.choice("sslcertmode", &[("allow", true), ("disable", false)])?,
        direct,
        sni: said.choice("sslsni", &[("1", true), ("0", false)])?,
        versions: versions(said)?,
    })
}

/// The versions between the two bounds; below 1.2 none is spoken, whatever is allowed.
fn versions(said: &Said) -> Result<Versions, DsnError> {
    let version = |key, default| {
        let known = [
            ("", default),
            ("TLSv1", 10),
            ("TLSv1.1", 11),
            ("TLSv1.2", 12),
            ("TLSv1.3", 13),
        ];
        said.choice(key, &known)
    };
    let at_least = version("ssl_min_protocol_version", 12)?;
    let at_most = version("ssl_max_protocol_version", 13)?;
    match (at_least, at_most) {
        (_, ..12) => Err(DsnError::new(
            "`ssl_max_protocol_version`: TLS before 1.2 is not safe",
        )),
        (13, 12) => Err(DsnError::new(
            "`ssl_min_protocol_version` is above `ssl_max_protocol_version`",
        )),
        (13, _) => Ok(Versions::Only13),
        (_, 12) => Ok(Versions::Only12),
        _ => Ok(Versions::Both),
    }
}

/// libpq's folder of the user, for certificates.
pub(in crate::store::postgres) fn user_file(name: &str) -> Option<PathBuf> {
    let path = std::env::home_dir()?.join(".postgresql").join(name);
    path.exists().then_some(path)
}
