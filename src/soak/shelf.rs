//! The folder of runs: what lies in it, and what may go.
//!
//! An entry is a run, or a search for the capacity with the runs of its steps. [`plan`] is PURE and
//! says which entries go; [`remove`] takes one away: only what is a folder of a run, never through a
//! symbolic link, never what a process is recording, and never in part: it is renamed first, and a name
//! with a dot in front is no run.

use super::capacity::record as capacity;
use super::record::{RunRecord, Verdict, VerdictRecord};
use super::run_folder::{self, RunFolderError};
use super::run_log::files;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Before the name of an entry that is being removed.
const GOING: &str = ".pruned-";

/// What an entry is.
#[derive(Debug)]
pub enum Kind {
    /// A run.
    Run {
        /// `run.json`.
        run: Box<RunRecord>,
        /// `verdict.json`.
        verdict: Option<Box<VerdictRecord>>,
    },
    /// A search for the capacity: `capacity.json`.
    Capacity(Box<capacity::CapacityRecord>),
    /// Either, and it cannot be read.
    Damaged,
}

/// How far an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was judged.
    Finished(Verdict),
    /// A process is recording it.
    Running,
    /// It was cut off; a run can be resumed.
    Unfinished,
    /// It cannot be read.
    Damaged,
}

impl State {
    /// `PASS`, `FAIL`, `INVALID`, `running`, `unfinished` or `damaged`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished(verdict) => verdict.as_str(),
            Self::Running => "running",
            Self::Unfinished => "unfinished",
            Self::Damaged => "damaged",
        }
    }
}

/// One thing in the folder of runs.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub folder: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// How far it is.
    pub state: State,
    /// A symbolic link to it is in the folder, and it itself is elsewhere.
    pub is_link: bool,
}

impl Entry {
    /// The folder's own name.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// When it began, as far as that can be read; else when its folder was changed.
    fn start(&self) -> SystemTime {
        let wall = match &self.kind {
            Kind::Run { run, .. } => run.start.wall.as_str(),
            Kind::Capacity(record) => record.start.as_str(),
            Kind::Damaged => "",
        };
        let changed = || std::fs::metadata(&self.folder).and_then(|found| found.modified());
        OffsetDateTime::parse(wall, &Rfc3339).map_or_else(
            |_| changed().unwrap_or(SystemTime::UNIX_EPOCH),
            SystemTime::from,
        )
    }

    /// The scenario's name; empty when it cannot be read.
    #[must_use]
    pub fn scenario(&self) -> &str {
        match &self.kind {
            Kind::Run { run, .. } => &run.name,
            Kind::Capacity(record) => &record.name,
            Kind::Damaged => "",
        }
    }
}

/// The entries of `runs_dir`, oldest first.
///
/// # Errors
/// When the folder is there and cannot be listed.
pub fn entries(runs_dir: &Path) -> Result<Vec<Entry>, RunFolderError> {
    let folders = run_folder::folders(runs_dir, &[files::RUN, capacity::FILE])?;
    let mut entries: Vec<Entry> = folders.iter().map(|folder| entry(folder)).collect();
    entries.sort_by_cached_key(|entry| (entry.start(), entry.name()));
    Ok(entries)
}

/// The newest entries of a folder of runs, and how many it has in all.
#[derive(Debug)]
pub struct Newest {
    /// The newest first.
    pub entries: Vec<Entry>,
    /// Entries there are, symbolic links left out.
    pub total: usize,
}

/// The newest entries of `runs_dir`, at most `most`; the files of others are not read. Which are the
/// newest is told by their names, which begin with the start, else by when their record was written.
/// Symbolic links are left out.
///
/// # Errors
/// When the folder is there and cannot be listed.
pub fn newest(runs_dir: &Path, most: usize) -> Result<Newest, RunFolderError> {
    let mut folders = run_folder::folders(runs_dir, &[files::RUN, capacity::FILE])?;
    folders.retain(|folder| std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()));
    let total = folders.len();
    folders.sort_by_cached_key(|folder| Reverse(began(folder)));
    folders.truncate(most);
    let mut entries: Vec<Entry> = folders.iter().map(|folder| entry(folder)).collect();
    entries.sort_by_cached_key(|entry| Reverse((entry.start(), entry.name())));
    Ok(Newest { entries, total })
}

/// When an entry began, without a look into its files.
fn began(folder: &Path) -> SystemTime {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let start = name.split_once('-').map(|(start, _)| start);
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let named = start.and_then(|start| PrimitiveDateTime::parse(start, format).ok());
    named.map_or_else(
        || {
            let written = |name: &str| std::fs::metadata(folder.join(name))?.modified();
            written(files::RUN)
                .or_else(|_| written(capacity::FILE))
                .unwrap_or(SystemTime::UNIX_EPOCH)
        },
        |named| named.assume_utc().into(),
    )
}

/// The entry that this folder is.
#[must_use]
pub fn entry(folder: &Path) -> Entry {
    let is_link = std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_symlink());
    let kind = read(folder).unwrap_or(Kind::Damaged);
    let verdict = match &kind {
        Kind::Run { verdict, .. } => verdict.as_ref().map(|verdict| verdict.verdict),
        Kind::Capacity(record) => record.verdict,
        Kind::Damaged => None,
    };
    let state = match (&kind, verdict) {
        (Kind::Damaged, _) => State::Damaged,
        (_, Some(verdict)) => State::Finished(verdict),
        (_, None) if is_recorded(folder) => State::Running,
        (_, None) => State::Unfinished,
    };
    Entry {
        folder: folder.to_owned(),
        kind,
        state,
        is_link,
    }
}

fn read(folder: &Path) -> Result<Kind, RunFolderError> {
    if folder.join(files::RUN).is_file() {
        return Ok(Kind::Run {
            run: Box::new(run_folder::read_run(folder)?),
            verdict: run_folder::read_verdict(folder)?.map(Box::new),
        });
    }
    Ok(Kind::Capacity(Box::new(capacity::read(folder)?)))
}

/// Whether a process is recording this run, or making this search, now.
#[must_use]
pub fn is_recorded(folder: &Path) -> bool {
    let is_locked = File::open(folder).is_ok_and(|folder| {
        matches!(
            folder.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    });
    is_locked || run_folder::is_held(folder)
}

/// Which entries are to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Finished entries of each scenario that stay, the newest ones.
    pub keep: usize,
    /// Those that were cut off are counted and go like the others.
    pub unfinished: bool,
    /// Only of this scenario.
    pub scenario: Option<String>,
    /// This one stays.
    pub spare: Option<PathBuf>,
}

/// Why an entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It is among the newest of its scenario, or of another scenario than was asked for.
    Wanted,
    /// It is the newest PASS of its scenario: what later runs are compared with.
    Baseline,
    /// It is being recorded.
    Running,
    /// It can be resumed.
    Unfinished,
    /// It cannot be read.
    Damaged,
    /// It is a symbolic link.
    Link,
}

/// For each of `entries`, which are in the order of their start, why it stays; `None` when it goes.
#[must_use]
pub fn plan(entries: &[Entry], wish: &Wish) -> Vec<Option<Stays>> {
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    let mut baselines = BTreeSet::new();
    let mut fates: Vec<Option<Stays>> = entries
        .iter()
        .rev()
        .map(|entry| {
            let scenario = entry.scenario();
            let is_pass = entry.state == State::Finished(Verdict::Pass);
            let is_baseline =
                is_pass && matches!(entry.kind, Kind::Run { .. }) && baselines.insert(scenario);
            let other = wish.scenario.as_ref().is_some_and(|name| name != scenario);
            match entry.state {
                _ if entry.is_link => return Some(Stays::Link),
                State::Damaged => return Some(Stays::Damaged),
                State::Running => return Some(Stays::Running),
                _ if other => return Some(Stays::Wanted),
                State::Unfinished if !wish.unfinished => return Some(Stays::Unfinished),
                State::Unfinished | State::Finished(_) => {}
            }
            let count = kept.entry(scenario).or_default();
            *count += 1;
            if *count <= wish.keep || wish.spare.as_ref() == Some(&entry.folder) {
                return Some(Stays::Wanted);
            }
            (is_baseline && wish.keep > 0).then_some(Stays::Baseline)
        })
        .collect();
    fates.reverse();
    fates
}

/// An entry was not removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}", folder.display())]
pub struct RemoveError {
    /// Which.
    pub folder: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Removes the folder of a run or a search. Returns how many bytes it took on the disk.
///
/// # Errors
/// When it is none, is a symbolic link, is being recorded, or cannot be removed.
pub fn remove(folder: &Path) -> Result<u64, RemoveError> {
    let failed = |source| RemoveError {
        folder: folder.to_owned(),
        source,
    };
    let refused = |why: &str| failed(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
    let found = std::fs::symlink_metadata(folder).map_err(failed)?;
    let is_ours = |name: &str| {
        std::fs::symlink_metadata(folder.join(name)).is_ok_and(|found| found.is_file())
    };
    if !found.is_dir() {
        return Err(refused("it is no folder"));
    }
    if !(is_ours(files::RUN) || is_ours(capacity::FILE)) {
        return Err(refused("it is not the folder of a run"));
    }
    // Held until it is gone, so that nobody resumes it meanwhile.
    let _held = hold(folder).map_err(failed)?;
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(refused("it has no name"));
    };
    let bytes = size(folder).bytes;
    let going = parent.join(format!("{GOING}{}", name.to_string_lossy()));
    std::fs::rename(folder, &going).map_err(failed)?;
    std::fs::remove_dir_all(&going).map_err(failed)?;
    Ok(bytes)
}

/// Locks what says that a run or a search is being recorded.
fn hold(folder: &Path) -> io::Result<Vec<File>> {
    let mut held = Vec::new();
    for path in [folder.to_owned(), folder.join(files::WINDOWS)] {
        match File::open(&path) {
            Ok(file) => held.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for file in &held {
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "a process is recording it")
            }
            std::fs::TryLockError::Error(error) => error,
        })?;
    }
    Ok(held)
}

/// Removes what is left of entries whose removal was cut off.
pub fn sweep(runs_dir: &Path) {
    let entries = std::fs::read_dir(runs_dir).into_iter().flatten().flatten();
    for entry in entries {
        let is_ours = entry.file_name().to_string_lossy().starts_with(GOING);
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What a folder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Files in it, those of folders below included.
    pub files: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What `folder` takes; symbolic links are not followed, and what cannot be read takes nothing.
#[must_use]
pub fn size(folder: &Path) -> Size {
    let mut size = Size::default();
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
        if let Ok(found) = entry.metadata() {
            // In units of 512 bytes, whatever the file system: stat(3type).
            size.bytes += found.blocks() * 512;
            size.files += u64::from(found.is_file());
        }
    }
    size
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
