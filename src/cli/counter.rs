//! How far a piece of work is whose units are alike: a bar on a terminal, a line every 10 s
//! elsewhere.

use super::output;
use super::progress::LINE_EVERY;
use crate::clock::{Clock as _, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Instant;

/// Counts units of work.
pub(super) struct Counter {
    bar: Option<ProgressBar>,
    unit: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    last_line: Instant,
}

impl Counter {
    /// Starts at none of `total`.
    pub(super) fn start(total: u64, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30.cyan/dim} {msg}  {elapsed} elapsed");
            let bar = ProgressBar::new(total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let started = SystemClock.monotonic();
        Self {
            bar,
            unit,
            total,
            done: 0,
            started,
            last_line: started,
        }
    }

    /// So many more are done.
    pub(super) fn advance(&mut self, units: u64) {
        self.done += units;
        let now = SystemClock.monotonic();
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.set_message(self.text());
        } else if now - self.last_line >= LINE_EVERY {
            self.last_line = now;
            output::error(&self.text());
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn text(&self) -> String {
        let elapsed = (SystemClock.monotonic() - self.started).as_secs_f64();
        let rate = self.done as f64 / elapsed.max(0.001);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(0.001);
        format!(
            "{} of {} {}, {rate:.0}/s, about {left:.0} s left",
            self.done, self.total, self.unit
        )
    }
}
