//! PURE: windows as points of plots. Usually a point is a window; of more windows than a plot bears,
//! some neighbours share one. Where nothing was recorded there is a point without values, so that
//! lines break there.

use crate::soak::record::WindowRecord;
use std::ops::Range;

/// A later start than the end of the window before by this share of a window is a gap.
const GAP: f64 = 0.05;

/// What a point shows of several windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// The highest value.
    Most,
    /// The mean.
    Mean,
}

impl Fold {
    /// Of `values`; `None` of none.
    pub(super) fn of(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        match self {
            Self::Most => values.reduce(f64::max),
            Self::Mean => {
                let (mut sum, mut count) = (0.0, 0.0);
                for value in values {
                    sum += value;
                    count += 1.0;
                }
                (count > 0.0).then(|| sum / count)
            }
        }
    }

    /// In words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Most => "highest",
            Self::Mean => "mean",
        }
    }
}

/// Windows as points.
pub(super) struct Grid<'a> {
    windows: &'a [WindowRecord],
    /// Windows of each point; none is a gap.
    points: Vec<Range<usize>>,
    /// Windows that share a point.
    pub(super) windows_a_point: usize,
}

impl<'a> Grid<'a> {
    /// At most about `most_points` points, gaps aside.
    pub(super) fn of(windows: &'a [WindowRecord], most_points: usize) -> Self {
        let share = windows.len().div_ceil(most_points.max(1)).max(1);
        let mut points: Vec<Range<usize>> = Vec::new();
        for (place, window) in windows.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| &windows[before]);
            if before.is_some_and(|before| is_gap(before, window)) {
                points.push(place..place);
            }
            match points.last_mut() {
                Some(last) if last.start < last.end && last.len() < share => last.end = place + 1,
                _ => points.push(place..place + 1),
            }
        }
        Self {
            windows,
            points,
            windows_a_point: share,
        }
    }

    /// The middle of each point, in seconds from the end of the warm-up; rising.
    pub(super) fn times(&self) -> Vec<f64> {
        let end = |window: &WindowRecord| window.start_s + window.length_s;
        self.points
            .iter()
            .map(|point| {
                let (from_s, to_s) = if point.is_empty() {
                    // There is a window before a gap and one after it.
                    let before = &self.windows[point.start.saturating_sub(1)];
                    (end(before), self.windows[point.start].start_s)
                } else {
                    let last = &self.windows[point.end - 1];
                    (self.windows[point.start].start_s, end(last))
                };
                f64::midpoint(from_s, to_s)
            })
            .collect()
    }

    /// A figure of every point.
    pub(super) fn column(
        &self,
        fold: Fold,
        figure: impl Fn(&WindowRecord) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        self.points
            .iter()
            .map(|point| fold.of(self.windows[point.clone()].iter().filter_map(&figure)))
            .collect()
    }
}

fn is_gap(before: &WindowRecord, window: &WindowRecord) -> bool {
    window.start_s - (before.start_s + before.length_s) > GAP * before.length_s
}
