//! Every key there is, once: its type, range, default, and whether it is a secret.
//!
//! `etc/alfred.toml` documents the same keys for people; a test holds the two together.

use Kind::{Bool, Choice, Integer, List, Ratio, Text};

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within a range, both ends included.
    Integer(i64, i64),
    /// A number from 0 to 1.
    Ratio,
    /// Any text; empty means "not set".
    Text,
    /// A list of texts; in the environment separated by commas.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The default as it is written in TOML.
    pub default: &'static str,
    /// Never shown.
    pub secret: bool,
}

const fn key(path: &'static str, kind: Kind, default: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        secret: false,
    }
}

const fn secret(key: Key) -> Key {
    Key {
        secret: true,
        ..key
    }
}

const DAY_MS: i64 = 86_400_000;

/// All keys, in the order of the shipped file.
pub const KEYS: &[Key] = &[
    key("server.listen", List, r#"["127.0.0.1:8080"]"#),
    key("server.allow_anonymous", Bool, "false"),
    key("server.tls_cert", Text, r#""""#),
    key("server.tls_key", Text, r#""""#),
    key("server.allowed_hosts", List, "[]"),
    key("server.trusted_proxies", List, "[]"),
    key("server.console", Bool, "true"),
    key("server.max_connections", Integer(1, 1_000_000), "1024"),
    key("server.max_body_bytes", Integer(1_024, 1 << 30), "4194304"),
    key("server.max_head_bytes", Integer(8_192, 1 << 20), "16384"),
    key("server.max_in_flight", Integer(1, 1_024), "32"),
    key("server.max_waiting", Integer(0, 100_000), "256"),
    key("server.queue_timeout_ms", Integer(0, DAY_MS), "1000"),
    key("server.request_timeout_ms", Integer(1, DAY_MS), "10000"),
    key("server.max_writes_in_flight", Integer(1, 64), "2"),
    key("server.write_timeout_ms", Integer(1, DAY_MS), "300000"),
    key("server.header_timeout_ms", Integer(1, DAY_MS), "10000"),
    key("server.body_timeout_ms", Integer(1, DAY_MS), "30000"),
    key("server.idle_timeout_ms", Integer(1, DAY_MS), "75000"),
    key("server.lame_duck_ms", Integer(0, 60_000), "150"),
    key("server.drain_timeout_s", Integer(0, 86_400), "30"),
    key("server.keys_file", Text, r#""""#),
    key("server.rate_limit", Integer(0, 1_000_000), "0"),
    key("server.rate_limit_burst", Integer(0, 1_000_000), "0"),
    key(
        "store.kind",
        Choice(&["embedded", "postgres"]),
        r#""embedded""#,
    ),
    key("store.path", Text, r#""""#),
    secret(key("store.dsn", Text, r#""""#)),
    key("store.pool_size", Integer(1, 1_000), "10"),
    key("store.max_reads", Integer(0, 1_000), "0"),
    key("store.pool_timeout_ms", Integer(1, DAY_MS), "1000"),
    key("store.statement_timeout_ms", Integer(1, DAY_MS), "5000"),
    key("store.ef_search", Integer(1, 1_000), "40"),
    key(
        "store.quantization",
        Choice(&["none", "halfvec", "binary"]),
        r#""none""#,
    ),
    key("embedding.kind", Choice(&["local", "openai"]), r#""local""#),
    key("embedding.model", Text, r#""all-MiniLM-L6-v2""#),
    key("embedding.models_dir", Text, r#""""#),
    key("embedding.base_url", Text, r#""https://api.openai.com/v1""#),
    secret(key("embedding.api_key", Text, r#""""#)),
    key("embedding.dimensions", Integer(0, 4_000), "0"),
    key("embedding.timeout_ms", Integer(1, DAY_MS), "5000"),
    key("embedding.retries", Integer(0, 20), "3"),
    key("embedding.batch_max", Integer(1, 2_048), "128"),
    key("embedding.cache_entries", Integer(0, 10_000_000), "10000"),
    secret(key("embedding.redis_url", Text, r#""""#)),
    key("embedding.redis_timeout_ms", Integer(1, 10_000), "20"),
    key(
        "answer.kind",
        Choice(&["extractive", "none", "generated"]),
        r#""extractive""#,
    ),
    key("answer.model", Text, r#""""#),
    key("answer.max_tokens", Integer(16, 100_000), "512"),
    key("answer.timeout_ms", Integer(1, DAY_MS), "8000"),
    key("ingest.batch", Integer(1, 10_000), "128"),
    key("ingest.chunk_tokens", Integer(32, 8_192), "240"),
    key("ingest.overlap_tokens", Integer(0, 2_048), "32"),
    key("ingest.workers", Integer(0, 256), "0"),
    key(
        "log.level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        r#""info""#,
    ),
    key(
        "log.format",
        Choice(&["auto", "text", "json", "journal"]),
        r#""auto""#,
    ),
    key("log.slow_ms", Integer(0, DAY_MS), "300"),
    key("log.queries", Bool, "false"),
    key("telemetry.otlp_endpoint", Text, r#""""#),
    secret(key("telemetry.otlp_headers", Text, r#""""#)),
    key("telemetry.otlp_sample_ratio", Ratio, "1.0"),
    key("soak.runs_dir", Text, r#""""#),
    key("soak.retention_runs", Integer(0, 1_000_000), "100"),
    secret(key("notify.webhook_url", Text, r#""""#)),
    key("notify.on", Choice(&["always", "fail"]), r#""always""#),
];

/// The key with this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The known key that is spelled most like `path`, when one is near enough to be meant.
#[must_use]
pub fn closest(path: &str) -> Option<&'static str> {
    let score = |key: &Key| {
        let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let whole = strsim::jaro_winkler(path, key.path);
        whole.max(strsim::jaro_winkler(&leaf(path), &leaf(key.path)))
    };
    let best = KEYS.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) > 0.8).then_some(best.path)
}
