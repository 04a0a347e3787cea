//! The histogram logs of all runs as one, on one time line.

use super::together::start_s;
use super::{Report, ReportError};
use crate::soak::run_log::files;
use std::fmt::Write as _;

pub(super) fn report(report: &Report) -> Result<String, ReportError> {
    let base_s = report
        .runs
        .iter()
        .map(start_s)
        .fold(f64::INFINITY, f64::min);
    let mut text = String::new();
    for (place, run) in report.runs.iter().enumerate() {
        let path = run.folder.join(files::HISTOGRAMS);
        let log =
            std::fs::read_to_string(&path).map_err(|source| ReportError::Read { path, source })?;
        let shift_s = start_s(run) - base_s;
        for line in log.lines() {
            if line.starts_with("Tag=") {
                text.push_str(&shifted(line, shift_s));
                text.push('\n');
            } else if place == 0 && is_time(line) {
                let (name, _) = line.split_once(':').unwrap_or((line, ""));
                let _ = writeln!(text, "{name}: {base_s:.3} (seconds since epoch)]");
            } else if place == 0 {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    Ok(text)
}

fn is_time(line: &str) -> bool {
    line.starts_with("#[StartTime:") || line.starts_with("#[BaseTime:")
}

/// `Tag=name,START,…` with START moved by `shift_s`.
fn shifted(line: &str, shift_s: f64) -> String {
    let mut parts = line.splitn(3, ',');
    let (tag, start, rest) = (parts.next(), parts.next(), parts.next());
    let start: Option<f64> = start.and_then(|start| start.parse().ok());
    match (tag, start, rest) {
        (Some(tag), Some(start), Some(rest)) => format!("{tag},{:.3},{rest}", start + shift_s),
        _ => line.to_owned(),
    }
}
