//! How far a long piece of work is: a bar on a terminal, a line every 10 s elsewhere.

use super::output;
use crate::clock::{Clock as _, SystemClock};
use crate::ingest::pipeline::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of an ingest.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    files: usize,
    files_done: usize,
    chunks: usize,
}

impl Progress {
    /// Starts at 0 of `files`.
    pub(super) fn start(files: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{bar:30.cyan/dim} {pos}/{len} files  {msg}  {elapsed} elapsed, {eta} left",
            );
            let bar = ProgressBar::new(files as u64);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        let started = SystemClock.monotonic();
        Self {
            bar,
            started,
            last_line: started,
            files,
            files_done: 0,
            chunks: 0,
        }
    }

    /// Takes one event into account.
    pub(super) fn advance(&mut self, event: &Event) {
        match event {
            Event::Embedded(chunks) => self.chunks += chunks,
            _ => self.files_done += 1,
        }
        let rate = self.chunks_per_s();
        if let Some(bar) = &self.bar {
            bar.set_position(self.files_done as u64);
            bar.set_message(format!("{} chunks, {rate:.1}/s", self.chunks));
        } else if SystemClock.monotonic() - self.last_line >= LINE_EVERY {
            self.last_line = SystemClock.monotonic();
            output::error(&format!(
                "{} of {} files, {} chunks, {rate:.1} chunks/s, {}",
                self.files_done,
                self.files,
                self.chunks,
                self.time_left(),
            ));
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

    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn time_left(&self) -> String {
        if self.files_done == 0 {
            return "time left unknown".to_owned();
        }
        let elapsed = (SystemClock.monotonic() - self.started).as_secs_f64();
        let left = elapsed / self.files_done as f64 * (self.files - self.files_done) as f64;
        format!("about {left:.0} s left")
    }
}
