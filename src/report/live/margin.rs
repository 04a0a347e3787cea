//! PURE: thresholds while a run goes on: their value now, and how far that is from the limit.

use crate::soak::latency::{Percentiles, Series};
use crate::soak::record::{RelevanceCounts, WindowRecord};
use crate::soak::tally::Counts;
use crate::soak::threshold::{Scope, Threshold};
use crate::soak::units::milliseconds;
use crate::soak::view::{View, Whole};

/// A threshold as it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    /// As it was written.
    pub(super) text: String,
    /// The value now, and its distance from the limit; or when it will be known.
    pub(super) value: String,
    /// `None` when that cannot be told yet.
    pub(super) holds: Option<bool>,
}

/// Thresholds with what the windows showed of them so far.
#[derive(Debug)]
pub(super) struct Standings {
    thresholds: Vec<Threshold>,
    /// Of those on every window: whether all could be read so far, and the worst.
    worst: Vec<Option<Worst>>,
    window_s: f64,
}

#[derive(Clone, Copy, Debug)]
struct Worst {
    value: Option<f64>,
}

/// A recorded window as thresholds see it: the percentiles that are always recorded, and counts.
struct Recorded<'a>(&'a WindowRecord);

impl Standings {
    pub(super) fn new(thresholds: Vec<Threshold>) -> Self {
        Self {
            worst: vec![None; thresholds.len()],
            thresholds,
            window_s: 0.0,
        }
    }

    pub(super) fn started(&mut self, window_s: f64) {
        self.window_s = window_s;
    }

    /// Takes in a window that closed.
    pub(super) fn window(&mut self, window: &WindowRecord) {
        let seen = Recorded(window);
        for (threshold, worst) in self.thresholds.iter().zip(&mut self.worst) {
            if !is_on_every_window(threshold, self.window_s) {
                continue;
            }
            let value = threshold.value(&seen);
            let value = worst.map_or(value, |worst| threshold.worse(worst.value, value));
            *worst = Some(Worst { value });
        }
    }

    /// All of them as they stand, in their order.
    pub(super) fn now(&self, whole: &Whole<'_>) -> Vec<Standing> {
        let thresholds = self.thresholds.iter().zip(&self.worst);
        thresholds
            .map(|(threshold, worst)| self.stand(threshold, *worst, whole))
            .collect()
    }

    fn stand(&self, threshold: &Threshold, worst: Option<Worst>, whole: &Whole<'_>) -> Standing {
        let text = threshold.to_string();
        let is_on_run = threshold.scope() == Scope::Run && threshold.budget().is_none();
        let (value, prefix) = if is_on_run {
            (threshold.value(whole), "")
        } else {
            let worst = worst.filter(|_| is_on_every_window(threshold, self.window_s));
            (worst.and_then(|worst| worst.value), "worst ")
        };
        let Some(known) = value else {
            let value = if is_on_run {
                "nothing measured yet"
            } else {
                "judged at the end"
            };
            return Standing {
                text,
                value: value.to_owned(),
                holds: None,
            };
        };
        Standing {
            text,
            value: format!(
                "{prefix}{}, {}",
                threshold.show(value),
                threshold.show_distance(known)
            ),
            holds: Some(threshold.holds(value)),
        }
    }
}

fn is_on_every_window(threshold: &Threshold, window_s: f64) -> bool {
    match threshold.scope() {
        Scope::Every(length) => length.is_zero() || (length.as_secs_f64() - window_s).abs() < 1e-9,
        _ => false,
    }
}

impl Recorded<'_> {
    fn percentiles(&self, series: Series) -> &Percentiles<u64> {
        match series {
            Series::Response => &self.0.response_us,
            Series::Ok => &self.0.ok_us,
            Series::Service => &self.0.service_us,
            Series::Lag => &self.0.lag_us,
        }
    }
}

impl View for Recorded<'_> {
    fn quantile_ms(&self, series: Series, quantile: f64) -> Option<f64> {
        let place = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0]
            .iter()
            .position(|known| (known - quantile).abs() < 1e-9)?;
        self.percentiles(series).values()[place].map(milliseconds)
    }

    fn mean_ms(&self, _series: Series) -> Option<f64> {
        None
    }

    fn counts(&self) -> Counts {
        self.0.counts
    }

    fn relevance(&self) -> RelevanceCounts {
        self.0.relevance
    }

    fn length_s(&self) -> f64 {
        self.0.length_s
    }
}
