//! Requests that failed or were slow, and sums of those that came in bursts.

use super::{REQUEST_FAILED, REQUEST_SLOW, REQUESTS_SUMMED, ms};
use crate::telemetry::burst::Sum;
use crate::telemetry::trace::{Stage, Stages, TraceId};
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;
use tracing::{error, info, warn};

/// How much an event is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The client's mistake.
    Info,
    /// The server did not give what it owed, or not in time, or had to refuse.
    Warning,
    /// A defect.
    Error,
}

/// A request that failed or was slow. What is not known of it is no field of the line.
#[derive(Clone, Copy)]
pub struct RequestEvent<'a> {
    /// Its id, which the client has, too.
    pub request_id: &'a str,
    /// The trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// Who is at the other end of the connection.
    pub peer: &'a dyn Display,
    /// Who asked, as far as proxies between are believed.
    pub client: Option<IpAddr>,
    /// The name of the API key that was shown.
    pub key: Option<&'a str>,
    /// The template of its route.
    pub route: &'static str,
    /// Its method.
    pub method: &'a str,
    /// The status that it got.
    pub status: u16,
    /// What was wrong, in a word; `slow` where it was that alone.
    pub kind: &'a str,
    /// From its head being complete to the reply being made.
    pub duration: Duration,
    /// Where the time went.
    pub stages: Stages,
    /// The question; only where that was asked for.
    pub question: Option<&'a str>,
    /// Why it failed; `None` where it was slow alone.
    pub cause: Option<&'a str>,
    /// How much it is to be looked at.
    pub gravity: Gravity,
}

/// A request failed or was slow.
pub fn request(event: &RequestEvent<'_>) {
    let stages = &event.stages;
    let took = |stage| stages.took(stage).map(in_ms);
    let (id, message) = match event.cause {
        Some(cause) => (REQUEST_FAILED, format!("request failed: {cause}")),
        None => (REQUEST_SLOW, slow(event)),
    };
    macro_rules! say {
        ($level:ident) => {
            $level!(
                message_id = id,
                request_id = event.request_id,
                trace_id = event.trace_id.map(display),
                peer = %event.peer,
                client = event.client.map(display),
                key = event.key,
                route = event.route,
                method = event.method,
                status = event.status,
                kind = event.kind,
                duration_ms = in_ms(event.duration),
                read_ms = stages.until_first().map(in_ms),
                queue_ms = took(Stage::Queue),
                embed_ms = took(Stage::Embed),
                search_ms = took(Stage::Search),
                answer_ms = took(Stage::Answer),
                stage = stages.ended_in.map(Stage::name),
                query = event.question,
                "{message}"
            )
        };
    }
    match event.gravity {
        Gravity::Info => say!(info),
        Gravity::Warning => say!(warn),
        Gravity::Error => say!(error),
    }
}

fn slow(event: &RequestEvent<'_>) -> String {
    let whole = in_ms(event.duration);
    let longest = event.stages.longest();
    let part = longest.and_then(|stage| Some((stage.name(), event.stages.took(stage)?)));
    match part {
        Some((stage, took)) => {
            format!("slow request: {whole} ms, of these {stage} {}", in_ms(took))
        }
        None => format!("slow request: {whole} ms"),
    }
}

/// Requests of one kind that were not logged one by one.
pub fn requests_summed(sum: &Sum<Gravity>) {
    let (requests, kind, route) = (sum.count, sum.kind.word, sum.kind.route);
    let (slowest_ms, lasted_ms) = (in_ms(sum.slowest), ms(sum.lasted));
    macro_rules! say {
        ($level:ident) => {
            $level!(
                message_id = REQUESTS_SUMMED,
                requests,
                route,
                kind,
                first_request_id = &*sum.first,
                last_request_id = &*sum.last,
                slowest_ms,
                lasted_ms,
                "{requests} more requests to {route} within {lasted_ms} ms: {kind}, the slowest \
                 {slowest_ms} ms"
            )
        };
    }
    match sum.gravity {
        Gravity::Info => say!(info),
        Gravity::Warning => say!(warn),
        Gravity::Error => say!(error),
    }
}

/// Milliseconds, to the microsecond.
fn in_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
