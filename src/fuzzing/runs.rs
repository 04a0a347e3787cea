//! Run folders, which may come from another machine.

use super::parts;
use crate::report::{Format, Report};
use crate::soak::run_folder;
use crate::soak::run_log::files;
use std::path::Path;

/// The files of a run folder in this order, with NUL between them.
const FILES: [&str; 5] = [
    files::RUN,
    files::WINDOWS,
    files::HISTOGRAMS,
    files::EVENTS,
    files::VERDICT,
];

/// A run folder: read, judged, and reported in every format.
///
/// # Panics
/// When a report of what was read lets something out of its text.
pub fn run_files(data: &[u8]) {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => panic!("no folder: {error}"),
    };
    for (name, content) in FILES.iter().zip(parts(data)) {
        let written = std::fs::write(folder.path().join(name), content);
        assert!(written.is_ok(), "{written:?}");
    }
    let _ = crate::soak::repair::whole(folder.path());
    reported(folder.path());
}

fn reported(folder: &Path) {
    let run = match run_folder::read(folder) {
        Ok(run) => run,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let Ok(report) = Report::of(vec![run]) else {
        return;
    };
    let write = |format| report.write(format, false).unwrap_or_default();
    let page = write(Format::Html);
    // Data, uPlot, and the script of the page.
    assert!(
        page.is_empty() || page.matches("<script").count() == 3,
        "a script came in"
    );
    for format in [Format::Text, Format::Prom, Format::Junit, Format::Json] {
        let text = write(format);
        let odd = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "in {format:?}");
    }
    let prom = write(Format::Prom);
    assert!(
        prom.lines()
            .all(|line| line.starts_with('#') || line.starts_with("alfred_soak_"))
    );
    let _ = (write(Format::Csv), write(Format::Hlog));
}
