//! The certificate that the daemon shows: read, checked, and what is said of it.

use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::failure::Failure;
use crate::tls::Identity;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// From so many days before a certificate expires on, the status line says so: half of the 30 that
/// certbot leaves for a renewal.
const SOON_DAYS: i64 = 14;

/// Reads the certificate and key that are configured; `None` where TLS is not spoken. Blocks.
///
/// # Errors
/// When they cannot be served; that a certificate is out of date is no error.
pub(super) fn load(config: &Config) -> Result<Option<Arc<Identity>>, Failure> {
    if !config.speaks_tls() {
        return Ok(None);
    }
    let server = &config.raw.server;
    let identity = Identity::load(Path::new(&server.tls_cert), Path::new(&server.tls_key));
    identity
        .map(|found| Some(Arc::new(found)))
        .map_err(|error| {
            let hint = error.hint();
            Failure::configuration("`server.tls_cert` and `server.tls_key`")
                .because(error)
                .hint(hint)
        })
}

/// Why clients will not take what is shown now, as far as its dates go.
pub(super) fn trouble(identity: Option<&Arc<Identity>>) -> Option<String> {
    identity?.trouble(SystemClock.wall())
}

/// Logs that, where it is so: the daemon serves all the same, since clients may not look.
pub(super) fn warn_of_trouble(identity: Option<&Arc<Identity>>) {
    if let Some(trouble) = trouble(identity) {
        tracing::warn!("{trouble}; clients will refuse it: renew it, then `alfred reload`");
    }
}

/// What the status line says of a certificate that will not do any more, or not for long.
pub(super) fn remark(identity: Option<&Arc<Identity>>) -> Option<String> {
    trouble(identity).or_else(|| {
        let days = identity?.days_left(SystemClock.wall());
        (days < SOON_DAYS).then(|| format!("the TLS certificate expires in {days} days"))
    })
}

/// The section of the status.
pub(super) fn describe(identity: &Identity) -> Value {
    let not_after = OffsetDateTime::from(identity.not_after()).format(&Rfc3339);
    json!({
        "not_after": not_after.ok(),
        "expires_in_days": identity.days_left(SystemClock.wall()),
        "sha256": identity.fingerprint(),
    })
}
