//! PURE: what a run says of the rate at which it was made.
//!
//! The thresholds are the scenario's, and the rate has to be **sustained**: a target that answers
//! everything a little later each second is over its capacity long before a latency threshold shows
//! it in a short step. With requests due at rate r and latency rising by s seconds a second, answers
//! leave at r / (1 + s): the one due at t ends at t + L(t). s is the Theil–Sen slope of the windows'
//! medians.
//!
//! The generator's limit is never taken for the target's: where requests were not made as planned,
//! the run says nothing, unless those that were sent already broke a threshold.

use super::search::Answer;
use crate::soak::latency::Series;
use crate::soak::record::{Verdict, VerdictRecord, WindowRecord};
use crate::soak::relevance::RelevanceCounts;
use crate::soak::stats::theil_sen;
use crate::soak::tally::{Counts, ErrorKind, Tally, ratio};
use crate::soak::threshold::{Metric, Threshold};
use crate::soak::units::milliseconds;
use crate::soak::verdict::{SHED_SHARE, lag_limit_ms};
use crate::soak::view::{View, Whole};

/// The share of the rate that must be sustained.
pub const SUSTAINED_SHARE: f64 = 0.99;
/// Processors that the generator keeps busy at most: requests are made on one thread.
const GENERATOR_CORES: f64 = 0.95;

/// A run, as it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Requests a second.
    pub rate: f64,
    /// What must hold.
    pub thresholds: &'a [Threshold],
    /// Its verdict.
    pub verdict: &'a VerdictRecord,
    /// Its windows.
    pub windows: &'a [WindowRecord],
    /// All of them together.
    pub tally: &'a Tally,
    /// Processors that the generator kept busy.
    pub generator_cores: f64,
}

/// What a run says.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// `None` when it says nothing: data is missing, the machine slept, somebody ended it.
    pub answer: Option<Answer>,
    /// Why it is not [`Answer::Held`].
    pub reasons: Vec<String>,
    /// Answers a second that the target keeps up.
    pub sustained_per_s: f64,
}

/// Judges a run.
#[must_use]
pub fn judge(step: &Step<'_>) -> Judged {
    let rises = rise(step.windows).max(0.0);
    // A step has a whole number of requests, which may be a little more than rate times length.
    let ok_per_s = step.verdict.throughput_per_s.min(step.rate);
    let sustained_per_s = ok_per_s / (1.0 + rises);
    let (answer, reasons) = answer(step, sustained_per_s, rises);
    Judged {
        answer,
        reasons,
        sustained_per_s,
    }
}

fn answer(step: &Step<'_>, sustained_per_s: f64, rises: f64) -> (Option<Answer>, Vec<String>) {
    let coverage = &step.verdict.coverage;
    if coverage.stopped_early {
        return (None, vec!["it was interrupted".to_owned()]);
    }
    let troubles = generator_troubles(step);
    let is_sound = step.verdict.verdict != Verdict::Invalid;
    if !is_sound && troubles.is_empty() {
        return (None, step.verdict.reasons.clone());
    }
    if !troubles.is_empty() {
        let only_shed = step.tally.errors_of(ErrorKind::Local) == 0 && !lags(step);
        let crossed = crossed_by_those_sent(step);
        if only_shed && !crossed.is_empty() {
            return (Some(Answer::Broke), crossed);
        }
        return (Some(Answer::Generator), troubles);
    }
    let mut reasons = step.verdict.reasons.clone();
    if sustained_per_s < SUSTAINED_SHARE * step.rate && reasons.is_empty() {
        reasons.push(format!(
            "{sustained_per_s:.1}/s are sustained, below {} % of the rate: latency rises by {:.0} ms \
             a second",
            SUSTAINED_SHARE * 100.0,
            rises * 1e3
        ));
    }
    if reasons.is_empty() {
        return (Some(Answer::Held), reasons);
    }
    if step.generator_cores >= GENERATOR_CORES {
        reasons.push(format!(
            "the generator used {:.2} cores, and makes its requests on one",
            step.generator_cores
        ));
        return (Some(Answer::Generator), reasons);
    }
    (Some(Answer::Broke), reasons)
}

/// By how many seconds a second latency rises.
fn rise(windows: &[WindowRecord]) -> f64 {
    let medians: Vec<(f64, f64)> = windows
        .iter()
        .filter_map(|window| {
            let middle_s = window.start_s + window.length_s / 2.0;
            Some((middle_s, milliseconds(window.ok_us.p50?) / 1e3))
        })
        .collect();
    theil_sen::slope(&medians).unwrap_or(0.0)
}

fn lags(step: &Step<'_>) -> bool {
    let limit_ms = lag_limit_ms(step.thresholds);
    step.verdict
        .generator
        .lag_p99_ms
        .is_some_and(|lag_ms| lag_ms > limit_ms)
        || starved(step, limit_ms) > 0
}

/// Windows half of whose requests went out too late.
fn starved(step: &Step<'_>, limit_ms: f64) -> usize {
    let late = |window: &&WindowRecord| {
        window
            .lag_us
            .p50
            .is_some_and(|us| milliseconds(us) > limit_ms)
    };
    step.windows.iter().filter(late).count()
}

/// What kept the generator from making its requests as planned.
fn generator_troubles(step: &Step<'_>) -> Vec<String> {
    let counts = &step.verdict.counts;
    let limit_ms = lag_limit_ms(step.thresholds);
    let mut troubles = Vec::new();
    if let Some(lag_ms) = step.verdict.generator.lag_p99_ms
        && lag_ms > limit_ms
    {
        troubles.push(format!(
            "p99 of its lag (send minus due) was {lag_ms:.1} ms, {limit_ms:.1} ms is the most"
        ));
    } else if starved(step, limit_ms) > 0 {
        let windows = starved(step, limit_ms);
        troubles.push(format!(
            "in {windows} of {} windows half of its requests went out more than {limit_ms:.1} ms \
             late",
            step.windows.len()
        ));
    }
    let share_of = |part| ratio(part, counts.due).filter(|share| *share > SHED_SHARE);
    if let Some(share) = share_of(counts.shed) {
        troubles.push(format!(
            "it shed {:.1} % of the requests at its in-flight cap (--max-in-flight)",
            share * 100.0
        ));
    }
    if let Some(share) = share_of(step.tally.errors_of(ErrorKind::Local)) {
        troubles.push(format!(
            "it had no descriptor or port left for {:.1} % of the requests",
            share * 100.0
        ));
    }
    troubles
}

/// Thresholds that requests which were sent crossed, measured from when they were.
fn crossed_by_those_sent(step: &Step<'_>) -> Vec<String> {
    let sent = Sent(Whole {
        tally: step.tally,
        measured_ns: 1,
    });
    step.thresholds
        .iter()
        .filter(|threshold| {
            matches!(
                threshold.metric(),
                Metric::Quantile(..) | Metric::Mean(_) | Metric::ErrorRate
            )
        })
        .filter_map(|threshold| {
            let value = threshold.value(&sent);
            let crossed = value.is_some() && !threshold.holds(value);
            crossed.then(|| {
                format!(
                    "{threshold} was crossed: {} from send",
                    threshold.show(value)
                )
            })
        })
        .collect()
}

/// Requests that were sent, from when they were.
struct Sent<'a>(Whole<'a>);

impl View for Sent<'_> {
    fn quantile_ms(&self, series: Series, quantile: f64) -> Option<f64> {
        (series != Series::Lag).then(|| self.0.quantile_ms(Series::Service, quantile))?
    }

    fn mean_ms(&self, series: Series) -> Option<f64> {
        (series != Series::Lag).then(|| self.0.mean_ms(Series::Service))?
    }

    fn counts(&self) -> Counts {
        let counts = self.0.counts();
        Counts {
            due: counts.due.saturating_sub(counts.shed),
            shed: 0,
            ..counts
        }
    }

    fn relevance(&self) -> RelevanceCounts {
        self.0.relevance()
    }

    fn length_s(&self) -> f64 {
        self.0.length_s()
    }
}

/// Processors that the generator kept busy while requests were due, its warm-up included.
#[must_use]
pub fn generator_cores(verdict: &VerdictRecord, warmup_s: f64) -> f64 {
    let measured_s = verdict.coverage.measured_s;
    let busy_s = measured_s + warmup_s;
    if busy_s <= 0.0 {
        return 0.0;
    }
    verdict.generator.cpu_cores * measured_s / busy_s
}

#[cfg(test)]
mod tests;
