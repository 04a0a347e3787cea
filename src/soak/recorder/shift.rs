//! PURE: a level that shifted up, seen while a run goes on.
//!
//! The median of the last 6 values is compared with that of the 30 before them; it shifted when it is
//! higher by more than 25 %, by more than 5 robust standard deviations of the 30 (1.4826 times their
//! median absolute deviation), and by more than 1. Medians: one slow window, or two, shift nothing. The
//! judged step changes of a run are found at its end, by another test ([`crate::soak::stats::steps`]).

use crate::soak::stats::numbers::median;
use std::collections::VecDeque;

const RECENT: usize = 6;
const BEFORE: usize = 30;
const SHARE: f64 = 0.25;
const SIGMAS: f64 = 5.0;
/// In the unit of the values, which are milliseconds: less is not worth a look.
const LEAST: f64 = 1.0;
/// The standard deviation of a normal distribution in median absolute deviations.
const NORMAL: f64 = 1.4826;

/// The last values of a figure.
#[derive(Clone, Debug, Default)]
pub(super) struct Shift(VecDeque<f64>);

impl Shift {
    /// The next value; the levels before and after, when it completes a shift. It is told once: values
    /// from before the shift are forgotten.
    pub(super) fn push(&mut self, value: f64) -> Option<(f64, f64)> {
        self.0.push_back(value);
        if self.0.len() > BEFORE + RECENT {
            self.0.pop_front();
        }
        if self.0.len() < BEFORE + RECENT {
            return None;
        }
        let mut before: Vec<f64> = self.0.iter().take(BEFORE).copied().collect();
        let mut recent: Vec<f64> = self.0.iter().skip(BEFORE).copied().collect();
        let (level, now) = (median(&mut before)?, median(&mut recent)?);
        for value in &mut before {
            *value = (*value - level).abs();
        }
        let sigma = median(&mut before)? * NORMAL;
        let least = (level * SHARE).max(sigma * SIGMAS).max(LEAST);
        if now - level <= least {
            return None;
        }
        self.0.drain(..BEFORE);
        Some((level, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shifts(values: impl IntoIterator<Item = f64>) -> Vec<(usize, f64, f64)> {
        let mut shift = Shift::default();
        let told = |(place, value)| {
            shift
                .push(value)
                .map(|(before, after)| (place, before, after))
        };
        values.into_iter().enumerate().filter_map(told).collect()
    }

    #[test]
    fn a_lasting_rise_is_told_once() {
        let noise = |n: u32| f64::from(n * 7 % 5) - 2.0;
        let steady = (0..200).map(|n| 20.0 + noise(n));
        assert!(shifts(steady.clone()).is_empty());
        let risen = (200..300).map(|n| 40.0 + noise(n));
        let told = shifts(steady.clone().chain(risen));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!((200..206).contains(&told[0].0), "{told:?}");
        let fallen = (200..300).map(|n| 10.0 + noise(n));
        assert!(shifts(steady.clone().chain(fallen)).is_empty());
        let small = (200..300).map(|n| 24.0 + noise(n));
        assert!(shifts(steady.chain(small)).is_empty());
    }

    #[test]
    fn single_slow_windows_and_wild_ones_are_no_shift() {
        let spikes = (0..200).map(|n| if n % 20 < 2 { 500.0 } else { 20.0 });
        assert!(shifts(spikes).is_empty());
        let wild = (0..200_u32).map(|n| f64::from(n * n % 37));
        assert!(shifts(wild).is_empty());
        let tiny = (0..200).map(|n| if n < 100 { 0.4 } else { 0.9 });
        assert!(shifts(tiny).is_empty());
    }
}
