//! Clients that keep the daemon waiting. Others are not to notice.

use super::watch::{Pace, Promise, Seen, Watch};
use crate::failures::cases;
use crate::provider::Standin;
use crate::support::{Daemon, Home, PATIENCE, eventually};
use alfred::client::Endpoint;
use alfred::clock::{Clock as _, SystemClock};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

cases! {
    never_read: "100 clients ask without end, and never read a reply",
    slow_heads: "Slowloris: 500 clients send a head, a byte a second",
    slow_bodies: "Slowloris: 500 clients send a body, a byte in two seconds",
    idle_allowed: "10,000 idle connections, with `server.max_connections` = 12,000",
    idle_beyond: "10,000 idle connections, with `server.max_connections` at its 1,024",
}

/// How many slow clients there are.
const SLOW: usize = 500;
/// How many that do not read.
const DEAF: usize = 100;
/// How much later than the limit a connection may be closed.
const MARGIN: Duration = Duration::from_secs(3);

struct Parts {
    daemon: Daemon,
    _standin: Standin,
    _home: Home,
}

/// A daemon with the pace's limits for slow clients.
fn serve(pace: &Pace, more: &[(&str, &str)]) -> Parts {
    let (home, standin) = (Home::new(), Standin::start(&[]));
    let mut command = standin.alfred(&home, &["serve", "--listen", "127.0.0.1:0"]);
    let [head, body] = pace
        .client_timeouts
        .map(|limit| limit.as_millis().to_string());
    command
        .envs(pace.environment())
        .env("ALFRED__SERVER__HEADER_TIMEOUT_MS", head)
        .env("ALFRED__SERVER__BODY_TIMEOUT_MS", body)
        .envs(more.iter().copied());
    Parts {
        daemon: Daemon::start(command),
        _standin: standin,
        _home: home,
    }
}

pub(super) fn connect(daemon: &Daemon) -> TcpStream {
    let Endpoint::Tcp { host, port } = &daemon.endpoint else {
        panic!("not over TCP: {}", daemon.endpoint);
    };
    let stream = TcpStream::connect((host.as_str(), *port)).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// A client that sends a beginning at once, and then blanks, a byte at a time.
struct Slow {
    stream: TcpStream,
    blanks: usize,
    /// What the server said before it closed.
    reply: Vec<u8>,
    is_closed: bool,
}

impl Slow {
    fn new(daemon: &Daemon, beginning: &str) -> Self {
        let mut stream = connect(daemon);
        // At once also where the machine is busy: who is slow to begin has the reply before it reads.
        stream.write_all(beginning.as_bytes()).unwrap();
        Self {
            stream,
            blanks: 1_000,
            reply: Vec::new(),
            is_closed: false,
        }
    }

    fn send(&mut self) {
        if self.blanks > 0 {
            self.blanks -= 1;
            // What the server has closed is seen when it is read.
            let _ = self.stream.write(b" ");
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while !self.is_closed {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.is_closed = true,
                Ok(count) => self.reply.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.is_closed = true,
            }
        }
    }
}

/// Trickles until the server has closed all of them; the statuses that it gave.
fn trickle(clients: &mut [Slow], every: Duration, until: Instant) -> Vec<String> {
    while clients.iter().any(|client| !client.is_closed) {
        let open = clients.iter().filter(|client| !client.is_closed).count();
        assert!(SystemClock.monotonic() < until, "{open} are still open");
        for client in clients.iter_mut().filter(|client| !client.is_closed) {
            // Who sends to a socket that was closed loses the reply that it has not read.
            client.read();
            if !client.is_closed {
                client.send();
            }
        }
        SystemClock.sleep(every);
    }
    let text = |client: &Slow| String::from_utf8_lossy(&client.reply).into_owned();
    let status = |reply: String| reply.split(' ').nth(1).unwrap_or("none").to_owned();
    clients.iter().map(text).map(status).collect()
}

fn slow(pace: &Pace, limit: Duration, at_once: &str, every: Duration) -> Seen {
    let parts = serve(pace, &[]);
    let mut watch = Watch::begin(&parts.daemon, pace);
    let mut clients: Vec<Slow> = (0..SLOW)
        .map(|_| Slow::new(&parts.daemon, at_once))
        .collect();
    let until = SystemClock.monotonic() + limit + MARGIN;
    let statuses = trickle(&mut clients, every, until);
    let late = statuses.iter().filter(|status| *status == "408").count();
    assert_eq!(late, SLOW, "{statuses:?}");
    watch.mended();
    watch.end(&Promise::NOTHING)
}

/// Sends the beginning of a head, then a byte at a time.
fn slow_heads(pace: &Pace) -> Seen {
    let head = "POST /v1/query HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
    let [limit, _] = pace.client_timeouts;
    slow(pace, limit, head, (limit / 4).min(Duration::from_secs(1)))
}

fn slow_bodies(pace: &Pace) -> Seen {
    let head = "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 900\r\n\r\n";
    let [_, limit] = pace.client_timeouts;
    slow(pace, limit, head, (limit / 4).min(Duration::from_secs(2)))
}

fn connections(daemon: &Daemon) -> u64 {
    let (_, status) = daemon.request("GET", "/v1/status", None);
    status["http"]["connections"].as_u64().unwrap()
}

/// They are ended when their replies have not moved for `server.body_timeout_ms`.
fn never_read(pace: &Pace) -> Seen {
    let parts = serve(pace, &[]);
    let mut watch = Watch::begin(&parts.daemon, pace);
    let ask = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50);
    let mut clients: Vec<TcpStream> = (0..DEAF).map(|_| connect(&parts.daemon)).collect();
    let [_, limit] = pace.client_timeouts;
    let until = SystemClock.monotonic() + limit + MARGIN + PATIENCE;
    let mut most = 0;
    loop {
        clients.retain_mut(|client| match client.write(ask.as_bytes()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        most = most.max(connections(&parts.daemon));
        if clients.is_empty() {
            break;
        }
        let open = clients.len();
        assert!(SystemClock.monotonic() < until, "{open} are still open");
        SystemClock.sleep(Duration::from_millis(50));
    }
    assert!(most >= DEAF as u64, "{most} connections at most");
    watch.mended();
    watch.end(&Promise::NOTHING)
}

fn silent(pace: &Pace, more: &[(&str, &str)]) -> Seen {
    let parts = serve(pace, more);
    let mut watch = Watch::begin(&parts.daemon, pace);
    let clients: Vec<TcpStream> = (0..pace.idle).map(|_| connect(&parts.daemon)).collect();
    pace.wait();
    // Their time is `server.header_timeout_ms`, since they never said anything.
    let [limit, _] = pace.client_timeouts;
    eventually(limit + MARGIN, || {
        (connections(&parts.daemon) < 50).then_some(())
    });
    watch.mended();
    drop(clients);
    watch.end(&Promise::NOTHING)
}

fn idle_allowed(pace: &Pace) -> Seen {
    silent(pace, &[("ALFRED__SERVER__MAX_CONNECTIONS", "12000")])
}

/// They make room for those who ask.
fn idle_beyond(pace: &Pace) -> Seen {
    silent(pace, &[])
}
