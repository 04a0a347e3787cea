//! Writes a run folder: every window synced when it closes, the verdict last and atomically.
//!
//! A disk that is full does not end a run: what cannot be written is kept in memory, up to
//! [`MAX_KEPT_BYTES`], and written in its order when there is room again. What is on disk is whole
//! at all times: a piece that was cut short is taken back, and so is a window's half.

use super::appended::Appended;
use super::event::{Event, EventRecord};
use super::latency::{Latencies, Series};
use super::ledger::ClosedWindow;
use super::record::{ResourceRecord, RunRecord, VerdictRecord, WindowRecord};
use super::repair::Whole;
use super::sampler::Sample;
use super::units::seconds;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File};
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
    /// What happened beside: gaps, restarts, clocks, disk.
    pub const EVENTS: &str = "events.jsonl";
    /// The verdict; its absence means that the run did not end.
    pub const VERDICT: &str = "verdict.json";
    /// All of it for people, made from the other files.
    pub const REPORT: &str = "report.html";
}

/// Most that is kept in memory while the folder cannot be written: at some 6 KB a window of 10 s,
/// more than a day.
pub const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;
/// Most events that are kept so.
const MAX_KEPT_EVENTS: usize = 10_000;

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
#[derive(Debug)]
pub struct RunLog {
    folder: PathBuf,
    histograms: Appended,
    windows: Appended,
    events: Appended,
    kept: VecDeque<Piece>,
    kept_bytes: usize,
    kept_events: VecDeque<Vec<u8>>,
    in_trouble: bool,
    max_kept_bytes: usize,
}

/// A window as it is written.
#[derive(Debug)]
struct Piece {
    histograms: Vec<u8>,
    window: Vec<u8>,
}

impl Piece {
    fn bytes(&self) -> usize {
        self.histograms.len() + self.window.len()
    }
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
        // Held before there is a run.json, so that nobody takes the run for one that was cut off.
        let windows = Appended::create(folder, files::WINDOWS)?;
        windows.lock().map_err(failed)?;
        let mut histograms = Appended::create(folder, files::HISTOGRAMS)?;
        histograms.append(header(measured_from).as_bytes())?;
        let events = Appended::create(folder, files::EVENTS)?;
        write_atomically(folder, files::RUN, &json(run, true))?;
        if let Some(parent) = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_folder(parent)?;
        }
        Ok(Self::of(folder, histograms, windows, events))
    }

    /// Opens the folder of a run that was cut off; `whole` says, once nobody else can write, how
    /// much of each file is whole, and the rest is cut off.
    ///
    /// # Errors
    /// When it cannot be written, or another process holds it: then the error is of the kind
    /// `WouldBlock`.
    pub fn reopen<E: From<RunLogError>>(
        folder: &Path,
        whole: impl FnOnce() -> Result<Whole, E>,
        measured_from: SystemTime,
    ) -> Result<Self, E> {
        let mut windows = Appended::open(folder, files::WINDOWS)?;
        if !windows.lock().map_err(|source| windows.failed(source))? {
            let busy = windows.failed(io::ErrorKind::WouldBlock.into());
            return Err(busy.into());
        }
        let whole = whole()?;
        let mut histograms = Appended::open(folder, files::HISTOGRAMS)?;
        let mut events = Appended::open(folder, files::EVENTS)?;
        windows.take_back(whole.windows_bytes);
        histograms.take_back(whole.histograms_bytes);
        events.take_back(whole.events_bytes);
        if whole.histograms_bytes == 0 {
            histograms.append(header(measured_from).as_bytes())?;
        }
        sync_folder(folder)?;
        Ok(Self::of(folder, histograms, windows, events))
    }

    fn of(folder: &Path, histograms: Appended, windows: Appended, events: Appended) -> Self {
        Self {
            folder: folder.to_owned(),
            histograms,
            windows,
            events,
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_events: VecDeque::new(),
            in_trouble: false,
            max_kept_bytes: MAX_KEPT_BYTES,
        }
    }

    /// The folder of the run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a window in, and writes what there is to write: see [`RunLog::write_out`]. `None`
    /// when there is no room for it, neither on disk nor in memory.
    ///
    /// # Errors
    /// When its histograms cannot be encoded.
    pub fn append(
        &mut self,
        window: &ClosedWindow,
        resources: ResourceRecord,
        sample: Sample,
    ) -> Result<Option<WindowRecord>, RunLogError> {
        let record = window_record(window, resources, sample);
        let piece = Piece {
            histograms: histogram_lines(window, &window.tally.latencies)
                .map_err(|source| self.histograms.failed(source))?,
            window: json(&record, false),
        };
        if self.kept_bytes + piece.bytes() > self.max_kept_bytes {
            return Ok(None);
        }
        self.kept_bytes += piece.bytes();
        self.kept.push_back(piece);
        Ok(Some(record))
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &EventRecord) {
        if self.kept_events.len() < MAX_KEPT_EVENTS {
            self.kept_events.push_back(json(event, false));
        }
    }

    /// Writes what was taken in and waits until it is on disk; histograms first, so that a window in
    /// `windows.jsonl` always has its histograms. Says when that begins to fail, and when it no
    /// longer does.
    pub fn write_out(&mut self) -> Option<Event> {
        let waiting = self.kept.len() as u64;
        match (self.settle(), self.in_trouble) {
            (Ok(()), false) | (Err(_), true) => None,
            (Ok(()), true) => {
                self.in_trouble = false;
                Some(Event::DiskBack { windows: waiting })
            }
            (Err(error), false) => {
                self.in_trouble = true;
                let problem = format!("{}: {}", error.path.display(), error.source);
                Some(Event::DiskTrouble { problem })
            }
        }
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !(self.kept.is_empty() && self.kept_events.is_empty())
    }

    /// Whether the last try to write failed.
    #[must_use]
    pub fn is_in_trouble(&self) -> bool {
        self.in_trouble
    }

    /// Writes every window and event that waits.
    ///
    /// # Errors
    /// When one cannot be written or synced.
    pub fn settle(&mut self) -> Result<(), RunLogError> {
        while let Some(piece) = self.kept.front() {
            let before = self.histograms.length();
            self.histograms.append(&piece.histograms)?;
            if let Err(error) = self.windows.append(&piece.window) {
                self.histograms.take_back(before);
                return Err(error);
            }
            self.kept_bytes -= piece.bytes();
            self.kept.pop_front();
        }
        while let Some(line) = self.kept_events.front() {
            self.events.append(line)?;
            self.kept_events.pop_front();
        }
        Ok(())
    }

    /// Writes the verdict: whole or not at all, and only after every window and event.
    ///
    /// # Errors
    /// When it, or what waited before it, cannot be written or synced.
    pub fn finish(&mut self, verdict: &VerdictRecord) -> Result<(), RunLogError> {
        self.settle()?;
        write_atomically(&self.folder, files::VERDICT, &json(verdict, true))
    }
}

fn window_record(window: &ClosedWindow, resources: ResourceRecord, sample: Sample) -> WindowRecord {
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
        relevance: tally.relevance,
        resources,
        unit: sample.unit,
        host: sample.host,
        metrics: sample.metrics,
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

/// Writes a file of a run folder: whole and synced, or not at all.
///
/// # Errors
/// When it cannot be written or synced.
pub fn write_atomically(folder: &Path, name: &str, content: &[u8]) -> Result<(), RunLogError> {
    let path = folder.join(name);
    let temporary = folder.join(format!(".{name}.tmp"));
    File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|source| {
            // Half a file would take room that a full disk does not have.
            let _ = std::fs::remove_file(&temporary);
            RunLogError { path, source }
        })?;
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
