//! What the server said of itself, as `verdict.json` has it.

use serde::{Deserialize, Serialize};

/// Both agree.
pub const AGREES: &str = "agrees";
/// They do not, and the run is INVALID.
pub const DISAGREES: &str = "disagrees";
/// The server was not heard, and the run is INVALID: who asks for a check does not take none for one.
pub const NOT_CHECKED: &str = "not checked";

/// The reason when somebody asked for an end meanwhile.
pub(super) const INTERRUPTED: &str = "interrupted while Prometheus was asked";

/// The target's own histogram beside what the client measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerRecord {
    /// The Prometheus that was asked.
    pub url: String,
    /// Label matchers of the target's series; may be empty.
    pub selector: String,
    /// `agrees`, `disagrees` or `not checked`.
    pub status: String,
    /// Why it does not agree, in words.
    pub reasons: Vec<String>,
    /// The scrape from which is counted, in seconds from the end of the warm-up; mostly below 0.
    pub from_s: Option<f64>,
    /// The scrape up to which is counted.
    pub until_s: Option<f64>,
    /// Scrapes of the process that had most, those two included.
    pub scrapes: u64,
    /// The usual distance of two scrapes.
    pub scrape_interval_s: Option<f64>,
    /// Processes whose queries are counted.
    pub processes: u64,
    /// How often one of them began to count from 0 again.
    pub restarts: u64,
    /// Queries that the server counted.
    pub requests: Option<u64>,
    /// Requests that the client sent and that ended.
    pub client_requests: u64,
    /// Queries that the server answered with a status of 500 and above.
    pub server_errors: Option<u64>,
    /// The same that the client saw.
    pub client_server_errors: u64,
    /// `server_errors` as a share of `requests`, 0 to 1.
    pub error_rate: Option<f64>,
    /// What the client's figure may lie outside of the server's bucket.
    pub allowance: AllowanceRecord,
    /// p50, p90, p95, p99 and p99.9, and what thresholds name besides.
    pub percentiles: Vec<ServerPercentile>,
    /// Thresholds on the whole run by the server's own figures.
    pub thresholds: Vec<ServerThreshold>,
}

/// What explains a difference between client and server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllowanceRecord {
    /// What was said; then nothing else counts.
    pub given_ms: Option<f64>,
    /// Of scheduling on either machine.
    pub scheduling_ms: f64,
    /// The slowest of a few connections to the target after the run; `null` when none could be made.
    pub connect_ms: Option<f64>,
}

/// One percentile by both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerPercentile {
    /// 0 to 1.
    pub quantile: f64,
    /// The lower bound of the server's bucket.
    pub lower_ms: f64,
    /// The upper bound; `null` beyond the last.
    pub upper_ms: Option<f64>,
    /// The client's service time.
    pub service_ms: Option<f64>,
    /// What that may lie above the upper bound.
    pub allowance_ms: f64,
    /// Whether both agree; `null` for a percentile that is shown alone.
    pub agrees: Option<bool>,
}

/// One threshold by the server's own figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerThreshold {
    /// As written.
    pub expr: String,
    /// The least that the server's value may be: milliseconds, or a share of 1.
    pub lower: f64,
    /// The most; `null` beyond the last bucket.
    pub upper: Option<f64>,
    /// Whether it holds; `null` when the limit is within the bucket.
    pub holds: Option<bool>,
}

impl ServerRecord {
    /// Whether the server was heard and agrees.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.status == AGREES
    }

    /// Whether somebody asked for an end before the server was heard.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.reasons.iter().any(|reason| reason == INTERRUPTED)
    }

    /// The percentile at `quantile`.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Option<&ServerPercentile> {
        let is_it = |one: &&ServerPercentile| (one.quantile - quantile).abs() < 1e-9;
        self.percentiles.iter().find(is_it)
    }
}
