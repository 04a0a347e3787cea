//! A client for many requests a second: connections are kept, replies are read no further than needed.

use alfred::client::Endpoint;
use alfred::clock::{Clock as _, SystemClock};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Far from `server.max_connections`.
const CONNECTIONS: usize = 500;

/// What became of one question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) due: Instant,
    /// When it was sent: this client shares the cores with the daemon, and may be late.
    pub(super) sent: Instant,
    pub(super) ended: Instant,
    /// 0: the connection broke.
    pub(super) status: u16,
    pub(super) has_retry_after: bool,
}

impl Answered {
    /// From when it was sent.
    pub(super) fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.sent)
    }
}

/// Connections and what they brought.
struct Pool {
    address: String,
    /// In the names of questions, so that none is asked twice.
    name: String,
    idle: RefCell<Vec<TcpStream>>,
    /// At most [`CONNECTIONS`] at a time.
    places: Semaphore,
    answered: RefCell<Vec<Answered>>,
}

/// Asks `rate` new questions a second for so long, whatever became of those before.
pub(super) fn open(endpoint: &Endpoint, name: &str, rate: f64, lasts: Duration) -> Vec<Answered> {
    run(endpoint, name, async move |pool| {
        let start = SystemClock.monotonic();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0_u32.. {
            let after = Duration::from_secs_f64(f64::from(number) / rate);
            if after >= lasts {
                break;
            }
            tokio::time::sleep_until((start + after).into()).await;
            tasks.spawn_local(Rc::clone(&pool).ask(number, start + after));
            while tasks.try_join_next().is_some() {}
        }
        tasks.join_all().await;
    })
}

/// So many clients for so long, each of which asks when it has its answer.
pub(super) fn closed(
    endpoint: &Endpoint,
    name: &str,
    clients: u32,
    lasts: Duration,
) -> Vec<Answered> {
    run(endpoint, name, async move |pool| {
        let end = SystemClock.monotonic() + lasts;
        let client = async |pool: Rc<Pool>, client: u32| {
            for number in (client..).step_by(clients as usize) {
                let now = SystemClock.monotonic();
                if now >= end {
                    break;
                }
                Rc::clone(&pool).ask(number, now).await;
            }
        };
        let all = (0..clients).map(|number| client(Rc::clone(&pool), number));
        futures_util::future::join_all(all).await;
    })
}

fn run(endpoint: &Endpoint, name: &str, work: impl AsyncFnOnce(Rc<Pool>)) -> Vec<Answered> {
    let Endpoint::Tcp { host, port } = endpoint else {
        panic!("not over TCP: {endpoint}");
    };
    let pool = Rc::new(Pool {
        address: format!("{host}:{port}"),
        name: name.to_owned(),
        idle: RefCell::default(),
        places: Semaphore::new(CONNECTIONS),
        answered: RefCell::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, work(Rc::clone(&pool)));
    pool.answered.take()
}

impl Pool {
    async fn ask(self: Rc<Self>, number: u32, due: Instant) {
        let place = self.places.acquire().await.unwrap();
        let sent = SystemClock.monotonic();
        let asked = self.exchange(number).await;
        drop(place);
        let (status, has_retry_after) = asked.unwrap_or((0, false));
        self.answered.borrow_mut().push(Answered {
            due,
            sent,
            ended: SystemClock.monotonic(),
            status,
            has_retry_after,
        });
    }

    /// A connection that is open still: the daemon closes those that were idle for long.
    fn kept(&self) -> Option<TcpStream> {
        let is_open = |stream: &TcpStream| {
            let read = stream.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(is_open)
    }

    async fn exchange(&self, number: u32) -> std::io::Result<(u16, bool)> {
        let mut stream = match self.kept() {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await?,
        };
        stream.set_nodelay(true)?;
        let body = json!({"query": format!("What is {} {number}?", self.name)}).to_string();
        let text = format!(
            "POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await?;
        let mut reply = Vec::new();
        let head = loop {
            read_more(&mut stream, &mut reply).await?;
            if let Some(end) = memchr::memmem::find(&reply, b"\r\n\r\n") {
                break String::from_utf8_lossy(&reply[..end]).to_ascii_lowercase();
            }
        };
        let value = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let length: usize = value("content-length").unwrap().parse().unwrap();
        while reply.len() < head.len() + 4 + length {
            read_more(&mut stream, &mut reply).await?;
        }
        if value("connection") != Some("close") {
            self.idle.borrow_mut().push(stream);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, value("retry-after").is_some()))
    }
}

async fn read_more(stream: &mut TcpStream, reply: &mut Vec<u8>) -> std::io::Result<()> {
    match stream.read_buf(reply).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
