//! `alfred report`: what recorded runs say.

use super::{Context, Outcome};
use crate::failure::Failure;
use crate::report::{Format, Report};
use crate::soak::capacity::record as capacity;
use crate::soak::run_folder::{self, RecordedRun, RunFolderError};
use crate::soak::run_log::files;
use crate::soak::shelf;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  The last run:
    alfred report latest

  Two runs as one, their histograms added without loss:
    alfred report 20261123T134501Z-soak-1f0c2d3e 20261123T141502Z-soak-77aa01b2

  A run beside an earlier one: ratios with intervals, and what could not have been seen:
    alfred report latest --baseline 20261123T134501Z-soak-1f0c2d3e

  A page with plots, which needs no network:
    alfred report latest --format html -o report.html

  For a CI server:
    alfred report latest --format junit -o soak.xml";

/// Reports on a recorded run, or on several merged without loss.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// Run folders, names of runs as `alfred runs` lists them, or `latest`
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// A run to compare with, in the formats text, json and html; repeatable, then merged
    #[arg(long, value_name = "RUN")]
    pub baseline: Vec<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Where to write it, instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the verb; runs that are named are looked for in `runs_dir`.
///
/// # Errors
/// When a run is not found or damaged, or the report cannot be written.
pub fn run(args: &ReportArgs, runs_dir: &Path, context: &Context) -> Outcome {
    let runs = args
        .runs
        .iter()
        .map(|name| read(name, runs_dir))
        .collect::<Result<Vec<_>, _>>()?;
    let format = if context.json && args.format == Format::Text {
        Format::Json
    } else {
        args.format
    };
    if !args.baseline.is_empty() && !matches!(format, Format::Text | Format::Json | Format::Html) {
        return Err(
            Failure::usage("a comparison is written as text, json or html")
                .hint("leave out --baseline, or use --format json"),
        );
    }
    if let Some(name) = named_twice(&runs) {
        return Err(Failure::usage(format!(
            "the run {name} is named twice, and would be added to itself"
        ))
        .hint("name each run once; to compare two runs: --baseline RUN"));
    }
    let color = args.output.is_none() && console::colors_enabled();
    let mut report = Report::of(runs).map_err(folder_failure)?;
    if !args.baseline.is_empty() {
        let baseline = args
            .baseline
            .iter()
            .map(|name| read(name, runs_dir))
            .collect::<Result<Vec<_>, _>>()?;
        report = report.compared_with(&baseline).map_err(folder_failure)?;
    }
    let text = report
        .write(format, color)
        .map_err(|error| Failure::failed("cannot write the report").because(error))?;
    match &args.output {
        None => to_stdout(&text),
        Some(path) => std::fs::write(path, text).map_err(|error| {
            Failure::failed(format!("cannot write the report to {}", path.display())).because(error)
        }),
    }
}

/// A run that stands among `runs` more than once.
fn named_twice(runs: &[RecordedRun]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let again = runs.iter().find(|run| !seen.insert(run.run.id.as_str()))?;
    Some(again.folder.display().to_string())
}

fn read(name: &str, runs_dir: &Path) -> Result<RecordedRun, Failure> {
    run_folder::read(&resolve(name, runs_dir)?).map_err(folder_failure)
}

/// The folder that `name` means: a run folder, a run in `runs_dir`, or `latest`.
pub(super) fn resolve(name: &str, runs_dir: &Path) -> Result<PathBuf, Failure> {
    let not_found = || {
        Failure::usage(format!("there is no run {name:?}"))
            .hint("list the recorded runs with: alfred runs")
    };
    if name == "latest" {
        let entries = shelf::entries(runs_dir).map_err(folder_failure)?;
        let is_run = |entry: &shelf::Entry| matches!(entry.kind, shelf::Kind::Run { .. });
        let latest = entries.into_iter().rfind(is_run);
        return latest.map(|entry| entry.folder).ok_or_else(not_found);
    }
    if Path::new(name).exists() {
        return Ok(PathBuf::from(name));
    }
    Some(runs_dir.join(name))
        .filter(|folder| folder.exists())
        .ok_or_else(not_found)
}

pub(super) fn folder_failure(error: RunFolderError) -> Failure {
    let hint = match &error {
        RunFolderError::NotARun { folder } if folder.join(capacity::FILE).is_file() => {
            let folder = folder.display();
            format!(
                "it is a search for the capacity: see it with alfred runs show {folder}, or in its \
                 capacity.html; each of its steps is a run"
            )
        }
        RunFolderError::NotARun { .. } => "list the recorded runs with: alfred runs".to_owned(),
        RunFolderError::Newer { .. } => "use that version of alfred, or a later one".to_owned(),
        RunFolderError::Damaged { path, .. } => damaged_hint(path),
        RunFolderError::Read { .. } => "see that the file is there and may be read".to_owned(),
    };
    let failure = match &error {
        RunFolderError::NotARun { .. } => Failure::usage("cannot read a run"),
        _ => Failure::failed("cannot read a run"),
    };
    failure.because(error).hint(hint)
}

/// What to do about a damaged file of a run. The end of what is appended to is mended by itself.
fn damaged_hint(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path).display();
    if path.ends_with(files::VERDICT) {
        return format!(
            "restore the file from a copy, or move it away and judge the run anew with: alfred soak \
             --resume {folder}"
        );
    }
    format!("restore the file from a copy; without one the run is lost: remove {folder}")
}

/// Writes `text` to stdout; a reader that has gone away (as `head` does) is no failure.
pub(super) fn to_stdout(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("cannot write to stdout").because(error))
        }
        _ => Ok(()),
    }
}
