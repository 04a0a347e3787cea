//! The corpus over HTTP/1.1: an accept loop with limits on everything, warp's filters for routing,
//! and one crossing to the blocking use cases.
//!
//! Reading order: [`serve`] (accept, stop) → `connection` (one socket, through `wire`) → `service`
//! (request id, `admission`, limits, panics, one record a request) → `routes` → `handlers` → `parse` and
//! `blocking` in, `reply` and `problem` out.
//!
//! Decided here: a reply to an error whose request body was not read closes the connection and
//! lingers, so that the client gets to read it. `POST` needs `content-type: application/json`
//! (absent is 415 too: a web page may send other types to a local daemon without asking).
//! TLS over TCP is spoken where the application has an identity, at the time a connection is accepted.
//! HTTP/2 is left to a proxy.

mod admission;
mod blocking;
mod body;
mod connection;
mod crowd;
mod handlers;
mod json;
pub mod listen;
pub mod live;
mod local;
pub mod observe;
mod overload;
mod pace;
pub(crate) mod parse;
mod places;
mod probe;
mod problem;
mod readiness;
mod recent;
mod reply;
mod request_log;
mod routes;
pub mod runs;
mod server;
mod service;
mod settings;
mod standing;
mod traced;
pub(crate) mod wire;

pub use listen::{BindError, ListenAddress, Listener, SocketFile, bind};
pub use live::Live;
pub use observe::Observer;
pub use pace::Pace;
pub use readiness::Readiness;
pub use server::{Stopped, serve};
pub use settings::Settings;
pub use wire::socket::Peer;

/// An answer as `POST /v1/query` replies it, for those who answer without the server.
#[must_use]
pub fn answer_json(answer: &Answer) -> Value {
    reply::answer(answer, Duration::ZERO)
        .and_then(|body| serde_json::from_slice(&body))
        .unwrap_or_default()
}

use crate::access::Policy;
use crate::clock::{Clock, Deadline};
use crate::domain::{Answer, Query, Upserted};
use crate::embed::Embedder;
use crate::ingest::{IngestError, Ingester, NewDocument};
use crate::search::{AnswerThen, SearchError, Searcher};
use crate::store::EmbeddingRepo;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Exporter;
use crate::tls::Identity;
use blocking::{Lane, LaneLimits};
use overload::Overload;
use runs::{NoRuns, RecordedRuns};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// What is missing from the moment that the server was asked to stop.
const SERVING: &str = "serving";

/// Places for listing, counting, status and reading bodies: short work that must get through
/// while queries queue.
const READ_PLACES: usize = 4;

/// Places for `/metrics`: a scrape waits for nothing, and there is seldom more than one.
const SCRAPE_PLACES: usize = 2;

/// Places for taking profiles, of which there is one at a time.
const PROFILE_PLACES: usize = 1;

/// Longest time to make something of a profile, in ms: the first one reads the program's debug data.
const PROFILE_TIMEOUT_MS: u64 = 120_000;

/// Places for reports of runs: making one takes seconds of a core and some memory.
const REPORT_PLACES: usize = 1;

/// Reports that wait for the one being made.
const REPORTS_WAITING: usize = 4;

/// Longest time for a report of a run, the wait included, in ms: of 72 hours it takes some seconds.
const REPORT_TIMEOUT_MS: u64 = 60_000;

/// Places for `/livez`, over the network and over unix sockets each.
const PROBE_PLACES: usize = 2;

/// Answers one question; blocks, on others not beyond the deadline.
pub type AnswerFn = dyn Fn(&Query, Deadline) -> Result<Answer, SearchError> + Send + Sync;
/// Answers one question as [`Searcher::answer_later`] does; does not block.
pub type AnswerLaterFn = dyn Fn(&Arc<Query>, AnswerThen) + Send + Sync;
/// Stores documents, each whole or refused by itself; blocks.
pub type PutFn =
    dyn Fn(&[NewDocument]) -> Result<Vec<Result<Upserted, IngestError>>, IngestError> + Send + Sync;
/// Further sections of `GET /v1/status`, by name; blocks, briefly.
pub type StatusFn = dyn Fn() -> Map<String, Value> + Send + Sync;

/// Reads the configuration anew and applies it; returns what changed, or why nothing did; blocks.
pub type ReloadFn = dyn Fn() -> Result<Value, String> + Send + Sync;

/// What the routes call. All of it blocks and runs on blocking threads, but for `answer_later`.
#[derive(Clone)]
pub struct UseCases {
    /// `POST /v1/query`.
    pub answer: Arc<AnswerFn>,
    /// The same, tried first.
    pub answer_later: Option<Arc<AnswerLaterFn>>,
    /// `POST /v1/documents`.
    pub put: Arc<PutFn>,
    /// Listing, reading and deleting.
    pub repo: Arc<dyn EmbeddingRepo>,
    /// Named in the status.
    pub embedder: Arc<dyn Embedder>,
}

impl UseCases {
    /// The real ones.
    #[must_use]
    pub fn new(searcher: Arc<Searcher>, ingester: Arc<Ingester>) -> Self {
        Self {
            repo: Arc::clone(searcher.repo()),
            embedder: Arc::clone(searcher.embedder()),
            answer_later: Some({
                let searcher = Arc::clone(&searcher);
                Arc::new(move |query, then| searcher.answer_later(query, then))
            }),
            answer: Arc::new(move |query, deadline| searcher.answer(query, deadline)),
            put: Arc::new(move |documents| ingester.put(documents)),
        }
    }
}

/// The lane for reports, whose wait is as long as one takes.
fn reports() -> Lane {
    let timeout = Duration::from_millis(REPORT_TIMEOUT_MS);
    let limits = LaneLimits {
        places: REPORT_PLACES,
        max_waiting: REPORTS_WAITING,
        queue_timeout: timeout,
        total_timeout: timeout,
    };
    Lane::new("reports", limits)
}

/// Everything the routes share.
pub struct App {
    pub(crate) cases: UseCases,
    pub(crate) settings: Settings,
    /// Who may come in, and how often.
    pub(crate) policy: Arc<Policy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) status: Arc<StatusFn>,
    pub(crate) reload: Option<Arc<ReloadFn>>,
    /// What is shown over TCP, where TLS is spoken.
    pub(crate) tls: Option<Arc<Identity>>,
    /// Who gets the spans of requests, where they are traced.
    pub(crate) traces: Option<Arc<Exporter>>,
    /// Connections beyond the limit.
    pub(crate) crowd: Arc<Overload>,
    pub(crate) queries: Lane,
    pub(crate) writes: Lane,
    pub(crate) reads: Lane,
    /// For `/livez` over the network.
    pub(crate) probes: Lane,
    /// For `/livez` over unix sockets: the watchdog's must get through a flood of the others.
    pub(crate) own_probes: Lane,
    /// For `/metrics`: seen best when all else is busy.
    pub(crate) scrapes: Lane,
    /// For `/debug/pprof/*`.
    pub(crate) profiles: Lane,
    /// One reload at a time.
    pub(crate) reloads: Lane,
    /// Recorded soak runs.
    pub(crate) runs: Arc<dyn RecordedRuns>,
    /// For `/v1/runs/{name}/report.html`.
    pub(crate) reports: Lane,
}

impl App {
    /// An application that is ready at once and has nothing to add to its status; see the `with_`
    /// methods.
    #[must_use]
    pub fn new(cases: UseCases, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let lane = |name, places, timeout_ms| {
            let limits = LaneLimits {
                places,
                max_waiting: settings.max_waiting,
                queue_timeout: Duration::from_millis(settings.queue_timeout_ms),
                total_timeout: Duration::from_millis(timeout_ms),
            };
            Lane::new(name, limits)
        };
        let metrics = Arc::<Metrics>::default();
        Self {
            crowd: Arc::new(Overload::of("connections")),
            queries: lane(
                "queries",
                settings.max_in_flight,
                settings.request_timeout_ms,
            )
            .brisk(),
            writes: lane(
                "writes",
                settings.max_writes_in_flight,
                settings.write_timeout_ms,
            ),
            reads: lane("reads", READ_PLACES, settings.request_timeout_ms),
            probes: lane("probes", PROBE_PLACES, settings.request_timeout_ms),
            own_probes: lane("own probes", PROBE_PLACES, settings.request_timeout_ms),
            scrapes: lane("scrapes", SCRAPE_PLACES, settings.request_timeout_ms),
            profiles: lane("profiles", PROFILE_PLACES, PROFILE_TIMEOUT_MS),
            reloads: lane("reloads", 1, settings.write_timeout_ms),
            runs: Arc::new(NoRuns),
            reports: reports(),
            observer: Arc::new(Observer::new(clock.monotonic(), Arc::clone(&metrics))),
            metrics,
            readiness: Arc::default(),
            status: Arc::new(Map::new),
            reload: None,
            policy: Arc::default(),
            tls: None,
            traces: None,
            cases,
            settings,
            clock,
        }
    }

    /// Ready only when all conditions of `readiness` are met.
    #[must_use]
    pub fn with_readiness(mut self, readiness: Arc<Readiness>) -> Self {
        self.readiness = readiness;
        self
    }

    /// Lets in whom `policy` does; without it everybody who asks for a loopback name.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// Counts in `metrics`, from now on.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        let now = self.clock.monotonic();
        self.observer = Arc::new(Observer::new(now, Arc::clone(&metrics)));
        self.metrics = metrics;
        self
    }

    /// Takes the counts, the readiness and what was said of overload from the application that it
    /// comes after.
    #[must_use]
    pub fn succeeding(mut self, former: &Self) -> Self {
        self.crowd = Arc::clone(&former.crowd);
        self.queries.follow(&former.queries);
        self.writes.follow(&former.writes);
        self.reads.follow(&former.reads);
        self.observer = Arc::clone(&former.observer);
        self.metrics = Arc::clone(&former.metrics);
        self.readiness = Arc::clone(&former.readiness);
        self
    }

    /// At first, all connections may wait: those whose requests came while nobody served arrive all
    /// at once.
    #[must_use]
    pub fn catching_up(mut self) -> Self {
        // Over TCP, and over unix sockets.
        let room = self.settings.max_connections.saturating_mul(2);
        for lane in [&mut self.queries, &mut self.writes, &mut self.reads] {
            lane.catch_up(room);
        }
        self
    }

    /// What `POST /v1/reload` does.
    #[must_use]
    pub fn with_reload(mut self, reload: Arc<ReloadFn>) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Lists these runs, and shows their reports; without it there are none.
    #[must_use]
    pub fn with_runs(mut self, runs: Arc<dyn RecordedRuns>) -> Self {
        self.runs = runs;
        self
    }

    /// Speaks TLS over TCP with those who connect from now on; `None`: plain HTTP.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<Identity>>) -> Self {
        self.tls = tls;
        self
    }

    /// Hands the spans of requests to `traces`; `None`: to nobody.
    #[must_use]
    pub fn with_traces(mut self, traces: Option<Arc<Exporter>>) -> Self {
        self.traces = traces;
        self
    }

    /// Adds sections to `GET /v1/status`: `pool`, `cache`, `reload`.
    #[must_use]
    pub fn with_status(mut self, status: Arc<StatusFn>) -> Self {
        self.status = status;
        self
    }

    /// Counts of requests, for metrics.
    #[must_use]
    pub fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// What `/metrics` shows.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What `/readyz` answers from.
    #[must_use]
    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.readiness
    }

    /// What is shown over TCP, where TLS is spoken.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Identity>> {
        self.tls.as_ref()
    }

    /// What is missing for a query to be answered now, with the reason; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        handlers::admin::missing(self)
    }

    /// Whether the server was asked to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        let missing = self.readiness.missing();
        missing.iter().any(|(name, _)| *name == SERVING)
    }

    /// How long a stop takes at most: lame duck and drain.
    #[must_use]
    pub fn longest_stop(&self) -> Duration {
        self.settings.lame_duck() + self.settings.drain_timeout()
    }

    /// What the routes call.
    #[must_use]
    pub fn cases(&self) -> &UseCases {
        &self.cases
    }
}
