//! PURE: thresholds on stretches of a run: on every stretch of a given length, and on the last
//! quarter. Fed with the histograms of one window after the other, and keeps only those that the
//! longest stretch needs.

use super::latency::Series;
use super::record::WindowRecord;
use super::threshold::{Metric, Scope, Threshold};
use super::units::nanoseconds;
use super::view::{Stretch, View as _};
use hdrhistogram::Histogram;
use std::time::Duration;

/// Windows of which a last quarter can be told.
const MIN_QUARTER_WINDOWS: usize = 4;

/// The worst of a threshold's stretches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Its value there; `None` when nothing was measured in one of them.
    pub value: Option<f64>,
    /// Where that stretch begins, in seconds from the end of the warm-up.
    pub at_s: f64,
    /// Where it ends.
    pub until_s: f64,
}

/// Follows thresholds that are not on the whole run.
#[derive(Debug)]
pub struct Scopes<'a> {
    windows: &'a [WindowRecord],
    watchers: Vec<Watcher<'a>>,
}

#[derive(Debug)]
struct Watcher<'a> {
    threshold: &'a Threshold,
    series: Series,
    /// Windows of a stretch, and the first window that counts.
    length: usize,
    from: usize,
    stretch: Stretch,
    worst: Option<Worst>,
}

impl<'a> Scopes<'a> {
    /// Nothing seen yet of `windows`, each planned to be `planned_s` long.
    #[must_use]
    pub fn new(thresholds: &'a [Threshold], windows: &'a [WindowRecord], planned_s: f64) -> Self {
        let window = Duration::try_from_secs_f64(planned_s).unwrap_or_default();
        let watchers = thresholds
            .iter()
            .filter_map(|threshold| Watcher::new(threshold, windows, window))
            .collect();
        Self { windows, watchers }
    }

    /// Whether there is anything to follow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// The next histogram of the window at `place`. Histograms come in the order of windows.
    pub fn add(&mut self, place: usize, series: Series, histogram: &Histogram<u64>) {
        for watcher in &mut self.watchers {
            if watcher.series == series {
                watcher.add(self.windows, place, histogram);
            }
        }
    }

    /// The worst stretch of this threshold; `None` when the run has no such stretch.
    #[must_use]
    pub fn worst(&self, threshold: &Threshold) -> Option<Worst> {
        self.watchers
            .iter()
            .find(|watcher| watcher.threshold == threshold)?
            .worst
    }
}

impl<'a> Watcher<'a> {
    fn new(threshold: &'a Threshold, windows: &[WindowRecord], window: Duration) -> Option<Self> {
        let (length, from) = match threshold.scope() {
            Scope::Run => return None,
            Scope::Every(stretch) => (windows_in(stretch, window), 0),
            Scope::LastQuarter if windows.len() < MIN_QUARTER_WINDOWS => (usize::MAX, 0),
            Scope::LastQuarter => {
                let end_s = windows
                    .last()
                    .map_or(0.0, |last| last.start_s + last.length_s);
                // A hair's breadth, as the start of a window is a sum of decimals.
                let from_s = end_s * 0.75 - 1e-6;
                let from = windows.iter().position(|w| w.start_s >= from_s);
                let from = from.unwrap_or(windows.len() - 1);
                (windows.len() - from, from)
            }
        };
        let series = match threshold.metric() {
            Metric::Quantile(series, _) | Metric::Mean(series) => series,
            _ => Series::Response,
        };
        Some(Self {
            threshold,
            series,
            length,
            from,
            stretch: Stretch::new(series),
            worst: None,
        })
    }

    fn add(&mut self, windows: &[WindowRecord], place: usize, histogram: &Histogram<u64>) {
        let Some(window) = windows.get(place).filter(|_| place >= self.from) else {
            return;
        };
        let follows = place > 0 && windows[place - 1].window + 1 == window.window;
        // A stretch with a hole in it is none; a last quarter is what there is of it.
        if !follows && self.threshold.scope() != Scope::LastQuarter {
            self.stretch.clear();
        }
        let counts = (window.counts, window.relevance);
        self.stretch.push(counts, window.length_s, histogram);
        if self.stretch.windows() > self.length {
            self.stretch.pop();
        }
        if self.stretch.windows() == self.length {
            self.judge(windows[place + 1 - self.length].start_s, window);
        }
    }

    fn judge(&mut self, at_s: f64, last: &WindowRecord) {
        let is_of_judged = self.threshold.metric() == Metric::HitRate;
        let quiet = self.stretch.counts().due == 0
            || (is_of_judged && self.stretch.relevance().answers == 0);
        if quiet && self.threshold.scope() != Scope::LastQuarter {
            // Nothing was due, or no query with a judgment: nothing to hold against the target.
            return;
        }
        let value = self.threshold.value(&self.stretch);
        let is_worst = self.worst.is_none_or(|worst| {
            self.threshold.worse(worst.value, value) != worst.value && worst.value.is_some()
        });
        if is_worst {
            self.worst = Some(Worst {
                value,
                at_s,
                until_s: last.start_s + last.length_s,
            });
        }
    }
}

/// Windows in a stretch of this length, rounded up.
fn windows_in(stretch: Duration, window: Duration) -> usize {
    let windows = nanoseconds(stretch).div_ceil(nanoseconds(window).max(1));
    usize::try_from(windows).unwrap_or(usize::MAX).max(1)
}
