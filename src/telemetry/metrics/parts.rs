//! What lies behind a query: caches, models, providers, the store and its connections.

use super::{Collectors, counters, in_seconds, made, seconds_options};
use crate::clock::{Clock as _, SystemClock};
use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A cache of query vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// This process's own.
    Memory,
    /// The one that several daemons share.
    Redis,
}

impl Tier {
    fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}

/// Looks into the caches of query vectors.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    hits: IntCounterVec,
    misses: IntCounterVec,
}

impl Default for CacheMetrics {
    fn default() -> Self {
        let metrics = Self {
            hits: counters(
                "embedding_cache_hits_total",
                "Query vectors that were found in a cache.",
                "tier",
            ),
            misses: counters(
                "embedding_cache_misses_total",
                "Looks into a cache that found no vector to use.",
                "tier",
            ),
        };
        for tier in [Tier::Memory, Tier::Redis] {
            metrics.hits.with_label_values(&[tier.label()]);
            metrics.misses.with_label_values(&[tier.label()]);
        }
        metrics
    }
}

impl CacheMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![Box::new(self.hits.clone()), Box::new(self.misses.clone())]
    }

    /// A look into a cache.
    pub fn looked(&self, tier: Tier, found: bool) {
        let counters = if found { &self.hits } else { &self.misses };
        counters.with_label_values(&[tier.label()]).inc();
    }
}

/// What providers were asked and what it cost.
#[derive(Clone, Debug)]
pub struct ProviderMetrics {
    tokens: IntCounterVec,
    requests: IntCounterVec,
}

impl Default for ProviderMetrics {
    fn default() -> Self {
        let metrics = Self {
            tokens: counters(
                "openai_tokens_total",
                "Tokens that a provider charged, by what they were for.",
                "kind",
            ),
            requests: counters(
                "openai_requests_total",
                "Requests to a provider, each try by itself, by status; timeout and unreachable \
                 where there was none.",
                "status",
            ),
        };
        for kind in ["embedding", "completion"] {
            metrics.tokens.with_label_values(&[kind]);
        }
        for status in ["200", "429", "500", "503", "timeout", "unreachable"] {
            metrics.requests.with_label_values(&[status]);
        }
        metrics
    }
}

impl ProviderMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![
            Box::new(self.tokens.clone()),
            Box::new(self.requests.clone()),
        ]
    }

    /// Tokens were charged for `kind`: `embedding` or `completion`.
    pub fn charged(&self, kind: &'static str, tokens: u64) {
        self.tokens.with_label_values(&[kind]).inc_by(tokens);
    }

    /// A provider was asked and answered with `status`, or did not answer, which has a word of its
    /// own. What is no status of HTTP is `other`.
    pub fn asked(&self, status: &str) {
        let code: Option<u16> = status.parse().ok();
        let is_known = code.is_none_or(|code| (100..600).contains(&code));
        let label = if is_known { status } else { "other" };
        self.requests.with_label_values(&[label]).inc();
    }
}

/// Calls to the embedding model.
#[derive(Clone, Debug)]
pub struct EmbeddingMetrics(HistogramVec);

impl Default for EmbeddingMetrics {
    fn default() -> Self {
        let metrics = Self(in_seconds(
            "embedding_latency_seconds",
            "Time of a call to the embedding model, of any number of texts, in s.",
            &["provider"],
        ));
        for provider in ["local", "openai"] {
            metrics.0.with_label_values(&[provider]);
        }
        metrics
    }
}

impl EmbeddingMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![Box::new(self.0.clone())]
    }

    /// Where the calls to one provider, `local` or `openai`, are timed.
    #[must_use]
    pub fn of(&self, provider: &'static str) -> Timer {
        Timer(self.0.with_label_values(&[provider]))
    }
}

/// A histogram in seconds.
#[derive(Clone, Debug)]
pub struct Timer(Histogram);

impl Timer {
    /// Does `work` and records how long that took, however it ended.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = SystemClock.monotonic();
        let done = work();
        self.observe(SystemClock.monotonic().saturating_duration_since(began));
        done
    }

    /// Records what took so long.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// Calls to the store.
#[derive(Clone, Debug)]
pub struct RepoMetrics {
    latency: HistogramVec,
    /// Searches for a query.
    pub search: Timer,
    /// Storing documents.
    pub upsert: Timer,
}

impl Default for RepoMetrics {
    fn default() -> Self {
        let latency = in_seconds(
            "embedding_repo_latency_seconds",
            "Time of a call to the store, in s.",
            &["op"],
        );
        Self {
            search: Timer(latency.with_label_values(&["search"])),
            upsert: Timer(latency.with_label_values(&["upsert"])),
            latency,
        }
    }
}

impl RepoMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![Box::new(self.latency.clone())]
    }
}

/// Connections to a database; all 0 where there is none.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    connections: IntGaugeVec,
    wait: Histogram,
    timeouts: IntCounter,
}

impl Default for PoolMetrics {
    fn default() -> Self {
        let options = Opts::new("db_pool_connections", "Connections to the database.");
        let metrics = Self {
            connections: made(IntGaugeVec::new(options, &["state"])),
            wait: made(Histogram::with_opts(seconds_options(
                "db_pool_wait_seconds",
                "Time that a call waited for a connection, whether it got one or not, in s.",
            ))),
            timeouts: made(IntCounter::new(
                "db_pool_timeouts_total",
                "Calls that got no connection in time.",
            )),
        };
        metrics.set(0, 0, 0);
        metrics
    }
}

impl PoolMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![
            Box::new(self.connections.clone()),
            Box::new(self.wait.clone()),
            Box::new(self.timeouts.clone()),
        ]
    }

    /// Connections now: unused, in use, and most there may be.
    pub fn set(&self, idle: u32, busy: u32, max: u32) {
        for (state, connections) in [("idle", idle), ("busy", busy), ("max", max)] {
            let gauge = self.connections.with_label_values(&[state]);
            gauge.set(i64::from(connections));
        }
    }

    /// A call waited for a connection.
    pub fn waited(&self, wait: Duration) {
        self.wait.observe(wait.as_secs_f64());
    }

    /// A call got none in time.
    pub fn timed_out(&self) {
        self.timeouts.inc();
    }
}

/// How the last reading of the configuration ended.
#[derive(Clone, Debug)]
pub struct ReloadMetrics {
    successful: IntGauge,
    succeeded_at: Gauge,
}

impl Default for ReloadMetrics {
    fn default() -> Self {
        Self {
            successful: made(IntGauge::new(
                "alfred_config_last_reload_successful",
                "1 when the configuration was read and is in force, 0 when the last one was refused.",
            )),
            succeeded_at: made(Gauge::new(
                "alfred_config_last_reload_success_timestamp_seconds",
                "When a configuration was last read and put in force, in s since 1970.",
            )),
        }
    }
}

impl ReloadMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![
            Box::new(self.successful.clone()),
            Box::new(self.succeeded_at.clone()),
        ]
    }

    /// A configuration was put in force at `now`.
    pub fn succeeded(&self, now: SystemTime) {
        self.successful.set(1);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.succeeded_at.set(since.as_secs_f64());
    }

    /// A configuration was refused.
    pub fn refused(&self) {
        self.successful.set(0);
    }
}
