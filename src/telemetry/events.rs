//! The events that an operator acts on. Each has a message id, by which `journalctl` finds it and
//! `journalctl -x` explains it from `systemd/alfred.catalog`, and one function that logs it, so that
//! the fields which the catalog quotes are always there.
//!
//! The ids are random, were made once with `journalctl --new-id128`, and never change or come back.

mod requests;
mod soak;

pub use requests::{Gravity, RequestEvent, request, requests_summed};
pub use soak::{SoakVerdict, SoakWindow, soak_verdict, soak_window};

use super::notice::Notice;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Ready to answer.
pub const STARTED: &str = "d3b311da62614210b57e1597f6367e0a";
/// A new configuration is in force.
pub const RELOAD_DONE: &str = "f0f2a6efe41443719eccca1256596f5a";
/// A new configuration was refused; the old one stays.
pub const RELOAD_REFUSED: &str = "397b832546a84efb922fbd84d7624fad";
/// Something that alfred uses is out of reach.
pub const DEPENDENCY_DOWN: &str = "87de9846b9774f49915d93cfe4012833";
/// It is back.
pub const DEPENDENCY_BACK: &str = "5cab7ef2cb6642b8955db46ee7bc8bbd";
/// Requests are refused since there is too much work.
pub const OVERLOAD_BEGAN: &str = "e24f5eee91b54eadbc7681ff82f13f78";
/// No more are.
pub const OVERLOAD_ENDED: &str = "4fb3259c03c04f9bae328252b77747f3";
/// A request failed.
pub const REQUEST_FAILED: &str = "591ea91086754eb4998d5976a6b21394";
/// A request took longer than `log.slow_ms`.
pub const REQUEST_SLOW: &str = "41e40c3e2eda4c3cb3f89afe7e43db25";
/// Further requests of one kind, which were not logged one by one.
pub const REQUESTS_SUMMED: &str = "193039b7feda48fcad542d1c5016391c";
/// The daemon's own request did not come back in time, so systemd was not told that all is well.
pub const WATCHDOG_MISS: &str = "e3c37fbcde8941c0aef4ce7b2ba6ff4b";
/// Told to stop; what runs is finished.
pub const STOPPING: &str = "969becdfb78c4b2ba2833daeebe0a355";
/// Stopped.
pub const STOPPED: &str = "9767ae3121ed444c8976268207722a7f";
/// A window of a soak closed.
pub const SOAK_WINDOW: &str = "4b550ea3fd944f3cb2e53a02b06cb310";
/// A soak was judged.
pub const SOAK_VERDICT: &str = "e964632f0d4c4f9eb1d798c1e26fa7ca";
/// The state of the daemon, as was asked for with SIGUSR1.
pub const STATE_DUMP: &str = "51c92f1e463d426489da41c3bf9cbae4";

/// What a line on one request carries.
const OF_REQUEST: &[&str] = &[
    "request_id",
    "trace_id",
    "peer",
    "client",
    "key",
    "route",
    "method",
    "status",
    "kind",
    "duration_ms",
    "read_ms",
    "queue_ms",
    "embed_ms",
    "search_ms",
    "answer_ms",
    "stage",
    "query",
];

/// Every id, with the names of the fields that its lines carry: `reason` is `ALFRED_REASON` in the
/// journal.
pub const ALL: &[(&str, &[&str])] = &[
    (STARTED, &["version", "documents", "took_ms"]),
    (RELOAD_DONE, &["changed", "needs_restart", "took_ms"]),
    (RELOAD_REFUSED, &["reason"]),
    (DEPENDENCY_DOWN, &["dependency", "place", "reason"]),
    (DEPENDENCY_BACK, &["dependency", "place"]),
    (OVERLOAD_BEGAN, &["lane", "places", "waiting"]),
    (OVERLOAD_ENDED, &["lane", "refused", "lasted_ms"]),
    (REQUEST_FAILED, OF_REQUEST),
    (REQUEST_SLOW, OF_REQUEST),
    (
        REQUESTS_SUMMED,
        &[
            "requests",
            "route",
            "kind",
            "first_request_id",
            "last_request_id",
            "slowest_ms",
            "lasted_ms",
        ],
    ),
    (WATCHDOG_MISS, &["reason", "waited_ms"]),
    (STOPPING, &["reason", "in_flight"]),
    (STOPPED, &["cut_requests"]),
    (
        SOAK_WINDOW,
        &[
            "scenario",
            "soak_run",
            "window",
            "windows",
            "due",
            "ok",
            "errors",
            "shed",
            "errors_by_kind",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "max_ms",
            "rss_bytes",
            "cpu_cores",
        ],
    ),
    (
        SOAK_VERDICT,
        &[
            "verdict",
            "scenario",
            "target_url",
            "run",
            "soak_run",
            "reason",
            "due",
            "ok",
            "errors",
            "error_rate",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "measured_s",
            "capacity_per_s",
        ],
    ),
    (STATE_DUMP, &["state"]),
];

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Ready to answer, `took` after the start of the process; `documents` where the store could be
/// asked.
pub fn started(version: &str, documents: Option<u64>, took: Duration) {
    let took_ms = ms(took);
    let documents = documents.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    info!(
        message_id = STARTED,
        version, documents, took_ms, "alfred {version} is ready after {took_ms} ms"
    );
}

/// A new configuration is in force. `changed` and `needs_restart` are lists of keys for people;
/// both may be empty.
pub fn reload_done(changed: &str, needs_restart: &str, took: Duration) {
    let took_ms = ms(took);
    if needs_restart.is_empty() {
        let what = if changed.is_empty() {
            "nothing"
        } else {
            changed
        };
        info!(
            message_id = RELOAD_DONE,
            changed, needs_restart, took_ms, "the configuration was reloaded; changed: {what}"
        );
    } else {
        warn!(
            message_id = RELOAD_DONE,
            changed,
            needs_restart,
            took_ms,
            "the configuration was reloaded; changed: {}; a restart is needed for: {needs_restart}",
            if changed.is_empty() {
                "nothing"
            } else {
                changed
            }
        );
    }
}

/// A new configuration was refused; the old one stays.
pub fn reload_refused(reason: &str) {
    error!(
        message_id = RELOAD_REFUSED,
        reason, "the configuration was not reloaded, and the old one stays: {reason}"
    );
}

/// Told to stop by `reason`, as `SIGTERM`, with so many requests in flight.
pub fn stopping(reason: &str, in_flight: u64) {
    info!(
        message_id = STOPPING,
        reason, in_flight, "{reason}: finishing what runs"
    );
}

/// Stopped, having cut so many requests off.
pub fn stopped(cut_requests: u64) {
    if cut_requests == 0 {
        info!(message_id = STOPPED, cut_requests, "stopped");
    } else {
        warn!(
            message_id = STOPPED,
            cut_requests, "stopped with requests unfinished"
        );
    }
}

/// The daemon's own request did not come back as it should, `waited` after it was sent.
pub fn watchdog_miss(reason: &str, waited: Duration) {
    let waited_ms = ms(waited);
    error!(
        message_id = WATCHDOG_MISS,
        reason, waited_ms, "the watchdog's own request failed after {waited_ms} ms: {reason}"
    );
}

/// Requests of one kind are refused: all `places` are busy and so many wait.
pub fn overload_began(lane: &str, places: usize, waiting: usize) {
    warn!(
        message_id = OVERLOAD_BEGAN,
        lane, places, waiting, "overloaded: {lane} are refused, {places} run and {waiting} wait"
    );
}

/// No request of that kind has been refused for a while.
pub fn overload_ended(lane: &str, refused: u64, lasted: Duration) {
    let lasted_ms = ms(lasted);
    info!(
        message_id = OVERLOAD_ENDED,
        lane,
        refused,
        lasted_ms,
        "no longer overloaded: {refused} {lane} were refused in {lasted_ms} ms"
    );
}

/// The state of the daemon, as text or JSON; beyond the limits of a line it is cut.
pub fn state_dump(state: &str) {
    info!(
        message_id = STATE_DUMP,
        state, "the state of the daemon, in the field ALFRED_STATE or state"
    );
}

/// What alfred asks over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// PostgreSQL.
    Database,
    /// A server that speaks OpenAI's API.
    Provider,
    /// Redis.
    Cache,
    /// A server that takes spans of traces.
    Collector,
}

impl Dependency {
    fn name(self) -> &'static str {
        match self {
            Self::Database => "postgres",
            Self::Provider => "provider",
            Self::Cache => "redis",
            Self::Collector => "collector",
        }
    }

    fn down(self) -> &'static str {
        match self {
            Self::Database => "the database is out of reach",
            Self::Provider => "the provider is down",
            Self::Cache => "the shared cache is away; queries go on without it",
            Self::Collector => "the collector of traces is away; requests go on without it",
        }
    }

    fn back(self) -> &'static str {
        match self {
            Self::Database => "the database is back",
            Self::Provider => "the provider is back",
            Self::Cache => "the shared cache is back",
            Self::Collector => "the collector of traces is back",
        }
    }
}

/// Logs when a dependency goes and when it is back: once each, and not often.
#[derive(Debug)]
pub struct Outage {
    dependency: Dependency,
    notice: Notice,
}

impl Outage {
    /// Nothing has been said of `dependency` yet.
    #[must_use]
    pub fn of(dependency: Dependency) -> Self {
        Self {
            dependency,
            notice: Notice::default(),
        }
    }

    /// It is out of reach; to be called whenever that is seen. `place` is its address without
    /// secrets, or empty.
    pub fn is_down(&mut self, now: Instant, place: &str, reason: &str) {
        if self.notice.began(now) {
            let what = self.dependency.down();
            warn!(
                message_id = DEPENDENCY_DOWN,
                dependency = self.dependency.name(),
                place,
                reason,
                "{what}: {reason}"
            );
        }
    }

    /// It answers; to be called whenever that is seen.
    pub fn is_up(&mut self, place: &str) {
        if self.notice.ended() {
            let what = self.dependency.back();
            info!(
                message_id = DEPENDENCY_BACK,
                dependency = self.dependency.name(),
                place,
                "{what}"
            );
        }
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
