//! PURE: whether a figure rises by more than a budget an hour.
//!
//! 1. The first tenth is dropped: caches fill and pools open.
//! 2. The rest is cut into blocks of equal length, and of each block the floor is kept: its least
//!    value. What a garbage collector has not collected yet is thereby left out.
//! 3. A Theil–Sen line through the floors gives the slope ([`super::theil_sen`]).
//! 4. A block bootstrap gives its 95 % interval ([`super::bootstrap`]).
//! 5. It is a drift when the lower bound is beyond the budget, the floor of the second half lies
//!    above that of the first by more than half the budget (that of a slow sawtooth does not), and
//!    the end agrees: the last half rises by more than the budget, and the last quarter, of which
//!    less can be seen, by more than a third of it. What grew while it warmed up and then stopped
//!    is thereby no drift.
//!
//! Mann–Kendall's test, the usual choice, takes slow noise for a trend in most runs.

use super::bootstrap::{Interval, slope_interval};
use super::numbers::{size, whole};
use super::theil_sen::{fit, slope};

/// Drift is judged from this length on.
pub const FROM_S: f64 = 30.0 * 60.0;
/// The share of a run that is dropped.
pub const DROPPED: f64 = 0.1;
/// Blocks that a long run is cut into.
const BLOCKS: usize = 48;
/// Values in a block at least.
const MIN_BLOCK: usize = 6;
/// Floors that a slope needs at least.
const MIN_FLOORS: usize = 12;
/// Blocks are also joined by so many, and the look with the narrowest interval counts: short blocks
/// tell most of plain noise, long ones of a slow sawtooth.
const SCALES: [usize; 3] = [1, 2, 4];
/// The share of values that must be there.
const MIN_PRESENT: f64 = 0.9;
/// Of the interval.
const CONFIDENCE: f64 = 0.95;
/// Seconds in an hour.
const HOUR_S: f64 = 3_600.0;

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Seconds from the start, in order, and the value.
    pub series: &'a [(f64, f64)],
    /// Values that there would be if none were missing.
    pub expected: usize,
    /// How long the run was.
    pub length_s: f64,
    /// The most that it may rise an hour; `None` to estimate only.
    pub budget_per_h: Option<f64>,
    /// The same seed, the same answer.
    pub seed: u64,
}

/// How it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does not rise by more than the budget, as far as this run shows.
    Within,
    /// It does.
    Beyond,
    /// There is no budget.
    NoBudget,
    /// The run is shorter than [`FROM_S`].
    TooShort,
    /// Too many values are missing.
    Missing,
}

/// The answer and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// The answer.
    pub answer: Answer,
    /// The estimate, unless the run was too short or values were missing.
    pub estimate: Option<Estimate>,
    /// Values that were there.
    pub present: usize,
}

/// A slope, all of it an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Of the floors.
    pub slope_per_h: f64,
    /// Its 95 % interval.
    pub interval_per_h: Interval,
    /// From the floor of the first half to that of the second.
    pub halves_per_h: f64,
    /// Of the last half.
    pub last_half_per_h: f64,
    /// Of the last quarter.
    pub last_quarter_per_h: f64,
    /// The line's value at the end of the dropped part.
    pub level: f64,
    /// Floors that it rests on.
    pub floors: usize,
}

/// Answers the question.
#[must_use]
pub fn test(question: &Question<'_>) -> Drift {
    let present = question.series.len();
    let without = |answer| Drift {
        answer,
        estimate: None,
        present,
    };
    if question.length_s < FROM_S {
        return without(Answer::TooShort);
    }
    if size(present) < MIN_PRESENT * size(question.expected) {
        return without(Answer::Missing);
    }
    let Some(estimate) = estimate(question) else {
        return without(Answer::Missing);
    };
    let beyond = |budget: f64| {
        estimate.interval_per_h.lower > budget
            && estimate.halves_per_h > budget / 2.0
            && estimate.last_half_per_h > budget
            && estimate.last_quarter_per_h > budget / 3.0
    };
    let answer = match question.budget_per_h {
        None => Answer::NoBudget,
        Some(budget) if beyond(budget) => Answer::Beyond,
        Some(_) => Answer::Within,
    };
    Drift {
        answer,
        estimate: Some(estimate),
        present,
    }
}

fn estimate(question: &Question<'_>) -> Option<Estimate> {
    let dropped_s = question.length_s * DROPPED;
    let blocks = BLOCKS.min(whole(size(question.expected) * (1.0 - DROPPED)) / MIN_BLOCK);
    let finest = floors(question.series, dropped_s, question.length_s, blocks);
    // A block without values is a hole in the run that the floors around it cannot vouch for.
    if finest.len() < blocks.max(MIN_FLOORS) {
        return None;
    }
    let looks = SCALES.iter().filter_map(|scale| {
        let floors: Vec<(f64, f64)> = finest.chunks_exact(*scale).map(lowest).collect();
        look(&floors, question, dropped_s)
    });
    let width = |look: &Estimate| look.interval_per_h.upper - look.interval_per_h.lower;
    let mut best = looks.min_by(|a, b| width(a).total_cmp(&width(b)))?;
    let (first, second) = finest.split_at(finest.len() / 2);
    let halves_s = (question.length_s - dropped_s) / 2.0;
    best.halves_per_h = (lowest(second).1 - lowest(first).1) / halves_s * HOUR_S;
    Some(best)
}

/// The slope of these floors; `None` of too few.
fn look(floors: &[(f64, f64)], question: &Question<'_>, dropped_s: f64) -> Option<Estimate> {
    if floors.len() < MIN_FLOORS {
        return None;
    }
    let line = fit(floors)?;
    let interval = slope_interval(floors, line, CONFIDENCE, question.seed)?;
    let ending = |share: f64| {
        let from_s = question.length_s - (question.length_s - dropped_s) * share;
        let late: Vec<(f64, f64)> = floors.iter().copied().filter(|f| f.0 >= from_s).collect();
        slope(&late).map(|slope| slope * HOUR_S)
    };
    Some(Estimate {
        slope_per_h: line.slope * HOUR_S,
        interval_per_h: Interval {
            lower: interval.lower * HOUR_S,
            upper: interval.upper * HOUR_S,
        },
        halves_per_h: 0.0,
        last_half_per_h: ending(0.5)?,
        last_quarter_per_h: ending(0.25)?,
        level: line.at(dropped_s),
        floors: floors.len(),
    })
}

/// The least value of each of `blocks` equal parts, where it lies; parts without values are left
/// out.
fn floors(series: &[(f64, f64)], from_s: f64, until_s: f64, blocks: usize) -> Vec<(f64, f64)> {
    let length_s = (until_s - from_s) / size(blocks.max(1));
    let block_of = |at_s: f64| whole((at_s - from_s) / length_s).min(blocks.saturating_sub(1));
    series
        .iter()
        .copied()
        .filter(|(at_s, _)| *at_s >= from_s)
        .collect::<Vec<_>>()
        .chunk_by(|a, b| block_of(a.0) == block_of(b.0))
        .map(lowest)
        .collect()
}

fn lowest(points: &[(f64, f64)]) -> (f64, f64) {
    let least = |a: (f64, f64), b: (f64, f64)| if b.1 < a.1 { b } else { a };
    points.iter().copied().fold((0.0, f64::INFINITY), least)
}
