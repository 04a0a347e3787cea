//! One record a request: counters and metrics, and a log event where it failed.

use super::Peer;
use super::pace::{Meter, Pace};
use super::recent::End;
use crate::telemetry::metrics::{Answered, Metrics};
use http::{Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most log events a second for failures that callers cause, or that come in floods (all but
/// 500): a flood of bad requests must not become a flood of disk writes.
const EVENTS_PER_S: u64 = 20;

/// The route whose pace is told.
const QUERY_ROUTE: &str = "/v1/query";

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
    /// The name of the key that was shown; empty for none.
    pub key: &'a str,
    /// The trace it belongs to, as `traceparent` said; else empty.
    pub trace_id: &'a str,
    /// The problem's kind; of a good reply, that of what it was to hold and does not. `None` when
    /// nothing is amiss.
    pub kind: Option<&'static str>,
    /// What went wrong: for the server's own failures with paths and addresses, else the problem's
    /// detail. Never the text of a query.
    pub cause: &'a str,
}

/// Counts of requests since the start.
#[derive(Debug)]
pub struct Observer {
    started: Instant,
    by_status: Vec<AtomicU64>,
    abandoned: AtomicU64,
    events: EventBudget,
    queries: Meter,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct EventBudget {
    second: AtomicU64,
    used: AtomicU64,
}

impl Observer {
    /// Counts from zero, and in `metrics`; `now` is the start of the uptime.
    #[must_use]
    pub fn new(now: Instant, metrics: Arc<Metrics>) -> Self {
        Self {
            started: now,
            by_status: (0..1_000).map(|_| AtomicU64::new(0)).collect(),
            abandoned: AtomicU64::new(0),
            events: EventBudget::default(),
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
        if seen.status.as_u16() >= 400 {
            self.log(seen);
        }
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
        if seen.status != StatusCode::INTERNAL_SERVER_ERROR && !self.may_log() {
            return;
        }
        let client = seen
            .client
            .map_or_else(String::new, |client| client.to_string());
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    request_id = seen.request_id,
                    trace_id = seen.trace_id,
                    peer = %seen.peer,
                    client,
                    key = seen.key,
                    route = seen.route,
                    method = seen.method.as_str(),
                    status = seen.status.as_u16(),
                    kind = seen.kind.unwrap_or_default(),
                    duration_ms = seen.duration.as_secs_f64() * 1e3,
                    "request failed: {}",
                    seen.cause
                )
            };
        }
        match seen.status.as_u16() {
            500 => event!(error),
            501.. => event!(warn),
            _ => event!(info),
        }
    }

    /// Whether this second's events are not used up yet; says how many were left out before.
    fn may_log(&self) -> bool {
        let second = self.started.elapsed().as_secs();
        let before = self.events.second.swap(second, Ordering::Relaxed);
        if before != second {
            let used = self.events.used.swap(0, Ordering::Relaxed);
            let left_out = used.saturating_sub(EVENTS_PER_S);
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "{left_out} more requests failed and were not logged"
                );
            }
        }
        self.events.used.fetch_add(1, Ordering::Relaxed) < EVENTS_PER_S
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
