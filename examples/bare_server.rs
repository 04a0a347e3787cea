//! The least that a load generator can aim at: one thread, one epoll, one fixed answer. It exceeds
//! 100,000 requests a second on a core, so that what is measured is the generator.
//!
//! ```text
//! cargo run --release --example bare_server -- 18080 &
//! wrk -t1 -c32 -d10s http://127.0.0.1:18080/
//! curl http://127.0.0.1:18080/gaps/50000   # what came since the last such request
//! ```
//!
//! `/gaps/N` answers with how many requests came, and how many of them within N nanoseconds of the one
//! before, by the N of the `/gaps` before it. Requests must arrive whole, as small ones do.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const LISTENER: u64 = u64::MAX;

/// When requests came.
#[derive(Default)]
struct Arrivals {
    last_ns: u64,
    short_ns: u64,
    requests: u64,
    short: u64,
}

impl Arrivals {
    fn note(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
        self.short += u64::from(now_ns - self.last_ns < self.short_ns);
        self.requests += 1;
        self.last_ns = now_ns;
    }

    /// The answer to `/gaps/N`, and from then on by this N.
    fn report(&mut self, short_ns: u64) -> Vec<u8> {
        let body = format!(
            r#"{{"requests": {}, "short": {}}}"#,
            self.requests, self.short
        );
        *self = Self {
            short_ns,
            ..Self::default()
        };
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }
}

#[expect(clippy::print_stdout, reason = "it is a command")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "0".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    println!("http://{}", listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections: HashMap<u64, TcpStream> = HashMap::new();
    let mut next = 0;
    let mut arrivals = Arrivals::default();
    let mut events: Vec<Event> = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&poll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                connections.insert(next, stream);
                next += 1;
            } else if let Some(stream) = connections.get_mut(&key)
                && !answer(stream, &mut buffer, &mut arrivals).unwrap_or(false)
            {
                connections.remove(&key);
            }
        }
    }
}

/// Answers what came; `false` when the connection is done.
fn answer(stream: &mut TcpStream, buffer: &mut [u8], arrivals: &mut Arrivals) -> io::Result<bool> {
    let length = match stream.read(buffer) {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
        Err(error) => return Err(error),
    };
    if length == 0 {
        return Ok(false);
    }
    let request = &buffer[..length];
    if let Some(rest) = request.strip_prefix(b"GET /gaps/") {
        let digits: Vec<u8> = rest
            .iter()
            .copied()
            .take_while(u8::is_ascii_digit)
            .collect();
        let short_ns = String::from_utf8_lossy(&digits).parse().unwrap_or(0);
        stream.write_all(&arrivals.report(short_ns))?;
    } else {
        arrivals.note();
        stream.write_all(ANSWER)?;
    }
    Ok(true)
}
