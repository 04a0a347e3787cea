//! Whether a service answers: it is asked over the address that its users have, in its own protocol.
//!
//! The engine's own health checks are not waited for: Podman runs them only where systemd does it for
//! it, and a unit has none.

use crate::client::{Limits, Outgoing, Target, request_blocking};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest that one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// Longest cause that is shown, in characters.
const MAX_CAUSE_CHARS: usize = 200;

/// How a service is asked whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The start of a session of PostgreSQL, on this port of the loopback address.
    Postgres(u16),
    /// `PING` of Redis, on this port of the loopback address.
    Redis(u16),
    /// `GET`, which has to be answered by 2xx.
    Http(Target),
}

impl Asked {
    /// `GET http://127.0.0.1:PORT/PATH`.
    #[must_use]
    pub fn http(port: u16, path: &str) -> Self {
        Self::Http(Target {
            endpoint: crate::client::Endpoint::Tcp {
                host: Ipv4Addr::LOCALHOST.to_string(),
                port,
            },
            path: path.to_owned(),
        })
    }
}

/// Asks services whether they are ready.
pub trait Prober {
    /// Whether it answers as one that is ready; else why not.
    ///
    /// # Errors
    /// The reason, for people.
    fn ask(&self, asked: &Asked) -> Result<(), String>;

    /// Whether this port of the loopback address is free.
    fn is_free(&self, port: u16) -> bool;
}

/// Asks over the network of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loopback;

impl Prober for Loopback {
    fn ask(&self, asked: &Asked) -> Result<(), String> {
        match asked {
            Asked::Postgres(port) => exchange(*port, &startup_message()).and_then(|a| postgres(&a)),
            Asked::Redis(port) => exchange(*port, b"PING\r\n").and_then(|answer| redis(&answer)),
            Asked::Http(target) => http(target),
        }
    }

    fn is_free(&self, port: u16) -> bool {
        // Another refusal, as of a port below 1024, is not for us to judge.
        let bound = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    }
}

/// Sends a few bytes and answers the beginning of what comes back.
fn exchange(port: u16, message: &[u8]) -> Result<Vec<u8>, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let tried = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(message)?;
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer)?;
        answer.truncate(read);
        Ok(answer)
    };
    tried().map_err(|error: std::io::Error| error.to_string())
}

/// StartupMessage of protocol 3.0 (PostgreSQL manual, "Message Formats"), for the user and database alfred.
fn startup_message() -> Vec<u8> {
    const PARAMETERS: &[u8] = b"user\0alfred\0database\0alfred\0\0";
    const PROTOCOL: u32 = 3 << 16;
    let length = u32::try_from(8 + PARAMETERS.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &PROTOCOL.to_be_bytes(), PARAMETERS].concat()
}

/// As pg_isready: who asks for a password, or refuses this user, takes connections.
fn postgres(answer: &[u8]) -> Result<(), String> {
    // SQLSTATE cannot_connect_now: it starts, stops or recovers.
    const NOT_NOW: &[u8] = b"C57P03\0";
    match answer.first() {
        Some(b'E') if answer.windows(NOT_NOW.len()).any(|part| part == NOT_NOW) => {
            Err("the database is starting up".to_owned())
        }
        Some(b'R' | b'E') => Ok(()),
        Some(_) => Err("something else than PostgreSQL answers".to_owned()),
        None => Err("it closed the connection".to_owned()),
    }
}

/// Who asks for a password serves too.
fn redis(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    if text.starts_with("+PONG") || text.starts_with("-NOAUTH") {
        Ok(())
    } else if text.is_empty() {
        Err("it closed the connection".to_owned())
    } else {
        Err(cut(text.trim_start_matches('-')))
    }
}

fn http(target: &Target) -> Result<(), String> {
    let limits = Limits {
        timeout: PATIENCE,
        max_response_bytes: MAX_BYTES,
    };
    let answer = request_blocking(target, Outgoing::default(), limits)
        .map_err(|error| crate::failure::Failure::failed("").because(error).render())
        .map_err(|text| cut(text.trim_start_matches("error: : ")))?;
    if answer.status.is_success() {
        return Ok(());
    }
    let body = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
    let detail = body["detail"].as_str().map(str::to_owned);
    let text = detail.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
    Err(cut(&format!("{}: {text}", answer.status.as_u16())))
}

/// One short line.
fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_CAUSE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one connection with these bytes.
    fn answering(bytes: &'static [u8]) -> u16 {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
        });
        port
    }

    #[test]
    fn each_protocol_says_whether_it_is_ready() {
        let ask = |asked| Loopback.ask(&asked);
        let postgres = |bytes| ask(Asked::Postgres(answering(bytes)));
        assert_eq!(postgres(b"R\0\0\0\x08\0\0\0\x0a"), Ok(()));
        assert_eq!(postgres(b"E\0\0\0\x20SFATAL\0C28P01\0Mno\0\0"), Ok(()));
        assert!(postgres(b"E\0\0\0\x20SFATAL\0C57P03\0Mno\0\0").is_err());
        assert!(postgres(b"HTTP/1.1 400").is_err());
        assert!(postgres(b"").is_err());
        let redis = |bytes| ask(Asked::Redis(answering(bytes)));
        assert_eq!(redis(b"+PONG\r\n"), Ok(()));
        assert_eq!(redis(b"-NOAUTH Authentication required.\r\n"), Ok(()));
        let loading = redis(b"-LOADING Redis is loading the dataset in memory\r\n");
        assert!(loading.unwrap_err().starts_with("LOADING"));
        let http = |bytes| ask(Asked::http(answering(bytes), "/readyz"));
        assert_eq!(
            http(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            Ok(())
        );
        let waiting = http(
            b"HTTP/1.1 503 Busy\r\ncontent-length: 34\r\n\r\n{\"detail\": \"the database is away\"}",
        );
        assert_eq!(waiting.unwrap_err(), "503: the database is away");
    }

    #[test]
    fn a_port_is_free_until_somebody_listens() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!Loopback.is_free(port));
        let closed = Loopback.ask(&Asked::Redis(1)).unwrap_err();
        assert!(closed.contains("refused"), "{closed}");
        drop(listener);
        assert!(Loopback.is_free(port));
        assert!(Loopback.ask(&Asked::http(port, "/")).is_err());
    }
}
