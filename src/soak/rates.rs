//! PURE: how many requests are due by when: a rate that is constant or changes evenly, piece by
//! piece, and its sum, in integers.
//!
//! Sums are counted in units of 10^-15 requests: a rate in requests per 10^6 s times a time in ns.
//! In a piece where the rate changes, rates are rounded to a thousandth of a request a second and
//! the sum to 10^-12 requests, so that all of it fits into 128 bits up to 10^6/s and [`MAX_RAMP`].

use super::stage::Stage;
use super::units::{Rate, float, nanoseconds};
use std::time::Duration;

/// One request.
const REQUEST: u128 = 1_000_000_000_000_000;
/// Longest piece in which the rate changes.
pub const MAX_RAMP: Duration = Duration::from_hours(72);

/// A rate over time.
#[derive(Clone, Debug)]
pub struct Rates {
    pieces: Vec<Piece>,
    length_ns: u64,
    sum: u128,
}

/// A stretch in which the rate goes evenly from `from` to `to`, in requests per 10^6 s.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_ns: u64,
    length_ns: u64,
    from: u64,
    to: u64,
    /// The sum until it begins.
    before: u128,
}

impl Rates {
    /// `rate` for `length_ns`.
    #[must_use]
    pub fn constant(rate: Rate, length_ns: u64) -> Self {
        Self::of(rate.per_million_s(), [(length_ns, rate.per_million_s())])
    }

    /// From `start` (else 0) by `stages`.
    #[must_use]
    pub fn staged(start: Option<Rate>, stages: &[Stage]) -> Self {
        let steps = stages
            .iter()
            .map(|stage| (nanoseconds(stage.duration), per_million_s(stage.per_s)));
        Self::of(start.map_or(0, Rate::per_million_s), steps)
    }

    fn of(start: u64, steps: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut rates = Self {
            pieces: Vec::new(),
            length_ns: 0,
            sum: 0,
        };
        let mut from = start;
        for (length_ns, to) in steps {
            let piece = Piece {
                start_ns: rates.length_ns,
                length_ns,
                from,
                to,
                before: rates.sum,
            };
            if length_ns > 0 {
                rates.length_ns = rates.length_ns.saturating_add(length_ns);
                rates.sum = rates.sum.saturating_add(piece.sum());
                rates.pieces.push(piece);
            }
            from = to;
        }
        rates
    }

    /// How long it lasts.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// How many requests are due, rounded up: the first is due at once.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.sum.div_ceil(REQUEST)).unwrap_or(u64::MAX)
    }

    /// Whether the rate never changes.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        let first = self.pieces.first().map(|piece| piece.from);
        let same = |piece: &Piece| Some(piece.from) == first && Some(piece.to) == first;
        self.pieces.iter().all(same)
    }

    /// When so many requests have become due; at most the whole length.
    #[must_use]
    pub fn reach_ns(&self, requests: u64) -> u64 {
        self.reach(u128::from(requests) * REQUEST)
    }

    /// When `part` of `whole` of the first `requests` have become due.
    #[must_use]
    pub fn reach_part_ns(&self, requests: u64, part: u64, whole: u64) -> u64 {
        let sum = self.sum.min(u128::from(requests) * REQUEST);
        // The sum has up to 98 bits, a part up to 64: without the lowest 32 of the sum, which are a
        // millionth of a request, the product fits.
        let scaled = (sum >> 32) * u128::from(part) / u128::from(whole.max(1));
        self.reach(scaled << 32)
    }

    fn reach(&self, sum: u128) -> u64 {
        let after = self.pieces.partition_point(|piece| piece.before <= sum);
        let Some(piece) = self.pieces[..after].last() else {
            return 0;
        };
        piece.start_ns + piece.reach(sum - piece.before)
    }
}

impl Piece {
    fn changes(&self) -> bool {
        self.from != self.to
    }

    /// Of a changing rate, thousandths of a request a second.
    fn ends(&self) -> (u64, u64) {
        (self.from / 1_000, self.to / 1_000)
    }

    fn sum(&self) -> u128 {
        if self.changes() {
            let (from, to) = self.ends();
            return u128::from(from + to) * u128::from(self.length_ns) * 500;
        }
        u128::from(self.from) * u128::from(self.length_ns)
    }

    /// From its start: when its own sum is at `sum`; at most its length.
    fn reach(&self, sum: u128) -> u64 {
        let reached = if self.changes() {
            self.reach_in_ramp(sum.div_ceil(1_000))
        } else if self.from == 0 {
            self.length_ns
        } else {
            u64::try_from(sum / u128::from(self.from)).unwrap_or(u64::MAX)
        };
        reached.min(self.length_ns)
    }

    /// The first nanosecond at which `sum`, in 10^-12 requests, is reached: the root of a quadratic,
    /// guessed in floating point and made exact in integers.
    fn reach_in_ramp(&self, sum: u128) -> u64 {
        let enough = |at_ns: u64| self.ramp_sum(at_ns) >= sum;
        let guess_ns = self.guess_ns(sum);
        let (mut low, mut high, mut stride) = (guess_ns, guess_ns, 1);
        while low > 0 && enough(low) {
            high = low;
            low = low.saturating_sub(stride);
            stride *= 4;
        }
        if low == 0 && enough(0) {
            return 0;
        }
        stride = 1;
        while high < self.length_ns && !enough(high) {
            low = high;
            high = high.saturating_add(stride).min(self.length_ns);
            stride *= 4;
        }
        // Not enough at low; enough at high, or it is the end.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if enough(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    /// The sum at `at_ns` from its start, in 10^-12 requests.
    fn ramp_sum(&self, at_ns: u64) -> u128 {
        let (from, to) = self.ends();
        let (at, length) = (u128::from(at_ns), u128::from(self.length_ns));
        let constant = u128::from(from) * at;
        let change = u128::from(from.abs_diff(to)) * at * at / (2 * length);
        if to >= from {
            constant + change
        } else {
            constant.saturating_sub(change)
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a guess: the cast saturates, and integers correct it"
    )]
    fn guess_ns(&self, sum: u128) -> u64 {
        let (from, to) = self.ends();
        let (from, to, length) = (float(from), float(to), float(self.length_ns));
        // from t + (to - from) t² / (2 length) = sum, in the form that loses no digits.
        let slope = (to - from) / length;
        let root = (from * from + 2.0 * slope * sum as f64).max(0.0).sqrt();
        let guess_ns = 2.0 * sum as f64 / (from + root).max(f64::MIN_POSITIVE);
        (guess_ns as u64).min(self.length_ns)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a stage's rate is within 0 and 1e6"
)]
fn per_million_s(per_s: f64) -> u64 {
    (per_s * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::stats::numbers::whole;
    use crate::soak::units::SECOND_NS;
    use proptest::prelude::*;

    fn staged(start: f64, stages: &[&str]) -> Rates {
        let stages: Vec<Stage> = stages.iter().map(|text| text.parse().unwrap()).collect();
        Rates::staged(Rate::new(start).ok(), &stages)
    }

    #[test]
    fn a_ramp_and_a_hold_have_the_sums_of_their_areas() {
        let rates = staged(0.0, &["10s:100", "20s:100", "0:200", "5s:200", "10s:0"]);
        assert_eq!(rates.length_ns(), 45 * SECOND_NS);
        assert_eq!(rates.count(), 500 + 2_000 + 1_000 + 1_000);
        assert!(!rates.is_constant());
        // Half of the ramp's rate has a quarter of its requests.
        assert_eq!(rates.reach_ns(125), 5 * SECOND_NS);
        assert_eq!(rates.reach_ns(500), 10 * SECOND_NS);
        assert_eq!(rates.reach_ns(2_500), 30 * SECOND_NS);
        assert_eq!(rates.reach_ns(2_700), 31 * SECOND_NS);
        assert_eq!(rates.reach_ns(3_500), 35 * SECOND_NS);
        // Three quarters of the way down, a sixteenth of the requests is left.
        let almost_ns = rates.reach_ns(4_437) - 42 * SECOND_NS;
        assert!(almost_ns < SECOND_NS, "{almost_ns}");
    }

    #[test]
    fn nothing_is_due_where_the_rate_is_0() {
        let rates = staged(
            0.0,
            &["10s:0", "0:5", "2s:5", "0:0", "60s:0", "0:5", "2s:5"],
        );
        assert_eq!(rates.count(), 20);
        assert_eq!(rates.reach_ns(0), 10 * SECOND_NS);
        assert_eq!(rates.reach_ns(9), 11_800_000_000);
        assert_eq!(rates.reach_ns(10), 72 * SECOND_NS);
        assert_eq!(staged(0.0, &["10s:0"]).count(), 0);
    }

    #[test]
    fn the_longest_ramp_to_the_highest_rate_fits() {
        let rates = staged(0.0, &["72h:1000000"]);
        assert_eq!(rates.count(), 129_600_000_000);
        let half = 72 * 3_600 * SECOND_NS / 2;
        assert_eq!(rates.reach_ns(129_600_000_000 / 4), half);
        assert_eq!(rates.reach_part_ns(u64::MAX / 2, 1, 4), half);
    }

    proptest! {
        #[test]
        fn due_times_never_go_back_and_their_number_is_that_of_the_area(
            start in 0.0_f64..50.0,
            ends in prop::collection::vec((0_u64..3_000, 0.0_f64..50.0), 1..6),
        ) {
            let stages: Vec<Stage> = ends
                .iter()
                .map(|(ms, per_s)| Stage::new(Duration::from_millis(*ms), *per_s).unwrap())
                .collect();
            let rates = Rates::staged(Rate::new(start).ok(), &stages);
            let mut from = Rate::new(start).map_or(0.0, Rate::per_s);
            let mut area = 0.0;
            for stage in &stages {
                area += f64::midpoint(from, stage.per_s) * stage.duration.as_secs_f64();
                from = stage.per_s;
            }
            prop_assert!((float(rates.count()) - area).abs() < 1.1, "{} {area}", rates.count());
            let due: Vec<u64> = (0..rates.count()).map(|n| rates.reach_ns(n)).collect();
            prop_assert!(due.is_sorted());
            prop_assert!(due.iter().all(|due| *due <= rates.length_ns()));
        }

        #[test]
        fn a_guess_does_not_matter(from in 0.0_f64..1e6, to in 0.0_f64..1e6, share in 0.0_f64..1.0) {
            let rates = staged(from, &[&format!("1h:{to}")]);
            let count = whole(float(rates.count()) * share) as u64;
            let piece = rates.pieces[0];
            prop_assume!(piece.changes());
            let sum = u128::from(count) * 1_000_000_000_000;
            let at_ns = piece.reach_in_ramp(sum);
            prop_assert!(at_ns == piece.length_ns || piece.ramp_sum(at_ns) >= sum);
            prop_assert!(at_ns == 0 || piece.ramp_sum(at_ns - 1) < sum);
        }
    }
}
