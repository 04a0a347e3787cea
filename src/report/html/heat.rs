//! How many requests took how long, over time: the histograms of `response`, windows merged into at
//! most [`MAX_COLUMNS`] columns, latencies into rows of equal ratio.

use crate::soak::latency::Series;
use crate::soak::run_folder::{RecordedRun, RunFolderError, each_histogram_of};
use serde::{Serialize, Serializer};

/// Columns are merged windows; a screen has hardly more pixels.
pub(super) const MAX_COLUMNS: usize = 1_500;
/// Rows a factor of 10: each is 15 % higher than the one below.
const PER_DECADE: f64 = 16.0;
/// An hour, the highest latency that is recorded, is in row 152.
const ROWS: usize = 160;

/// Counts by time and latency.
#[derive(Serialize)]
pub(super) struct Heat {
    /// Seconds of a column; the first begins at 0.
    pub(super) column_s: f64,
    /// Rows a factor of 10; row 0 begins at 1 us.
    per_decade: f64,
    /// Of each column the counts; empty where nothing was recorded.
    columns: Vec<Column>,
}

/// Counts of a column from its lowest row to its highest.
#[derive(Clone, Default)]
pub(super) struct Column {
    counts: Vec<u64>,
}

impl Serialize for Column {
    /// The lowest row and the counts from there up; `[]` when there are none.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let held = |count: &u64| *count > 0;
        let (first, last) = (
            self.counts.iter().position(held),
            self.counts.iter().rposition(held),
        );
        match (first, last) {
            (Some(first), Some(last)) => {
                let row = std::iter::once(first as u64);
                serializer.collect_seq(row.chain(self.counts[first..=last].iter().copied()))
            }
            _ => serializer.collect_seq(std::iter::empty::<u64>()),
        }
    }
}

/// Reads the histograms of a run; `None` when it has no window.
pub(super) fn read(run: &RecordedRun) -> Result<Option<Heat>, RunFolderError> {
    let Some(last) = run.windows.last() else {
        return Ok(None);
    };
    let length_s = last.start_s + last.length_s;
    let window_s = run.run.scenario.window_s.max(1e-3);
    // Columns of whole windows, so that none gets two where its neighbour gets one.
    let share = whole((length_s / window_s).ceil())
        .div_ceil(MAX_COLUMNS)
        .max(1);
    let column_s = window_s * f64::from(u32::try_from(share).unwrap_or(u32::MAX));
    let count = whole((length_s / column_s).ceil()).clamp(1, MAX_COLUMNS);
    let mut cells = vec![Column::default(); count];
    each_histogram_of(
        &run.folder,
        run.windows.len(),
        Some(Series::Response),
        &mut |place, _, histogram| {
            let window = &run.windows[place];
            let middle_s = window.start_s + window.length_s / 2.0;
            let column = &mut cells[whole(middle_s / column_s).min(count - 1)];
            column.counts.resize(ROWS, 0);
            for step in histogram.iter_recorded() {
                column.counts[row(step.value_iterated_to())] += step.count_at_value();
            }
        },
    )?;
    Ok(Some(Heat {
        column_s,
        per_decade: PER_DECADE,
        columns: cells,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "a latency is below 2^52 us")]
fn row(us: u64) -> usize {
    whole((us.max(1) as f64).log10() * PER_DECADE).min(ROWS - 1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded down; a negative number becomes 0, and a large one the largest"
)]
fn whole(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_equal_ratio_and_hold_every_latency() {
        assert_eq!((row(0), row(1), row(10), row(1_000)), (0, 0, 16, 48));
        assert_eq!(row(999), 47);
        assert!(row(crate::soak::latency::HIGHEST_US) < ROWS);
        assert_eq!(row(u64::MAX), ROWS - 1);
    }

    #[test]
    fn columns_leave_out_what_is_empty() {
        let json = |counts: &[u64]| {
            let counts = counts.to_vec();
            serde_json::to_string(&Column { counts }).unwrap()
        };
        assert_eq!(json(&[0, 0, 3, 0, 1, 0]), "[2,3,0,1]");
        assert_eq!(json(&[0, 0]), "[]");
        assert_eq!(json(&[]), "[]");
    }
}
