//! `alfred runs list`: a line a run.

use super::{Context, Outcome, folder_failure, json, to_stdout};
use crate::plain;
use crate::report::text::Palette;
use crate::soak::capacity::CapacityRecord;
use crate::soak::record::{RunRecord, VerdictRecord};
use crate::soak::shelf::{self, Entry, Kind, State};
use crate::soak::units::show_duration;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Which runs are listed.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only runs of this scenario
    #[arg(long, value_name = "SCENARIO")]
    name: Option<String>,
    /// Only runs that ended so, or did not end
    #[arg(long, value_enum, ignore_case = true)]
    verdict: Option<Ended>,
    /// The newest so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Ended {
    #[value(name = "PASS")]
    Pass,
    #[value(name = "FAIL")]
    Fail,
    #[value(name = "INVALID")]
    Invalid,
    Running,
    Unfinished,
    Damaged,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::Running => "running",
            Self::Unfinished => "unfinished",
            Self::Damaged => "damaged",
        }
    }
}

/// A run or a search as JSON has it, here and in `GET /v1/runs`.
#[derive(serde::Serialize)]
pub(in crate::cli) struct Listed {
    run: String,
    /// `run` or `capacity`.
    kind: &'static str,
    name: String,
    start: String,
    target: String,
    qps: f64,
    /// What was measured, where the run ended; else what is planned.
    duration_s: f64,
    /// An interrupt ended it before its planned end.
    stopped_early: bool,
    /// `finished`, `running`, `unfinished` or `damaged`.
    state: &'static str,
    verdict: Option<String>,
    /// Requests that were due.
    requests: Option<u64>,
    p95_ms: Option<f64>,
    error_rate: Option<f64>,
}

pub(super) fn run(args: &ListArgs, runs_dir: &Path, context: &Context) -> Outcome {
    let entries = shelf::entries(runs_dir).map_err(folder_failure)?;
    let is_empty = entries.is_empty();
    let is_wanted = |entry: &&Entry| {
        args.name
            .as_ref()
            .is_none_or(|name| entry.scenario() == name)
            && args
                .verdict
                .is_none_or(|ended| entry.state.as_str() == ended.as_str())
    };
    let mut listed: Vec<Listed> = entries.iter().filter(is_wanted).map(list_one).collect();
    let skipped = listed
        .len()
        .saturating_sub(args.limit.unwrap_or(usize::MAX));
    listed.drain(..skipped);
    let text = if context.json {
        json(&listed)?
    } else if is_empty {
        format!(
            "no runs in {}; make one with: alfred soak --help\n",
            runs_dir.display()
        )
    } else if listed.is_empty() {
        format!("no such runs in {}\n", runs_dir.display())
    } else {
        table(&listed)
    };
    to_stdout(&text)
}

/// One entry.
pub(in crate::cli) fn list_one(entry: &Entry) -> Listed {
    let run = entry.name();
    let state = match entry.state {
        State::Finished(_) => "finished",
        other => other.as_str(),
    };
    match &entry.kind {
        Kind::Run {
            run: record,
            verdict,
        } => whole(run, state, record, verdict.as_deref()),
        Kind::Capacity(record) => capacity(run, state, record),
        Kind::Damaged => Listed {
            run,
            kind: "run",
            name: String::new(),
            start: String::new(),
            target: String::new(),
            qps: 0.0,
            duration_s: 0.0,
            stopped_early: false,
            state,
            verdict: Some(state.to_owned()),
            requests: None,
            p95_ms: None,
            error_rate: None,
        },
    }
}

fn whole(
    run: String,
    state: &'static str,
    record: &RunRecord,
    verdict: Option<&VerdictRecord>,
) -> Listed {
    let coverage = verdict.map(|verdict| &verdict.coverage);
    Listed {
        run,
        kind: "run",
        name: record.name.clone(),
        start: record.start.wall.clone(),
        target: record.target.clone(),
        qps: record.scenario.qps,
        duration_s: coverage.map_or(record.scenario.duration_s, |coverage| coverage.measured_s),
        stopped_early: coverage.is_some_and(|coverage| coverage.stopped_early),
        state,
        verdict: verdict.map(|verdict| verdict.verdict.as_str().to_owned()),
        requests: verdict.map(|verdict| verdict.counts.due),
        p95_ms: verdict.and_then(|verdict| verdict.response_ms.p95),
        error_rate: verdict.and_then(|verdict| verdict.error_rate),
    }
}

/// A search: the rate is the highest that held, the figures are those of the last step at that rate.
fn capacity(run: String, state: &'static str, record: &CapacityRecord) -> Listed {
    let step = record.last_held();
    Listed {
        run,
        kind: "capacity",
        name: record.name.clone(),
        start: record.start.clone(),
        target: record.target.clone(),
        qps: record.held.map_or(0.0, |held| held.rate_per_s),
        duration_s: record.took_s.round(),
        stopped_early: false,
        state,
        verdict: record.verdict.map(|verdict| verdict.as_str().to_owned()),
        requests: step.map(|step| step.counts.due),
        p95_ms: step.and_then(|step| step.response_ms.p95),
        error_rate: step.and_then(|step| step.error_rate),
    }
}

fn table(listed: &[Listed]) -> String {
    let palette = Palette::new(console::colors_enabled());
    let widest = listed
        .iter()
        .map(|one| one.run.chars().count())
        .max()
        .unwrap_or(0)
        .max(3);
    let head = format!(
        "{:<10} {:<widest$} {:>9} {:>9} {:>11} {:>8}",
        "VERDICT", "RUN", "RATE", "FOR", "P95", "ERRORS"
    );
    let mut text = format!("{}\n", palette.quiet.apply_to(head));
    for one in listed {
        let word = one.verdict.as_deref().unwrap_or(one.state);
        let style = match word {
            "PASS" => &palette.good,
            "FAIL" => &palette.bad,
            _ => &palette.doubtful,
        };
        let length = Duration::try_from_secs_f64(one.duration_s).unwrap_or_default();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            text,
            "{} {:<widest$} {:>9} {:>9} {:>11} {:>8}{}",
            style.apply_to(format!("{word:<10}")),
            plain::one_line(&one.run),
            format!("{}/s", one.qps),
            show_duration(length),
            or_dash(one.p95_ms.map(show_ms)),
            or_dash(one.error_rate.map(|rate| format!("{:.2} %", rate * 100.0))),
            if one.stopped_early {
                "  stopped early"
            } else {
                ""
            },
        );
    }
    text
}

fn show_ms(milliseconds: f64) -> String {
    if milliseconds >= 1_000.0 {
        format!("{:.2} s", milliseconds / 1_000.0)
    } else {
        format!("{milliseconds:.2} ms")
    }
}
