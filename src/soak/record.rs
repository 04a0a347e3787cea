//! What a run folder's files hold, as serde types. `docs/soak.md` and the contract name the fields.
//!
//! | file | type |
//! |---|---|
//! | `run.json` | [`RunRecord`] |
//! | `windows.jsonl` | one [`WindowRecord`] a line |
//! | `events.jsonl` | one [`super::event::EventRecord`] a line |
//! | `verdict.json` | [`VerdictRecord`] |
//! | `evidence/*/evidence.json` | [`super::evidence::EvidenceRecord`] |

use super::latency::Percentiles;
pub use super::recorder::settings::RecorderRecord;
pub use super::relevance::{RelevanceCounts, RelevanceRecord};
pub use super::sampler::record::{HostSample, UnitSample};
pub use super::server::record::ServerRecord;
pub use super::server::settings::PrometheusRecord;
use super::stage::Stage;
use super::tally::{CacheCounts, Counts};
use super::units::nanoseconds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of these shapes; a reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// `run.json`: what was going to be done, where, and by what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// The last part of the folder's name.
    pub id: String,
    /// The scenario's name.
    pub name: String,
    /// Where requests went.
    pub target: String,
    /// The alfred that made the run.
    pub version: String,
    /// The scenario with everything resolved.
    pub scenario: ScenarioRecord,
    /// The scenario file that it was read from, absolute.
    #[serde(default)]
    pub scenario_file: Option<String>,
    /// The machine that made the requests.
    pub host: HostRecord,
    /// When the measured part began.
    pub start: StartRecord,
}

/// The scenario as resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// The request's method.
    pub method: String,
    /// Names of the headers that were added; values may be secret and are not kept.
    pub header_names: Vec<String>,
    /// The body template.
    #[serde(default)]
    pub body: String,
    /// The query file.
    pub queries: Option<String>,
    /// Digest of its texts; empty without a query file.
    #[serde(default)]
    pub queries_blake3: String,
    /// Texts in it.
    pub query_count: u64,
    /// Whether every query was made different.
    pub unique: bool,
    /// Whether each pass over it had an order of its own.
    #[serde(default)]
    pub shuffle: bool,
    /// Requests a second; of stages the rate to begin with, 0 when they begin at 0.
    pub qps: f64,
    /// How the rate changed; empty for a constant rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// The most requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Measured seconds.
    pub duration_s: f64,
    /// Seconds of a window.
    pub window_s: f64,
    /// Seconds before the measured ones.
    pub warmup_s: f64,
    /// `uniform` or `poisson`.
    pub arrivals: String,
    /// The seed of random arrivals.
    pub seed: u64,
    /// Request timeout, from send.
    pub timeout_ms: u64,
    /// How long requests in flight were waited for at the end.
    pub grace_ms: u64,
    /// The in-flight cap.
    pub max_in_flight: u64,
    /// Most connections at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// Whose certificates were trusted over https: `system`, `anybody` or a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Statuses that are not errors, as `200-299`.
    pub expected_status: Vec<String>,
    /// What answers had to hold besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// What sources of answers were held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevance: Option<RelevanceRecord>,
    /// The Prometheus that the target's own histogram was asked of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusRecord>,
    /// Thresholds as written.
    pub thresholds: Vec<String>,
    /// Drift budgets, as thresholds on growth.
    #[serde(default)]
    pub drift: Vec<String>,
    /// Step budgets.
    #[serde(default)]
    pub steps: Vec<String>,
    /// What is sampled beside the windows.
    #[serde(default)]
    pub sample: SampleRecord,
    /// What evidence was taken in a bad moment; `None`: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<RecorderRecord>,
}

impl ScenarioRecord {
    /// How many windows the run has when it goes to its planned end.
    #[must_use]
    pub fn windows(&self) -> u64 {
        let in_ns = |s: f64| nanoseconds(Duration::try_from_secs_f64(s).unwrap_or_default());
        in_ns(self.duration_s).div_ceil(in_ns(self.window_s).max(1))
    }

    /// How much was asked, in words: `50/s`, or `stages 0 → 50 → 50/s`.
    #[must_use]
    pub fn load(&self) -> String {
        if self.stages.is_empty() {
            return format!("{}/s", self.qps);
        }
        let ends = self.stages.iter().map(|stage| stage.per_s.to_string());
        let rates: Vec<String> = std::iter::once(self.qps.to_string()).chain(ends).collect();
        format!("stages {}/s", rates.join(" → "))
    }
}

/// What is sampled beside the windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// The systemd unit under test.
    pub unit: Option<String>,
    /// Else the process under test; its children count too.
    pub pid: Option<u32>,
    /// Where its metrics are.
    pub metrics: Option<String>,
    /// Which of them are kept: names, or beginnings of names that end in `*`.
    pub metrics_series: Vec<String>,
}

/// Facts of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name.
    pub hostname: String,
    /// Kernel name and release.
    pub kernel: String,
    /// Its architecture.
    pub machine: String,
    /// Processors that this process may use.
    pub cpus: u64,
    /// Memory.
    pub memory_bytes: u64,
}

/// A moment on three clocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartRecord {
    /// RFC 3339, UTC.
    pub wall: String,
    /// `CLOCK_MONOTONIC`, which stands still while the machine is suspended.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`, which does not.
    pub boottime_ns: u64,
    /// Names the boot of the machine: on another, only the wall clock can be compared.
    #[serde(default)]
    pub boot_id: String,
}

/// A line of `windows.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// 0-based.
    pub window: u64,
    /// From the end of the warm-up.
    pub start_s: f64,
    /// Its length.
    pub length_s: f64,
    /// How the requests due in it ended.
    pub counts: Counts,
    /// The errors among them.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// The same errors by what was said of them; the commonest, the rest as `others`.
    #[serde(default)]
    pub errors_by_cause: BTreeMap<String, u64>,
    /// See [`super::latency::Series`].
    pub response_us: Percentiles<u64>,
    /// See [`super::latency::Series`].
    pub ok_us: Percentiles<u64>,
    /// See [`super::latency::Series`].
    pub service_us: Percentiles<u64>,
    /// See [`super::latency::Series`].
    pub lag_us: Percentiles<u64>,
    /// What answers said of the target's cache.
    pub cache: CacheCounts,
    /// Whether answers cited relevant sources, of queries with judgments.
    #[serde(default, skip_serializing_if = "RelevanceCounts::is_empty")]
    pub relevance: RelevanceCounts,
    /// What was used meanwhile.
    pub resources: ResourceRecord,
    /// What the unit or process under test used, where it is sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitSample>,
    /// How the machine was, where that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSample>,
    /// Series of the target's `/metrics` at the end of the window, by name and labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// What the run used while a window was open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceRecord {
    /// CPU seconds of the generator since the window before closed.
    pub generator_cpu_s: f64,
    /// Resident memory of the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_rss_bytes: Option<u64>,
}

/// The verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every threshold held.
    Pass,
    /// The run is sound and a threshold was crossed.
    Fail,
    /// The run cannot be judged.
    Invalid,
}

impl Verdict {
    /// `PASS`, `FAIL` or `INVALID`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
        }
    }
}

/// `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not PASS, in words.
    pub reasons: Vec<String>,
    /// See [`super::latency::Series`].
    pub response_ms: Percentiles<f64>,
    /// See [`super::latency::Series`].
    pub ok_ms: Percentiles<f64>,
    /// See [`super::latency::Series`].
    pub service_ms: Percentiles<f64>,
    /// See [`super::latency::Series`].
    pub lag_ms: Percentiles<f64>,
    /// How due requests ended.
    pub counts: Counts,
    /// The errors among them.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// The same errors by what was said of them; the commonest, the rest as `others`.
    #[serde(default)]
    pub errors_by_cause: BTreeMap<String, u64>,
    /// 0 to 1; `null` when nothing was due.
    pub error_rate: Option<f64>,
    /// Requests that ended ok, a measured second.
    pub throughput_per_s: f64,
    /// Every threshold with its value.
    pub thresholds: Vec<ThresholdRecord>,
    /// Every drift test, or why there is none.
    pub drift: Vec<DriftRecord>,
    /// Step changes; searched for in runs of 120 windows and more.
    pub steps: Vec<StepRecord>,
    /// What the target's cache did, as far as its answers say.
    pub cache: CacheRecord,
    /// The share of judged answers with a relevant source among the first three, 0 to 1: hit rate@3.
    /// There is none without judgments, or when no judged query was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_rate: Option<f64>,
    /// The counts behind it, where there are judgments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevance: Option<JudgedRecord>,
    /// The target's own histogram, where a Prometheus was to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerRecord>,
    /// How well requests were made.
    pub generator: GeneratorRecord,
    /// How much of the plan was measured, and what the clocks did meanwhile.
    pub coverage: CoverageRecord,
}

/// One threshold's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRecord {
    /// As written, without the scope.
    pub expr: String,
    /// What it was applied to: `run`, `every window`, `every 5m`, `last quarter`.
    pub scope: String,
    /// Milliseconds, a share of 1, requests a second, or bytes; of the worst stretch; `null` when
    /// nothing was measured.
    pub value: Option<f64>,
    /// Whether it held.
    pub pass: bool,
    /// Where the worst stretch begins, in seconds from the end of the warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_s: Option<f64>,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
}

/// One drift test's outcome. Everything "an hour" is in `unit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftRecord {
    /// What was tested: `p95`, `rss` and so on.
    pub series: String,
    /// `pass`, `fail`, `not judged` (no budget), `not applicable` (the run is too short) or
    /// `insufficient` (data is missing).
    pub status: String,
    /// Why, with the figures.
    pub reason: String,
    /// `ms/h`, `bytes/h` or `1/h`.
    pub unit: String,
    /// The most that it may rise.
    pub budget_per_h: Option<f64>,
    /// The Theil–Sen slope of the floors.
    pub slope_per_h: Option<f64>,
    /// The lower bound of its 95 % interval.
    pub lower_per_h: Option<f64>,
    /// The upper bound.
    pub upper_per_h: Option<f64>,
    /// From the floor of the first half to that of the second.
    pub halves_per_h: Option<f64>,
    /// The slope of the last half.
    pub last_half_per_h: Option<f64>,
    /// The slope of the last quarter.
    pub last_quarter_per_h: Option<f64>,
    /// The level at which it began, in the unit without the hour.
    pub level: Option<f64>,
    /// Floors that the slope rests on.
    pub floors: u64,
    /// Windows that had the figure.
    pub values: u64,
}

impl DriftRecord {
    /// Whether there was a budget and enough to judge it by.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        matches!(self.status.as_str(), "pass" | "fail")
    }
}

/// A change of a figure's level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Of what: `p95`, `rss` and so on.
    pub series: String,
    /// `ms`, `bytes` or `count`.
    pub unit: String,
    /// When, in seconds from the end of the warm-up.
    pub at_s: f64,
    /// The level since the step before.
    pub before: f64,
    /// The level until the next.
    pub after: f64,
    /// The change as a share of the level before; below 0 it fell.
    pub change: f64,
    /// The most that it may step up, as a share; `null` when the scenario sets none.
    pub budget: Option<f64>,
    /// Whether it is within the budget; always without one.
    pub pass: bool,
}

/// What the target's cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Texts in the query set.
    pub query_count: u64,
    /// Whether every query was made different.
    pub unique: bool,
    /// Answers that said whether their embedding was cached.
    pub answers: u64,
    /// The cached share of these, 0 to 1; `null` when no answer said.
    pub hit_rate: Option<f64>,
}

/// The counts behind a hit rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedRecord {
    /// So many of the first sources of an answer count.
    pub k: u64,
    /// Queries of the query set that have a judgment.
    pub queries: u64,
    /// Answers, hits, and answers that were not looked at.
    #[serde(flatten)]
    pub counts: RelevanceCounts,
}

/// How well requests were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorRecord {
    /// Processors that the generator kept busy on average.
    pub cpu_cores: f64,
    /// p99 of `lag`; `null` when nothing was sent.
    pub lag_p99_ms: Option<f64>,
}

/// How much of the plan was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CoverageRecord {
    /// Seconds that were measured.
    pub measured_s: f64,
    /// Windows that the run was to have (fewer after an interrupt).
    pub windows_planned: u64,
    /// Windows that were recorded.
    pub windows_recorded: u64,
    /// Whether an interrupt ended the run before its planned end.
    pub stopped_early: bool,
    /// How long the machine was suspended meanwhile.
    pub suspended_ms: u64,
    /// How far the wall clock was stepped meanwhile; harmless.
    pub wall_step_ms: i64,
}
