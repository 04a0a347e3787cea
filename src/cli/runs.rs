//! `alfred runs`: the recorded runs with their verdicts.

use super::report::{folder_failure, to_stdout};
use super::{Context, Outcome};
use crate::failure::Failure;
use crate::report::text::Palette;
use crate::soak::record::{RunRecord, VerdictRecord};
use crate::soak::run_folder;
use crate::soak::units::show_duration;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  alfred runs
  alfred runs --json";

/// Lists recorded runs with their verdicts, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RunsArgs {}

#[derive(serde::Serialize)]
struct Listed {
    run: String,
    name: String,
    start: String,
    target: String,
    qps: f64,
    duration_s: f64,
    verdict: Option<String>,
    p95_ms: Option<f64>,
    error_rate: Option<f64>,
}

/// Runs the verb on the runs in `runs_dir`.
///
/// # Errors
/// When the folder cannot be listed. A run that cannot be read is listed as damaged.
pub fn run(_args: &RunsArgs, runs_dir: &Path, context: &Context) -> Outcome {
    let folders = run_folder::list(runs_dir).map_err(folder_failure)?;
    let listed: Vec<Listed> = folders.iter().map(|folder| list_one(folder)).collect();
    let text = if context.json {
        serde_json::to_string_pretty(&listed)
            .map_err(|error| Failure::failed("cannot write JSON").because(error))?
            + "\n"
    } else if listed.is_empty() {
        format!(
            "no runs in {}; make one with: alfred soak --help\n",
            runs_dir.display()
        )
    } else {
        table(&listed)
    };
    to_stdout(&text)
}

fn list_one(folder: &Path) -> Listed {
    let run = folder
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let read = run_folder::read_run(folder)
        .and_then(|record| Ok((record, run_folder::read_verdict(folder)?)));
    match read {
        Ok((record, verdict)) => whole(run, record, verdict.as_ref()),
        Err(_) => Listed {
            run,
            name: String::new(),
            start: String::new(),
            target: String::new(),
            qps: 0.0,
            duration_s: 0.0,
            verdict: Some("damaged".to_owned()),
            p95_ms: None,
            error_rate: None,
        },
    }
}

fn whole(run: String, record: RunRecord, verdict: Option<&VerdictRecord>) -> Listed {
    Listed {
        run,
        name: record.name,
        start: record.start.wall,
        target: record.target,
        qps: record.scenario.qps,
        duration_s: record.scenario.duration_s,
        verdict: verdict.map(|verdict| verdict.verdict.as_str().to_owned()),
        p95_ms: verdict.and_then(|verdict| verdict.response_ms.p95),
        error_rate: verdict.and_then(|verdict| verdict.error_rate),
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
        let word = one.verdict.as_deref().unwrap_or("unfinished");
        let style = match word {
            "PASS" => &palette.good,
            "FAIL" => &palette.bad,
            _ => &palette.doubtful,
        };
        let length = Duration::try_from_secs_f64(one.duration_s).unwrap_or_default();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            text,
            "{} {:<widest$} {:>9} {:>9} {:>11} {:>8}",
            style.apply_to(format!("{word:<10}")),
            one.run,
            format!("{}/s", one.qps),
            show_duration(length),
            or_dash(one.p95_ms.map(show_ms)),
            or_dash(one.error_rate.map(|rate| format!("{:.2} %", rate * 100.0))),
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
