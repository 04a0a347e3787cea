//! What an operator may set about the HTTP side, with its defaults and the reason for each.

use crate::domain::AnswerKind;
use std::time::Duration;

/// Limits and timeouts of the server. Plain fields with units; [`Settings::default`] serves a
/// two-core machine on a local model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most open connections over TCP, and as many again over unix sockets, so that a flood from
    /// the network does not lock out the local administrator. One more gets 503 with
    /// `Retry-After` and is closed. Default 1,024: a connection costs some 20 KiB, and descriptors
    /// are plentiful under systemd.
    pub max_connections: usize,
    /// Largest request body, in bytes, by `Content-Length` or as counted when chunked: more is 413.
    /// Default 4 MiB: a batch of 128 documents of 32 KiB.
    pub max_body_bytes: usize,
    /// Largest request line and headers together, in bytes: more is 431. Default 16 KiB.
    pub max_head_bytes: usize,
    /// Most queries that run at once; each holds a thread (listing, counting and status have four
    /// places of their own). Default 32: four cores' worth
    /// of embedding at p95 300 ms, and enough to keep a remote provider or database busy.
    pub max_in_flight: usize,
    /// Most calls of one kind (queries, reads, writes) that wait for a place; beyond is 503 at once.
    /// Default 256.
    pub max_waiting: usize,
    /// Longest wait for a place, in ms; then 503. Default 1,000: who waited longer has missed
    /// every sensible latency target already.
    pub queue_timeout_ms: u64,
    /// Longest time from the body having been read to the reply of a query or
    /// read, in ms; then 504. Default 10,000.
    pub request_timeout_ms: u64,
    /// Most calls that store or delete documents at once. Default 2: the store has one writer, the
    /// second one embeds meanwhile.
    pub max_writes_in_flight: usize,
    /// Longest time for a call that stores or deletes documents, in ms; then 504, and the work
    /// goes on to its end. Default 300,000: a full batch on a slow machine.
    pub write_timeout_ms: u64,
    /// Longest time for a request head to arrive, from its first byte (of a new connection: from
    /// when it was accepted), in ms; then 408. As long for a TLS handshake before it; then the
    /// connection is closed. Default 10,000.
    pub header_timeout_ms: u64,
    /// Longest time for a whole body to arrive, and for a stalled client to take more of its
    /// reply, in ms; the former is 408, the latter closes. Default 30,000.
    pub body_timeout_ms: u64,
    /// How long an idle connection is kept for the next request, in ms, counted from when its last
    /// one arrived. Default 75,000, above the
    /// 60 s after which most proxies drop theirs.
    pub idle_timeout_ms: u64,
    /// On stop: how long new connections are still served, with `Connection: close` on every
    /// reply, before the sockets close, in ms. The shipped configuration says 150, which makes a
    /// restart lossless where the listening socket outlives the process; default 0.
    pub lame_duck_ms: u64,
    /// How long all places for queries may be taken without one coming free before `/livez` says that
    /// the daemon is stuck, in ms; three times `request_timeout_ms` when that is more. Default 30,000: a
    /// machine may be short of time.
    pub stuck_after_ms: u64,
    /// On stop: how long running requests may take to end, in s; then they are cut. Default 30.
    pub drain_timeout_s: u64,
    /// How a query that does not say is answered. Default extractive.
    pub default_answer: AnswerKind,
    /// Whether the console is at `/`. Default true.
    pub console: bool,
    /// A query or read that takes longer is logged, in ms; 0: none is. Default 300, the p95 that the
    /// gate asks for.
    pub slow_ms: u64,
    /// Whether the text of a query is logged with it, where it is logged. Default no: it is somebody's.
    pub log_queries: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_body_bytes: 4 * 1024 * 1024,
            max_head_bytes: 16 * 1024,
            max_in_flight: 32,
            max_waiting: 256,
            queue_timeout_ms: 1_000,
            request_timeout_ms: 10_000,
            max_writes_in_flight: 2,
            write_timeout_ms: 300_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            lame_duck_ms: 0,
            stuck_after_ms: 30_000,
            drain_timeout_s: 30,
            default_answer: AnswerKind::Extractive,
            console: true,
            slow_ms: 300,
            log_queries: false,
        }
    }
}

impl Settings {
    pub(super) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(super) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(super) fn lame_duck(&self) -> Duration {
        Duration::from_millis(self.lame_duck_ms)
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_s)
    }

    pub(super) fn slow_after(&self) -> Option<Duration> {
        (self.slow_ms > 0).then(|| Duration::from_millis(self.slow_ms))
    }
}
