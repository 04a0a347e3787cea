//! PURE: histograms of latencies, and their percentiles.
//!
//! Microseconds at three significant digits from 1 us to an hour; a larger value counts as an hour,
//! never as nothing. Histograms add without loss.

use super::units::milliseconds;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Largest latency that histograms tell apart: an hour, in microseconds.
pub const HIGHEST_US: u64 = 3_600_000_000;

/// Which latency a histogram holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Series {
    /// From due, every due request; one that did not end ok counts as the greater of its age and
    /// the request timeout. Gates read this.
    Response,
    /// From due, successful requests.
    Ok,
    /// From send, every request that was sent and ended, however it ended.
    Service,
    /// From due to send, every request that was sent.
    Lag,
}

impl Series {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Response, Self::Ok, Self::Service, Self::Lag];

    /// Its name, also its tag in `latency.hlog`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Ok => "ok",
            Self::Service => "service",
            Self::Lag => "lag",
        }
    }
}

/// The four histograms, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies([Histogram<u64>; 4]);

impl Default for Latencies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| empty_histogram()))
    }
}

#[expect(
    clippy::expect_used,
    reason = "the bounds are constants that the library accepts"
)]
fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_US, 3).expect("1 us to an hour at 3 digits")
}

impl Latencies {
    /// One of them.
    #[must_use]
    pub fn of(&self, series: Series) -> &Histogram<u64> {
        &self.0[series as usize]
    }

    /// Records a latency of `nanoseconds`, rounded to microseconds.
    pub fn record(&mut self, series: Series, nanoseconds: u64) {
        let microseconds = nanoseconds.saturating_add(500) / 1_000;
        self.0[series as usize].saturating_record(microseconds);
    }

    /// Adds a histogram. Of one with wider bounds, values past an hour count as an hour.
    pub fn add(&mut self, series: Series, other: &Histogram<u64>) {
        let mine = &mut self.0[series as usize];
        if mine.add(other).is_err() {
            for step in other.iter_recorded() {
                mine.saturating_record_n(step.value_iterated_to(), step.count_at_value());
            }
        }
    }
}

/// The percentiles that are always shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles<T> {
    /// The median.
    pub p50: Option<T>,
    /// 90 %.
    pub p90: Option<T>,
    /// 95 %.
    pub p95: Option<T>,
    /// 99 %.
    pub p99: Option<T>,
    /// 99.9 %.
    pub p99_9: Option<T>,
    /// The largest.
    pub max: Option<T>,
}

/// Headings of [`Percentiles::values`].
pub const PERCENTILE_NAMES: [&str; 6] = ["p50", "p90", "p95", "p99", "p99.9", "max"];

impl Percentiles<u64> {
    /// Microseconds; all `None` when nothing was recorded.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| value_at(histogram, quantile);
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        }
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn in_ms(&self) -> Percentiles<f64> {
        let [p50, p90, p95, p99, p99_9, max] = self.values().map(|value| value.map(milliseconds));
        Percentiles {
            p50,
            p90,
            p95,
            p99,
            p99_9,
            max,
        }
    }
}

impl<T: Copy> Percentiles<T> {
    /// In the order of [`PERCENTILE_NAMES`].
    #[must_use]
    pub fn values(&self) -> [Option<T>; 6] {
        [self.p50, self.p90, self.p95, self.p99, self.p99_9, self.max]
    }
}

/// The value at `quantile` (0 to 1) in microseconds; `None` when nothing was recorded.
#[must_use]
pub fn value_at(histogram: &Histogram<u64>, quantile: f64) -> Option<u64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_kept_at_the_limit() {
        let mut latencies = Latencies::default();
        latencies.record(Series::Response, u64::MAX);
        let histogram = latencies.of(Series::Response);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= HIGHEST_US);
    }

    #[test]
    fn names_and_places_agree() {
        for (place, series) in Series::ALL.iter().enumerate() {
            assert_eq!(*series as usize, place);
        }
        assert_eq!(
            Percentiles::of(Latencies::default().of(Series::Ok)).p50,
            None
        );
    }
}
