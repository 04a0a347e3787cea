//! A target whose latencies follow a known law, to the quantile: each request waits for one of the
//! law's quantiles, in an order that a seed gives. What a generator says of it can be held against
//! the law.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use alfred::soak::monotonic::monotonic_ns;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// What an error counts as: alfred's default timeout.
const TIMEOUT_MS: f64 = 10_000.0;
/// What an answer takes that nothing holds up. A virtual machine may need 0.3 ms to wake who waits: of this that is
/// less than the 2 % that percentiles may be off.
const SERVICE_MS: f64 = 50.0;
const SERVICE_NS: u64 = 50 * MS;

/// How long answers take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Law {
    /// Each [`SERVICE_MS`].
    Constant,
    /// Log-normal: median [`SERVICE_MS`], sigma 0.8.
    LogNormal,
    /// Each [`SERVICE_MS`], and nothing is answered for 5 s, a third into the run.
    Freeze,
    /// One in fifty 2 s, the others [`SERVICE_MS`].
    Slow2Percent,
    /// From [`SERVICE_MS`] on, 1 ms more each minute.
    Drift,
    /// Each [`SERVICE_MS`]; the share of errors rises evenly from 0 to 4 %, so that no percentile asked for falls between the two.
    RampingErrors,
}

/// What a request gets.
#[derive(Clone, Copy, Debug)]
struct Fate {
    ms: f64,
    is_error: bool,
}

/// A run that a law is asked about: so many requests at this rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) law: Law,
    pub(crate) per_s: u64,
    pub(crate) count: u64,
}

impl Plan {
    fn length_ns(self) -> u64 {
        self.count * SECOND / self.per_s
    }

    fn freeze_from_ns(self) -> u64 {
        self.length_ns() / 3
    }

    /// The fate of request `number`, sent `since_ns` after the first.
    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of requests and nanoseconds"
    )]
    fn fate(self, number: u64, since_ns: u64) -> Fate {
        let place = permuted(number, self.count);
        let share = (place as f64 + 0.5) / self.count as f64;
        let run_share = since_ns as f64 / self.length_ns() as f64;
        let (ms, is_error) = match self.law {
            Law::LogNormal => (SERVICE_MS * (0.8 * normal_quantile(share)).exp(), false),
            Law::Slow2Percent if share < 0.02 => (2_000.0, false),
            Law::Constant | Law::Freeze | Law::Slow2Percent => (SERVICE_MS, false),
            Law::Drift => (SERVICE_MS + since_ns as f64 / (60.0 * SECOND as f64), false),
            Law::RampingErrors => (SERVICE_MS, share < 0.04 * run_share),
        };
        Fate { ms, is_error }
    }

    /// The response times that this law gives the schedule, in milliseconds and in order; errors as
    /// the timeout.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
    pub(crate) fn responses_ms(self) -> Vec<f64> {
        let mut all: Vec<f64> = (0..self.count)
            .map(|number| {
                let due_ns = number * SECOND / self.per_s;
                let fate = self.fate(number, due_ns);
                let thawed_ns = self.freeze_from_ns() + 5 * SECOND;
                let frozen = (self.freeze_from_ns()..thawed_ns).contains(&(due_ns + SERVICE_NS));
                match self.law {
                    Law::Freeze if frozen => (thawed_ns - due_ns) as f64 / MS as f64,
                    _ if fate.is_error => TIMEOUT_MS,
                    _ => fate.ms,
                }
            })
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// A place for each number below `count`, all different: the order of the quantiles.
fn permuted(number: u64, count: u64) -> u64 {
    // A step that shares no factor with the count, near the golden section of it.
    let mut step = (count * 618 / 1_000) | 1;
    while gcd(step, count) != 1 {
        step += 2;
    }
    (number % count) * step % count
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Quantile of the normal law, by Newton on a bisection of its distribution.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal_share(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The normal law's distribution (Zelen and Severo 1964, 26.2.17: to 7.5e-8).
fn normal_share(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal_share(-x);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let terms = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    1.0 - (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

/// A target; dropping it stops it.
pub(crate) struct LawTarget {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Pauses>>,
}

/// How long the machine kept a thread from running that never sleeps: what no program on it can be
/// told apart from, and what no law knows of.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    each_ms: Vec<f64>,
    total_ms: f64,
}

/// Shorter ones are the work of the thread itself.
const LEAST_PAUSE_MS: f64 = 0.1;
/// A request meets the pauses of the machine where it is sent, where it is answered and where the answer is read.
const MEETINGS: f64 = 3.0;

impl Pauses {
    fn passed(&mut self, ms: f64) {
        self.total_ms += ms;
        if ms > LEAST_PAUSE_MS {
            self.each_ms.push(ms);
        }
    }

    /// What pauses add to the response at `quantile`, in milliseconds: of a response that meets some at
    /// random, how long they last from then on. 0 where the machine did not pause.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        let longest = self.each_ms.iter().copied().fold(0.0, f64::max);
        let (mut low, mut high) = (0.0, longest);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            let beyond: f64 = self.each_ms.iter().map(|ms| (ms - middle).max(0.0)).sum();
            if MEETINGS * beyond > (1.0 - quantile) * self.total_ms {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

impl LawTarget {
    pub(crate) fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || Server::new(plan, listener).serve(&over).unwrap());
        Self {
            address,
            is_over,
            thread: Some(thread),
        }
    }

    /// Stops it; how the machine paused while it ran.
    pub(crate) fn stop(mut self) -> Pauses {
        self.end().unwrap()
    }

    fn end(&mut self) -> Option<Pauses> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

impl Drop for LawTarget {
    fn drop(&mut self) {
        self.end();
    }
}

/// The listener's key; a connection's is its place.
const LISTENER: u64 = u64::MAX;

/// One thread that never sleeps: to be woken takes longer than a law forgives.
struct Server {
    plan: Plan,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    /// When an answer is due, of which connection, and whether it is an error.
    due: BinaryHeap<Reverse<(u64, usize, bool)>>,
    first_ns: Option<u64>,
    asked: u64,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Server {
    fn new(plan: Plan, listener: TcpListener) -> Self {
        Self {
            plan,
            listener,
            connections: Vec::new(),
            due: BinaryHeap::new(),
            first_ns: None,
            asked: 0,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
    fn serve(mut self, is_over: &AtomicBool) -> io::Result<Pauses> {
        self.listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let key = EventData::new_u64(LISTENER);
        epoll::add(&epoll, &self.listener, key, EventFlags::IN)?;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut pauses = Pauses::default();
        let mut before_ns = monotonic_ns();
        while !is_over.load(Ordering::Relaxed) {
            let now_ns = monotonic_ns();
            pauses.passed((now_ns - before_ns) as f64 / MS as f64);
            before_ns = now_ns;
            events.clear();
            epoll::wait(&epoll, spare_capacity(&mut events), Some(&at_once))?;
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(&epoll)?,
                    key => self.read(usize::try_from(key).unwrap()),
                }
            }
            self.answer();
        }
        Ok(pauses)
    }

    fn accept(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let key = EventData::new_u64(self.connections.len() as u64);
            epoll::add(epoll, &stream, key, EventFlags::IN)?;
            let buffer = Vec::new();
            self.connections.push(Some(Connection { stream, buffer }));
        }
        Ok(())
    }

    fn read(&mut self, place: usize) {
        let Some(connection) = &mut self.connections[place] else {
            return;
        };
        match connection.request() {
            Ok(true) => {}
            Ok(false) => return,
            // Closed, which also takes it out of the epoll.
            Err(_) => return self.connections[place] = None,
        }
        let now_ns = monotonic_ns();
        let since_ns = now_ns - *self.first_ns.get_or_insert(now_ns);
        let fate = self.plan.fate(self.asked, since_ns);
        self.asked += 1;
        let answer_ns = now_ns + until_answer_ns(self.plan, since_ns, fate);
        self.due.push(Reverse((answer_ns, place, fate.is_error)));
    }

    fn answer(&mut self) {
        while let Some(Reverse((due_ns, place, is_error))) = self.due.peek().copied() {
            if due_ns > monotonic_ns() {
                return;
            }
            self.due.pop();
            let status = if is_error { "500 Error" } else { "200 OK" };
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            if let Some(connection) = &mut self.connections[place] {
                // Who went away before the answer gets none.
                let _ = connection.stream.write_all(reply.as_bytes());
            }
        }
    }
}

impl Connection {
    /// Whether a whole request, head and body, is there; it is taken out. An error is the end.
    fn request(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().unwrap());
        let is_whole = self.buffer.len() >= end + 4 + length;
        if is_whole {
            self.buffer.drain(..end + 4 + length);
        }
        Ok(is_whole)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few milliseconds"
)]
fn until_answer_ns(plan: Plan, since_ns: u64, fate: Fate) -> u64 {
    let takes_ns = (fate.ms * MS as f64) as u64;
    let thawed_ns = plan.freeze_from_ns() + 5 * SECOND;
    let frozen = (plan.freeze_from_ns()..thawed_ns).contains(&(since_ns + takes_ns));
    match plan.law {
        Law::Freeze if frozen => thawed_ns - since_ns,
        _ => takes_ns,
    }
}
