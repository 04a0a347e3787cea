//! PURE: a random order without a list: the place of each item is computed alone.

use crate::soak::schedule::mix;

const ROUNDS: u64 = 6;

/// Where `place` (below `length`) goes in the order of this pass. Every pass has each place once.
///
/// A Feistel network over the next even number of bits is a permutation; what falls outside is sent
/// through it again until it falls inside (cycle walking: Black and Rogaway 2002).
pub(super) fn permuted(place: u64, length: u64, seed: u64, pass: u64) -> u64 {
    let bits = 64 - length.saturating_sub(1).leading_zeros();
    let half = bits.div_ceil(2).max(1);
    let mask = (1_u64 << half) - 1;
    let key = mix(mix(seed) ^ pass);
    let mut place = place;
    loop {
        let (mut left, mut right) = (place >> half, place & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mix(key ^ (round << 56) ^ right) & mask));
        }
        place = (left << half) | right;
        if place < length {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_length_is_permuted() {
        for length in [1, 2, 3, 5, 16, 17, 1_000] {
            let all: BTreeSet<u64> = (0..length)
                .map(|place| permuted(place, length, 1, 0))
                .collect();
            assert_eq!(all, (0..length).collect(), "{length}");
        }
    }

    #[test]
    fn first_places_are_spread_evenly() {
        let mut seen = [0_u32; 10];
        for pass in 0..10_000 {
            seen[usize::try_from(permuted(0, 10, 7, pass)).unwrap()] += 1;
        }
        // Five standard deviations of a binomial count.
        assert!(
            seen.iter().all(|count| count.abs_diff(1_000) < 150),
            "{seen:?}"
        );
    }
}
