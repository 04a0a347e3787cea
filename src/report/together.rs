//! Several runs judged as one, and one that never ended: from what their folders say.

use crate::soak::findings::{Asked, Findings};
use crate::soak::record::{Verdict, VerdictRecord};
use crate::soak::run_folder::{self, RecordedRun, RunFolderError};
use crate::soak::tally::Tally;
use crate::soak::threshold::Threshold;
use crate::soak::units::float;
use crate::soak::verdict::{self, End, Evidence};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What their windows amount to under all their thresholds. Thresholds on the whole run are held
/// against all requests together; what is looked for along the time, in each run by itself.
pub(super) fn judge(runs: &[RecordedRun], tally: &Tally) -> Result<VerdictRecord, RunFolderError> {
    let thresholds: Vec<Threshold> = all(runs, |run| &run.run.scenario.thresholds);
    let (findings, too_short) = findings(runs, &thresholds)?;
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
    let (windows_planned, windows_recorded) = (
        runs.iter().map(planned).sum::<u64>(),
        runs.iter().map(|run| run.windows.len() as u64).sum::<u64>(),
    );
    let measured_ns = measured_together_ns(runs);
    // What is missing is known in windows alone.
    let missing = windows_planned.saturating_sub(windows_recorded);
    let missing_ns = (measured_ns / windows_recorded.max(1)).saturating_mul(missing);
    let mut record = verdict::judge(&Evidence {
        tally,
        thresholds: &thresholds,
        findings: &findings,
        too_short,
        planned_ns: measured_ns.saturating_add(missing_ns),
        measured_ns,
        windows_planned,
        windows_recorded,
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
        judged_queries: first
            .and_then(|run| run.run.scenario.relevance.as_ref())
            .map(|relevance| relevance.queries),
        // Each run was checked by itself.
        server: None,
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
    Ok(record)
}

/// What the runs say in `list`, each once.
fn all<T: FromStr + PartialEq>(
    runs: &[RecordedRun],
    list: impl Fn(&RecordedRun) -> &Vec<String>,
) -> Vec<T> {
    let mut read: Vec<T> = Vec::new();
    for one in runs
        .iter()
        .flat_map(list)
        .filter_map(|text| text.parse().ok())
    {
        if !read.contains(&one) {
            read.push(one);
        }
    }
    read
}

/// The worst of what each run shows by itself.
fn findings(
    runs: &[RecordedRun],
    thresholds: &[Threshold],
) -> Result<(Findings, Vec<String>), RunFolderError> {
    let drift: Vec<Threshold> = all(runs, |run| &run.run.scenario.drift);
    let steps = all(runs, |run| &run.run.scenario.steps);
    let mut together = Findings {
        worst: vec![None; thresholds.len()],
        ..Findings::default()
    };
    let mut too_short = Vec::new();
    for run in runs {
        let asked = Asked {
            thresholds,
            drift: &drift,
            steps: &steps,
            window_s: run.run.scenario.window_s,
            measured_s: measured_s(run),
        };
        let (mut own, own_short) = run_folder::findings(&run.folder, &asked)?;
        if runs.len() > 1 {
            own.name_the_run(&run.run.id);
        }
        together.take_worse(own, thresholds);
        too_short.extend(own_short.iter().map(|reason| of_run(run, reason)));
    }
    Ok((together, too_short))
}

fn of_run(run: &RecordedRun, reason: &dyn Display) -> String {
    format!("{}: {reason}", run.run.id)
}

/// How long a run was to measure, or did when it was stopped before.
fn measured_s(run: &RecordedRun) -> f64 {
    let own = run
        .verdict
        .as_ref()
        .map(|verdict| verdict.coverage.measured_s);
    own.unwrap_or(run.run.scenario.duration_s)
}

/// By how much the starts of several runs lie apart, each by the clock of its own host.
pub(super) fn starts_apart_s(runs: &[RecordedRun]) -> Option<f64> {
    let starts = || runs.iter().map(start_s);
    let apart = starts().reduce(f64::max)? - starts().reduce(f64::min)?;
    (runs.len() > 1).then_some(apart)
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
pub(super) fn start_s(run: &RecordedRun) -> f64 {
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
