//! What a reload changes at the door: who may come in, and the certificate that is shown there.

use super::{policy, tls};
use crate::access::Policy;
use crate::config::{Changes, Config};
use crate::failure::Failure;
use crate::tls::Identity;
use std::sync::Arc;

/// The files that are read anew at every reload, by the keys that name them.
const KEYS_FILE: &str = "server.keys_file";
const CERTIFICATE: &str = "server.tls_cert";

/// Who may come in, and what is shown to them.
#[derive(Clone)]
pub(in crate::cli) struct Door {
    pub(super) policy: Arc<Policy>,
    /// What is shown over TCP; `None` where TLS is not spoken.
    pub(super) tls: Option<Arc<Identity>>,
}

impl Door {
    /// As configured; reads the files of keys, certificate and its key. Blocks.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(super) fn of(config: &Config) -> Result<Self, Failure> {
        Ok(Self {
            policy: Arc::new(policy::of(config)?),
            tls: tls::load(config)?,
        })
    }

    /// As configured now, after `former`. Other keys, or another certificate, in the same place are changes
    /// too. Where TLS waits to be turned on or off, what is in force stays.
    ///
    /// # Errors
    /// When a file cannot be used, or others would come in through `exposed` without keys.
    pub(super) fn renewed(
        config: &Config,
        former: &Self,
        exposed: Option<&str>,
        changes: &mut Changes,
    ) -> Result<Self, Failure> {
        let mut policy = policy::of(config)?;
        policy::check_exposed(config, &policy, exposed)?;
        let tls = if changes.at_start.contains(&CERTIFICATE) {
            former.tls.clone()
        } else {
            tls::load(config)?
        };
        let mut note = |key, is_other: bool| {
            if is_other && !changes.live.contains(&key) {
                changes.live.push(key);
            }
        };
        note(KEYS_FILE, policy.has_other_keys(&former.policy));
        note(
            CERTIFICATE,
            digest(tls.as_ref()) != digest(former.tls.as_ref()),
        );
        policy.follow(&former.policy);
        Ok(Self {
            policy: Arc::new(policy),
            tls,
        })
    }

    /// Logs how many keys there are from now on, unless there was no change.
    pub(super) fn tell_keys(&self, changes: Option<&Changes>) {
        if changes.is_some_and(|changes| !changes.touch(&[KEYS_FILE])) {
            return;
        }
        match &self.policy.keys {
            None => {}
            Some(keys) if keys.is_empty() => {
                tracing::warn!(
                    "there is no key in the file of keys: all requests over TCP are refused"
                );
            }
            Some(keys) => {
                let keys = keys.len();
                tracing::info!(keys, "requests over TCP need one of {keys} keys");
            }
        }
    }
}

fn digest(tls: Option<&Arc<Identity>>) -> Option<&str> {
    tls.map(|identity| identity.fingerprint())
}
