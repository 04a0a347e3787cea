//! Writes a run folder: every window synced when it closes, the verdict last and atomically.

use super::latency::{Latencies, Series};
use super::ledger::ClosedWindow;
use super::record::{ResourceRecord, RunRecord, VerdictRecord, WindowRecord};
use super::units::seconds;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Names of the files in a run folder.
pub mod files {
    /// What was going to be done.
    pub const RUN: &str = "run.json";
    /// Histograms of every window.
    pub const HISTOGRAMS: &str = "latency.hlog";
    /// One object a window.
    pub const WINDOWS: &str = "windows.jsonl";
    /// The verdict; its absence means that the run did not end.
    pub const VERDICT: &str = "verdict.json";
}

/// A run folder cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the run folder: {}", path.display())]
pub struct RunLogError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// An open run folder.
pub struct RunLog {
    folder: PathBuf,
    histograms: Appended,
    windows: Appended,
}

impl RunLog {
    /// Makes the folder (its parents too; it must not exist, or be empty) and its first files.
    ///
    /// # Errors
    /// When it exists and holds something, or cannot be written.
    pub fn create(
        folder: &Path,
        run: &RunRecord,
        measured_from: SystemTime,
    ) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError {
            path: folder.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(failed)?;
        if std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
            let exists = io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty");
            return Err(failed(exists));
        }
        write_atomically(folder, files::RUN, &json(run, true))?;
        let mut histograms = Appended::create(folder, files::HISTOGRAMS)?;
        histograms.append(header(measured_from).as_bytes())?;
        let windows = Appended::create(folder, files::WINDOWS)?;
        sync_folder(folder)?;
        if let Some(parent) = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_folder(parent)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            histograms,
            windows,
        })
    }

    /// Writes a window and waits until it is on disk: histograms first, so that a window in
    /// `windows.jsonl` always has its histograms.
    ///
    /// # Errors
    /// When it cannot be written or synced.
    pub fn append(
        &mut self,
        window: &ClosedWindow,
        resources: ResourceRecord,
    ) -> Result<WindowRecord, RunLogError> {
        let lines = histogram_lines(window, &window.tally.latencies)
            .map_err(|source| self.histograms.failed(source))?;
        self.histograms.append(&lines)?;
        let record = window_record(window, resources);
        self.windows.append(&json(&record, false))?;
        Ok(record)
    }

    /// Writes the verdict: whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written or synced.
    pub fn finish(self, verdict: &VerdictRecord) -> Result<(), RunLogError> {
        write_atomically(&self.folder, files::VERDICT, &json(verdict, true))
    }
}

fn window_record(window: &ClosedWindow, resources: ResourceRecord) -> WindowRecord {
    let tally = &window.tally;
    WindowRecord {
        window: window.index,
        start_s: seconds(window.start_ns),
        length_s: seconds(window.length_ns),
        counts: tally.counts,
        errors_by_kind: tally.errors_by_kind(),
        errors_by_cause: tally.causes.by_name().clone(),
        response_us: tally.percentiles(Series::Response),
        ok_us: tally.percentiles(Series::Ok),
        service_us: tally.percentiles(Series::Service),
        lag_us: tally.percentiles(Series::Lag),
        cache: tally.cache,
        resources,
    }
}

/// What other HdrHistogram tools expect at the top: times in lines are seconds from `BaseTime`.
fn header(measured_from: SystemTime) -> String {
    let epoch = measured_from
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    format!(
        "#[Latencies of an alfred soak in microseconds; tags: response, ok, service, lag]\n\
         #[Histogram log format version 1.3]\n\
         #[StartTime: {epoch:.3} (seconds since epoch)]\n\
         #[BaseTime: {epoch:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
    )
}

fn histogram_lines(window: &ClosedWindow, latencies: &Latencies) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new().begin_log_with(&mut lines, &mut serializer)?;
    for series in Series::ALL {
        writer
            .write_histogram(
                latencies.of(series),
                Duration::from_nanos(window.start_ns),
                Duration::from_nanos(window.length_ns),
                Tag::new(series.as_str()),
            )
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(lines)
}

fn json<T: serde::Serialize>(value: &T, pretty: bool) -> Vec<u8> {
    let written = if pretty {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    };
    // Records are plain structs with string keys; no such value fails to become JSON.
    let mut text = written.unwrap_or_default();
    text.push(b'\n');
    text
}

/// A file that only grows, synced after each piece.
struct Appended {
    path: PathBuf,
    file: File,
}

impl Appended {
    fn create(folder: &Path, name: &str) -> Result<Self, RunLogError> {
        let path = folder.join(name);
        let opened = OpenOptions::new().append(true).create_new(true).open(&path);
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(RunLogError { path, source }),
        }
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), RunLogError> {
        self.file
            .write_all(piece)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> RunLogError {
        RunLogError {
            path: self.path.clone(),
            source,
        }
    }
}

fn write_atomically(folder: &Path, name: &str, content: &[u8]) -> Result<(), RunLogError> {
    let path = folder.join(name);
    let temporary = folder.join(format!(".{name}.tmp"));
    File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|source| RunLogError { path, source })?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), RunLogError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| RunLogError {
            path: folder.to_owned(),
            source,
        })
}
