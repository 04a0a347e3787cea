//! One record a request: counters and metrics, and a log event where it failed or was slow.

use super::Peer;
use super::pace::{Meter, Pace};
use super::recent::End;
use super::request_log::RequestLog;
use crate::telemetry::events::{Gravity, RequestEvent};
use crate::telemetry::metrics::{Answered, Metrics};
use crate::telemetry::trace::Trail;
use http::{Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The route whose pace is told.
const QUERY_ROUTE: &str = "/v1/query";
/// The kind of a request that is logged for its time alone.
const SLOW: &str = "slow";
/// The kind of one whose client left before the reply.
pub(super) const ABANDONED: &str = "abandoned";

/// One answered request.
#[derive(Debug)]
pub struct Observation<'a> {
    /// The route's template, as `/v1/documents/{id}`; `unknown` for none.
    pub route: &'static str,
    /// Its method.
    pub method: &'a Method,
    /// The status it got.
    pub status: StatusCode,
    /// When the reply was made.
    pub ended: Instant,
    /// From the head being complete to the reply being made.
    pub duration: Duration,
    /// Its request id.
    pub request_id: &'a str,
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// Who asked, as far as proxies between are believed; `None` over a unix socket.
    pub client: Option<IpAddr>,
    /// The name of the key that was shown.
    pub key: Option<&'a str>,
    /// Where its time went, and the trace that it belongs to.
    pub trail: &'a Trail,
    /// The problem's kind; of a good reply, that of what it was to hold and does not. `None` when
    /// nothing is amiss.
    pub kind: Option<&'static str>,
    /// What went wrong: for the server's own failures with paths and addresses, else the problem's
    /// detail. Never the text of a query.
    pub cause: &'a str,
    /// The longest that it may take without being logged for that; `None`: however long.
    pub slow_after: Option<Duration>,
}

impl Observation<'_> {
    /// Whether it got less than was owed, or asked for what it cannot get.
    fn has_failed(&self) -> bool {
        self.status.as_u16() >= 400 || self.kind.is_some()
    }

    fn gravity(&self) -> Gravity {
        // The limit behind 429 is ours, and may be too low.
        let is_limit = self.status == StatusCode::TOO_MANY_REQUESTS;
        // A probe got its answer; what is away says so by itself.
        let is_answer = self.kind == Some("not_ready");
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            Gravity::Error
        } else if self.kind == Some(ABANDONED) {
            Gravity::Warning
        } else if is_answer || (self.status.is_client_error() && !is_limit) {
            Gravity::Info
        } else {
            Gravity::Warning
        }
    }

    /// Whether it took too long; a client that sends its body slowly is not counted in.
    fn is_slow(&self) -> bool {
        self.slow_after.is_some_and(|limit| {
            // Looked at closely only where it matters.
            self.duration >= limit && {
                let read = self.trail.stages(self.ended).until_first();
                self.duration.saturating_sub(read.unwrap_or_default()) >= limit
            }
        })
    }
}

/// Counts of requests since the start.
#[derive(Debug)]
pub struct Observer {
    started: Instant,
    by_status: Vec<AtomicU64>,
    abandoned: AtomicU64,
    log: Arc<RequestLog>,
    queries: Meter,
    metrics: Arc<Metrics>,
}

impl Observer {
    /// Counts from zero, and in `metrics`; `now` is the start of the uptime.
    #[must_use]
    pub fn new(now: Instant, metrics: Arc<Metrics>) -> Self {
        Self {
            started: now,
            by_status: (0..1_000).map(|_| AtomicU64::new(0)).collect(),
            abandoned: AtomicU64::new(0),
            log: Arc::default(),
            queries: Meter::new(now),
            metrics,
        }
    }

    /// Since when it counts.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Requests answered, by status.
    #[must_use]
    pub fn requests_by_status(&self) -> BTreeMap<u16, u64> {
        let counts = (0u16..).zip(&self.by_status);
        let counts = counts.map(|(status, count)| (status, count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Queries a second and their latency in the minute before `now`, refused ones included.
    #[must_use]
    pub fn pace(&self, now: Instant) -> Pace {
        self.queries.pace(now)
    }

    /// The minute before `now`, and slot by slot the quarter of an hour before it, as the status has them.
    #[must_use]
    pub fn recent(&self, now: Instant) -> Value {
        self.queries.recent(now)
    }

    /// Requests being answered now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.metrics.requests.in_flight.get()).unwrap_or(0)
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        usize::try_from(self.metrics.requests.connections.get()).unwrap_or(0)
    }

    /// Requests whose client went away before the reply.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.metrics.requests.in_flight.inc();
        InFlight {
            observer: self,
            answered: false,
        }
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn connect(&self) -> Connected<'_> {
        self.metrics.requests.connections.inc();
        Connected(self)
    }

    /// Records one answered request; the one place for it.
    pub(crate) fn record(&self, seen: &Observation<'_>) {
        self.count(seen.status);
        let is_query = seen.route == QUERY_ROUTE;
        let owed = seen.kind.filter(|_| !seen.status.is_client_error());
        if is_query {
            let end = match owed {
                Some(kind) => End::Owed(kind),
                None if seen.status.is_client_error() => End::Rejected,
                None => End::Answered,
            };
            self.queries.record(seen.ended, seen.duration, end);
        }
        self.metrics.requests.answered(&Answered {
            route: seen.route,
            method: seen.method.as_str(),
            status: seen.status.as_str(),
            duration: seen.duration,
            // With another method it is no question.
            is_query: is_query && seen.method == Method::POST,
            owed,
        });
        if seen.has_failed() || seen.is_slow() {
            self.log(seen);
        }
    }

    /// A client left before the reply, and nobody knows what became of its request. It is logged where
    /// it took so long that the client may have left for that.
    pub(crate) fn left(&self, seen: &Observation<'_>) {
        if seen.is_slow() {
            self.log(seen);
        }
    }

    /// Logs what was counted of requests and not said yet; for the end of the server.
    pub(crate) fn end(&self) {
        self.log.end();
    }

    /// Counts a reply made before there was a request.
    pub(crate) fn refused(&self, status: StatusCode) {
        self.count(status);
        self.metrics.requests.refused(status.as_str());
    }

    /// Counts a client with whom there was no agreement on TLS, or none in time.
    pub(crate) fn no_handshake(&self) {
        self.metrics.requests.no_handshake();
    }

    fn count(&self, status: StatusCode) {
        if let Some(count) = self.by_status.get(usize::from(status.as_u16())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn log(&self, seen: &Observation<'_>) {
        let has_failed = seen.has_failed();
        let kind = seen
            .kind
            .unwrap_or(if has_failed { "unknown" } else { SLOW });
        let event = RequestEvent {
            request_id: seen.request_id,
            trace_id: seen.trail.trace_id(),
            peer: &seen.peer,
            client: seen.client,
            key: seen.key,
            route: seen.route,
            method: seen.method.as_str(),
            status: seen.status.as_u16(),
            kind,
            duration: seen.duration,
            stages: seen.trail.stages(seen.ended),
            question: seen.trail.question(),
            cause: has_failed.then_some(seen.cause),
            gravity: seen.gravity(),
        };
        self.log.take(kind, seen.ended, &event);
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    observer: &'a Observer,
    answered: bool,
}

impl InFlight<'_> {
    /// The reply is made.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.observer.metrics.requests.in_flight.dec();
        if !self.answered {
            self.observer.abandoned.fetch_add(1, Ordering::Relaxed);
            self.observer.metrics.requests.abandoned();
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a Observer);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.metrics.requests.connections.dec();
    }
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
