//! PURE: medians, quantiles and autocorrelation of plain slices.

/// `count` as a float; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
#[must_use]
pub fn size(count: usize) -> f64 {
    count as f64
}

/// `value`, 0 or more, rounded down to a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and what is negative or not a number becomes 0"
)]
#[must_use]
pub fn whole(value: f64) -> usize {
    value as usize
}

/// The median; `None` of nothing. Reorders `values`.
#[must_use]
pub fn median(values: &mut [f64]) -> Option<f64> {
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    if values.is_empty() {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if odd {
        return Some(upper);
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(f64::midpoint(lower, upper))
}

/// The value at `quantile` (0 to 1), interpolated between neighbours; `None` of nothing. Reorders
/// `values`.
#[must_use]
pub fn quantile(values: &mut [f64], quantile: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    values.sort_by(f64::total_cmp);
    let place = quantile.clamp(0.0, 1.0) * size(last);
    let below = whole(place).min(last);
    let above = (below + 1).min(last);
    let share = place - size(below);
    Some(values[below] + (values[above] - values[below]) * share)
}

/// The mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / size(values.len()))
}

/// The unbiased variance; `None` of fewer than two.
#[must_use]
pub fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some(squares / size(values.len() - 1))
}

/// How alike neighbours are, -1 to 1, corrected for the few values there are (Kendall 1954: the
/// plain estimate is too small by about `(1 + 3 rho) / n`); 0 when it cannot be told.
#[must_use]
pub fn autocorrelation(values: &[f64]) -> f64 {
    let count = values.len();
    let Some(mean) = mean(values).filter(|_| count > 3) else {
        return 0.0;
    };
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    if squares <= 0.0 {
        return 0.0;
    }
    let products: f64 = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    let plain = products / squares;
    let bias = (1.0 + 3.0 * plain) / size(count);
    (plain + bias).clamp(-0.99, 0.99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_nothing_has_none() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&mut [0.0, 10.0], 0.25), Some(2.5));
        assert_eq!(quantile(&mut [7.0], 0.9), Some(7.0));
        assert_eq!((median(&mut []), quantile(&mut [], 0.5)), (None, None));
        assert_eq!(variance(&[1.0, 3.0]), Some(2.0));
        assert_eq!((variance(&[1.0]), mean(&[])), (None, None));
    }

    #[test]
    fn neighbours_that_are_alike_are_seen() {
        let slow: Vec<f64> = (0..100).map(|i| (size(i) / 20.0).sin()).collect();
        assert!(autocorrelation(&slow) > 0.9);
        let alternating: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        assert!(autocorrelation(&alternating) < -0.9);
        assert!(autocorrelation(&[5.0; 50]).abs() < 1e-12);
    }
}
