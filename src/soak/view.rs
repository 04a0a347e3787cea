//! PURE: what a threshold can ask of a set of requests: of a run, or of a stretch of its windows.

use super::latency::{Series, value_at};
use super::relevance::RelevanceCounts;
use super::tally::{Counts, Tally};
use super::units::{float, milliseconds, seconds};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};

/// A set of requests, as thresholds see it.
pub trait View {
    /// The value at `quantile` (0 to 1); `None` when nothing was recorded.
    fn quantile_ms(&self, series: Series, quantile: f64) -> Option<f64>;
    /// The mean; `None` when nothing was recorded.
    fn mean_ms(&self, series: Series) -> Option<f64>;
    /// How they ended.
    fn counts(&self) -> Counts;
    /// Whether answers were right, where that is known.
    fn relevance(&self) -> RelevanceCounts;
    /// For how many seconds they were due.
    fn length_s(&self) -> f64;

    /// Requests that ended ok, a second; `None` of no time.
    fn throughput_per_s(&self) -> Option<f64> {
        (self.length_s() > 0.0).then(|| float(self.counts().ok) / self.length_s())
    }
}

/// A tally and the time that it covers.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// Its requests.
    pub tally: &'a Tally,
    /// Their time.
    pub measured_ns: u64,
}

impl View for Whole<'_> {
    fn quantile_ms(&self, series: Series, quantile: f64) -> Option<f64> {
        value_at(self.tally.latencies.of(series), quantile).map(milliseconds)
    }

    fn mean_ms(&self, series: Series) -> Option<f64> {
        let histogram = self.tally.latencies.of(series);
        (!histogram.is_empty()).then(|| histogram.mean() / 1e3)
    }

    fn counts(&self) -> Counts {
        self.tally.counts
    }

    fn relevance(&self) -> RelevanceCounts {
        self.tally.relevance
    }

    fn length_s(&self) -> f64 {
        seconds(self.measured_ns)
    }
}

/// A window's part of a [`Stretch`].
#[derive(Clone, Debug, Default)]
struct Part {
    counts: Counts,
    relevance: RelevanceCounts,
    length_s: f64,
    /// Microseconds and how often.
    recorded: Vec<(u64, u64)>,
}

/// Neighbouring windows, of one latency: windows come in at the end and go out at the start, and
/// only values that occurred take memory.
#[derive(Clone, Debug)]
pub struct Stretch {
    series: Series,
    parts: VecDeque<Part>,
    recorded: BTreeMap<u64, u64>,
    total: u64,
}

impl Stretch {
    /// Of no window.
    #[must_use]
    pub fn new(series: Series) -> Self {
        Self {
            series,
            parts: VecDeque::new(),
            recorded: BTreeMap::new(),
            total: 0,
        }
    }

    /// Windows that are in.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.parts.len()
    }

    /// A window comes in.
    pub fn push(
        &mut self,
        (counts, relevance): (Counts, RelevanceCounts),
        length_s: f64,
        histogram: &Histogram<u64>,
    ) {
        let recorded: Vec<(u64, u64)> = histogram
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect();
        for (value, count) in &recorded {
            *self.recorded.entry(*value).or_default() += count;
            self.total += count;
        }
        self.parts.push_back(Part {
            counts,
            relevance,
            length_s,
            recorded,
        });
    }

    /// The oldest window goes out.
    pub fn pop(&mut self) {
        for (value, count) in self.parts.pop_front().unwrap_or_default().recorded {
            self.total -= count;
            if let Some(left) = self.recorded.get_mut(&value) {
                *left -= count;
                if *left == 0 {
                    self.recorded.remove(&value);
                }
            }
        }
    }

    /// All windows go out.
    pub fn clear(&mut self) {
        *self = Self::new(self.series);
    }
}

impl View for Stretch {
    /// By the same rank as the histogram takes: the first value that `quantile` of all do not
    /// exceed.
    fn quantile_ms(&self, series: Series, quantile: f64) -> Option<f64> {
        let rank = (quantile * float(self.total)).ceil().max(1.0);
        let mut seen = 0;
        let reached = |(value, count): (&u64, &u64)| {
            seen += count;
            (float(seen) >= rank).then_some(*value)
        };
        let value = self.recorded.iter().find_map(reached)?;
        (series == self.series).then(|| milliseconds(value))
    }

    fn mean_ms(&self, series: Series) -> Option<f64> {
        let sum: f64 = self
            .recorded
            .iter()
            .map(|(v, n)| float(*v) * float(*n))
            .sum();
        (series == self.series && self.total > 0).then(|| sum / float(self.total) / 1e3)
    }

    fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.parts.iter().for_each(|part| all.add(&part.counts));
        all
    }

    fn relevance(&self) -> RelevanceCounts {
        let mut all = RelevanceCounts::default();
        self.parts.iter().for_each(|part| all.add(&part.relevance));
        all
    }

    fn length_s(&self) -> f64 {
        self.parts.iter().map(|part| part.length_s).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::latency::Latencies;
    use proptest::prelude::*;

    const SERIES: Series = Series::Response;

    proptest! {
        #[test]
        fn a_stretch_is_the_histogram_of_its_windows(
            windows in proptest::collection::vec(
                proptest::collection::vec(1..60_000_000_u64, 0..20), 1..12),
            keep in 1..6_usize,
            quantile in 0.001..1.0_f64,
        ) {
            let mut stretch = Stretch::new(SERIES);
            for values in &windows {
                let mut one = Latencies::default();
                for us in values {
                    one.record(SERIES, us * 1_000);
                }
                let counts = (Counts::default(), RelevanceCounts::default());
                stretch.push(counts, 1.0, one.of(SERIES));
                if stretch.windows() > keep {
                    stretch.pop();
                }
            }
            let mut whole = Latencies::default();
            for us in windows[windows.len().saturating_sub(keep)..].concat() {
                whole.record(SERIES, us * 1_000);
            }
            let expected = value_at(whole.of(SERIES), quantile).map(milliseconds);
            prop_assert_eq!(stretch.quantile_ms(SERIES, quantile), expected);
            prop_assert_eq!(stretch.quantile_ms(Series::Ok, quantile), None);
        }
    }
}
