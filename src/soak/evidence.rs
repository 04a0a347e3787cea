//! What the flight recorder took, as it lies in a run folder: `evidence/<window>-<reason>/` with an
//! `evidence.json` ([`EvidenceRecord`]) and the files that it names.
//!
//! Every field may be missing: what could be taken depends on the target and on the moment. A folder
//! without a readable `evidence.json` was being written when the run died, and is kept with what is
//! wrong with it.

use super::run_folder::{RunFolderError, bytes_if_there};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The folder below a run folder.
pub const FOLDER: &str = "evidence";
/// The record in each folder below that.
pub const RECORD: &str = "evidence.json";
/// Most folders that are read of one run, the first by name.
pub const MAX_TAKEN: usize = 1_000;
/// Largest `evidence.json` that is read.
const MAX_RECORD_BYTES: u64 = 1024 * 1024;

/// `evidence.json`: what was taken, when and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceRecord {
    /// The window in which the trigger was seen, 0-based.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// The trigger in a word, as in the folder's name: `stall`.
    pub reason: String,
    /// What was seen, in words, with its figures.
    pub trigger: String,
    /// When it was seen, in seconds from the end of the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_s: Option<f64>,
    /// The same by the wall clock: RFC 3339, UTC.
    pub wall: String,
    /// How long taking it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// All files together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// CPU seconds of the generator that taking it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// What it shows, a line each, the most telling first.
    pub summary: Vec<String>,
    /// The files beside `evidence.json`.
    pub files: Vec<FileRecord>,
    /// What was to be taken and could not be.
    pub missing: Vec<MissingRecord>,
}

/// A file that was taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRecord {
    /// Its name in the folder.
    pub name: String,
    /// What it holds, in words: `CPU profile of the target, 5 s`.
    pub what: String,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What could not be taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingRecord {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// A folder of evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Its name: `<window>-<reason>`.
    pub name: String,
    /// Its `evidence.json`; empty when there is a problem.
    pub record: EvidenceRecord,
    /// Why `evidence.json` cannot be read.
    pub problem: Option<String>,
}

impl Taken {
    /// The window, from the record, else from the folder's name.
    #[must_use]
    pub fn window(&self) -> Option<u64> {
        let of_name = || self.name.split('-').next()?.parse().ok();
        self.record.window.or_else(of_name)
    }

    /// The reason, from the record, else from the folder's name.
    #[must_use]
    pub fn reason(&self) -> &str {
        if self.record.reason.is_empty() {
            let of_name = self.name.split_once('-');
            of_name.map_or(self.name.as_str(), |(_, reason)| reason)
        } else {
            &self.record.reason
        }
    }
}

/// What was taken in a run, in the order of time: at most [`MAX_TAKEN`]; nothing where there is no
/// `evidence/`.
///
/// # Errors
/// When the folder is there and cannot be listed. A damaged record is no error: see [`Taken`].
pub fn read(run_folder: &Path) -> Result<Vec<Taken>, RunFolderError> {
    let folder = run_folder.join(FOLDER);
    let failed = |source| RunFolderError::Read {
        path: folder.clone(),
        source,
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().ok();
        // One that begins with a dot is being written, or was when its process died.
        names.extend(name.filter(|name| is_folder && !name.starts_with('.')));
    }
    names.sort();
    let mut taken: Vec<Taken> = names
        .into_iter()
        .take(MAX_TAKEN)
        .map(|name| read_one(&folder.join(&name), name))
        .collect();
    let place = |one: &Taken| (one.window().unwrap_or(u64::MAX), one.record.at_s);
    taken.sort_by(|a, b| {
        let (a, b) = (place(a), place(b));
        a.0.cmp(&b.0)
            .then(a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0)))
    });
    Ok(taken)
}

/// What was taken whole in a run; nothing where that cannot be read, since evidence is no part of a
/// verdict.
#[must_use]
pub fn whole(run_folder: &Path) -> Vec<Taken> {
    let mut taken = read(run_folder).unwrap_or_default();
    taken.retain(|one| one.problem.is_none());
    taken
}

fn read_one(folder: &Path, name: String) -> Taken {
    let (record, problem) = match read_record(&folder.join(RECORD)) {
        Ok(record) => (record, None),
        Err(problem) => (EvidenceRecord::default(), Some(problem)),
    };
    Taken {
        name,
        record,
        problem,
    }
}

fn read_record(path: &Path) -> Result<EvidenceRecord, String> {
    let length = std::fs::metadata(path).map_or(0, |about| about.len());
    if length > MAX_RECORD_BYTES {
        return Err(format!(
            "{RECORD} has {length} bytes, {MAX_RECORD_BYTES} at most are read"
        ));
    }
    let bytes = bytes_if_there(path).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("there is no {RECORD}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{RECORD} is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_read_in_order_and_what_is_torn_is_kept() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(read(run.path()).unwrap(), []);
        let write = |name: &str, text: &str| {
            let folder = run.path().join(FOLDER).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(RECORD), text).unwrap();
        };
        write(
            "100-stall",
            r#"{"window":100,"reason":"stall","at_s":1001.5,"files":[{"name":"a"}]}"#,
        );
        write("12-errors", r#"{"trigger":"every second request failed"}"#);
        write("7-restart", r#"{"window":7,"rea"#);
        std::fs::write(run.path().join(FOLDER).join("notes.txt"), "x").unwrap();
        let taken = read(run.path()).unwrap();
        let names: Vec<&str> = taken.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["7-restart", "12-errors", "100-stall"]);
        assert!(taken[0].problem.as_ref().unwrap().contains("damaged"));
        assert_eq!((taken[0].window(), taken[0].reason()), (Some(7), "restart"));
        assert_eq!((taken[1].window(), taken[1].reason()), (Some(12), "errors"));
        assert_eq!(taken[2].record.files[0].name, "a");
    }

    #[test]
    fn the_record_has_the_agreed_shape() {
        let text = r#"{"window":12,"reason":"stall","trigger":"text","at_s":123.4,"wall":"2026-11-24T00:00:00Z","took_ms":5031,"bytes":12345,"cpu_s":0.02,"summary":["line"],"files":[{"name":"profile.pb.gz","what":"CPU profile of the target, 5 s","bytes":1234}],"missing":[{"what":"pg_stat_activity","why":"text"}]}"#;
        let record: EvidenceRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }
}
