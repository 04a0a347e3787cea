//! PURE: by how much two runs differ, and how small a difference they could have shown.
//!
//! The values of a run are those of batches of at least ten merged windows, never of requests:
//! requests of one moment share its fate, so their number says nothing of how much was seen. They
//! are compared as logarithms, so that the answer is a ratio, by Welch's t (B. L. Welch, Biometrika
//! 34 (1947) 28–35). Batches that follow each other are alike too: their number is cut down by how
//! much (`n (1 - rho) / (1 + rho)`, the effective sample size of AR(1) noise).

use super::numbers::{autocorrelation, mean, size, variance, whole};
use super::student::student_t;

/// Windows in a batch at least.
pub const MIN_WINDOWS: usize = 10;
/// Batches that a long run is cut into.
pub const BATCHES: usize = 24;
/// Batches that a comparison needs of each run.
pub const MIN_BATCHES: usize = 6;
/// A smaller change is not called one, however sure it is.
pub const MIN_EFFECT: f64 = 0.05;
/// Chance that the interval misses, both sides together.
const ALPHA: f64 = 0.02;
/// Chance with which the smallest change that could have been seen would have been.
const POWER: f64 = 0.9;

/// A ratio of two runs and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The second run's typical value over the first's.
    pub ratio: f64,
    /// The lower end of its 98 % interval.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// A rise by this share, at least [`MIN_EFFECT`], would have been seen with 90 %.
    pub smallest_seen: f64,
    /// The interval does not hold 1, and the ratio is at least [`MIN_EFFECT`] away from it.
    pub differs: bool,
}

/// How long batches are, in windows, for a run of so many windows.
#[must_use]
pub fn batch_windows(windows: usize) -> usize {
    (windows / BATCHES).max(MIN_WINDOWS)
}

/// Compares the batches of two runs, in the order of time; `None` when one has fewer than
/// [`MIN_BATCHES`], or a value that is not above 0.
#[must_use]
pub fn compare(baseline: &[f64], run: &[f64]) -> Option<Comparison> {
    let usable = |values: &[f64]| {
        values.len() >= MIN_BATCHES && values.iter().all(|v| v.is_finite() && *v > 0.0)
    };
    if !usable(baseline) || !usable(run) {
        return None;
    }
    let logs = |values: &[f64]| values.iter().map(|v| v.ln()).collect::<Vec<_>>();
    let (old, new) = (logs(baseline), logs(run));
    // One estimate of how alike neighbours are, from both: each alone has few batches.
    let both = size(old.len() + new.len());
    let rho =
        (autocorrelation(&old) * size(old.len()) + autocorrelation(&new) * size(new.len())) / both;
    let (old_part, old_freedom) = squared_error(&old, rho.max(0.0))?;
    let (new_part, new_freedom) = squared_error(&new, rho.max(0.0))?;
    let total = old_part + new_part;
    let freedom = if total > 0.0 {
        total.powi(2) / (old_part.powi(2) / old_freedom + new_part.powi(2) / new_freedom)
    } else {
        old_freedom + new_freedom
    };
    let (error, change) = (total.sqrt(), mean(&new)? - mean(&old)?);
    let reach = student_t(1.0 - ALPHA / 2.0, freedom) * error;
    let seen = (reach + student_t(POWER, freedom) * error).exp_m1();
    let sure = change.abs() > reach;
    Some(Comparison {
        ratio: change.exp(),
        lower: (change - reach).exp(),
        upper: (change + reach).exp(),
        smallest_seen: seen.max(MIN_EFFECT),
        differs: sure && change.exp_m1().abs() >= MIN_EFFECT,
    })
}

/// The squared error of the mean, and its degrees of freedom.
fn squared_error(values: &[f64], rho: f64) -> Option<(f64, f64)> {
    let count = size(values.len());
    let freedom = (count * (1.0 - rho) / (1.0 + rho) - 1.0).max(1.0);
    // The plain variance divided by the effective count would forget that values which are alike
    // also lie closer to their own mean.
    let part = variance(values)? * (count - 1.0) / (count * freedom);
    Some((part, freedom))
}

/// The mean of each batch of `batch` neighbours; a rest that is shorter goes to the last.
#[must_use]
pub fn batch_means(values: &[f64], batch: usize) -> Vec<f64> {
    batch_ranges(values.len(), batch)
        .filter_map(|range| mean(&values[range]))
        .collect()
}

/// Where batches of `batch` among `count` begin and end; a rest that is shorter goes to the last.
pub fn batch_ranges(count: usize, batch: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let batches = whole(size(count) / size(batch.max(1)));
    (0..batches).map(move |index| {
        let end = if index + 1 == batches {
            count
        } else {
            (index + 1) * batch
        };
        index * batch..end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_change_is_seen_and_a_small_one_is_not_called_one() {
        let old: Vec<f64> = (0..24).map(|i| 100.0 + f64::from(i % 3)).collect();
        let scaled = |factor: f64| old.iter().map(|v| v * factor).collect::<Vec<_>>();
        let seen = compare(&old, &scaled(1.1)).unwrap();
        assert!(seen.differs && (seen.ratio - 1.1).abs() < 1e-9, "{seen:?}");
        assert!(seen.lower < 1.1 && seen.upper > 1.1);
        let small = compare(&old, &scaled(1.03)).unwrap();
        assert!(!small.differs && small.lower > 1.0, "{small:?}");
        assert!(compare(&old, &scaled(0.9)).unwrap().differs);
        assert!((compare(&[5.0; 6], &[5.0; 6]).unwrap().smallest_seen - 0.05).abs() < 1e-12);
    }

    #[test]
    fn too_little_or_nothing_to_divide_by_is_no_comparison() {
        assert_eq!(compare(&[1.0; 5], &[1.0; 9]), None);
        assert_eq!(compare(&[1.0; 6], &[0.0, 1.0, 1.0, 1.0, 1.0, 1.0]), None);
        let ranges: Vec<_> = batch_ranges(25, 10).collect();
        assert_eq!(ranges, [0..10, 10..25]);
        assert_eq!(batch_ranges(9, 10).count(), 0);
        assert_eq!(batch_means(&[1.0, 3.0, 5.0], 2), [3.0]);
    }
}
