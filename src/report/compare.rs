//! PURE but for reading histograms: a run beside a baseline, by batches of merged windows.
//! The method is [`welch`]'s.

use crate::soak::figure::Figure;
use crate::soak::latency::{Latencies, Series, value_at};
use crate::soak::record::ScenarioRecord;
use crate::soak::run_folder::{RecordedRun, RunFolderError, each_histogram};
use crate::soak::stats::numbers::{mean, size};
use crate::soak::stats::welch::{self, batch_ranges, batch_windows};
use crate::soak::units::{float, milliseconds};
use std::collections::BTreeMap;

/// Quantiles of `response` that are compared.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
const THROUGHPUT: &str = "throughput";
const RSS: &str = "rss";
/// What is compared, in the order in which it is shown.
const METRICS: [&str; 5] = ["p50", "p95", "p99", THROUGHPUT, RSS];

/// A run, or several merged, beside a baseline.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Ids of the baseline's runs.
    pub baseline: Vec<String>,
    /// Windows in a batch.
    pub batch_windows: usize,
    /// Batches of the baseline, and of the run.
    pub batches: [usize; 2],
    /// What was compared.
    pub metrics: Vec<Compared>,
    /// In what the scenarios differ, in words: then a difference may come from there.
    pub notes: Vec<String>,
}

/// One figure of both.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Compared {
    /// `p50`, `p95`, `p99`, `throughput` or `rss`.
    pub metric: String,
    /// `ms`, `1/s` or `bytes`.
    pub unit: String,
    /// The baseline's typical batch (geometric mean); `null` when it was not measured.
    pub baseline: Option<f64>,
    /// The run's.
    pub run: Option<f64>,
    /// The run's over the baseline's.
    pub ratio: Option<f64>,
    /// The lower end of its 98 % interval.
    pub lower: Option<f64>,
    /// The upper end.
    pub upper: Option<f64>,
    /// A rise by this share would have been seen with 90 %.
    pub smallest_seen: Option<f64>,
    /// `higher`, `lower`, `no difference seen` or `cannot be compared`.
    pub result: String,
}

/// Where not even a rise by this share would have been seen, a comparison says nothing.
const NOISY: f64 = 1.0;

impl Compared {
    /// Whether the windows differ so much among themselves that nothing can be said: the figures of the
    /// interval mean nothing then.
    pub(super) fn is_too_noisy(&self) -> bool {
        self.result == "no difference seen" && self.smallest_seen.is_some_and(|seen| seen > NOISY)
    }

    /// `value` of either with its unit.
    pub(super) fn show(&self, value: f64) -> String {
        match self.metric.as_str() {
            THROUGHPUT => format!("{value:.2}/s"),
            RSS => Figure::Rss.show(value),
            _ => Figure::P95.show(value),
        }
    }
}

/// What is said in the place of an interval.
pub(super) const TOO_NOISY: &str =
    "cannot be compared: too noisy, not even twice as much would have been seen";

/// Batch values by metric.
type Batches = BTreeMap<&'static str, Vec<f64>>;

/// Compares `runs` with `baseline`.
///
/// # Errors
/// When histograms cannot be read.
pub fn compare(
    baseline: &[RecordedRun],
    runs: &[RecordedRun],
) -> Result<Comparison, RunFolderError> {
    let windows = |runs: &[RecordedRun]| runs.iter().map(whole_windows).min().unwrap_or(0);
    let batch = batch_windows(windows(baseline).min(windows(runs)));
    let (old, new) = (all_batches(baseline, batch)?, all_batches(runs, batch)?);
    let count = |batches: &Batches| batches[THROUGHPUT].len();
    Ok(Comparison {
        baseline: baseline.iter().map(|run| run.run.id.clone()).collect(),
        batch_windows: batch,
        batches: [count(&old), count(&new)],
        metrics: METRICS
            .map(|metric| compared(metric, &old[metric], &new[metric]))
            .to_vec(),
        notes: differences(baseline, runs),
    })
}

/// Windows of full length: an interrupted or uneven end leaves a shorter last one.
fn whole_windows(run: &RecordedRun) -> usize {
    let planned_s = run.run.scenario.window_s;
    let whole = |length_s: f64| length_s > planned_s * 0.999;
    run.windows
        .iter()
        .take_while(|window| whole(window.length_s))
        .count()
}

fn all_batches(runs: &[RecordedRun], batch: usize) -> Result<Batches, RunFolderError> {
    let mut all: Batches = METRICS.iter().map(|metric| (*metric, Vec::new())).collect();
    for run in runs {
        for (metric, values) in batches(run, batch)? {
            all.entry(metric).or_default().extend(values);
        }
    }
    Ok(all)
}

fn batches(run: &RecordedRun, batch: usize) -> Result<Batches, RunFolderError> {
    let ranges: Vec<_> = batch_ranges(whole_windows(run), batch).collect();
    let mut batches = Batches::new();
    for range in &ranges {
        let windows = &run.windows[range.clone()];
        let ok: u64 = windows.iter().map(|window| window.counts.ok).sum();
        let length_s: f64 = windows.iter().map(|window| window.length_s).sum();
        batches
            .entry(THROUGHPUT)
            .or_default()
            .push(float(ok) / length_s);
        let held: Vec<f64> = windows
            .iter()
            .filter_map(|window| Figure::Rss.of(window))
            .collect();
        batches.entry(RSS).or_default().extend(mean(&held));
    }
    let mut merged = Latencies::default();
    let last = ranges.last().map_or(0, |range| range.end);
    each_histogram(&run.folder, last, &mut |place, series, histogram| {
        if series != Series::Response {
            return;
        }
        merged.add(series, histogram);
        if ranges.iter().any(|range| range.end == place + 1) {
            for (metric, quantile) in QUANTILES {
                let value = value_at(merged.of(series), quantile).map(milliseconds);
                batches.entry(metric).or_default().extend(value);
            }
            merged = Latencies::default();
        }
    })?;
    Ok(batches)
}

fn compared(metric: &str, old: &[f64], new: &[f64]) -> Compared {
    let found = welch::compare(old, new);
    let typical = |values: &[f64]| {
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        mean(&logs).map(f64::exp).filter(|value| value.is_finite())
    };
    let result = match &found {
        None => "cannot be compared",
        Some(found) if found.differs && found.ratio > 1.0 => "higher",
        Some(found) if found.differs => "lower",
        Some(_) => "no difference seen",
    };
    let unit = match metric {
        THROUGHPUT => "1/s",
        RSS => "bytes",
        _ => "ms",
    };
    Compared {
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        baseline: typical(old),
        run: typical(new),
        ratio: found.map(|found| found.ratio),
        lower: found.map(|found| found.lower),
        upper: found.map(|found| found.upper),
        smallest_seen: found.map(|found| found.smallest_seen),
        result: result.to_owned(),
    }
}

fn differences(baseline: &[RecordedRun], runs: &[RecordedRun]) -> Vec<String> {
    let (Some(old), Some(new)) = (baseline.first(), runs.first()) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    let mut note = |name: &str, old: String, new: String| {
        if old != new {
            notes.push(format!("{name}: {old} in the baseline, {new} in the run"));
        }
    };
    note("target", old.run.target.clone(), new.run.target.clone());
    let rate = |runs: &[RecordedRun]| {
        let all: f64 = runs.iter().map(|run| run.run.scenario.qps).sum();
        (all / size(runs.len())).to_string()
    };
    note("requests a second", rate(baseline), rate(runs));
    let of = |scenario: &ScenarioRecord| {
        [
            ("window", format!("{} s", scenario.window_s)),
            ("arrivals", scenario.arrivals.clone()),
            ("texts in the query set", scenario.query_count.to_string()),
            ("queries made unique", scenario.unique.to_string()),
            ("timeout", format!("{} ms", scenario.timeout_ms)),
        ]
    };
    for ((name, old), (_, new)) in of(&old.run.scenario).into_iter().zip(of(&new.run.scenario)) {
        note(name, old, new);
    }
    notes
}
