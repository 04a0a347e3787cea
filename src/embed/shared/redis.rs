//! The shared cache in a Redis.
//!
//! One thread holds one connection ([`super::worker`]); callers hand their looks over and wait for
//! the answer a bounded time, whatever the thread is waiting for. Connecting, logging in, TLS and
//! looking up names happen there too, so no query pays for them. While the server is away nobody
//! waits at all: the state is read first.
//!
//! One connection is enough: looks that wait together go out together, in one round trip.

use super::address::RedisAddress;
use super::worker::{Look, Worker, Write};
use super::{Found, SharedState, SharedStore, StoreHealth};
use crate::clock::{Clock as _, Deadline, SystemClock};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Looks that may wait for the connection; who comes when there are more does without.
const LOOKS_MAX: usize = 256;
/// Values that may wait to be written, at most 16 KB each.
const WRITES_MAX: usize = 256;

/// A cache in a Redis; dropping it writes what waits, within the timeout.
pub struct RedisCache {
    jobs: Option<(Sender<Look>, Sender<Write>)>,
    ended: Receiver<()>,
    shared: Arc<Shared>,
    timeout: Duration,
}

impl RedisCache {
    /// Starts connecting in the background. `timeout`: the longest wait of a query, and of every
    /// single step of a conversation that goes on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(address: RedisAddress, timeout: Duration) -> std::io::Result<Self> {
        let (looks, to_look) = bounded(LOOKS_MAX);
        let (writes, to_write) = bounded(WRITES_MAX);
        let (end, ended) = bounded(1);
        let shared = Arc::new(Shared::new());
        let worker = Worker::new(address, timeout, Arc::clone(&shared), (to_look, to_write));
        std::thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || {
                worker.run();
                drop(end);
            })?;
        Ok(Self {
            jobs: Some((looks, writes)),
            ended,
            shared,
            timeout,
        })
    }
}

impl SharedStore for RedisCache {
    fn read(&self, key: &str, most_bytes: usize, deadline: Deadline) -> Found {
        let Some((looks, _)) = &self.jobs else {
            return Found::Skipped;
        };
        if self.shared.state() == SharedState::Down || self.shared.busy_for() >= self.timeout {
            return Found::Skipped;
        }
        let patience = deadline.cap(&SystemClock, self.timeout);
        let (answer, answered) = bounded(1);
        let look = Look {
            key: key.to_owned(),
            most_bytes,
            answer,
        };
        if looks.try_send(look).is_err() {
            return Found::Skipped;
        }
        match answered.recv_timeout(patience) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => Found::TimedOut,
            // It went away with the look still waiting.
            Err(RecvTimeoutError::Disconnected) => Found::Skipped,
        }
    }

    fn write(&self, key: String, value: Vec<u8>) {
        let is_taken = match &self.jobs {
            Some((_, writes)) if self.shared.state() != SharedState::Down => {
                writes.try_send(Write { key, value }).is_ok()
            }
            _ => false,
        };
        if !is_taken {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn health(&self) -> StoreHealth {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreHealth {
            state: self.shared.state(),
            writes: read(&self.shared.written),
            refused_writes: read(&self.shared.refused),
            dropped_writes: read(&self.shared.dropped),
        }
    }
}

impl Drop for RedisCache {
    fn drop(&mut self) {
        self.jobs = None;
        // A command that asks one question has its vector kept; nobody waits for a server that is away.
        let _ = self.ended.recv_timeout(self.timeout);
    }
}

/// What callers and the worker both see.
pub(super) struct Shared {
    state: AtomicU8,
    /// Microseconds after `origin` since when the worker waits for the server; 0: it does not.
    busy_since_us: AtomicU64,
    origin: Instant,
    pub(super) written: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(SharedState::Connecting as u8),
            busy_since_us: AtomicU64::new(0),
            origin: SystemClock.monotonic(),
            written: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn state(&self) -> SharedState {
        let states = [SharedState::Connecting, SharedState::Up, SharedState::Down];
        let state = usize::from(self.state.load(Ordering::Acquire));
        states.get(state).copied().unwrap_or(SharedState::Down)
    }

    pub(super) fn set_state(&self, state: SharedState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Says that the worker waits for the server from now on, or that it does not.
    pub(super) fn set_busy(&self, is_busy: bool) {
        let since = if is_busy { self.now_us() } else { 0 };
        self.busy_since_us.store(since, Ordering::Release);
    }

    /// How long the worker has been waiting for the server. It ends each wait by itself after the
    /// timeout, unless an answer comes byte by byte, or a name is slow to be looked up.
    fn busy_for(&self) -> Duration {
        match self.busy_since_us.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            since => Duration::from_micros(self.now_us().saturating_sub(since)),
        }
    }

    fn now_us(&self) -> u64 {
        let since = SystemClock.monotonic() - self.origin;
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1)
    }
}
