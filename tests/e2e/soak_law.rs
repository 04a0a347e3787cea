//! A target whose latencies follow a known law, to the quantile: each request waits for one of the
//! law's quantiles, in an order that a seed gives. What a generator says of it can be held against
//! the law.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use alfred::soak::monotonic::monotonic_ns;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// So long before an answer is due its thread is awake.
const SPIN_NS: u64 = 200_000;
/// What an error counts as: alfred's default timeout.
const TIMEOUT_MS: f64 = 10_000.0;

/// How long answers take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Law {
    /// Each 5 ms.
    Constant,
    /// Log-normal: median 8 ms, sigma 0.8.
    LogNormal,
    /// Each 5 ms, and nothing is answered for 5 s, a third into the run.
    Freeze,
    /// One in fifty 2 s, the others 5 ms.
    Slow2Percent,
    /// From 5 ms on, 1 ms more each minute.
    Drift,
    /// Each 5 ms; the share of errors rises evenly from 0 to 10 %.
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
            Law::LogNormal => (8.0 * (0.8 * normal_quantile(share)).exp(), false),
            Law::Slow2Percent if share < 0.02 => (2_000.0, false),
            Law::Constant | Law::Freeze | Law::Slow2Percent => (5.0, false),
            Law::Drift => (5.0 + since_ns as f64 / (60.0 * SECOND as f64), false),
            Law::RampingErrors => (5.0, share < 0.1 * run_share),
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
                let frozen = (self.freeze_from_ns()..thawed_ns).contains(&(due_ns + 5 * MS));
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
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    plan: Plan,
    first_ns: OnceLock<u64>,
    asked: AtomicU64,
    is_over: AtomicBool,
}

impl LawTarget {
    pub(crate) fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            plan,
            first_ns: OnceLock::new(),
            asked: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || accept(&listener, &shared));
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }
}

impl Drop for LawTarget {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if state.is_over.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(state);
        // A thread for each connection, since those sleep to the microsecond.
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        small.spawn(move || drop(serve(stream, &shared))).unwrap();
    }
}

fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    wake_precisely();
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while read_request(&mut stream, &mut buffer)? {
        let now_ns = monotonic_ns();
        let since_ns = now_ns - *state.first_ns.get_or_init(|| now_ns);
        let number = state.asked.fetch_add(1, Ordering::Relaxed);
        let fate = state.plan.fate(number, since_ns);
        sleep_until(now_ns + until_answer_ns(state.plan, since_ns, fate));
        let status = if fate.is_error { "500 Error" } else { "200 OK" };
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
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

/// Reads a request, head and body; `false` when the client closed.
fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4_096];
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            if buffer.len() >= end + 4 + length {
                buffer.drain(..end + 4 + length);
                return Ok(true);
            }
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(false);
        }
        buffer.extend_from_slice(&chunk[..read]);
    }
}

/// Blocks this thread until `CLOCK_MONOTONIC` reaches `deadline_ns`; spins at last, since waking up takes
/// longer than a law forgives.
fn sleep_until(deadline_ns: u64) {
    rest_until(deadline_ns.saturating_sub(SPIN_NS));
    while monotonic_ns() < deadline_ns {
        std::hint::spin_loop();
    }
}

fn rest_until(deadline_ns: u64) {
    let deadline = rustix::time::Timespec {
        tv_sec: i64::try_from(deadline_ns / 1_000_000_000).unwrap(),
        tv_nsec: i64::try_from(deadline_ns % 1_000_000_000).unwrap(),
    };
    // Interrupted: the caller looks at the clock again in any case.
    let _ = rustix::thread::clock_nanosleep_absolute(rustix::time::ClockId::Monotonic, &deadline);
}

/// Asks the kernel not to round this thread's wake-ups (by 50 us as it does by default).
fn wake_precisely() {
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
