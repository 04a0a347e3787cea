//! Reports on recorded runs, from their run folders alone.
//!
//! One run or several: histograms are added without loss, so percentiles of several runs are those
//! of all their requests together, never averages of percentiles.

mod beside;
mod csv;
mod hlog;
mod junit;
pub mod live;
mod prom;
pub mod text;

use crate::soak::record::{Verdict, VerdictRecord};
use crate::soak::run_folder::RecordedRun;
use crate::soak::tally::Tally;
use crate::soak::threshold::Threshold;
use crate::soak::units::float;
use crate::soak::verdict::{End, Evidence, judge};
use std::fmt::Write as _;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// The shape of verdict.json, with the runs.
    Json,
    /// One line a window.
    Csv,
    /// HdrHistogram interval log.
    Hlog,
    /// JUnit XML: one case a threshold.
    Junit,
    /// Prometheus text, for the textfile collector.
    Prom,
}

/// One or several runs, and what they amount to together.
#[derive(Debug)]
pub struct Report {
    /// The runs, as given.
    pub runs: Vec<RecordedRun>,
    /// All their requests.
    pub tally: Tally,
    /// Of one finished run its own verdict; else judged anew from the folders.
    pub verdict: VerdictRecord,
}

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of a run folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be turned into JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Puts runs together.
    #[must_use]
    pub fn of(runs: Vec<RecordedRun>) -> Self {
        let mut tally = Tally::default();
        for run in &runs {
            tally.add(&run.tally);
        }
        let own = match runs.as_slice() {
            [run] => run.verdict.clone(),
            _ => None,
        };
        let verdict = own.unwrap_or_else(|| judge_together(&runs, &tally));
        Self {
            runs,
            tally,
            verdict,
        }
    }

    /// Writes it; `color` is for [`Format::Text`].
    ///
    /// # Errors
    /// When a histogram log cannot be read again.
    pub fn write(&self, format: Format, color: bool) -> Result<String, ReportError> {
        match format {
            Format::Text => Ok(text::report(self, color)),
            Format::Json => self.json(),
            Format::Csv => Ok(csv::report(self)),
            Format::Hlog => hlog::report(self),
            Format::Junit => Ok(junit::report(self)),
            Format::Prom => Ok(prom::report(self)),
        }
    }

    fn json(&self) -> Result<String, ReportError> {
        #[derive(serde::Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            verdict: &'a VerdictRecord,
            runs: Vec<One<'a>>,
        }
        #[derive(serde::Serialize)]
        struct One<'a> {
            folder: String,
            #[serde(flatten)]
            run: &'a crate::soak::record::RunRecord,
            windows: usize,
            verdict: Option<Verdict>,
        }
        let runs = self.runs.iter().map(|run| One {
            folder: run.folder.display().to_string(),
            run: &run.run,
            windows: run.windows.len(),
            verdict: run.verdict.as_ref().map(|verdict| verdict.verdict),
        });
        let whole = Whole {
            verdict: &self.verdict,
            runs: runs.collect(),
        };
        let mut text = serde_json::to_string_pretty(&whole)?;
        text.push('\n');
        Ok(text)
    }
}

/// Several runs, or one that never ended: what their windows amount to under all their thresholds.
fn judge_together(runs: &[RecordedRun], tally: &Tally) -> VerdictRecord {
    let mut thresholds: Vec<Threshold> = Vec::new();
    for text in runs.iter().flat_map(|run| &run.run.scenario.thresholds) {
        if let Ok(threshold) = text.parse::<Threshold>()
            && !thresholds.contains(&threshold)
        {
            thresholds.push(threshold);
        }
    }
    let coverage = |run: &RecordedRun| run.verdict.as_ref().map(|verdict| verdict.coverage);
    let slept_ms = runs
        .iter()
        .filter_map(coverage)
        .map(|c| c.suspended_ms)
        .max();
    let planned = |run: &RecordedRun| {
        coverage(run).map_or_else(|| planned_windows(run), |coverage| coverage.windows_planned)
    };
    let first = runs.first();
    let mut record = judge(&Evidence {
        tally,
        thresholds: &thresholds,
        measured_ns: measured_together_ns(runs),
        windows_planned: runs.iter().map(planned).sum(),
        windows_recorded: runs.iter().map(|run| run.windows.len() as u64).sum(),
        max_in_flight: first.map_or(0, |run| {
            usize::try_from(run.run.scenario.max_in_flight).unwrap_or(usize::MAX)
        }),
        end: End::Planned,
        suspended: Duration::from_millis(slept_ms.unwrap_or(0)),
        wall_step_ms: 0,
        generator_cpu_s: runs
            .iter()
            .flat_map(|run| &run.windows)
            .map(|window| window.resources.generator_cpu_s)
            .sum(),
        query_count: first.map_or(0, |run| run.run.scenario.query_count),
        unique: first.is_some_and(|run| run.run.scenario.unique),
    });
    for run in runs {
        let problem = match &run.verdict {
            None => "did not end: it has no verdict",
            Some(own) if own.verdict == Verdict::Invalid => "is INVALID by itself",
            Some(_) => continue,
        };
        record.verdict = Verdict::Invalid;
        record
            .reasons
            .insert(0, format!("{} {problem}", run.run.id));
    }
    record
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of windows: rounded up, positive, and limited by the length of a run"
)]
fn planned_windows(run: &RecordedRun) -> u64 {
    (run.run.scenario.duration_s / run.run.scenario.window_s).ceil() as u64
}

/// When the measured part of a run began, in seconds since the epoch.
fn start_s(run: &RecordedRun) -> f64 {
    OffsetDateTime::parse(&run.run.start.wall, &Rfc3339).map_or(0.0, |start| {
        let milliseconds = start.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(milliseconds).map_or(0.0, |milliseconds| float(milliseconds) / 1e3)
    })
}

/// How long at least one of the runs was measuring: what the throughput of runs that followed each
/// other, or ran side by side, is to be divided by.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and far below 2^64"
)]
fn measured_together_ns(runs: &[RecordedRun]) -> u64 {
    let mut spans: Vec<(f64, f64)> = runs
        .iter()
        .map(|run| {
            let start_s = start_s(run);
            let measured_s = run
                .windows
                .iter()
                .map(|window| window.length_s)
                .sum::<f64>();
            (start_s, start_s + measured_s)
        })
        .collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut total_s, mut until_s) = (0.0, f64::NEG_INFINITY);
    for (start_s, end_s) in spans {
        total_s += (end_s - start_s.max(until_s)).max(0.0);
        until_s = until_s.max(end_s);
    }
    (total_s * 1e9) as u64
}

/// `text` with what XML and Prometheus labels cannot hold escaped by `escape`.
fn escaped(text: &str, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match escape(character) {
            Some(replacement) => safe.push_str(replacement),
            None => {
                let _ = write!(safe, "{character}");
            }
        }
    }
    safe
}
