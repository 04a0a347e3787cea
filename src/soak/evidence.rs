//! What the flight recorder keeps of a moment, as `evidence.json` has it, and how a run's is read back.
//!
//! `RUN/evidence/<window>-<reason>/` has the files of one taking and `evidence.json`, an
//! [`EvidenceRecord`], which is written last: a folder without it is not whole and is left out.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// The folder of all evidence, in that of the run.
pub const FOLDER: &str = "evidence";
/// The record of one taking, in its folder.
pub const FILE: &str = "evidence.json";
/// Most takings that are read back of one run; a recorder makes at most 1,000.
const MAX_READ: usize = 1_000;
/// Largest `evidence.json` that is read; one that is written has some 4 KB.
const MAX_RECORD_BYTES: u64 = 1024 * 1024;

/// `evidence.json`: what was taken, when, why, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceRecord {
    /// The window that crossed a threshold; else the one that was open. 0-based.
    pub window: u64,
    /// `threshold`, `stall`, `step`, `restart` or `memory`.
    pub reason: String,
    /// What was seen, in words.
    pub trigger: String,
    /// When the taking began, in seconds from the end of the warm-up.
    pub at_s: f64,
    /// The same by the wall clock: RFC 3339, UTC.
    pub wall: String,
    /// How long it took.
    pub took_ms: u64,
    /// Bytes of all `files`.
    pub bytes: u64,
    /// CPU seconds of the threads that took it; programs that were asked are not in it.
    pub cpu_s: f64,
    /// What stands out, a line each.
    pub summary: Vec<String>,
    /// The files beside this one.
    pub files: Vec<EvidenceFile>,
    /// What could not be taken.
    pub missing: Vec<EvidenceMissing>,
}

/// A file of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceFile {
    /// Its name, without folders.
    pub name: String,
    /// What is in it, in words.
    pub what: String,
    /// Its length.
    pub bytes: u64,
}

/// Something that could not be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceMissing {
    /// What, in words.
    pub what: String,
    /// Why, in words.
    pub why: String,
}

/// One taking as its folder tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The name of its folder in [`FOLDER`].
    pub folder: String,
    /// Its `evidence.json`.
    pub record: EvidenceRecord,
}

/// All evidence of a run, oldest first. What is not whole or cannot be read is left out: evidence is no
/// part of the verdict.
#[must_use]
pub fn of_run(run_folder: &Path) -> Vec<Evidence> {
    let entries = std::fs::read_dir(run_folder.join(FOLDER));
    let mut all: Vec<Evidence> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.file_name().into_string().ok()?;
            // A taking that was not finished has a name that begins with a dot.
            let record = (!folder.starts_with('.')).then(|| read(&entry.path()))??;
            Some(Evidence { folder, record })
        })
        .take(MAX_READ)
        .collect();
    all.sort_by(|a, b| {
        let by_time = a.record.at_s.total_cmp(&b.record.at_s);
        by_time.then_with(|| a.folder.cmp(&b.folder))
    });
    all
}

fn read(folder: &Path) -> Option<EvidenceRecord> {
    let path = folder.join(FILE);
    let length = std::fs::metadata(&path).ok()?.len();
    let text = (length <= MAX_RECORD_BYTES).then(|| std::fs::read(&path).ok())??;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_folders_are_read_in_the_order_of_time() {
        let run = tempfile::tempdir().unwrap();
        assert!(of_run(run.path()).is_empty());
        for (folder, text) in [
            ("12-stall", r#"{"at_s": 3.5, "reason": "stall"}"#),
            ("9-step", r#"{"at_s": 1.0, "later": [1]}"#),
            (".7-stall", r#"{"at_s": 0.5}"#),
            ("3-torn", r#"{"at_s": "#),
        ] {
            let folder = run.path().join(FOLDER).join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(FILE), text).unwrap();
        }
        std::fs::create_dir(run.path().join(FOLDER).join("4-stall")).unwrap();
        let read = of_run(run.path());
        let folders: Vec<&str> = read.iter().map(|one| one.folder.as_str()).collect();
        assert_eq!(folders, ["9-step", "12-stall"]);
        assert_eq!(read[1].record.reason, "stall");
    }
}
