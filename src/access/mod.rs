//! PURE: who may come in, and how often. Keys with roles and collections, the hosts that may be asked
//! for, the proxies that are believed, and rate limits. No HTTP, no files, no clock.
//!
//! A key is 256 random bits, so there is nothing to guess and a slow hash would protect nothing: it is
//! kept as its SHA-256 (NIST SP 800-63B asks for stretching of what people choose; OWASP's cheat sheet
//! on password storage says the same). A request costs one hash and one look into a table.

pub mod file;
mod hosts;
mod key;
mod keys;
mod limit;
mod proxies;
mod scope;

pub use file::{Entry, FileError};
pub use hosts::{Hosts, is_loopback};
pub use key::{Digest, KEY_PREFIX, Role, check_name, mint};
pub use keys::{Key, Keys, MAX_KEYS};
pub use limit::{Addresses, Bucket, MAX_ADDRESSES, Quota};
pub use proxies::Proxies;
pub use scope::Scope;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is checked of every request. The default lets everybody in who asks for a loopback name.
#[derive(Debug, Default)]
pub struct Policy {
    /// The keys; `None` where none are configured, which is not the same as none that is valid.
    pub keys: Option<Keys>,
    /// Names by which the daemon may be asked.
    pub hosts: Hosts,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
    /// How often a key or an address may ask; `None`: as often as it likes.
    pub quota: Option<Quota>,
    /// What addresses have used up.
    pub addresses: Arc<Addresses>,
}

impl Policy {
    /// Goes on with what keys and addresses have used up under `former`.
    pub fn follow(&mut self, former: &Self) {
        self.addresses = Arc::clone(&former.addresses);
        if let (Some(keys), Some(former)) = (&mut self.keys, &former.keys) {
            keys.follow(former);
        }
    }

    /// Takes one request of `key`, or else of `address`, from what it may ask; `now_ns` is nanoseconds
    /// since some fixed moment.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(
        &self,
        key: Option<&Key>,
        address: IpAddr,
        now_ns: u64,
    ) -> Result<(), (Quota, Duration)> {
        let Some(quota) = self.quota else {
            return Ok(());
        };
        let taken = match key {
            Some(key) => key.spent.take(now_ns, quota),
            None => self.addresses.take(address, now_ns, quota),
        };
        taken.map_err(|wait| (quota, wait))
    }

    /// Whether the keys are others than those of `former`.
    #[must_use]
    pub fn has_other_keys(&self, former: &Self) -> bool {
        self.keys != former.keys
    }
}
