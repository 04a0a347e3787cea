//! PURE: how uncertain a Theil–Sen slope is, by the moving-block bootstrap.
//!
//! What is left of the points after the line is taken away is drawn again in blocks of neighbours,
//! so that it stays as alike from one point to the next as it was, and the line is fitted anew.
//! H. R. Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
//! Statistics 17 (1989) 1217–1241.

use super::numbers::{autocorrelation, quantile, size, whole};
use super::student::student_t;
use super::theil_sen::{Line, slope};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// Drawn anew so often: the bounds of a 95 % interval then rest on some 12 draws beyond each.
pub const DRAWS: usize = 499;

/// From the lower to the upper bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
}

/// The interval that holds the slope with `confidence` (0 to 1); `points` are in order of x and
/// `line` was fitted to them. `None` for fewer than four points.
#[must_use]
pub fn slope_interval(
    points: &[(f64, f64)],
    line: Line,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    let count = points.len();
    if count < 4 {
        return None;
    }
    let rests = residuals(points, line);
    let block = block_length(&rests);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut drawn = points.to_vec();
    let mut slopes = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let mut place = 0;
        while place < count {
            let from = random.random_range(0..=count - block);
            for rest in rests[from..from + block].iter().take(count - place) {
                drawn[place].1 = line.at(drawn[place].0) + rest;
                place += 1;
            }
        }
        slopes.extend(slope(&drawn));
    }
    let tail = (1.0 - confidence) / 2.0;
    Some(Interval {
        lower: quantile(&mut slopes, tail)?,
        upper: quantile(&mut slopes, 1.0 - tail)?,
    })
}

/// What the line leaves, around 0, made wider for what the fit took out and what cutting into
/// blocks takes out of slow noise.
fn residuals(points: &[(f64, f64)], line: Line) -> Vec<f64> {
    let count = size(points.len());
    let rests: Vec<f64> = points.iter().map(|(x, y)| y - line.at(*x)).collect();
    let mean = rests.iter().sum::<f64>() / count;
    let rho = autocorrelation(&rests).max(0.0);
    let block = size(block_length(&rests));
    // The share of the long-run variance of AR(1) noise that blocks of this length keep.
    let whole_variance = (1.0 + rho) / (1.0 - rho);
    let kept = whole_variance - 2.0 * rho * (1.0 - rho.powf(block)) / (block * (1.0 - rho).powi(2));
    let widen = (count / (count - 2.0) * whole_variance / kept.max(f64::MIN_POSITIVE)).sqrt();
    // Few values that are alike say little of their own spread: as Student's t is wider than the
    // normal law's 1.96.
    let freedom = (count * (1.0 - rho) / (1.0 + rho) - 2.0).max(2.0);
    let widen = widen * student_t(0.975, freedom) / 1.96;
    rests.iter().map(|rest| (rest - mean) * widen).collect()
}

/// As long as noise with this autocorrelation asks for (Carlstein 1986), at most a quarter.
fn block_length(rests: &[f64]) -> usize {
    let rho = autocorrelation(rests).max(0.0);
    let count = rests.len();
    let ideal = (6.0_f64.sqrt() * rho / (1.0 - rho * rho)).powf(2.0 / 3.0) * size(count).cbrt();
    whole(ideal.ceil()).clamp(1, (count / 4).max(1))
}
