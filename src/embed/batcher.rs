//! PURE: which texts go through the model together.
//!
//! Every text of a run is padded to the longest one, and padding costs as much as text. So texts
//! are taken in order of length, and a run ends before its padding or its size goes over a limit.

use std::ops::Range;

/// How runs are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Most tokens of one run, padding included; one longer text is a run by itself. Bounds memory,
    /// and how long a lane is taken.
    pub max_tokens: usize,
    /// Runs wanted at least, so that all lanes have work; fewer where there are fewer texts.
    pub min_runs: usize,
}

/// Texts of similar length: `order[run]` are indices into the lengths that were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All indices, by length, longest first.
    pub order: Vec<usize>,
    /// Ranges of `order`, none empty, one after the other.
    pub runs: Vec<Range<usize>>,
}

/// Share of padding at which a run ends, in percent of its tokens: a run of its own costs about as
/// much as this much padding.
const PADDING_MAX_PERCENT: usize = 10;

/// Plans runs for texts of `lengths` tokens.
#[must_use]
pub fn plan(lengths: &[usize], limits: RunLimits) -> Plan {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let total: usize = lengths.iter().sum();
    let fair = total.div_ceil(limits.min_runs.max(1));
    let max_tokens = limits.max_tokens.min(fair).max(1);
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    let mut padding = 0;
    for (position, index) in order.iter().enumerate() {
        let longest = lengths[order[start]];
        let tokens = longest * (position + 1 - start);
        padding += longest - lengths[*index];
        let too_padded = padding * 100 > tokens * PADDING_MAX_PERCENT;
        if position > start && (tokens > max_tokens || too_padded) {
            runs.push(start..position);
            start = position;
            padding = 0;
        }
    }
    if start < order.len() {
        runs.push(start..order.len());
    }
    Plan { order, runs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_texts_are_shared_out_evenly() {
        let limits = RunLimits {
            max_tokens: 2_048,
            min_runs: 2,
        };
        assert_eq!(plan(&[128; 16], limits).runs, [0..8, 8..16]);
    }

    #[test]
    fn a_short_text_is_not_padded_to_a_long_one() {
        let limits = RunLimits {
            max_tokens: 4_096,
            min_runs: 1,
        };
        let plan = plan(&[9, 256, 8], limits);
        assert_eq!((plan.order, plan.runs), (vec![1, 0, 2], vec![0..1, 1..3]));
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_bounded_run(
            lengths in proptest::collection::vec(1usize..300, 0..200),
            max_tokens in 1usize..5_000,
            min_runs in 0usize..5,
        ) {
            let plan = plan(&lengths, RunLimits { max_tokens, min_runs });
            let mut seen = plan.order.clone();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            let mut next = 0;
            for run in plan.runs {
                prop_assert_eq!(run.start, next);
                prop_assert!(!run.is_empty());
                next = run.end;
                let texts: Vec<usize> = plan.order[run].iter().map(|i| lengths[*i]).collect();
                let padded = texts[0] * texts.len();
                prop_assert!(texts.len() == 1 || padded <= max_tokens);
                let padding = padded - texts.iter().sum::<usize>();
                prop_assert!(padding * 100 <= padded * PADDING_MAX_PERCENT);
            }
            prop_assert_eq!(next, lengths.len());
        }
    }
}
