//! Requests over HTTP, and among them the queries.

use super::{Collectors, counters, in_ms, in_seconds, made};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use std::time::Duration;

/// What the server may owe and not give; the kinds of `retrieval_errors_total`.
pub const ERROR_KINDS: [&str; 5] = [
    "openai_error",
    "search_error",
    "timeout",
    "overloaded",
    "internal",
];

/// Methods with a label of their own; others are `other`.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Statuses of a query that are shown before they happen, so that rates begin at 0.
const STATUSES: [&str; 9] = [
    "200", "400", "404", "413", "415", "422", "500", "503", "504",
];

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The template of its route, or one word for all that have none.
    pub route: &'static str,
    /// Its method, whatever the client sent.
    pub method: &'a str,
    /// The status it got, 100 to 599.
    pub status: &'a str,
    /// From its head being complete to the reply being made.
    pub duration: Duration,
    /// Whether it is a query.
    pub is_query: bool,
    /// What was owed and not given; `None` when nothing was, or when the client was at fault.
    pub owed: Option<&'a str>,
}

/// Requests over HTTP.
#[derive(Clone, Debug)]
pub struct Requests {
    latency: Histogram,
    by_status: IntCounterVec,
    errors: IntCounterVec,
    durations: HistogramVec,
    abandoned: IntCounter,
    refused: IntCounterVec,
    no_handshakes: IntCounter,
    /// Requests that are answered now.
    pub in_flight: IntGauge,
    /// Connections that are open.
    pub connections: IntGauge,
}

impl Default for Requests {
    fn default() -> Self {
        let requests = Self {
            latency: in_ms(
                "retrieval_latency_ms",
                "Time of a whole query as the server sees it, whatever its status, in ms.",
            ),
            by_status: counters(
                "retrieval_requests_total",
                "Queries by the status they got.",
                "status",
            ),
            errors: counters(
                "retrieval_errors_total",
                "Queries that did not get what the server owed, by kind; never a mistake of the \
                 client's.",
                "kind",
            ),
            durations: in_seconds(
                "http_server_request_duration_seconds",
                "Time of every request, in s.",
                &["route", "method", "status"],
            ),
            abandoned: made(IntCounter::new(
                "http_server_abandoned_total",
                "Requests whose client left before the reply was made.",
            )),
            refused: counters(
                "http_server_refused_total",
                "Connections that were answered before there was a request, by status: beyond the \
                 limit, or with a head that is unsound, too large or too slow.",
                "status",
            ),
            no_handshakes: made(IntCounter::new(
                "http_server_tls_failures_total",
                "Connections on which no TLS handshake succeeded in time.",
            )),
            in_flight: made(IntGauge::new(
                "http_server_in_flight",
                "Requests that are answered now.",
            )),
            connections: made(IntGauge::new(
                "http_server_connections",
                "Connections that are open.",
            )),
        };
        for kind in ERROR_KINDS {
            requests.errors.with_label_values(&[kind]);
        }
        for status in STATUSES {
            requests.by_status.with_label_values(&[status]);
        }
        for status in ["400", "408", "431", "503"] {
            requests.refused.with_label_values(&[status]);
        }
        requests
            .durations
            .with_label_values(&["/v1/query", "POST", "200"]);
        requests
    }
}

impl Requests {
    pub(super) fn collectors(&self) -> Collectors {
        vec![
            Box::new(self.latency.clone()),
            Box::new(self.by_status.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.durations.clone()),
            Box::new(self.abandoned.clone()),
            Box::new(self.refused.clone()),
            Box::new(self.no_handshakes.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.connections.clone()),
        ]
    }

    /// A request was answered.
    pub fn answered(&self, request: &Answered<'_>) {
        let method = METHODS.into_iter().find(|known| *known == request.method);
        let labels = [request.route, method.unwrap_or("other"), request.status];
        let duration = request.duration.as_secs_f64();
        self.durations.with_label_values(&labels).observe(duration);
        if !request.is_query {
            return;
        }
        self.latency.observe(duration * 1e3);
        self.by_status.with_label_values(&[request.status]).inc();
        if let Some(owed) = request.owed {
            let kind = ERROR_KINDS.into_iter().find(|kind| *kind == owed);
            let kind = kind.unwrap_or("internal");
            self.errors.with_label_values(&[kind]).inc();
        }
    }

    /// A client left before the reply.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// A connection was answered before there was a request.
    pub fn refused(&self, status: &str) {
        self.refused.with_label_values(&[status]).inc();
    }

    /// There was no TLS handshake on a connection, or none in time.
    pub fn no_handshake(&self) {
        self.no_handshakes.inc();
    }
}
