//! PURE: latency by rate, and the knee of that curve.
//!
//! The knee is found as Kneedle finds it (V. Satopää, J. Albrecht, D. Irwin, B. Raghavan, "Finding a
//! 'Kneedle' in a Haystack: Detecting Knee Points in System Behavior", ICDCS Workshops 2011): both
//! axes are brought to 0…1, and the knee is where the curve lies furthest below its diagonal,
//! with the paper's sensitivity of 1. Points are few and already medians, so they are not smoothed.

use super::record::TryRecord;
use super::search::Answer;
use crate::soak::stats::numbers::{median, size};
use serde::{Deserialize, Serialize};

/// Rates of which a knee can be told.
const MIN_RATES: usize = 5;
/// Latency that does not even double has no knee.
const MIN_RISE: f64 = 2.0;
/// How far the curve must come back from its largest distance for the knee to count, in mean
/// distances between neighbours: the paper's S.
const SENSITIVITY: f64 = 1.0;

/// A rate on the curve; of a rate that was tried several times, the medians.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Requests a second.
    pub rate_per_s: f64,
    /// From due, all requests.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p95_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
    /// What the target kept up.
    pub sustained_per_s: Option<f64>,
    /// The share of requests that did not end ok.
    pub error_rate: Option<f64>,
    /// How often it was tried, and could be judged.
    pub tried: u64,
    /// How often it held.
    pub held: u64,
    /// Whether the generator could not make it, at least once.
    pub generator: bool,
    /// What counted in the end, as the search decided: a rate that does not hold is tried once more, so
    /// the last try says it. `None` of a search by an earlier version.
    #[serde(default)]
    pub holds: Option<bool>,
}

impl Point {
    /// Whether it counts as held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.holds.unwrap_or(self.held > 0)
    }
}

/// Where latency begins to rise steeply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// Requests a second.
    pub rate_per_s: f64,
    /// p95 there.
    pub p95_ms: f64,
    /// How it was found.
    pub method: String,
}

/// The curve that steps draw, in the order of rates.
#[must_use]
pub fn curve(steps: &[TryRecord]) -> Vec<Point> {
    let mut rates: Vec<f64> = steps.iter().map(|step| step.rate_per_s).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup_by(|a, b| a.total_cmp(b).is_eq());
    rates
        .into_iter()
        .filter_map(|rate| point(steps, rate))
        .collect()
}

fn point(steps: &[TryRecord], rate: f64) -> Option<Point> {
    let judged =
        |step: &&TryRecord| step.answer.is_some() && step.rate_per_s.total_cmp(&rate).is_eq();
    let tries: Vec<&TryRecord> = steps.iter().filter(judged).collect();
    if tries.is_empty() {
        return None;
    }
    let of = |value: fn(&TryRecord) -> Option<f64>| {
        let mut values: Vec<f64> = tries.iter().filter_map(|step| value(step)).collect();
        median(&mut values)
    };
    let counted = |answer| {
        tries
            .iter()
            .filter(|step| step.answer == Some(answer))
            .count() as u64
    };
    Some(Point {
        rate_per_s: rate,
        p50_ms: of(|step| step.response_ms.p50),
        p95_ms: of(|step| step.response_ms.p95),
        p99_ms: of(|step| step.response_ms.p99),
        sustained_per_s: of(|step| Some(step.sustained_per_s)),
        error_rate: of(|step| step.error_rate),
        tried: tries.len() as u64,
        held: counted(Answer::Held),
        generator: counted(Answer::Generator) > 0,
        holds: tries.last().map(|step| step.answer == Some(Answer::Held)),
    })
}

/// The knee of p95 by rate, of the rates that held and the lowest that did not; `None` where the
/// curve has none.
#[must_use]
pub fn knee(curve: &[Point]) -> Option<Knee> {
    let last = curve
        .iter()
        .position(|point| !point.is_held())
        .map_or(curve.len(), |broke| broke + 1);
    let points: Vec<(f64, f64)> = curve[..last]
        .iter()
        .filter_map(|point| Some((point.rate_per_s, point.p95_ms?)))
        .collect();
    let place = kneedle(&points)?;
    Some(Knee {
        rate_per_s: points[place].0,
        p95_ms: points[place].1,
        method: "Kneedle (Satopää et al. 2011) on p95 by rate, sensitivity 1".to_owned(),
    })
}

/// The place of the knee of a convex rising curve.
fn kneedle(points: &[(f64, f64)]) -> Option<usize> {
    let (first, last) = (points.first()?, points.last()?);
    let lowest = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let highest = points.iter().map(|p| p.1).fold(0.0, f64::max);
    let (width, height) = (last.0 - first.0, highest - lowest);
    if points.len() < MIN_RATES || width <= 0.0 || highest < MIN_RISE * lowest {
        return None;
    }
    let below: Vec<f64> = points
        .iter()
        .map(|(x, y)| (x - first.0) / width - (y - lowest) / height)
        .collect();
    let (place, most) = below
        .iter()
        .copied()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let threshold = most - SENSITIVITY / size(points.len() - 1);
    let comes_back = below[place..].iter().any(|value| *value < threshold);
    (most > 0.0 && comes_back).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with one server: 1 / (1 - load), scaled; the steepest bend of both axes at 0…1 is at
    /// a load of 0.9 when they end at 0.99.
    #[test]
    fn the_knee_of_a_queue_is_where_theory_has_it() {
        let points: Vec<(f64, f64)> = (0..100)
            .map(|load| {
                let load = f64::from(load) / 100.0;
                (load * 500.0, 5.0 / (1.0 - load))
            })
            .collect();
        let place = kneedle(&points).unwrap();
        assert!(
            (440.0..=460.0).contains(&points[place].0),
            "{:?}",
            points[place]
        );
    }

    #[test]
    fn a_hard_limit_has_its_knee_at_the_last_rate_before() {
        let points = [10.0, 20.0, 40.0, 80.0, 95.0, 99.0].map(|rate| (rate, 5.0));
        let mut points = points.to_vec();
        points.push((102.0, 900.0));
        assert_eq!(kneedle(&points), Some(5));
    }

    #[test]
    fn what_is_flat_straight_or_short_has_none() {
        let flat: Vec<(f64, f64)> = (1..9).map(|x| (f64::from(x), 5.0)).collect();
        assert_eq!(kneedle(&flat), None);
        let straight: Vec<(f64, f64)> = (1..9).map(|x| (f64::from(x), f64::from(x))).collect();
        assert_eq!(kneedle(&straight), None);
        assert_eq!(kneedle(&[(1.0, 1.0), (2.0, 9.0)]), None);
        assert_eq!(kneedle(&[]), None);
    }
}
