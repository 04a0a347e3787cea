//! PURE: when the level of a figure changed, and by how much.
//!
//! Divisive segmentation by energy distance: the split that divides a segment into the two most
//! different parts is kept when hardly any reordering of the segment can be divided as well, and
//! both parts are searched in turn. D. S. Matteson and N. A. James, "A nonparametric approach for
//! multiple change point analysis of multivariate data", JASA 109 (2014) 334–345; M. Fleming and
//! others, "Hunter: using change point detection to hunt for performance regressions", ICPE 2023.
//! Reordered are blocks, not single values, since slow noise is no step; a change must be of
//! [`MIN_SIZE`], its segments a twentieth of the run; and what a straight line explains better is
//! a drift.

use super::numbers::{autocorrelation, mean, median, size, whole};
use super::theil_sen::fit;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::ops::Range;

/// The least change of the level that is a step, as a share.
pub const MIN_SIZE: f64 = 0.05;
/// Values are merged into at most so many bins.
const BINS: usize = 240;
/// Of so many values at least.
const MIN_BIN: usize = 3;
/// Bins that a search needs at least.
const MIN_BINS: usize = 40;
/// Values that a search needs at least.
pub const MIN_VALUES: usize = MIN_BINS * MIN_BIN;
/// The shortest segment, as a share of the run.
const MIN_SEGMENT: f64 = 0.05;
/// Reorderings a split is compared with.
const ORDERS: usize = 199;
/// Of which so many may be divided as well: 1 in 100, with the split itself counted.
const AS_GOOD: usize = 1;
/// Blocks that a segment is reordered in at least.
const MIN_BLOCKS: usize = 8;
/// Steps that are reported at most, the largest first found.
const MAX_STEPS: usize = 20;

/// A change of the level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The first value after it.
    pub at_s: f64,
    /// The median from the step before to this one.
    pub before: f64,
    /// The median from this step to the next.
    pub after: f64,
}

impl Step {
    /// Its size as a share of the level before.
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.after - self.before) / self.before.abs().max(f64::MIN_POSITIVE)
    }
}

/// The steps of a series of seconds and values, in the order of time; `None` when it is too short
/// to tell (120 values).
#[must_use]
pub fn find(series: &[(f64, f64)], seed: u64) -> Option<Vec<Step>> {
    let per_bin = series.len().div_ceil(BINS).max(MIN_BIN);
    let bins: Vec<f64> = series
        .chunks_exact(per_bin)
        .filter_map(|bin| median(&mut bin.iter().map(|p| p.1).collect::<Vec<_>>()))
        .collect();
    if bins.len() < MIN_BINS {
        return None;
    }
    let min_segment = whole((size(bins.len()) * MIN_SEGMENT).ceil()).max(4);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut splits = vec![0, bins.len()];
    let mut open: Vec<(usize, usize)> = vec![(0, bins.len())];
    while let Some((from, to)) = open.pop() {
        if splits.len() > MAX_STEPS + 1 {
            break;
        }
        let values = &bins[from..to];
        if let Some(split) = significant_split(values, min_segment, &mut random) {
            let split = from + split;
            splits.push(split);
            open.extend([(from, split), (split, to)]);
        }
    }
    splits.sort_unstable();
    drop_what_is_none(&bins, &mut splits);
    let starts: Vec<usize> = splits.iter().map(|bin| bin * per_bin).collect();
    Some(located(series, &starts))
}

/// Where the two parts differ most, when that is more than chance.
fn significant_split(
    values: &[f64],
    min_segment: usize,
    random: &mut Xoshiro256PlusPlus,
) -> Option<usize> {
    let (split, best) = best_split(values, min_segment)?;
    let block = block_length(values, split);
    let mut as_good = 0;
    for _ in 0..ORDERS {
        let reordered = reordered(values, block, random);
        as_good += usize::from(best_split(&reordered, min_segment)?.1 >= best);
        if as_good > AS_GOOD {
            return None;
        }
    }
    Some(split)
}

/// The split with the greatest energy distance of its parts, scaled by their lengths.
fn best_split(values: &[f64], min_segment: usize) -> Option<(usize, f64)> {
    let count = values.len();
    if count < 2 * min_segment {
        return None;
    }
    // Of each value the distances to those before it, and to those after it.
    let before: Vec<f64> = (0..count).map(|i| distances(values, i, 0..i)).collect();
    let after: Vec<f64> = (0..count)
        .map(|i| distances(values, i, i + 1..count))
        .collect();
    let total: f64 = before.iter().sum();
    let (mut left, mut right) = (0.0, total);
    let mut best = None;
    for split in 0..=count - min_segment {
        if split >= min_segment {
            let (m, n) = (size(split), size(count - split));
            let across = total - left - right;
            let energy = 2.0 * across / (m * n)
                - 2.0 * left / (m * (m - 1.0))
                - 2.0 * right / (n * (n - 1.0));
            let scaled = energy * m * n / (m + n);
            if best.is_none_or(|(_, most)| scaled > most) {
                best = Some((split, scaled));
            }
        }
        left += before[split];
        right -= after[split];
    }
    best
}

fn distances(values: &[f64], from: usize, to: Range<usize>) -> f64 {
    values[to].iter().map(|v| (v - values[from]).abs()).sum()
}

/// Twice as long as noise on both sides of the split stays alike.
fn block_length(values: &[f64], split: usize) -> usize {
    let (left, right) = values.split_at(split);
    let level = |part: &[f64]| mean(part).unwrap_or(0.0);
    let (low, high) = (level(left), level(right));
    let rests: Vec<f64> = left
        .iter()
        .map(|v| v - low)
        .chain(right.iter().map(|v| v - high))
        .collect();
    let rho = autocorrelation(&rests).max(0.0);
    let alike = (1.0 + rho) / (1.0 - rho);
    whole((2.0 * alike).ceil()).clamp(1, (values.len() / MIN_BLOCKS).max(1))
}

/// The values with blocks in another order, cut at a random phase.
fn reordered(values: &[f64], block: usize, random: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let mut turned = values.to_vec();
    turned.rotate_left(random.random_range(0..values.len()));
    let mut blocks: Vec<&[f64]> = turned.chunks(block).collect();
    blocks.shuffle(random);
    blocks.concat()
}

/// Takes out splits whose sides differ by too little, or are better told by one straight line.
fn drop_what_is_none(bins: &[f64], splits: &mut Vec<usize>) {
    loop {
        let weakest = (1..splits.len() - 1)
            .map(|place| (place, strength(bins, splits, place)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        match weakest {
            Some((place, strength)) if strength < MIN_SIZE => splits.remove(place),
            _ => return,
        };
    }
}

/// The size of the step as a share; 0 of what a line explains better.
fn strength(bins: &[f64], splits: &[usize], place: usize) -> f64 {
    let (from, at, to) = (splits[place - 1], splits[place], splits[place + 1]);
    let (Some(before), Some(after)) = (
        median(&mut bins[from..at].to_vec()),
        median(&mut bins[at..to].to_vec()),
    ) else {
        return 0.0;
    };
    let points: Vec<(f64, f64)> = (from..to).map(|i| (size(i), bins[i])).collect();
    let by_line: f64 = fit(&points).map_or(f64::INFINITY, |line| {
        points.iter().map(|(x, y)| (y - line.at(*x)).abs()).sum()
    });
    let by_step: f64 = off(&bins[from..at], before) + off(&bins[at..to], after);
    let step = Step {
        at_s: 0.0,
        before,
        after,
    };
    if by_line <= by_step {
        0.0
    } else {
        step.share().abs()
    }
}

fn off(values: &[f64], level: f64) -> f64 {
    values.iter().map(|v| (v - level).abs()).sum()
}

/// Steps between `starts` (places in `series`), each moved to the value where it fits best within
/// the bins around it.
fn located(series: &[(f64, f64)], starts: &[usize]) -> Vec<Step> {
    let level = |range: Range<usize>| {
        median(&mut series[range].iter().map(|p| p.1).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    let bin = series.len().div_ceil(BINS).max(MIN_BIN);
    let sides = starts.windows(3).map(|three| {
        let (from, at, to) = (three[0], three[1], three[2]);
        let (before, after) = (level(from..at), level(at..to));
        let cost = |split: usize| -> f64 {
            let near = at.saturating_sub(bin).max(from)..(at + bin).min(to);
            near.map(|i| {
                let expected = if i < split { before } else { after };
                (series[i].1 - expected).abs()
            })
            .sum()
        };
        let near = at.saturating_sub(bin).max(from + 1)..(at + bin).min(to);
        let split = near
            .min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
            .unwrap_or(at);
        Step {
            at_s: series[split].0,
            before,
            after,
        }
    });
    sides.collect()
}
