//! Where the daemon listens: sockets that systemd passes, else those that are configured, and one for
//! local commands.

use super::super::daemon;
use super::door::Door;
use super::policy;
use crate::access::Policy;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::{self, BindError, ListenAddress, Listener, SocketFile};
use listenfd::ListenFd;
use tracing::warn;

/// Sockets to serve.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listener>,
    /// Those whose file goes when the daemon does.
    pub(super) files: Vec<SocketFile>,
    /// Whether systemd holds them, also while nobody serves.
    pub(super) are_passed: bool,
}

/// Takes what systemd passed, else binds what is configured; and the socket for local commands.
/// Without the latter the daemon serves all the same.
pub(super) fn open(config: &Config, door: &Door) -> Result<Sockets, Failure> {
    let addresses = addresses(config, &door.policy)?;
    let mut sockets = Sockets {
        listeners: passed()?,
        ..Sockets::default()
    };
    let over_tls = door.tls.is_some();
    let passed = exposed(&sockets.listeners, over_tls);
    let passed = passed.map(|url| format!("the socket unit: {url}"));
    policy::check_exposed(config, &door.policy, passed.as_deref())?;
    sockets.are_passed = !sockets.listeners.is_empty();
    if !sockets.are_passed {
        for address in &addresses {
            let listener = http::bind(address).map_err(|error| bind_failure(&error))?;
            sockets.listeners.push(listener);
            sockets.files.extend(SocketFile::of(address));
        }
    }
    let local = ListenAddress::Unix(daemon::socket_of(config));
    let is_there = |listener: &Listener| listener.url(false) == local.to_string();
    if !sockets.listeners.iter().any(is_there) {
        open_local(&local, config, &mut sockets);
    }
    Ok(sockets)
}

fn open_local(local: &ListenAddress, config: &Config, sockets: &mut Sockets) {
    let made = std::fs::create_dir_all(&config.store_dir);
    match made
        .map_err(|error| error.to_string())
        .and_then(|()| http::bind(local).map_err(|error| format!("{error}: {}", error.source)))
    {
        Ok(listener) => {
            sockets.listeners.push(listener);
            sockets.files.extend(SocketFile::of(local));
        }
        Err(problem) => warn!(problem, "local commands will not find this daemon"),
    }
}

/// The listening sockets of `$LISTEN_FDS` (sd_listen_fds(3)).
fn passed() -> Result<Vec<Listener>, Failure> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = match passed.take_unix_listener(index) {
            Ok(listener) => listener.map(Listener::Unix),
            Err(_) => passed
                .take_tcp_listener(index)
                .map_err(|error| {
                    Failure::configuration(format!("socket {index} of those that systemd passed"))
                        .because(error)
                        .hint("a socket unit for alfred has ListenStream= alone: see alfred.socket")
                })?
                .map(Listener::Tcp),
        };
        listeners.extend(listener);
    }
    Ok(listeners)
}

fn bind_failure(error: &BindError) -> Failure {
    let hint = error.hint();
    let source = error.source.to_string();
    Failure::failed(error.to_string())
        .because(source)
        .maybe_hint(hint)
}

/// The first of `listeners` that is reached from beyond this machine.
pub(super) fn exposed(listeners: &[Listener], over_tls: bool) -> Option<String> {
    let is_exposed = |listener: &&Listener| {
        let address = listener.tcp_address();
        address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    };
    let found = listeners.iter().find(is_exposed);
    found.map(|listener| listener.url(over_tls))
}

/// The configured addresses, checked. Beyond loopback only with keys, or when that was said.
pub(super) fn addresses(config: &Config, policy: &Policy) -> Result<Vec<ListenAddress>, Failure> {
    let mut addresses = Vec::new();
    for text in &config.raw.server.listen {
        let address: ListenAddress = text.parse().map_err(|problem| {
            let hint = "as 127.0.0.1:8080, or unix:/run/alfred/alfred.sock";
            if config.is_from_flag("server.listen") {
                Failure::usage(format!("--listen: the address {text} {problem}")).hint(hint)
            } else {
                Failure::configuration(format!("`server.listen`: the address {text} {problem}"))
                    .hint(hint)
            }
        })?;
        if matches!(&address, ListenAddress::Tcp(host) if !is_loopback(host)) {
            let what = format!("`server.listen`: {text}");
            policy::check_exposed(config, policy, Some(&what))?;
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(Failure::configuration("`server.listen` is empty")
            .hint("name at least one address, as [\"127.0.0.1:8080\"]"));
    }
    Ok(addresses)
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
