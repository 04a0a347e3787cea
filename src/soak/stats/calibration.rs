//! How often the tests of this module cry wolf, and how often they find what is there, on simulated
//! runs whose truth is known. `docs/soak.md` has the rates of the 400 runs each that
//! `long_calibration` makes; the everyday test makes a few of the same.
//!
//! The noise: AR(1) with 0.9 from one window of 10 s to the next, so that what is high now is still
//! high a minute later. Memory: 200 MiB with a spread (standard deviation) of 2 MiB. Latency: a
//! level with a spread of 5 %. Garbage collection: teeth of 64 MiB, each run with its own period of
//! 1 to 30 minutes, each tooth up to a fifth longer or shorter.

use super::drift::{self, Answer, Question};
use super::numbers::{size, whole};
use super::{steps, welch};
use crate::soak::latency::{Latencies, Series, value_at};
use crate::soak::units::float;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;

const WINDOW_S: f64 = 10.0;
const WINDOWS_AN_HOUR: f64 = 360.0;
const MEMORY_SPREAD_MIB: f64 = 2.0;
const LATENCY_SPREAD: f64 = 0.05;
/// MiB an hour.
const BUDGET: f64 = 1.0;

struct Noise(Xoshiro256PlusPlus);

impl Noise {
    fn new(run: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(run))
    }

    /// The normal law, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (radius, turn): (f64, f64) = (1.0 - self.0.random::<f64>(), self.0.random());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }

    fn ar1(&mut self, count: usize, spread: f64) -> Vec<f64> {
        const ALIKE: f64 = 0.9;
        let mut value = self.normal() * spread;
        let fresh = spread * (1.0_f64 - ALIKE * ALIKE).sqrt();
        let mut next = || {
            value = ALIKE * value + fresh * self.normal();
            value
        };
        (0..count).map(|_| next()).collect()
    }

    fn teeth(&mut self, count: usize) -> Vec<f64> {
        let period_s = self.0.random_range(60.0..1_800.0);
        let (mut length_s, mut left_s) = (period_s, self.0.random::<f64>() * period_s);
        let mut next = || {
            left_s -= WINDOW_S;
            if left_s <= 0.0 {
                length_s = period_s * self.0.random_range(0.8..1.2);
                left_s += length_s;
            }
            64.0 * (1.0 - left_s / length_s)
        };
        (0..count).map(|_| next()).collect()
    }
}

fn windows(hours: f64) -> usize {
    whole(hours * WINDOWS_AN_HOUR)
}

/// The share of runs, in percent, of which `finds` is true.
fn rate(runs: u64, finds: impl Fn(&mut Noise) -> bool) -> f64 {
    let found = (0..runs).filter(|run| finds(&mut Noise::new(run * 7_919 + 1)));
    100.0 * float(found.count() as u64) / float(runs)
}

/// Whether memory that holds 200 MiB, and `more(hour)`, is found to drift beyond the budget.
fn drifts(noise: &mut Noise, hours: f64, budget: f64, more: impl Fn(f64) -> f64) -> bool {
    let count = windows(hours);
    let spread = noise.ar1(count, MEMORY_SPREAD_MIB);
    judged(&spread, hours, budget, more)
}

fn judged(spread: &[f64], hours: f64, budget: f64, more: impl Fn(f64) -> f64) -> bool {
    let value = |(place, noise): (usize, &f64)| {
        let at_s = size(place) * WINDOW_S;
        (at_s, 200.0 + noise + more(at_s / 3_600.0))
    };
    let series: Vec<(f64, f64)> = spread.iter().enumerate().map(value).collect();
    let found = drift::test(&Question {
        series: &series,
        expected: series.len(),
        length_s: hours * 3_600.0,
        budget_per_h: Some(budget),
        seed: 7,
    });
    found.answer == Answer::Beyond
}

/// Whether a step of `change` at a random time between a fifth and four fifths is found, within a
/// twentieth of the run; with a change of 0, whether any is.
fn steps_at(noise: &mut Noise, hours: f64, spread: f64, change: f64) -> bool {
    let count = windows(hours);
    let at = noise.0.random_range(0.2..0.8) * size(count);
    let levels = noise.ar1(count, spread);
    let value = |(place, noise): (usize, &f64)| {
        let stepped = if size(place) >= at { 1.0 + change } else { 1.0 };
        (size(place) * WINDOW_S, 100.0 * stepped * (1.0 + noise))
    };
    let series: Vec<(f64, f64)> = levels.iter().enumerate().map(value).collect();
    let found = steps::find(&series, 7).unwrap();
    let near = |step: &steps::Step| (step.at_s / WINDOW_S - at).abs() < 0.05 * size(count);
    if change > 0.0 {
        found.iter().any(|step| near(step) && step.share() > 0.0)
    } else {
        !found.is_empty()
    }
}

/// p95 of the batches of a run of 50 requests a second around 20 ms times `factor`.
fn batches(noise: &mut Noise, hours: f64, factor: f64) -> Vec<f64> {
    let count = windows(hours);
    let levels = noise.ar1(count, LATENCY_SPREAD);
    welch::batch_ranges(count, welch::batch_windows(count))
        .map(|range| {
            let mut merged = Latencies::default();
            for level in &levels[range] {
                for _ in 0..500 {
                    let ms = 20.0 * factor * (1.0 + level) * (0.5 * noise.normal()).exp();
                    merged.record(Series::Response, whole(ms * 1e6) as u64);
                }
            }
            float(value_at(merged.of(Series::Response), 0.95).unwrap())
        })
        .collect()
}

fn differ(noise: &mut Noise, hours: f64, factor: f64) -> bool {
    let (old, new) = (batches(noise, hours, 1.0), batches(noise, hours, factor));
    welch::compare(&old, &new).unwrap().differs
}

/// What a plateau of 50 MiB, reached with a time constant of an hour, has by `hour`.
fn plateau(hour: f64) -> f64 {
    50.0 * (1.0 - (-hour).exp())
}

type Rates = BTreeMap<&'static str, f64>;

fn drift_rates(runs: u64) -> Rates {
    let leak = |times: f64| {
        move |noise: &mut Noise| drifts(noise, 6.0, BUDGET, |hour| times * BUDGET * hour)
    };
    let teeth = |hours: f64, times: f64| {
        move |noise: &mut Noise| {
            let count = windows(hours);
            let (spread, teeth) = (noise.ar1(count, MEMORY_SPREAD_MIB), noise.teeth(count));
            let both: Vec<f64> = spread.iter().zip(teeth).map(|(a, b)| a + b).collect();
            judged(&both, hours, BUDGET, |hour| times * BUDGET * hour)
        }
    };
    Rates::from([
        ("6 h, no drift", rate(runs, leak(0.0))),
        (
            "6 h, no drift, budget 0",
            rate(runs, |n| drifts(n, 6.0, 0.0, |_| 0.0)),
        ),
        (
            "30 min, no drift",
            rate(runs, |n| drifts(n, 0.5, BUDGET, |_| 0.0)),
        ),
        (
            "30 min, no drift, budget 0",
            rate(runs, |n| drifts(n, 0.5, 0.0, |_| 0.0)),
        ),
        ("6 h, leak of 1 x the budget", rate(runs, leak(1.0))),
        ("6 h, leak of 2 x the budget", rate(runs, leak(2.0))),
        ("6 h, leak of 5 x the budget", rate(runs, leak(5.0))),
        (
            "2 h, leak of 5 x the budget",
            rate(runs, |n| drifts(n, 2.0, 1.0, |hour| 5.0 * hour)),
        ),
        ("6 h, garbage collection", rate(runs, teeth(6.0, 0.0))),
        ("2 h, garbage collection", rate(runs, teeth(2.0, 0.0))),
        ("30 min, garbage collection", rate(runs, teeth(0.5, 0.0))),
        (
            "6 h, garbage collection, leak of 2 x",
            rate(runs, teeth(6.0, 2.0)),
        ),
        (
            "6 h, garbage collection, leak of 5 x",
            rate(runs, teeth(6.0, 5.0)),
        ),
        (
            "6 h, warm-up that ends",
            rate(runs, |n| drifts(n, 6.0, BUDGET, plateau)),
        ),
    ])
}

fn step_rates(runs: u64) -> Rates {
    let spread = LATENCY_SPREAD;
    Rates::from([
        (
            "6 h, no step",
            rate(runs, |n| steps_at(n, 6.0, spread, 0.0)),
        ),
        (
            "1 h, no step",
            rate(runs, |n| steps_at(n, 1.0, spread, 0.0)),
        ),
        (
            "30 min, no step",
            rate(runs, |n| steps_at(n, 0.5, spread, 0.0)),
        ),
        (
            "6 h, step of +10 %",
            rate(runs, |n| steps_at(n, 6.0, spread, 0.1)),
        ),
        (
            "1 h, step of +10 %",
            rate(runs, |n| steps_at(n, 1.0, spread, 0.1)),
        ),
        (
            "1 h, step of +10 %, spread 2 %",
            rate(runs, |n| steps_at(n, 1.0, 0.02, 0.1)),
        ),
    ])
}

fn pair_rates(runs: u64) -> Rates {
    Rates::from([
        ("1 h, the same twice", rate(runs, |n| differ(n, 1.0, 1.0))),
        (
            "15 min, the same twice",
            rate(runs, |n| differ(n, 0.25, 1.0)),
        ),
        ("1 h, p95 +10 %", rate(runs, |n| differ(n, 1.0, 1.1))),
        ("15 min, p95 +10 %", rate(runs, |n| differ(n, 0.25, 1.1))),
    ])
}

fn assert_at_most(rates: &Rates, names: &[&str], limit: f64) {
    for name in names {
        assert!(rates[name] <= limit, "{name}: {} %", rates[name]);
    }
}

fn assert_at_least(rates: &Rates, names: &[&str], limit: f64) {
    for name in names {
        assert!(rates[name] >= limit, "{name}: {} %", rates[name]);
    }
}

/// `slack` in percent points, for fewer runs than the rates are promised of.
fn assert_promises(runs: u64, slack: f64) {
    let (drift, steps, pairs) = (drift_rates(runs), step_rates(runs), pair_rates(runs));
    for (name, percent) in drift.iter().chain(&steps).chain(&pairs) {
        println!("{name:<40} {percent:5.1} %");
    }
    let quiet = [
        "6 h, no drift",
        "6 h, no drift, budget 0",
        "30 min, no drift",
        "30 min, no drift, budget 0",
        "6 h, leak of 1 x the budget",
        "6 h, garbage collection",
        "2 h, garbage collection",
    ];
    assert_at_most(&drift, &quiet, 5.0 + slack);
    let leaks = ["6 h, leak of 2 x the budget", "6 h, leak of 5 x the budget"];
    assert_at_least(&drift, &leaks, 90.0 - slack);
    assert_at_most(&steps, &["6 h, no step", "1 h, no step"], 5.0 + slack);
    assert_at_least(&steps, &["6 h, step of +10 %"], 90.0 - slack);
    assert_at_most(
        &pairs,
        &["1 h, the same twice", "15 min, the same twice"],
        3.0 + slack,
    );
    assert_at_least(&pairs, &["1 h, p95 +10 %"], 90.0 - slack);
}

#[test]
fn a_few_simulated_runs_are_judged_as_promised() {
    assert_promises(20, 12.0);
}

#[test]
fn long_calibration() {
    assert_promises(400, 0.0);
}
