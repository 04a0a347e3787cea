//! A call to a server for the request that a thread works for: what it is told of the trace, and a
//! span of its own.

use super::context::{SpanId, parent};
use super::span::{Attribute, Event, Kind, Span, Value};
use super::trail::{Trail, current};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most failed tries of one call that are told of one by one.
const MAX_EVENTS: usize = 32;

/// What is sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Of version 00.
    pub traceparent: String,
    /// What the caller of the daemon sent.
    pub tracestate: Option<Box<str>>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// Which route was called, without what varies, as `embeddings`.
    pub route: &'a str,
    /// The name of the server, and its port where one was said, as in a URL.
    pub server: &'a str,
    /// The status that it ended with, where there was one.
    pub status: Option<u16>,
    /// Why it brought nothing of use: a status or a word; `None` where it did.
    pub error: Option<&'a str>,
}

/// A call that is made now; all of its tries. Costs next to nothing outside a trace.
#[derive(Debug)]
pub struct Call {
    headers: Option<Headers>,
    open: Option<Open>,
}

/// A span that is not ended.
#[derive(Debug)]
struct Open {
    trail: Arc<Trail>,
    id: SpanId,
    parent: SpanId,
    began: Instant,
    events: Vec<Event>,
    tries: u64,
}

impl Call {
    /// A call for the request that this thread works for, if any. Where spans of that request are
    /// exported, this call is the parent of what the server does; else the caller's span is, if it
    /// sent one, and what it said of sampling goes on.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        let Some(trail) = current() else {
            return Self {
                headers: None,
                open: None,
            };
        };
        let tracestate = trail.state();
        let (span, open) = match (trail.recorded(), trail.incoming(), trail.own()) {
            (Some(own), _, _) => {
                let id = SpanId::of(rand::random());
                let open = Open {
                    id,
                    parent: trail.current_span(own),
                    began: now,
                    events: Vec::new(),
                    tries: 0,
                    trail: Arc::clone(&trail),
                };
                (Some(parent(own.trace, id, true)), Some(open))
            }
            (None, Some(it), _) => (Some(parent(it.trace, it.span, it.is_sampled)), None),
            // Not sampled here, which is so for all that follows.
            (None, None, Some(own)) => {
                let span = parent(own.trace, trail.current_span(own), false);
                (Some(span), None)
            }
            (None, None, None) => (None, None),
        };
        let headers = span.map(|traceparent| Headers {
            traceparent,
            tracestate,
        });
        Self { headers, open }
    }

    /// What the server is told.
    #[must_use]
    pub fn headers(&self) -> Option<&Headers> {
        self.headers.as_ref()
    }

    /// A try failed for `reason`, a status or a word; `again` is how long it is waited before the
    /// next one, if there is one.
    pub fn failed(&mut self, now: Instant, reason: &str, again: Option<Duration>) {
        let Some(open) = &mut self.open else { return };
        open.tries += 1;
        let Some(own) = open.trail.recorded() else {
            return;
        };
        if open.events.len() >= MAX_EVENTS {
            return;
        }
        let mut attributes: Vec<Attribute> = vec![("error.type", reason.into())];
        if let Some(wait) = again {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            attributes.push(("alfred.wait_ms", wait_ms.into()));
        }
        let event = Event {
            name: "try failed",
            at: open.trail.wall(own, now),
            attributes,
        };
        open.events.push(event);
    }

    /// The call ended.
    pub fn end(self, now: Instant, called: Called<'_>) {
        let Some(open) = self.open else { return };
        let Some(own) = open.trail.recorded() else {
            return;
        };
        let (host, port) = host_and_port(called.server);
        let mut attributes: Vec<Attribute> = vec![
            ("http.request.method", "POST".into()),
            ("url.template", called.route.into()),
            ("server.address", host.into()),
        ];
        let (status, error) = (called.status, called.error);
        attributes.extend(port.map(|port| ("server.port", Value::from(port))));
        attributes.extend(status.map(|it| ("http.response.status_code", Value::from(it))));
        attributes.extend(error.map(|error| ("error.type", Value::from(error))));
        if open.tries > 0 {
            attributes.push(("alfred.failed_tries", open.tries.into()));
        }
        own.exporter.offer(Span {
            name: Cow::Owned(format!("POST {}", called.route)),
            kind: Kind::Client,
            trace: own.trace,
            id: open.id,
            parent: Some(open.parent),
            is_parent_remote: false,
            state: open.trail.state(),
            began: open.trail.wall(own, open.began),
            ended: open.trail.wall(own, now),
            attributes,
            events: open.events,
            is_error: called.error.is_some(),
        });
    }
}

/// `[::1]:80` to `::1` and 80.
fn host_and_port(server: &str) -> (&str, Option<u16>) {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && !port.contains(']') => (host, port.parse().ok()),
        _ => (server, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_perhaps_a_port() {
        for (server, expected) in [
            ("api.openai.com", ("api.openai.com", None)),
            ("localhost:8000", ("localhost", Some(8_000))),
            ("[::1]:11434", ("::1", Some(11_434))),
            ("[::1]", ("::1", None)),
        ] {
            assert_eq!(host_and_port(server), expected, "{server}");
        }
    }

    #[test]
    fn outside_a_request_nothing_is_sent_and_nothing_is_kept() {
        let now = crate::clock::Clock::monotonic(&crate::clock::SystemClock);
        let mut call = Call::begin(now);
        assert_eq!(call.headers(), None);
        call.failed(now, "503", None);
        assert!(call.open.is_none());
    }
}
