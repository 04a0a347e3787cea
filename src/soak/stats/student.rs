//! PURE: quantiles of Student's t law.

use super::numbers::size;

/// Student's t that is exceeded with probability `1 - p`, for `p` of a half and more. By bisection
/// of its distribution function, so that no table of coefficients is to be trusted.
#[must_use]
pub fn student_t(p: f64, freedom: f64) -> f64 {
    // Beyond a thousand it is the normal law to a thousandth, and the integrand too narrow a peak.
    let freedom = freedom.min(1_000.0);
    let (mut low, mut high) = (0.0, 1.0);
    while distribution(high, freedom) < p && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if distribution(middle, freedom) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Student's distribution function at `t` of 0 or more: with `t = tan(a) * sqrt(freedom)` it is the
/// integral of `cos(a)^(freedom - 1)`, taken by Simpson's rule.
fn distribution(t: f64, freedom: f64) -> f64 {
    const STEPS: usize = 400;
    let integral = |until: f64| {
        let step = until / size(STEPS);
        let height = |place: usize| (size(place) * step).cos().max(0.0).powf(freedom - 1.0);
        let inner: f64 = (1..STEPS)
            .map(|place| height(place) * if place % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        (height(0) + inner + height(STEPS)) * step / 3.0
    };
    let all = integral(std::f64::consts::FRAC_PI_2);
    0.5 + 0.5 * integral((t / freedom.sqrt()).atan()) / all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tables in any textbook.
    #[test]
    fn student_t_is_that_of_the_tables() {
        for (p, freedom, table) in [
            (0.975, 1.0, 12.706),
            (0.975, 2.0, 4.303),
            (0.975, 10.0, 2.228),
            (0.975, 30.0, 2.042),
            (0.9, 5.0, 1.476),
            (0.995, 100.0, 2.626),
            (0.975, 1e5, 1.961),
        ] {
            let t = student_t(p, freedom);
            assert!((t - table).abs() < 0.001 * table, "{p} {freedom}: {t}");
        }
    }
}
