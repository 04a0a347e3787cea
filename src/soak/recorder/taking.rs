//! One taking: asks all sources beside each other, and puts what they gave into a folder of the run.
//!
//! What is local (/proc, pressure, journal) needs nothing of the target and is taken while the target is
//! asked. A folder becomes visible under its name when everything is in it.

use super::answers::Asker;
use super::piece::Piece;
use super::settings::Recording;
use super::watchman::Order;
use super::{activity, logged, pressure, processes};
use crate::soak::evidence::{EvidenceRecord, FOLDER, RECORD};
use crate::soak::monotonic::{monotonic_ns, thread_cpu_ns};
use crate::soak::sampler::Sampling;
use crate::soak::sampler::process::family;
use crate::soak::sampler::unit::{Groups, UnitState, pids};
use crate::soak::scenario::Scenario;
use crate::soak::units::seconds;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::Scope;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The journal is read from so long before the moment.
const JOURNAL_BEFORE: Duration = Duration::from_mins(1);
/// A taking that took longer than this reads it once more at its end: what the unit says of a stall it
/// often says after it.
const JOURNAL_AGAIN_NS: u64 = 1_000_000_000;
/// Journal lines are read for others than their unit: descriptors, queries and log lines of another user's
/// process are nobody else's.
const MODE: u32 = 0o750;
/// Two takings of one window and reason: their names differ by a number, up to this.
const MAX_SAME: u32 = 100;

/// Most bytes of each source, in parts of the most of a taking.
const PARTS: u64 = 32;
const OF_PROFILE: u64 = 12;
const OF_HEAP: u64 = 8;
const OF_METRICS: u64 = 4;
const OF_JOURNAL: u64 = 4;
const OF_REST: u64 = 1;
/// The place of the journal among the sources.
const JOURNAL: usize = 0;

/// Takes evidence of one run.
#[derive(Debug)]
pub(super) struct Taker {
    run_folder: PathBuf,
    sampling: Sampling,
    asker: Asker,
    pg_stat_activity: Option<String>,
}

/// What was taken, on disk.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The name of its folder.
    pub(super) folder: String,
    pub(super) bytes: u64,
}

/// What the threads of a taking gave so far, and the CPU time that they took.
#[derive(Default)]
struct Gathered {
    pieces: Vec<(usize, Piece)>,
    cpu_ns: u64,
}

impl Taker {
    pub(super) fn new(scenario: &Scenario, recording: &Recording, run_folder: &Path) -> Self {
        Self {
            run_folder: run_folder.to_owned(),
            sampling: scenario.sampling.clone(),
            asker: Asker::new(scenario, recording),
            pg_stat_activity: recording.pg_stat_activity.clone(),
        }
    }

    /// Takes evidence and keeps it.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is left then.
    pub(super) fn take(&self, order: &Order, wall: SystemTime) -> io::Result<Kept> {
        let (from_ns, cpu_ns) = (monotonic_ns(), thread_cpu_ns());
        let gathered = self.gather(order, wall, from_ns);
        let mut all = Piece::default();
        gathered
            .pieces
            .into_iter()
            .for_each(|(_, piece)| all.add(piece));
        let own_ns = thread_cpu_ns().saturating_sub(cpu_ns);
        let bytes = all.bytes();
        let record = EvidenceRecord {
            window: Some(order.window),
            reason: order.reason.as_str().to_owned(),
            trigger: order.trigger.clone(),
            at_s: Some(rounded(seconds(u64::try_from(order.at_ns).unwrap_or(0)))),
            wall: OffsetDateTime::from(wall)
                .format(&Rfc3339)
                .unwrap_or_default(),
            took_ms: Some(monotonic_ns().saturating_sub(from_ns) / 1_000_000),
            bytes: Some(bytes),
            cpu_s: Some(rounded(seconds(gathered.cpu_ns + own_ns))),
            summary: all.summary,
            files: all.files.iter().map(|(file, _)| file.clone()).collect(),
            missing: all.missing,
        };
        let contents = all.files.into_iter().map(|(_, content)| content);
        let folder = keep(&self.run_folder, &record, &contents.collect::<Vec<_>>())?;
        Ok(Kept { folder, bytes })
    }

    /// What all sources give, in a fixed order: what the unit says itself comes first in the summary.
    fn gather(&self, order: &Order, wall: SystemTime, from_ns: u64) -> Gathered {
        let part = order.max_bytes / PARTS;
        let since = wall.checked_sub(JOURNAL_BEFORE).unwrap_or(wall);
        let since_s = since
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let all = Mutex::new(Gathered::default());
        std::thread::scope(|scope| {
            beside(scope, &all, 4, || {
                self.asker.profiles(part * OF_PROFILE, part * OF_HEAP)
            });
            beside(scope, &all, 2, || self.asker.status(part * OF_REST));
            beside(scope, &all, 3, || self.asker.metrics(part * OF_METRICS));
            beside(scope, &all, JOURNAL, || {
                self.journal(since_s, part * OF_JOURNAL)
            });
            if let Some(conninfo) = &self.pg_stat_activity {
                beside(scope, &all, 5, move || {
                    activity::take(conninfo, part * OF_REST)
                });
            }
            let local = self.local(part * OF_REST);
            lock(&all).pieces.push((1, local));
        });
        let mut all = all
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if monotonic_ns().saturating_sub(from_ns) > JOURNAL_AGAIN_NS {
            for (_, piece) in all.pieces.iter_mut().filter(|(place, _)| *place == JOURNAL) {
                let again = self.journal(since_s, part * OF_JOURNAL);
                if !again.files.is_empty() {
                    *piece = again;
                }
            }
        }
        all.pieces.sort_by_key(|(place, _)| *place);
        all
    }

    fn journal(&self, since_s: u64, max_bytes: u64) -> Piece {
        match &self.sampling.unit {
            Some(unit) => logged::take(unit, since_s, max_bytes),
            None => Piece::missing("journal of the unit", "no unit is named (--unit)"),
        }
    }

    /// What needs no answer of the target: /proc and pressure.
    fn local(&self, max_bytes: u64) -> Piece {
        let what = "threads, memory and descriptors of the unit (/proc)";
        let mut group = None;
        let mut piece = match (&self.sampling.unit, self.sampling.pid) {
            (Some(unit), _) => match UnitState::ask(unit) {
                Ok(state) => {
                    let pids: Vec<i32> = pids(&Groups::default(), &state).into_iter().collect();
                    group = Some(state.control_group);
                    processes::take(&pids, unit, max_bytes)
                }
                Err(problem) => Piece::missing(what, &problem),
            },
            (None, Some(pid)) => {
                let pids: Vec<i32> = family(pid.cast_signed()).into_iter().collect();
                processes::take(&pids, &format!("process {pid}"), max_bytes)
            }
            (None, None) => {
                Piece::missing(what, "neither unit nor process is named (--unit, --pid)")
            }
        };
        piece.add(pressure::take(group.as_deref(), max_bytes));
        piece
    }
}

/// Has `source` asked on a thread of its own.
fn beside<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    all: &'env Mutex<Gathered>,
    place: usize,
    source: impl FnOnce() -> Piece + Send + 'scope,
) {
    let ask = move || {
        let piece = source();
        let mut all = lock(all);
        all.cpu_ns += thread_cpu_ns();
        all.pieces.push((place, piece));
    };
    let name = "soak-evidence".to_owned();
    let spawned = std::thread::Builder::new()
        .name(name)
        .spawn_scoped(scope, ask);
    if let Err(error) = spawned {
        let piece = Piece::missing(
            "a part of the evidence",
            &format!("no thread can be made: {error}"),
        );
        lock(all).pieces.push((place, piece));
    }
}

fn lock(all: &Mutex<Gathered>) -> std::sync::MutexGuard<'_, Gathered> {
    all.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Writes a folder of evidence: whole or not at all. Gives its name.
fn keep(run_folder: &Path, record: &EvidenceRecord, contents: &[Vec<u8>]) -> io::Result<String> {
    let all = run_folder.join(FOLDER);
    DirBuilder::new().recursive(true).mode(MODE).create(&all)?;
    let name = format!("{}-{}", record.window.unwrap_or(0), record.reason);
    let temporary = all.join(format!(".{name}"));
    let written = fill(&temporary, record, contents).and_then(|()| {
        let folder = free_name(&all, &name)?;
        std::fs::rename(&temporary, all.join(&folder))?;
        File::open(&all)?.sync_all()?;
        Ok(folder)
    });
    if written.is_err() {
        // Half of it would take room that a full disk does not have.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    written
}

fn fill(folder: &Path, record: &EvidenceRecord, contents: &[Vec<u8>]) -> io::Result<()> {
    DirBuilder::new().mode(MODE).create(folder)?;
    let write = |name: &str, content: &[u8]| {
        let mut file = File::create(folder.join(name))?;
        file.write_all(content)?;
        file.sync_all()
    };
    for (file, content) in record.files.iter().zip(contents) {
        write(&file.name, content)?;
    }
    let mut text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    text.push(b'\n');
    write(RECORD, &text)
}

fn free_name(all: &Path, name: &str) -> io::Result<String> {
    let numbered = (2..=MAX_SAME).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !all.join(name).exists())
        .ok_or_else(|| io::Error::new(io::ErrorKind::AlreadyExists, "too many of one window"))
}

/// Removes what a run that was killed had begun to write.
pub(super) fn clean(run_folder: &Path) {
    let entries = std::fs::read_dir(run_folder.join(FOLDER));
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::evidence::{FileRecord, whole};

    fn record() -> EvidenceRecord {
        EvidenceRecord {
            window: Some(12),
            reason: "stall".to_owned(),
            files: vec![FileRecord {
                name: "journal.txt".to_owned(),
                what: "journal".to_owned(),
                bytes: Some(2),
            }],
            ..EvidenceRecord::default()
        }
    }

    #[test]
    fn a_folder_is_whole_and_none_is_written_over() {
        let run = tempfile::tempdir().unwrap();
        let content = [b"ab".to_vec()];
        assert_eq!(keep(run.path(), &record(), &content).unwrap(), "12-stall");
        assert_eq!(keep(run.path(), &record(), &content).unwrap(), "12-stall-2");
        let read = whole(run.path());
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].record, record());
        let path = run.path().join("evidence/12-stall/journal.txt");
        assert_eq!(std::fs::read(path).unwrap(), b"ab");
    }

    #[test]
    fn what_was_cut_off_is_removed_and_nothing_else() {
        let run = tempfile::tempdir().unwrap();
        keep(run.path(), &record(), &[Vec::new()]).unwrap();
        let torn = run.path().join("evidence/.13-step");
        std::fs::create_dir(&torn).unwrap();
        // One that is in the way is no reason to lose the next.
        clean(run.path());
        assert!(!torn.exists());
        assert_eq!(whole(run.path()).len(), 1);
        clean(&run.path().join("nowhere"));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let run = tempfile::tempdir().unwrap();
        let mut wrong = record();
        wrong.files[0].name = "no/such/folder".to_owned();
        assert!(keep(run.path(), &wrong, &[Vec::new()]).is_err());
        let left = std::fs::read_dir(run.path().join("evidence")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn parts_are_no_more_than_the_whole() {
        // /proc, pressure, status and sessions take one part each.
        let parts = OF_PROFILE + OF_HEAP + OF_METRICS + OF_JOURNAL + 4 * OF_REST;
        assert!(parts <= PARTS, "{parts}");
    }
}
