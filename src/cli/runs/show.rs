//! `alfred runs show`: one run, with what it takes on the disk.

use super::{Context, Outcome, folder_failure, json, show_bytes, to_stdout};
use crate::cli::report::resolve;
use crate::failure::Failure;
use crate::plain;
use crate::report::{Format, Report, ReportError, capacity};
use crate::soak::event::EventRecord;
use crate::soak::run_folder;
use crate::soak::shelf::{self, Entry, Kind, Size};
use crate::soak::units::show_count;
use std::fmt::Write as _;
use std::path::Path;

/// Which run.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Run folder, name of a run as `alfred runs` lists it, or `latest`
    #[arg(value_name = "RUN")]
    run: String,
}

#[derive(serde::Serialize)]
struct Shown {
    run: String,
    folder: String,
    kind: &'static str,
    state: &'static str,
    size: Size,
    events: Vec<EventRecord>,
    report: serde_json::Value,
}

pub(super) fn run(args: &ShowArgs, runs_dir: &Path, context: &Context) -> Outcome {
    let entry = shelf::entry(&resolve(&args.run, runs_dir)?);
    let size = shelf::size(&entry.folder);
    let color = console::colors_enabled() && !context.json;
    let (kind, report, events) = match &entry.kind {
        Kind::Capacity(record) if context.json => ("capacity", json(record)?, Vec::new()),
        Kind::Capacity(record) => {
            let text = capacity::text(record, &entry.folder, color);
            ("capacity", text, Vec::new())
        }
        Kind::Run { .. } | Kind::Damaged => {
            let run = run_folder::read(&entry.folder).map_err(folder_failure)?;
            let events = run.events.clone();
            let format = if context.json {
                Format::Json
            } else {
                Format::Text
            };
            let report = Report::of(vec![run]).map_err(folder_failure)?;
            ("run", report.write(format, color).map_err(failure)?, events)
        }
    };
    if !context.json {
        return to_stdout(&(heading(&entry, size, &events) + "\n" + &report));
    }
    let shown = Shown {
        run: entry.name(),
        folder: entry.folder.display().to_string(),
        kind,
        state: entry.state.as_str(),
        size,
        events,
        report: serde_json::from_str(&report)
            .map_err(|error| Failure::failed("cannot write JSON").because(error))?,
    };
    to_stdout(&json(&shown)?)
}

fn failure(error: ReportError) -> Failure {
    Failure::failed("cannot write the report").because(error)
}

fn heading(entry: &Entry, size: Size, events: &[EventRecord]) -> String {
    let mut text = format!(
        "run        {}, {}\nfolder     {}\nsize       {} on disk in {} files\n",
        plain::one_line(&entry.name()),
        entry.state.as_str(),
        plain::one_line(&entry.folder.display().to_string()),
        show_bytes(size.bytes),
        show_count(size.files)
    );
    if !events.is_empty() {
        let count = show_count(events.len() as u64);
        let _ = writeln!(text, "events     {count}, in events.jsonl");
    }
    text
}
