//! Configuration to who may come in.

use super::super::keys;
use crate::access::{Hosts, Policy, Proxies, Quota};
use crate::config::Config;
use crate::failure::Failure;

/// The policy of this configuration; reads the file of keys.
pub(super) fn of(config: &Config) -> Result<Policy, Failure> {
    let server = &config.raw.server;
    let hosts = Hosts::parse(&server.allowed_hosts).map_err(|name| {
        Failure::configuration(format!("`server.allowed_hosts`: {name:?} is no host name")).hint(
            "without scheme and port, as \"alfred.example.org\", or \".example.org\" for all below",
        )
    })?;
    let proxies = Proxies::parse(&server.trusted_proxies).map_err(|text| {
        let what = format!("`server.trusted_proxies`: {text:?} is no address and no network");
        Failure::configuration(what).hint("as \"127.0.0.1\" or \"10.0.0.0/8\"")
    })?;
    Ok(Policy {
        keys: keys::load(config)?,
        hosts,
        proxies,
        quota: Quota::new(server.rate_limit, server.rate_limit_burst),
        ..Policy::default()
    })
}

/// Refuses to be open to others, `exposed` being an address that they reach, when neither keys nor the
/// configuration say who may ask.
pub(super) fn check_exposed(
    config: &Config,
    policy: &Policy,
    exposed: Option<&str>,
) -> Result<(), Failure> {
    let is_open = policy.keys.is_none() && !config.raw.server.allow_anonymous;
    match exposed {
        Some(what) if is_open => {
            let what = format!("{what} is open to others, and there are no keys: anybody may ask");
            Err(Failure::configuration(what).hint(
                "make a key with `alfred key new NAME`, or listen on 127.0.0.1, or set \
                 `server.allow_anonymous = true`",
            ))
        }
        _ => Ok(()),
    }
}
