//! PURE: the Theil–Sen line: the median of the slopes of all pairs of points.
//!
//! Up to 29 % of the points may be anything without moving it far. H. Theil, "A rank-invariant
//! method of linear and polynomial regression analysis", 1950; P. K. Sen, "Estimates of the
//! regression coefficient based on Kendall's tau", JASA 63 (1968) 1379–1389.

use super::numbers::median;

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Its value at 0.
    pub intercept: f64,
    /// Its rise a unit of x.
    pub slope: f64,
}

impl Line {
    /// Its value at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// The line through `points`; `None` when no two differ in x. All pairs are looked at: meant for
/// hundreds of points.
#[must_use]
pub fn fit(points: &[(f64, f64)]) -> Option<Line> {
    let slope = slope(points)?;
    let mut rests: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    let intercept = median(&mut rests)?;
    Some(Line { intercept, slope })
}

/// The slope of [`fit`].
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (place, (x1, y1)) in points.iter().enumerate() {
        for (x2, y2) in &points[place + 1..] {
            if (x2 - x1).abs() > 0.0 {
                slopes.push((y2 - y1) / (x2 - x1));
            }
        }
    }
    median(&mut slopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quarter_of_wild_points_moves_nothing(
            intercept in -10.0..10.0_f64,
            rise in -10.0..10.0_f64,
            wild in proptest::collection::vec(-1e6..1e6_f64, 10),
        ) {
            let mut points: Vec<(f64, f64)> = (0..40)
                .map(|i| (f64::from(i), intercept + rise * f64::from(i)))
                .collect();
            for (place, value) in wild.iter().enumerate() {
                points[place * 4].1 = *value;
            }
            let line = fit(&points).unwrap();
            prop_assert!((line.slope - rise).abs() < 1e-6, "{line:?}");
            prop_assert!((line.intercept - intercept).abs() < 1e-4, "{line:?}");
        }
    }

    #[test]
    fn one_moment_has_no_slope() {
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}
