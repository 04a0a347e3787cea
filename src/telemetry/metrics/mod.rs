//! What is counted and timed, for `GET /metrics`.
//!
//! One [`Metrics`] a daemon: made at the start, handed to whoever records, and kept when a reload
//! replaces the rest, so that counters go on. Each metric is recorded in one place, through a handle
//! that its recorder holds: recording is some atomic additions, and looks at most two labels up in a
//! table that scrapes only read. Every label has few values; what may be anything, as a path or a
//! collection, is bounded here.
//!
//! Handles that are registered nowhere (their `Default`) count as well; nobody reads them.

mod corpus;
mod parts;
mod process;
mod readings;
mod requests;
mod state;
#[cfg(test)]
mod tests;
mod traces;

pub use corpus::{Corpus, MAX_COLLECTIONS, OTHER};
pub use parts::{
    CacheMetrics, EmbeddingMetrics, PoolMetrics, ProviderMetrics, ReloadMetrics, RepoMetrics, Tier,
    Timer,
};
pub use requests::{Answered, ERROR_KINDS, Requests};
pub use state::StateMetrics;
pub use traces::TraceMetrics;

use super::logging;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use readings::{Reading, Readings};

/// Where the buckets of `retrieval_latency_ms` end, in ms. Those of the histograms in seconds are
/// the same.
pub const BUCKETS_MS: [f64; 17] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 400.0, 500.0, 750.0,
    1000.0, 2500.0, 5000.0,
];

/// The content type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that one daemon counts.
pub struct Metrics {
    registry: Registry,
    /// Requests over HTTP, queries among them.
    pub requests: Requests,
    /// The caches of query vectors.
    pub cache: CacheMetrics,
    /// What providers were asked.
    pub provider: ProviderMetrics,
    /// Calls to the embedding model.
    pub embedding: EmbeddingMetrics,
    /// Calls to the store.
    pub repo: RepoMetrics,
    /// Connections to a database.
    pub pool: PoolMetrics,
    /// How the last reading of the configuration ended.
    pub reload: ReloadMetrics,
    /// Whether queries would be answered, and how long the certificate holds.
    pub state: StateMetrics,
    /// What became of the spans of traces.
    pub traces: TraceMetrics,
    /// What the store holds.
    pub corpus: Corpus,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::new(),
            requests: Requests::default(),
            cache: CacheMetrics::default(),
            provider: ProviderMetrics::default(),
            embedding: EmbeddingMetrics::default(),
            repo: RepoMetrics::default(),
            pool: PoolMetrics::default(),
            reload: ReloadMetrics::default(),
            state: StateMetrics::default(),
            traces: TraceMetrics::default(),
            corpus: Corpus::default(),
        };
        let all = [
            metrics.requests.collectors(),
            metrics.cache.collectors(),
            metrics.provider.collectors(),
            metrics.embedding.collectors(),
            metrics.repo.collectors(),
            metrics.pool.collectors(),
            metrics.reload.collectors(),
            metrics.state.collectors(),
            metrics.traces.collectors(),
            vec![
                Box::new(metrics.corpus.clone()),
                Box::new(process::readings()),
                Box::new(build_info()),
                Box::new(log_lines_dropped()),
            ],
        ];
        for collector in all.into_iter().flatten() {
            made(metrics.registry.register(collector));
        }
        metrics
    }
}

impl Metrics {
    /// Everything in Prometheus' text format 0.0.4. Asks nobody and waits for nobody; reads some
    /// files below `/proc/self`.
    ///
    /// # Errors
    /// When a family breaks the format, which is a defect.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Collectors of one part.
type Collectors = Vec<Box<dyn Collector>>;

/// What is made of names and buckets that stand in this module; a test makes all of them.
fn made<T>(result: Result<T, prometheus::Error>) -> T {
    match result {
        Ok(made) => made,
        Err(error) => unreachable!("a metric is defined wrongly: {error}"),
    }
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    made(IntCounterVec::new(Opts::new(name, help), &[label]))
}

fn in_ms(name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS_MS.to_vec());
    made(Histogram::with_opts(options))
}

fn seconds_options(name: &str, help: &str) -> HistogramOpts {
    let buckets = BUCKETS_MS.iter().map(|bound_ms| bound_ms / 1e3);
    HistogramOpts::new(name, help).buckets(buckets.collect())
}

fn in_seconds(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    made(HistogramVec::new(seconds_options(name, help), labels))
}

fn build_info() -> prometheus::IntGauge {
    let options = Opts::new("alfred_build_info", "1; the labels say what runs.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("arch", std::env::consts::ARCH)
        .const_label("os", std::env::consts::OS);
    let gauge = made(prometheus::IntGauge::with_opts(options));
    gauge.set(1);
    gauge
}

/// Read where they are counted; a process has one log.
fn log_lines_dropped() -> Readings {
    let help = "Lines of the log that were lost since whoever reads them stood still.";
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    Readings::new(&[Reading::counter("log_lines_dropped_total", help)], || {
        vec![Some(logging::dropped() as f64)]
    })
}
