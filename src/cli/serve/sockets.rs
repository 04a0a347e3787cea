//! Where the daemon listens: sockets that systemd passes, else those that are configured, and one for
//! local commands.

use super::super::daemon;
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
pub(super) fn open(config: &Config) -> Result<Sockets, Failure> {
    let addresses = addresses(config)?;
    let mut sockets = Sockets {
        listeners: passed()?,
        ..Sockets::default()
    };
    let is_exposed = |listener: &&Listener| {
        let open = |address: std::net::SocketAddr| !address.ip().is_loopback();
        !config.raw.server.allow_anonymous && listener.tcp_address().is_some_and(open)
    };
    if let Some(listener) = sockets.listeners.iter().find(is_exposed) {
        return Err(open_to_others(&format!(
            "the socket unit: {}",
            listener.url(config.speaks_tls())
        )));
    }
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

/// The configured addresses, checked. Beyond loopback only when that was said, since there are no keys.
pub(in crate::cli) fn addresses(config: &Config) -> Result<Vec<ListenAddress>, Failure> {
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
        if let ListenAddress::Tcp(host) = &address
            && !config.raw.server.allow_anonymous
            && !is_loopback(host)
        {
            return Err(open_to_others(&format!("`server.listen`: {text}")));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(Failure::configuration("`server.listen` is empty")
            .hint("name at least one address, as [\"127.0.0.1:8080\"]"));
    }
    Ok(addresses)
}

fn open_to_others(what: &str) -> Failure {
    Failure::configuration(format!("{what} is open to others, and anybody may ask")).hint(
        "listen on 127.0.0.1 behind a proxy that checks who asks, or set \
         `server.allow_anonymous = true`",
    )
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
