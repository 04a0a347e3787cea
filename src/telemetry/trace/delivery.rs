//! Batches of spans to a collector: OTLP over HTTP, tried again while that may help.

use super::proto;
use super::span::{Attribute, Span};
use super::target::Target;
use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::events::{Dependency, Outage};
use crate::telemetry::metrics::TraceMetrics;
use crate::tls;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longest request to the collector, as OTLP's exporters have it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a name and for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest pause after a failure, whatever the collector asks for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The first one where it asks for none; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, so that a collector that is back is soon used again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const MAX_REPLY_BYTES: u64 = 64 * 1024;
/// Least time between two lines on spans that were lost.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The end, when it is said.
pub(super) struct Stop {
    said: Receiver<Instant>,
    end: Option<Instant>,
}

impl Stop {
    /// At the instant that comes; soon when nobody is left to say it.
    pub(super) fn when(said: Receiver<Instant>) -> Self {
        Self { said, end: None }
    }

    /// Whether it has been said.
    pub(super) fn is_said(&mut self) -> bool {
        if self.end.is_none() {
            match self.said.try_recv() {
                Ok(end) => self.end = Some(end),
                Err(TryRecvError::Disconnected) => self.abandoned(),
                Err(TryRecvError::Empty) => {}
            }
        }
        self.end.is_some()
    }

    /// Waits, until it is said at most.
    fn wait(&mut self, wait: Duration) {
        match self.said.recv_timeout(wait) {
            Ok(end) => self.end = Some(end),
            Err(RecvTimeoutError::Disconnected) => self.abandoned(),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }

    fn abandoned(&mut self) {
        self.end = Some(SystemClock.monotonic() + super::LAST_SPANS);
    }

    /// How long something may take that takes at most `most`.
    fn cap(&self, most: Duration) -> Duration {
        let left = |end: Instant| end.saturating_duration_since(SystemClock.monotonic());
        self.end.map_or(most, |end| left(end).min(most))
    }
}

/// Why the collector did not take a batch.
struct Trouble {
    problem: String,
    /// Whether it may take it later.
    is_passing: bool,
    /// How long it asked to wait.
    wait: Option<Duration>,
}

/// One collector and what is said to it.
pub(super) struct Delivery {
    agent: ureq::Agent,
    target: Target,
    resource: Vec<Attribute>,
    metrics: TraceMetrics,
    outage: Outage,
    /// Lost spans that were spoken of, and when that was.
    told: (u64, Option<Instant>),
}

impl Delivery {
    pub(super) fn new(target: Target, metrics: TraceMetrics) -> Self {
        Self {
            agent: agent(),
            target,
            resource: resource(),
            told: (metrics.lost(), None),
            metrics,
            outage: Outage::of(Dependency::Collector),
        }
    }

    /// Hands `spans` over. While the collector is away it waits for it, and the queue behind it fills;
    /// what it will not have is given up.
    pub(super) fn deliver(&mut self, spans: &[Span], stop: &mut Stop) {
        let body = proto::encode(&self.resource, spans);
        let count = spans.len() as u64;
        let mut pause = FIRST_PAUSE;
        loop {
            let is_last = stop.is_said();
            let sent = self.post(&body, stop.cap(TIMEOUT));
            let now = SystemClock.monotonic();
            let trouble = match sent {
                Ok(reply) => return self.taken(count, &reply, now),
                Err(trouble) => trouble,
            };
            self.outage
                .is_down(now, &self.target.place, &trouble.problem);
            if is_last || !trouble.is_passing {
                return self.metrics.failed(count);
            }
            let own = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            let wait = trouble.wait.unwrap_or(own);
            stop.wait(wait.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The collector answered with success, which may hold that some spans were not to its liking.
    fn taken(&mut self, count: u64, reply: &[u8], now: Instant) {
        let (rejected, why) = proto::rejected(reply);
        let rejected = rejected.min(count);
        self.metrics.exported(count - rejected);
        self.metrics.failed(rejected);
        self.outage.is_up(&self.target.place);
        let (told, at) = self.told;
        let lost = self.metrics.lost();
        let is_soon = at.is_some_and(|at| now.saturating_duration_since(at) < SAY_EVERY);
        if lost > told && !is_soon {
            let spans = lost - told;
            self.told = (lost, Some(now));
            let why = if why.is_empty() {
                "the collector was away, refused them, or was too slow"
            } else {
                why.as_str()
            };
            tracing::warn!(
                spans,
                reason = why,
                "{spans} spans of traces were lost: {why}"
            );
        }
    }

    fn post(&self, body: &[u8], timeout: Duration) -> Result<Vec<u8>, Trouble> {
        if timeout.is_zero() {
            return Err(Trouble {
                problem: "there was no time left for it".to_owned(),
                is_passing: true,
                wait: None,
            });
        }
        let connect = timeout.min(CONNECT_TIMEOUT);
        let mut request = self
            .agent
            .post(&self.target.url)
            .config()
            .timeout_global(Some(timeout))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .build()
            .header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.target.headers {
            request = request.header(name.clone(), value.reveal());
        }
        let mut response = request.send(body).map_err(|error| Trouble {
            problem: self.redacted(&error.to_string()),
            is_passing: true,
            wait: None,
        })?;
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
        let reply = response.body_mut().with_config().limit(MAX_REPLY_BYTES);
        // A collector that took the spans may say so in words that cannot be read.
        let reply = reply.read_to_vec().unwrap_or_default();
        match status {
            200..=299 => Ok(reply),
            status => Err(Trouble {
                problem: format!("status {status}"),
                // As OTLP has it.
                is_passing: matches!(status, 429 | 502..=504),
                wait: wait.map(Duration::from_secs),
            }),
        }
    }

    fn redacted(&self, text: &str) -> String {
        let headers = self.target.headers.iter();
        headers.fold(text.to_owned(), |text, (_, value)| value.redact(&text))
    }
}

/// Redirects are not followed: the headers would go to another host.
fn agent() -> ureq::Agent {
    let roots = ureq::tls::TlsConfig::builder().root_certs(tls::ureq_roots());
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("alfred/", env!("CARGO_PKG_VERSION")))
        .tls_config(roots.build())
        .build()
        .into()
}

/// This process, as the semantic conventions describe one.
fn resource() -> Vec<Attribute> {
    let names = rustix::system::uname();
    vec![
        ("service.name", "alfred".into()),
        ("service.version", env!("CARGO_PKG_VERSION").into()),
        (
            "service.instance.id",
            Uuid::new_v4().to_string().as_str().into(),
        ),
        ("host.name", (&*names.nodename().to_string_lossy()).into()),
        ("process.pid", u64::from(std::process::id()).into()),
    ]
}
