//! How far a long piece of work is: a bar on a terminal, a line every 10 s elsewhere.

use super::output;
use crate::clock::{Clock as _, SystemClock};
use crate::ingest::files::FoundFile;
use crate::ingest::pipeline::{Event, MAX_FILE_BYTES};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often a line is printed where there is no terminal.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of an ingest.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    files: usize,
    files_done: usize,
    chunks: usize,
    work: Work,
}

impl Progress {
    /// Starts at none of `files`.
    pub(super) fn start(files: &[FoundFile]) -> Self {
        let work = Work::of(files);
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30.cyan/dim} {msg}  {elapsed} elapsed");
            let bar = ProgressBar::new(work.total_bytes);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        let started = SystemClock.monotonic();
        Self {
            bar,
            started,
            last_line: started,
            files: files.len(),
            files_done: 0,
            chunks: 0,
            work,
        }
    }

    /// Takes one event into account.
    pub(super) fn advance(&mut self, event: &Event) {
        match event {
            Event::Embedded(chunks) => self.chunks += chunks,
            _ => self.files_done += 1,
        }
        if let Some(source) = event.source() {
            let is_unchanged = matches!(event, Event::Unchanged(_));
            self.work.done(source, is_unchanged);
        }
        let rate = self.chunks_per_s();
        if let Some(bar) = &self.bar {
            bar.set_position(self.work.total_bytes - self.work.left_bytes);
            bar.set_message(self.text(rate));
        } else if SystemClock.monotonic() - self.last_line >= LINE_EVERY {
            self.last_line = SystemClock.monotonic();
            output::error(&self.text(rate));
        }
    }

    /// Prints a line above the bar.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::error(text)),
            None => output::error(text),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn chunks_per_s(&self) -> f64 {
        let elapsed = (SystemClock.monotonic() - self.started).as_secs_f64();
        self.chunks as f64 / elapsed.max(0.001)
    }

    fn text(&self, rate: f64) -> String {
        let elapsed = SystemClock.monotonic() - self.started;
        let left = self.work.time_left(elapsed).map_or_else(
            || "time left unknown".to_owned(),
            |left| format!("about {} s left", left.as_secs()),
        );
        format!(
            "{} of {} files, {} chunks, {rate:.1} chunks/s, {left}",
            self.files_done, self.files, self.chunks
        )
    }
}

/// The work in bytes: a book at the end of the list is more of it than a thousand notes before.
struct Work {
    sizes: HashMap<String, u64>,
    total_bytes: u64,
    left_bytes: u64,
    /// Of files that were more than compared.
    worked_bytes: u64,
}

impl Work {
    fn of(files: &[FoundFile]) -> Self {
        // A file without bytes is some work too; one too large to be read is hardly any.
        let work = |file: &FoundFile| {
            let bytes = Some(file.bytes).filter(|bytes| *bytes <= MAX_FILE_BYTES);
            bytes.unwrap_or(0).max(1)
        };
        let sizes: HashMap<String, u64> = files
            .iter()
            .map(|file| (file.source.to_string(), work(file)))
            .collect();
        let total_bytes = sizes.values().sum();
        Self {
            sizes,
            total_bytes,
            left_bytes: total_bytes,
            worked_bytes: 0,
        }
    }

    fn done(&mut self, source: &str, is_unchanged: bool) {
        let bytes = self.sizes.remove(source).unwrap_or(0);
        self.left_bytes -= bytes;
        if !is_unchanged {
            self.worked_bytes += bytes;
        }
    }

    /// As if all that is left were work: what is unchanged is quick, and shows only when its turn
    /// comes. `None` before anything was worked on.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn time_left(&self, elapsed: Duration) -> Option<Duration> {
        if self.worked_bytes == 0 {
            return None;
        }
        let share = self.left_bytes as f64 / self.worked_bytes as f64;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * share).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(source: &str, bytes: u64) -> FoundFile {
        FoundFile {
            place: crate::ingest::files::Place::File(source.into()),
            source: crate::domain::SourceName::new(source).unwrap(),
            format: None,
            bytes,
        }
    }

    #[test]
    fn a_large_file_at_the_end_counts_by_its_bytes() {
        let mut files: Vec<_> = (0..10).map(|n| file(&format!("{n}.md"), 1_000)).collect();
        files.push(file("book.pdf", 90_000));
        files.push(file("empty.md", 0));
        let mut work = Work::of(&files);
        let elapsed = Duration::from_secs(10);
        assert_eq!(work.time_left(elapsed), None);
        // Those that were only compared say nothing of how long the others take.
        work.done("0.md", true);
        assert_eq!(work.time_left(elapsed), None);
        for n in 1..10 {
            work.done(&format!("{n}.md"), false);
        }
        work.done("empty.md", false);
        let left = work.time_left(elapsed).unwrap().as_secs();
        assert!((99..=100).contains(&left), "{left}");
        work.done("book.pdf", false);
        assert_eq!(work.time_left(elapsed), Some(Duration::ZERO));
        assert_eq!(work.left_bytes, 0);
    }
}
