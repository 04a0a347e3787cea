//! PURE: percentiles of a histogram with wide buckets: an interval, never a number.
//!
//! `histogram_quantile` draws a straight line through the bucket and so makes a number up; the bounds of the
//! bucket are what is known.

/// Where a value lies: above `lower`, and at most `upper`; milliseconds. `upper` may be infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) lower: f64,
    pub(super) upper: f64,
}

/// Where the values of the ranks `first` to `last` lie (1 is the smallest). `buckets` are upper bounds,
/// ascending, and how often each alone. `None` of an empty histogram.
pub(super) fn of_ranks(buckets: &[(f64, f64)], (first, last): (f64, f64)) -> Option<Interval> {
    let total: f64 = buckets.iter().map(|(_, count)| count).sum();
    if total < 0.5 {
        return None;
    }
    let (first, last) = (first.clamp(1.0, total), last.clamp(1.0, total));
    let (mut seen, mut below) = (0.0, 0.0);
    let mut lower = None;
    for (bound, count) in buckets {
        seen += count;
        // Sums of counters are whole numbers; half of one is for sums that are not.
        if lower.is_none() && seen + 0.5 > first {
            lower = Some(below);
        }
        if seen + 0.5 > last {
            let lower = lower.unwrap_or(below);
            let upper = *bound;
            return Some(Interval { lower, upper });
        }
        below = *bound;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUCKETS: [(f64, f64); 4] = [(1.0, 50.0), (2.0, 0.0), (5.0, 45.0), (f64::INFINITY, 5.0)];

    fn at(first: f64, last: f64) -> (f64, f64) {
        let found = of_ranks(&BUCKETS, (first, last)).unwrap();
        (found.lower, found.upper)
    }

    #[test]
    fn a_rank_lies_between_the_bounds_of_its_bucket() {
        assert_eq!(at(1.0, 1.0), (0.0, 1.0));
        assert_eq!(at(50.0, 50.0), (0.0, 1.0));
        assert_eq!(at(51.0, 51.0), (2.0, 5.0));
        assert_eq!(at(95.0, 95.0), (2.0, 5.0));
        assert_eq!(at(96.0, 96.0), (5.0, f64::INFINITY));
        assert_eq!(at(50.0, 51.0), (0.0, 5.0), "either of two");
        assert_eq!(at(-3.0, 400.0), (0.0, f64::INFINITY));
        assert_eq!(of_ranks(&[], (1.0, 1.0)), None);
        assert_eq!(of_ranks(&[(1.0, 0.0)], (1.0, 1.0)), None);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_value_of_the_rank(
            values in prop::collection::vec(0.01..9_000.0_f64, 1..200),
            share in 0.001..1.0_f64,
        ) {
            let bounds = [1.0, 2.0, 5.0, 10.0, 100.0, 1_000.0, 5_000.0, f64::INFINITY];
            let mut below = 0.0;
            let buckets: Vec<(f64, f64)> = bounds.iter().map(|bound| {
                let count = values.iter().filter(|v| **v > below && **v <= *bound).count();
                below = *bound;
                (*bound, crate::soak::stats::numbers::size(count))
            }).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = (share * crate::soak::stats::numbers::size(values.len())).ceil().max(1.0);
            let value = sorted[crate::soak::stats::numbers::whole(rank) - 1];
            let found = of_ranks(&buckets, (rank, rank)).unwrap();
            prop_assert!(found.lower < value && value <= found.upper, "{value} {found:?}");
        }
    }
}
