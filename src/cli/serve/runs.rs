//! The folder of recorded soak runs, for the console: what lies in it, and reports as pages.

use crate::cli::runs::list::list_one;
use crate::config::Config;
use crate::http::runs::{RecordedRuns, RunList, RunsError};
use crate::report::{Format, Report, capacity};
use crate::soak::evidence;
use crate::soak::run_folder::{self, RunFolderError};
use crate::soak::run_log::files;
use crate::soak::shelf::{self, Kind};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of the files that a report is made from: a run of 72 hours has some 100 MB.
const MAX_FOLDER_BYTES: u64 = 256 * 1024 * 1024;
/// Most bytes of a report that is sent: one of 72 hours has some 10 MB.
const MAX_PAGE_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes of a file of evidence that is sent: the flight recorder keeps less.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// `soak.runs_dir`.
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            folder: config.runs_dir.clone(),
        }
    }
}

impl RecordedRuns for Shelf {
    fn list(&self, most: usize) -> Result<RunList, RunsError> {
        let newest = shelf::newest(&self.folder, most).map_err(failed)?;
        let runs = newest.entries.iter();
        let runs = runs.map(|entry| serde_json::to_value(list_one(entry)));
        Ok(RunList {
            runs: runs.collect::<Result<_, _>>().map_err(failed)?,
            total: newest.total,
        })
    }

    fn report(&self, name: &str, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, RunsError> {
        let folder = self.folder.join(name);
        // A link could lead anywhere.
        let is_folder = std::fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir());
        if !is_folder {
            return Err(RunsError::NotFound);
        }
        match written(&folder) {
            Ok(Some(page)) => return Ok(page),
            Ok(None) => {}
            // It is a view of the other files.
            Err(error) => tracing::debug!(%error, "cannot read {}", files::REPORT),
        }
        rendered(&folder, is_wanted)
    }

    fn evidence(&self, [run, moment, file]: [&str; 3]) -> Result<Vec<u8>, RunsError> {
        let mut folder = self.folder.clone();
        for name in [run, evidence::FOLDER, moment] {
            folder.push(name);
            let is_folder = std::fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir());
            if !is_folder {
                return Err(RunsError::NotFound);
            }
        }
        let file = open(&folder.join(file)).map_err(|_| RunsError::NotFound)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(RunsError::NotFound);
        }
        let (bytes, most) = (found.len(), MAX_FILE_BYTES);
        if bytes > most {
            return Err(RunsError::TooLarge { bytes, most });
        }
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(most).read_to_end(&mut content).map_err(failed)?;
        Ok(content)
    }
}

fn failed(error: impl std::error::Error + 'static) -> RunsError {
    fn chain(error: &dyn std::error::Error) -> String {
        let cause = error.source().map(|cause| format!(": {}", chain(cause)));
        format!("{error}{}", cause.unwrap_or_default())
    }
    RunsError::Failed(chain(&error))
}

/// `report.html` of a run that ended, unless it is older than the verdict.
fn written(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    let verdict = match std::fs::symlink_metadata(folder.join(files::VERDICT)) {
        Ok(found) => found.modified()?,
        Err(_) => return Ok(None),
    };
    let file = match open(&folder.join(files::REPORT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() || found.modified()? < verdict || found.len() > MAX_PAGE_BYTES {
        return Ok(None);
    }
    let mut page = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    file.take(MAX_PAGE_BYTES).read_to_end(&mut page)?;
    Ok(Some(page))
}

/// Opens a file that is no link, and does not wait for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The report, made from the other files as `alfred report` does.
fn rendered(folder: &Path, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, RunsError> {
    if let Kind::Capacity(record) = shelf::entry(folder).kind {
        return Ok(capacity::page(&record).into_bytes());
    }
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |found| found.len());
    let bytes = size(files::WINDOWS) + size(files::HISTOGRAMS) + size(files::EVENTS);
    if bytes > MAX_FOLDER_BYTES {
        let most = MAX_FOLDER_BYTES;
        return Err(RunsError::TooLarge { bytes, most });
    }
    let wanted = || {
        if is_wanted() {
            Ok(())
        } else {
            Err(RunsError::Abandoned)
        }
    };
    wanted()?;
    let run = run_folder::read(folder).map_err(|error| match error {
        RunFolderError::NotARun { .. } => RunsError::NotFound,
        error => failed(error),
    })?;
    wanted()?;
    let report = Report::of(vec![run]).map_err(failed)?;
    wanted()?;
    let page = report.write(Format::Html, false).map_err(failed)?;
    Ok(page.into_bytes())
}
