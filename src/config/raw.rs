//! The configuration as it is written: one struct a section, deserialised after every layer was
//! merged. Units are in the names; [`super::keys`] holds defaults and ranges.

use crate::secret::Secret;
use serde::Deserialize;

/// Every section that this version reads.
#[derive(Clone, Debug, Deserialize)]
pub struct Raw {
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: Store,
    /// `[embedding]`
    pub embedding: Embedding,
    /// `[answer]`
    pub answer: Answer,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[log]`
    pub log: Log,
    /// `[telemetry]`
    pub telemetry: Telemetry,
    /// `[soak]`
    pub soak: Soak,
    /// `[notify]`
    pub notify: Notify,
}

/// `[server]`: how the daemon listens and what it bounds.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Server {
    pub listen: Vec<String>,
    pub allow_anonymous: bool,
    pub tls_cert: String,
    pub tls_key: String,
    pub allowed_hosts: Vec<String>,
    pub trusted_proxies: Vec<String>,
    pub console: bool,
    pub max_connections: usize,
    pub max_body_bytes: usize,
    pub max_head_bytes: usize,
    pub max_in_flight: usize,
    pub max_waiting: usize,
    pub queue_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub max_writes_in_flight: usize,
    pub write_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub lame_duck_ms: u64,
    pub drain_timeout_s: u64,
    pub keys_file: String,
    pub rate_limit: u32,
    pub rate_limit_burst: u32,
}

/// `[store]`: where documents are.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Store {
    pub kind: String,
    pub path: String,
    pub dsn: Secret,
    pub pool_size: u32,
    pub max_reads: u32,
    pub pool_timeout_ms: u64,
    pub statement_timeout_ms: u64,
    pub ef_search: u32,
    pub quantization: String,
}

/// `[embedding]`: which model.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Embedding {
    pub kind: String,
    pub model: String,
    pub models_dir: String,
    pub base_url: String,
    pub api_key: Secret,
    pub dimensions: usize,
    pub timeout_ms: u64,
    pub retries: u32,
    pub batch_max: usize,
    pub cache_entries: u64,
    pub redis_url: Secret,
    pub redis_timeout_ms: u64,
}

/// `[answer]`: what a query gets by default.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Answer {
    pub kind: crate::domain::AnswerKind,
    pub model: String,
    pub max_tokens: u32,
    pub timeout_ms: u64,
}

/// `[ingest]`: how documents become chunks.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Ingest {
    pub batch: usize,
    pub chunk_tokens: usize,
    pub overlap_tokens: usize,
    pub workers: usize,
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Log {
    pub level: String,
    pub format: String,
    pub slow_ms: u64,
    pub queries: bool,
}

/// `[telemetry]`: where spans of traces go.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Telemetry {
    pub otlp_endpoint: String,
    pub otlp_headers: Secret,
    pub otlp_sample_ratio: f64,
}

/// `[soak]`: where runs are recorded, and how many are kept.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Soak {
    pub runs_dir: String,
    pub retention_runs: u64,
}

/// `[notify]`: who is told of a verdict.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "etc/alfred.toml describes each key")]
pub struct Notify {
    pub webhook_url: Secret,
    pub on: String,
}
