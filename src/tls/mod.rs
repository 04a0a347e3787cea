//! What every TLS client here needs: certificates that the machine trusts, files of certificates,
//! and a check that is none; and what the daemon shows as a server.

mod identity;
mod unchecked;

pub use identity::{Identity, IdentityError};
pub use unchecked::Unchecked;

use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use ureq::tls::{Certificate, RootCerts};

/// What the machine trusts; read once, since it is a hundred files. Empty where it trusts nobody.
#[must_use]
pub fn system_roots() -> &'static [CertificateDer<'static>] {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

/// What ureq's clients trust: the machine's own certificates, so that a company's authority is trusted;
/// those of the browsers where it has none.
#[must_use]
pub fn ureq_roots() -> RootCerts {
    let certificates: Vec<_> = system_roots()
        .iter()
        .map(|der| Certificate::from_der(der.as_ref()).to_owned())
        .collect();
    if certificates.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::Specific(Arc::new(certificates))
}

/// The items of a kind in a PEM file, of which there has to be one; `key` is the setting that names
/// the file, `kind` what one is called.
///
/// # Errors
/// What is wrong with the file, as a sentence without full stop.
pub fn read_pem<T: rustls::pki_types::pem::PemObject>(
    key: &str,
    kind: &str,
    path: &Path,
) -> Result<Vec<T>, String> {
    let items = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match items {
        Ok(items) if items.is_empty() => {
            Err(format!("{key} {} holds no {kind} in PEM", path.display()))
        }
        Ok(items) => Ok(items),
        Err(error) => Err(format!("cannot read {key} {}: {error}", path.display())),
    }
}
