//! TLS in the daemon: served, renewed, refused, and held against clients that misbehave.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

mod authority;
mod client;
mod guarded;
mod hostile;
mod renewing;
mod serving;
mod starting;

use crate::support::{Daemon, Done, Home};
use alfred::client::Endpoint;
pub(crate) use authority::{Authority, Pair};

/// Configures TLS with `cert.pem` and `key.pem` of the home.
fn configure(home: &Home, more: &str) {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n{more}"
    );
    home.write("alfred.toml", text);
}

/// Configures TLS with these files.
fn configure_pair(home: &Home, certificate: &str, key: &str) {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntls_cert = \"{certificate}\"\ntls_key = \"{key}\"\n"
    );
    home.write("alfred.toml", text);
}

/// A daemon with a certificate of the authority, good for 90 days.
pub(crate) fn served(home: &Home, authority: &Authority, more: &str) -> Daemon {
    put(home, authority, "first");
    configure(home, more);
    Daemon::start(home.command(&["serve", "--config", "alfred.toml"]))
}

/// Puts a new certificate for `localhost` and its key in place.
fn put(home: &Home, authority: &Authority, name: &str) {
    let pair = authority.issue(name, 90);
    std::fs::copy(pair.certificate, home.path().join("cert.pem")).unwrap();
    std::fs::copy(pair.key, home.path().join("key.pem")).unwrap();
}

fn port(daemon: &Daemon) -> u16 {
    match &daemon.endpoint {
        Endpoint::Tls { port, .. } => *port,
        other => panic!("not over TLS: {other}"),
    }
}

fn reload(home: &Home) -> Done {
    home.alfred(&["reload", "--socket", "store/alfred.sock", "--json"])
}
