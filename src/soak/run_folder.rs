//! Reads run folders back: everything that a report or a merge needs, from the folder alone.

use super::event::EventRecord;
use super::findings::{Asked, Findings, too_short_for_steps};
use super::latency::Series;
use super::record::{FORMAT, RunRecord, VerdictRecord, WindowRecord};
use super::run_log::files;
use super::tally::Tally;
use base64::Engine as _;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Longest line of a file of a run, in bytes. A window is some 6 KB, its histograms some 2 KB each; those
/// of a wide histogram with every value different are some 100 KB.
const LINE_MAX_BYTES: u64 = 1 << 20;
/// Largest `run.json` or `verdict.json`, in bytes; a scenario with hundreds of stages is some 100 KB.
const RECORD_MAX_BYTES: u64 = 16 << 20;
/// Largest histogram, inflated, in bytes: few bytes of a log can be many more.
const HISTOGRAM_MAX_BYTES: u64 = 4 << 20;
/// The first bytes of a histogram that is deflated (HdrHistogram's V2).
const DEFLATED: u32 = 0x1c84_9314;

/// A run as its folder tells it.
#[derive(Debug)]
pub struct RecordedRun {
    /// Where it is.
    pub folder: PathBuf,
    /// `run.json`.
    pub run: RunRecord,
    /// `windows.jsonl`.
    pub windows: Vec<WindowRecord>,
    /// `events.jsonl`.
    pub events: Vec<EventRecord>,
    /// `verdict.json`; `None` when the run did not end.
    pub verdict: Option<VerdictRecord>,
    /// All windows together: counts of `windows.jsonl`, histograms of `latency.hlog`.
    pub tally: Tally,
}

/// A folder is not a run, or is damaged.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// There is no `run.json`.
    #[error("{} is not a run folder: it has no run.json", folder.display())]
    NotARun {
        /// Which folder.
        folder: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A newer alfred wrote it.
    #[error("{} was written by alfred {version}, in a newer format", folder.display())]
    Newer {
        /// Which folder.
        folder: PathBuf,
        /// By which version.
        version: String,
    },
}

/// Reads a run folder, finished or not. A last line that was cut short is left out.
///
/// # Errors
/// When it is not a run folder, is damaged, or comes from a newer version.
pub fn read(folder: &Path) -> Result<RecordedRun, RunFolderError> {
    let run = read_run(folder)?;
    let windows = read_windows(folder)?;
    let events = read_events(&folder.join(files::EVENTS))?;
    let verdict = read_verdict(folder)?;
    let mut tally = Tally::default();
    each_histogram(folder, windows.len(), &mut |_, series, histogram| {
        tally.latencies.add(series, histogram);
    })?;
    for window in &windows {
        tally.counts.add(&window.counts);
        tally.add_errors(&window.errors_by_kind);
        tally.causes.add(&window.errors_by_cause);
        tally.cache.answers += window.cache.answers;
        tally.cache.cached += window.cache.cached;
        tally.relevance.add(&window.relevance);
    }
    let judged_due = verdict.as_ref().map(|verdict| verdict.counts.due);
    if let Some(due) = judged_due.filter(|due| *due != tally.counts.due) {
        return Err(RunFolderError::Damaged {
            path: folder.join(files::WINDOWS),
            problem: format!(
                "its {} windows hold {} requests, and {due} were judged",
                windows.len(),
                tally.counts.due
            ),
        });
    }
    Ok(RecordedRun {
        folder: folder.to_owned(),
        run,
        windows,
        events,
        verdict,
        tally,
    })
}

/// `run.json` of a folder.
///
/// # Errors
/// As [`read`].
pub fn read_run(folder: &Path) -> Result<RunRecord, RunFolderError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
        version: String,
    }
    let path = folder.join(files::RUN);
    let Some(text) = read_if_there(&path)? else {
        let folder = folder.to_owned();
        return Err(RunFolderError::NotARun { folder });
    };
    let head: Head = parse(&path, &text)?;
    if head.format > FORMAT {
        return Err(RunFolderError::Newer {
            folder: folder.to_owned(),
            version: head.version,
        });
    }
    parse(&path, &text)
}

/// `verdict.json` of a folder, if the run ended.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read_verdict(folder: &Path) -> Result<Option<VerdictRecord>, RunFolderError> {
    let path = folder.join(files::VERDICT);
    let text = read_if_there(&path)?;
    text.map(|text| parse(&path, &text)).transpose()
}

/// `windows.jsonl` of a folder. A last line that was cut short is left out.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read_windows(folder: &Path) -> Result<Vec<WindowRecord>, RunFolderError> {
    let path = &folder.join(files::WINDOWS);
    let (windows, _) = whole_lines(path)?;
    Ok(windows)
}

fn read_events(path: &Path) -> Result<Vec<EventRecord>, RunFolderError> {
    let (events, _) = whole_lines(path)?;
    Ok(events)
}

/// The objects of a file of JSON lines, and where the first line begins and each of them ends, in bytes;
/// none where there is no file. What follows the last line break was being written when the run died;
/// so was a last line that is no object, as a power loss can leave one.
pub(super) fn whole_lines<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<(Vec<T>, Vec<u64>), RunFolderError> {
    let failed = |source| RunFolderError::Read {
        path: path.to_owned(),
        source,
    };
    let (mut objects, mut ends) = (Vec::new(), vec![0]);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok((objects, ends)),
        Err(error) => return Err(failed(error)),
    };
    let damaged = |line: usize, problem: String| RunFolderError::Damaged {
        path: path.to_owned(),
        problem: format!("line {line}: {problem}"),
    };
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    let (mut broken, mut place) = (None, 0);
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(LINE_MAX_BYTES);
        bounded.read_until(b'\n', &mut line).map_err(failed)?;
        let number = objects.len() + 1;
        match broken {
            Some(problem) if !line.is_empty() => return Err(damaged(number, problem)),
            _ if line.last() == Some(&b'\n') => {}
            _ if line.len() as u64 == LINE_MAX_BYTES => {
                let problem = format!("it is longer than {LINE_MAX_BYTES} bytes");
                return Err(damaged(number, problem));
            }
            _ => return Ok((objects, ends)),
        }
        place += line.len() as u64;
        broken = match serde_json::from_slice(&line) {
            Ok(object) => {
                objects.push(object);
                ends.push(place);
                None
            }
            Err(error) => Some(error.to_string()),
        };
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Hands over the histograms of the first `windows` windows, with the place of the window, in
/// order; one is in memory at a time.
///
/// # Errors
/// When they cannot be read, are damaged or are fewer.
pub fn each_histogram(
    folder: &Path,
    windows: usize,
    each: &mut dyn FnMut(usize, Series, &Histogram<u64>),
) -> Result<(), RunFolderError> {
    each_histogram_of(folder, windows, None, each)
}

/// [`each_histogram`] of one series; decoding is what takes the time.
///
/// # Errors
/// As [`each_histogram`].
pub fn each_histogram_of(
    folder: &Path,
    windows: usize,
    only: Option<Series>,
    each: &mut dyn FnMut(usize, Series, &Histogram<u64>),
) -> Result<(), RunFolderError> {
    let path = &folder.join(files::HISTOGRAMS);
    if windows == 0 {
        return Ok(());
    }
    let damaged = |problem: String| RunFolderError::Damaged {
        path: path.to_owned(),
        problem,
    };
    let failed = |source| RunFolderError::Read {
        path: path.to_owned(),
        source,
    };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    let mut seen = [0_usize; Series::ALL.len()];
    // What follows the last line of the last window was being written when the run died.
    while seen.iter().any(|lines| *lines < windows) {
        line.clear();
        let mut bounded = (&mut lines).take(LINE_MAX_BYTES);
        bounded.read_until(b'\n', &mut line).map_err(failed)?;
        if line.len() as u64 == LINE_MAX_BYTES && line.last() != Some(&b'\n') {
            let problem = format!("a line is longer than {LINE_MAX_BYTES} bytes");
            return Err(damaged(problem));
        }
        if line.last() != Some(&b'\n') {
            break;
        }
        let Some(entry) = IntervalLogIterator::new(&line).next() else {
            continue;
        };
        let entry = entry.map_err(|_| {
            let number = seen.iter().sum::<usize>() + 1;
            damaged(format!("interval {number} is none of a histogram log"))
        })?;
        let LogEntry::Interval(interval) = entry else {
            continue;
        };
        let tag = interval.tag();
        let named = |series: &&Series| tag.is_some_and(|tag| tag.as_str() == series.as_str());
        let Some(series) = Series::ALL.iter().find(named).copied() else {
            continue;
        };
        let place = seen[series as usize];
        seen[series as usize] += 1;
        if place < windows && only.is_none_or(|only| only == series) {
            let histogram = decode(interval.encoded_histogram()).map_err(&damaged)?;
            each(place, series, &histogram);
        }
    }
    if let Some(few) = seen.iter().find(|lines| **lines < windows) {
        return Err(damaged(format!("it has {few} windows of {windows}")));
    }
    Ok(())
}

/// What the windows of a folder show, and the step budgets that they are too few for, in words.
///
/// # Errors
/// When they cannot be read or are damaged.
pub fn findings(
    folder: &Path,
    asked: &Asked<'_>,
) -> Result<(Findings, Vec<String>), RunFolderError> {
    let windows = read_windows(folder)?;
    let feed = |each: &mut dyn FnMut(usize, Series, &Histogram<u64>)| {
        each_histogram(folder, windows.len(), each)
    };
    let findings = Findings::of(asked, &windows, feed)?;
    Ok((findings, too_short_for_steps(asked.steps, &windows)))
}

pub(super) fn decode(encoded: &str) -> Result<Histogram<u64>, String> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|error| format!("a histogram is not Base64: {error}"))?;
    let plain = inflated(&bytes)?;
    // The library makes room for what the header says before it reads.
    let said = plain.get(4..8).and_then(|said| said.try_into().ok());
    let said = said.map_or(0, u32::from_be_bytes);
    if usize::try_from(said).map_or(true, |said| said > plain.len()) {
        return Err("a histogram is cut short".to_owned());
    }
    Deserializer::new()
        .deserialize(&mut plain.as_slice())
        .map_err(|error| format!("a histogram cannot be decoded: {error}"))
}

/// A histogram as it is before it is deflated; what is not deflated stays as it is.
fn inflated(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let Some(deflated) = bytes.strip_prefix(&DEFLATED.to_be_bytes()) else {
        return Ok(bytes.to_owned());
    };
    let mut plain = Vec::new();
    ZlibDecoder::new(deflated.get(4..).unwrap_or_default())
        .take(HISTOGRAM_MAX_BYTES + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("a histogram cannot be inflated: {error}"))?;
    if plain.len() as u64 > HISTOGRAM_MAX_BYTES {
        return Err(format!(
            "a histogram has more than {HISTOGRAM_MAX_BYTES} bytes"
        ));
    }
    Ok(plain)
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, RunFolderError> {
    let length = std::fs::metadata(path).map_or(0, |found| found.len());
    if length > RECORD_MAX_BYTES {
        return Err(RunFolderError::Damaged {
            path: path.to_owned(),
            problem: format!("it has {length} bytes, and {RECORD_MAX_BYTES} are the most"),
        });
    }
    let text = bytes_if_there(path)?.map(String::from_utf8).transpose();
    text.map_err(|error| RunFolderError::Damaged {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

pub(super) fn bytes_if_there(path: &Path) -> Result<Option<Vec<u8>>, RunFolderError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(source) => Err(RunFolderError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<T, RunFolderError> {
    serde_json::from_str(text).map_err(|error| RunFolderError::Damaged {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// Run folders in `runs_dir`, oldest first (their names begin with the start).
///
/// # Errors
/// When the folder is there and cannot be listed.
pub fn list(runs_dir: &Path) -> Result<Vec<PathBuf>, RunFolderError> {
    let mut folders = folders(runs_dir, &[files::RUN])?;
    folders.sort();
    Ok(folders)
}

/// Folders in `runs_dir` that have one of these files; a name with a dot in front is hidden.
pub(super) fn folders(runs_dir: &Path, having: &[&str]) -> Result<Vec<PathBuf>, RunFolderError> {
    let failed = |source| RunFolderError::Read {
        path: runs_dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(runs_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && having.iter().any(|file| path.join(file).is_file()) {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Whether a process is recording this run now.
#[must_use]
pub fn is_held(folder: &Path) -> bool {
    File::open(folder.join(files::WINDOWS)).is_ok_and(|file| {
        matches!(
            file.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    })
}

/// Runs in `runs_dir` that have no verdict and that nobody is recording, oldest first. What cannot
/// be read is left out.
///
/// # Errors
/// As [`list`].
pub fn unfinished(runs_dir: &Path) -> Result<Vec<(PathBuf, RunRecord)>, RunFolderError> {
    let open = |folder: &PathBuf| !folder.join(files::VERDICT).exists() && !is_held(folder);
    Ok(list(runs_dir)?
        .into_iter()
        .filter(open)
        .filter_map(|folder| read_run(&folder).ok().map(|run| (folder, run)))
        .collect())
}
