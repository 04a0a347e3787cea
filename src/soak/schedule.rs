//! PURE: when each request is due.
//!
//! The due time of request `i` is computed from `i` alone, in integer nanoseconds from the start of
//! its phase: no sum of gaps, so nothing drifts however long the run. Due times never go back, and
//! their number is exact.
//!
//! Poisson arrivals are conditioned on that exact number: `n` points of a Poisson process in an
//! interval, given `n`, are `n` independent uniform points in order. They are made without keeping
//! them all: the interval is halved again and again, the points left of each middle are drawn from
//! the binomial law with p = 1/2, and each node of that tree has a generator of its own, derived
//! from the seed and the node's place. A leaf of a few points is drawn and sorted when it is
//! reached, so any index can be asked for at any time, and a seed always gives the same run.

use super::rates::Rates;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

/// Points that a leaf of the tree holds on average.
const LEAF_POINTS: u64 = 32;

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly, the first at 0.
    Uniform,
    /// As a Poisson process with this seed.
    Poisson {
        /// The same seed gives the same due times.
        seed: u64,
    },
}

/// A phase of a run: rates, and how arrivals are spread.
#[derive(Clone, Debug)]
pub struct Schedule {
    rates: Rates,
    arrivals: Arrivals,
    count: u64,
}

impl Schedule {
    /// A phase at `rates` that ends after `most` requests, or else with its rates.
    #[must_use]
    pub fn new(rates: Rates, most: Option<u64>, arrivals: Arrivals) -> Self {
        Self {
            count: rates.count().min(most.unwrap_or(u64::MAX)),
            rates,
            arrivals,
        }
    }

    /// How many requests are due; without a limit length times rate, rounded up (one is due at
    /// time 0).
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long it lasts: until the next request would be due, or the end of its rates.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.rates.reach_ns(self.count)
    }

    /// A cursor that gives due times fastest when asked in order.
    #[must_use]
    pub fn cursor(self) -> Cursor {
        Cursor {
            length_ns: self.length_ns(),
            is_constant: self.rates.is_constant(),
            schedule: self,
            path: Vec::new(),
            leaf: Vec::new(),
        }
    }

    fn leaf_level(&self) -> u32 {
        (self.count / LEAF_POINTS)
            .max(1)
            .next_power_of_two()
            .trailing_zeros()
    }
}

/// Walks a [`Schedule`].
#[derive(Clone, Debug)]
pub struct Cursor {
    schedule: Schedule,
    length_ns: u64,
    is_constant: bool,
    /// Nodes from the root to the leaf that is held.
    path: Vec<Node>,
    /// Due times of that leaf's points.
    leaf: Vec<u64>,
}

/// A node of the tree: `count` points from index `first` on lie in its interval.
#[derive(Clone, Copy, Debug)]
struct Node {
    level: u32,
    position: u64,
    first: u64,
    count: u64,
}

impl Node {
    fn holds(&self, index: u64) -> bool {
        (self.first..self.first + self.count).contains(&index)
    }

    fn generator(&self, seed: u64) -> Xoshiro256PlusPlus {
        let place = (u64::from(self.level) << 56) ^ self.position;
        Xoshiro256PlusPlus::seed_from_u64(mix(mix(seed) ^ place))
    }

    fn halves(&self, seed: u64) -> [Self; 2] {
        let left = binomial_half(&mut self.generator(seed), self.count);
        let child = |position, first, count| Self {
            level: self.level + 1,
            position,
            first,
            count,
        };
        [
            child(self.position * 2, self.first, left),
            child(self.position * 2 + 1, self.first + left, self.count - left),
        ]
    }
}

impl Cursor {
    /// When request `index` (0-based) is due, in nanoseconds from the start of the phase; `None`
    /// past the last.
    pub fn due_ns(&mut self, index: u64) -> Option<u64> {
        if index >= self.schedule.count {
            return None;
        }
        match self.schedule.arrivals {
            Arrivals::Uniform => Some(self.schedule.rates.reach_ns(index)),
            Arrivals::Poisson { seed } => self.poisson_ns(index, seed),
        }
    }

    /// The first request that is due at `from_ns` or later; the count of all, when none is.
    pub fn first_from(&mut self, from_ns: u64) -> u64 {
        // Due times never go back.
        let (mut low, mut high) = (0, self.schedule.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.due_ns(middle).is_some_and(|due_ns| due_ns < from_ns) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn poisson_ns(&mut self, index: u64, seed: u64) -> Option<u64> {
        if !self.path.last().is_some_and(|leaf| leaf.holds(index)) {
            self.descend(index, seed);
        }
        let leaf = self.path.last()?;
        let offset = usize::try_from(index - leaf.first).ok()?;
        self.leaf.get(offset).copied()
    }

    fn descend(&mut self, index: u64, seed: u64) {
        while self.path.last().is_some_and(|node| !node.holds(index)) {
            self.path.pop();
        }
        let mut node = self.path.last().copied().unwrap_or_else(|| {
            let root = Node {
                level: 0,
                position: 0,
                first: 0,
                count: self.schedule.count,
            };
            self.path.push(root);
            root
        });
        while node.level < self.schedule.leaf_level() {
            let [left, right] = node.halves(seed);
            node = if left.holds(index) { left } else { right };
            self.path.push(node);
        }
        let from = self.boundary_ns(node.level, node.position);
        let until = self.boundary_ns(node.level, node.position + 1);
        // One draw apart from the splits: a leaf never splits, so its generator is unused so far.
        let mut generator = node.generator(seed);
        self.leaf.clear();
        self.leaf
            .extend((0..node.count).map(|_| from + scale(generator.next_u64(), until - from)));
        self.leaf.sort_unstable();
        if !self.is_constant {
            // A Poisson process of a changing rate is one of a constant rate in a time that runs as
            // fast as requests become due (Çinlar 1975, the time change of its intensity).
            let Schedule { rates, count, .. } = &self.schedule;
            for point in &mut self.leaf {
                *point = rates.reach_part_ns(*count, *point, self.length_ns);
            }
        }
    }

    /// Where the node's interval begins; that of the next node on the level is where it ends.
    fn boundary_ns(&self, level: u32, position: u64) -> u64 {
        let scaled = (u128::from(self.length_ns) * u128::from(position)) >> level;
        u64::try_from(scaled).unwrap_or(self.length_ns)
    }
}

/// `draw` of 64 random bits scaled to `0..width`.
fn scale(draw: u64, width: u64) -> u64 {
    let scaled = (u128::from(draw) * u128::from(width)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

/// Successes in `n` fair throws: one random bit a throw.
fn binomial_half(generator: &mut Xoshiro256PlusPlus, n: u64) -> u64 {
    let whole: u64 = (0..n / 64)
        .map(|_| u64::from(generator.next_u64().count_ones()))
        .sum();
    let rest = n % 64;
    if rest == 0 {
        return whole;
    }
    whole + u64::from((generator.next_u64() >> (64 - rest)).count_ones())
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring inputs, unrelated outputs.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::stage::Stage;
    use crate::soak::units::{Rate, SECOND_NS, float};
    use proptest::prelude::*;

    fn constant(per_s: f64, length_ns: u64, arrivals: Arrivals) -> Schedule {
        Schedule::new(Rates::constant(rate(per_s), length_ns), None, arrivals)
    }

    fn all(schedule: Schedule) -> Vec<u64> {
        let mut cursor = schedule.cursor();
        (0..).map_while(|index| cursor.due_ns(index)).collect()
    }

    fn rate(per_s: f64) -> Rate {
        Rate::new(per_s).unwrap()
    }

    fn any_arrivals() -> impl Strategy<Value = Arrivals> {
        prop_oneof![
            Just(Arrivals::Uniform),
            any::<u64>().prop_map(|seed| Arrivals::Poisson { seed }),
        ]
    }

    proptest! {
        #[test]
        fn is_monotone_with_the_exact_count(
            per_s in 0.01_f64..5_000.0,
            length_ms in 1_u64..20_000,
            arrivals in any_arrivals(),
        ) {
            let length_ns = length_ms * 1_000_000;
            let schedule = constant(per_s, length_ns, arrivals);
            let due = all(schedule);
            let exact = u128::from(length_ns) * u128::from(rate(per_s).per_million_s());
            prop_assert_eq!(due.len() as u128, exact.div_ceil(1_000_000_000_000_000));
            prop_assert!(due.is_sorted());
            prop_assert!(due.iter().all(|due| *due < length_ns));
        }

        #[test]
        fn any_index_can_be_asked_for(seed in any::<u64>(), picks in prop::collection::vec(0_u64..5_000, 20)) {
            let schedule = constant(500.0, 10 * SECOND_NS, Arrivals::Poisson { seed });
            let in_order = all(schedule.clone());
            let mut cursor = schedule.cursor();
            for pick in picks {
                let index = usize::try_from(pick).unwrap();
                prop_assert_eq!(cursor.due_ns(pick), Some(in_order[index]));
            }
        }
    }

    proptest! {
        #[test]
        fn finds_where_to_go_on(arrivals in any_arrivals(), from_ms in 0_u64..12_000) {
            let schedule = constant(40.0, 10 * SECOND_NS, arrivals);
            let from_ns = from_ms * 1_000_000;
            let before = all(schedule.clone()).iter().filter(|due| **due < from_ns).count() as u64;
            prop_assert_eq!(schedule.cursor().first_from(from_ns), before);
        }
    }

    #[test]
    fn does_not_drift_in_72_hours() {
        let length_ns = 72 * 3_600 * SECOND_NS;
        // 3/s: gaps that no integer number of nanoseconds holds.
        let mut cursor = constant(3.0, length_ns, Arrivals::Uniform).cursor();
        assert_eq!(
            cursor.due_ns(3 * 72 * 3_600 - 3),
            Some(length_ns - SECOND_NS)
        );
        assert_eq!(cursor.due_ns(3 * 72 * 3_600), None);
    }

    #[test]
    fn poisson_gaps_follow_the_exponential_law() {
        let arrivals = Arrivals::Poisson { seed: 7 };
        let due = all(constant(1_000.0, 200 * SECOND_NS, arrivals));
        let mut gaps: Vec<f64> = due.windows(2).map(|w| float(w[1] - w[0]) / 1e6).collect();
        gaps.sort_by(f64::total_cmp);
        // Kolmogorov-Smirnov against 1 - exp(-gap); 1.95/sqrt(n) is the 0.1 % point.
        let n = float(gaps.len() as u64);
        let distance = gaps
            .iter()
            .enumerate()
            .map(|(i, gap)| ((1.0 - (-gap).exp()) - float(i as u64) / n).abs())
            .fold(0.0, f64::max);
        assert!(distance < 1.95 / n.sqrt(), "{distance}");
        // Counts of a second vary as a Poisson law's do: variance near the mean.
        let mut counts = vec![0.0_f64; 200];
        for due in &due {
            counts[usize::try_from(due / SECOND_NS).unwrap()] += 1.0;
        }
        let variance = counts.iter().map(|c| (c - 1_000.0).powi(2)).sum::<f64>() / 200.0;
        assert!((700.0..1_400.0).contains(&variance), "{variance}");
    }

    #[test]
    fn seeds_differ() {
        let of = |seed| all(constant(10.0, 10 * SECOND_NS, Arrivals::Poisson { seed }));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn poisson_arrivals_follow_stages() {
        let stages: Vec<Stage> = ["100s:200", "100s:200", "0:50", "100s:50"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let rates = Rates::staged(None, &stages);
        let due = all(Schedule::new(rates, None, Arrivals::Poisson { seed: 3 }));
        assert_eq!(due.len(), 10_000 + 20_000 + 5_000);
        assert!(due.is_sorted());
        let between = |from: u64, until: u64| {
            let within = |due: &&u64| (from * SECOND_NS..until * SECOND_NS).contains(due);
            float(due.iter().filter(within).count() as u64)
        };
        // Four standard deviations of a Poisson count.
        for (from, until, expected) in [(0, 50, 2_500.0), (50, 100, 7_500.0), (200, 300, 5_000.0)] {
            let seen = between(from, until);
            assert!(
                (seen - expected).abs() < 4.0 * f64::sqrt(expected),
                "{from}: {seen}"
            );
        }
    }

    #[test]
    fn a_limit_ends_a_phase_when_it_is_reached() {
        for arrivals in [Arrivals::Uniform, Arrivals::Poisson { seed: 7 }] {
            let rates = Rates::constant(rate(100.0), 60 * SECOND_NS);
            let limited = Schedule::new(rates, Some(1_000), arrivals);
            assert_eq!(limited.length_ns(), 10 * SECOND_NS);
            let due = all(limited);
            assert_eq!(due.len(), 1_000);
            assert!(due.iter().all(|due| *due < 10 * SECOND_NS));
        }
        let stages = ["10s:100".parse().unwrap()];
        let limited = Schedule::new(Rates::staged(None, &stages), Some(125), Arrivals::Uniform);
        assert_eq!(limited.length_ns(), 5 * SECOND_NS);
    }
}
