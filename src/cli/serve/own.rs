//! The daemon's requests to itself, through its own listener as anybody else's.

use crate::client::{ClientError, Endpoint, Limits, Outgoing, Trust, request_blocking};
use crate::http::Listener;
use http::StatusCode;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Largest answer that is read.
const MAX_RESPONSE_BYTES: u64 = 1 << 20;

/// Where the daemon reaches itself, the likeliest place first.
#[derive(Clone, Debug)]
pub(super) struct Own(Vec<Endpoint>);

/// Why there was no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// No listener of its own can be reached from here: somebody removed the socket's file, say, or may
    /// not pass its folder. That says nothing of the work behind it.
    Unreachable(String),
    /// What came instead of a 200, or that nothing came in time.
    Failed(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Failed(why) => formatter.write_str(why),
        }
    }
}

impl Own {
    /// Through a unix socket where there is one: it has connections of its own, and works in a
    /// network namespace in which the TCP socket is somewhere else. `over_tls`: what is spoken over TCP.
    pub(super) fn through(listeners: &[Listener], over_tls: bool) -> Self {
        let scheme = if over_tls { "https" } else { "http" };
        let unix = listeners.iter().filter_map(|listener| match listener {
            Listener::Unix(socket) => {
                let address = socket.local_addr().ok()?;
                Some(Endpoint::Unix(address.as_pathname()?.to_owned()))
            }
            Listener::Tcp(_) => None,
        });
        let tcp = listeners.iter().filter_map(|listener| {
            let address = listener.tcp_address()?;
            format!("{scheme}://{}", reachable(address)).parse().ok()
        });
        Self(unix.chain(tcp).collect())
    }

    /// The body of the first answer. Another place is only asked when one cannot be reached.
    pub(super) fn get(&self, path: &str, timeout: Duration) -> Result<Vec<u8>, Silence> {
        let mut why = Vec::new();
        for endpoint in &self.0 {
            match ask(endpoint, path, timeout) {
                Err(Silence::Unreachable(problem)) => why.push(problem),
                asked => return asked,
            }
        }
        Err(Silence::Unreachable(why.join("; ")))
    }
}

fn ask(endpoint: &Endpoint, path: &str, timeout: Duration) -> Result<Vec<u8>, Silence> {
    let limits = Limits {
        timeout,
        max_response_bytes: MAX_RESPONSE_BYTES,
    };
    // The certificate is for another name than the address, and the port is the daemon's own.
    let outgoing = Outgoing {
        trust: Trust::Anybody,
        ..Outgoing::default()
    };
    let asked = request_blocking(&endpoint.at(path), outgoing, limits);
    let response = asked.map_err(|error| match &error {
        // Refused means that nobody listens any more, which is a failure.
        ClientError::Connect { source, .. } if source.kind() != ErrorKind::ConnectionRefused => {
            Silence::Unreachable(format!("{error}: {source}"))
        }
        _ => Silence::Failed(error.to_string()),
    })?;
    if response.status == StatusCode::OK {
        return Ok(response.body.to_vec());
    }
    let body = String::from_utf8_lossy(&response.body);
    Err(Silence::Failed(format!("{}: {body}", response.status)))
}

/// An address for a client of what listens on all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
