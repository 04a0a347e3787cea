//! PURE: from what a run recorded to PASS, FAIL or INVALID, with the reasons in words.
//!
//! INVALID comes first: when the generator lagged, the cap shed, data is missing or the machine
//! slept, neither a PASS nor a FAIL could be trusted.

use super::figure::Figure;
use super::findings::{self, Findings};
use super::latency::{Series, value_at};
use super::record::{
    CacheRecord, CoverageRecord, DriftRecord, GeneratorRecord, JudgedRecord, ServerRecord,
    ThresholdRecord, Verdict, VerdictRecord,
};
use super::relevance;
use super::server::record::NOT_CHECKED;
use super::stats::drift::FROM_S;
use super::tally::{ErrorKind, Tally, ratio};
use super::threshold::{Metric, Scope, Threshold};
use super::units::{float, milliseconds, seconds, show_count};
use super::view::Whole;
use std::time::Duration;

/// p99 of lag that is never held against a run, in milliseconds.
const LAG_FLOOR_MS: f64 = 5.0;
/// Share of the tightest latency threshold that p99 of lag may take.
const LAG_SHARE: f64 = 0.1;
/// Share of due requests that the cap, or this machine's own limits, may cost.
pub(super) const SHED_SHARE: f64 = 0.001;
/// Share of answers to judged queries that may stay unread.
const UNREAD_SHARE: f64 = 0.01;
/// Share of windows that may be missing.
const MISSING_SHARE: f64 = 0.01;
/// Boot time ahead of monotonic time by more than this is a suspended machine. The two clocks are
/// read microseconds apart.
const SUSPENDED: Duration = Duration::from_millis(100);

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the planned end.
    Planned,
    /// With the window in which the first interrupt came.
    Stopped,
    /// At once, by this signal: a second SIGINT, SIGTERM or SIGHUP.
    Aborted(&'static str),
}

/// Everything that a verdict rests on.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// All windows together.
    pub tally: &'a Tally,
    /// What must hold.
    pub thresholds: &'a [Threshold],
    /// What its windows show.
    pub findings: &'a Findings,
    /// Step budgets that it was too short for, in words.
    pub too_short: Vec<String>,
    /// The length of the plan, as shortened by an interrupt.
    pub planned_ns: u64,
    /// How much of it was recorded.
    pub measured_ns: u64,
    /// Windows in that plan.
    pub windows_planned: u64,
    /// Windows that were recorded.
    pub windows_recorded: u64,
    /// The in-flight cap.
    pub max_in_flight: usize,
    /// How it ended.
    pub end: End,
    /// Boot time minus monotonic time, gained during the run.
    pub suspended: Duration,
    /// Wall time minus monotonic time, gained during the run, in milliseconds.
    pub wall_step_ms: i64,
    /// CPU seconds of the generator over the run.
    pub generator_cpu_s: f64,
    /// Texts in the query set.
    pub query_count: u64,
    /// Whether every query was made different.
    pub unique: bool,
    /// Queries with judgments; `None` without any.
    pub judged_queries: Option<u64>,
    /// What the target's own histogram says, where it was to be asked.
    pub server: Option<ServerRecord>,
}

/// Judges a run.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> VerdictRecord {
    let thresholds = threshold_records(evidence);
    let invalid = invalid_reasons(evidence);
    let failed = failed_reasons(evidence, &thresholds);
    let (verdict, reasons) = match (invalid.is_empty(), failed.is_empty()) {
        (false, _) => {
            let besides = failed.iter().map(|reason| format!("besides, {reason}"));
            (
                Verdict::Invalid,
                invalid.into_iter().chain(besides).collect(),
            )
        }
        (true, false) => (Verdict::Fail, failed),
        (true, true) => (Verdict::Pass, Vec::new()),
    };
    record(evidence, verdict, reasons, thresholds)
}

/// Thresholds that were crossed, then drifts and steps beyond their budgets, in words.
fn failed_reasons(evidence: &Evidence<'_>, records: &[ThresholdRecord]) -> Vec<String> {
    let crossed = evidence
        .thresholds
        .iter()
        .zip(records)
        .filter(|(_, record)| !record.pass)
        .map(|(threshold, record)| {
            let place = record
                .at_s
                .map_or_else(String::new, |at_s| format!(" from {at_s} s on"));
            format!(
                "{threshold} was crossed: {}{place}",
                threshold.show(record.value)
            )
        });
    let counts = &evidence.tally.counts;
    let nothing = (counts.due > 0 && counts.ok == 0)
        .then(|| format!("none of {} requests ended ok", show_count(counts.due)));
    let findings = evidence.findings;
    let drifts = findings
        .drift
        .iter()
        .filter(|drift| drift.status == "fail")
        .map(|drift| format!("{} drifts: {}", drift.series, drift.reason));
    let steps = findings.steps.iter().filter(|step| !step.pass).map(|step| {
        let (percent, allowed) = (step.change * 100.0, step.budget.unwrap_or(0.0) * 100.0);
        format!(
            "{} stepped up by {percent:.1} % at {:.0} s ({allowed} % is allowed)",
            step.series, step.at_s
        )
    });
    nothing
        .into_iter()
        .chain(crossed)
        .chain(drifts)
        .chain(steps)
        .collect()
}

fn threshold_records(evidence: &Evidence<'_>) -> Vec<ThresholdRecord> {
    let whole = Whole {
        tally: evidence.tally,
        measured_ns: evidence.measured_ns,
    };
    let findings = evidence.findings;
    let worst = findings
        .worst
        .iter()
        .copied()
        .chain(std::iter::repeat(None));
    evidence
        .thresholds
        .iter()
        .zip(worst)
        .map(|(threshold, worst)| {
            let drift = threshold
                .budget()
                .and_then(|(figure, _)| findings.drift_of(figure));
            let value = match (threshold.scope(), drift) {
                (_, Some(drift)) => drift.slope_per_h,
                (Scope::Run, None) => threshold.value(&whole),
                (_, None) => worst.and_then(|worst| worst.value),
            };
            ThresholdRecord {
                expr: threshold.expr().to_owned(),
                scope: threshold.scope().to_string(),
                value,
                pass: match drift {
                    Some(drift) => drift.status == "pass",
                    None => threshold.holds(value),
                },
                at_s: worst.map(|worst| worst.at_s),
                until_s: worst.map(|worst| worst.until_s),
            }
        })
        .collect()
}

fn lag_p99_ms(tally: &Tally) -> Option<f64> {
    value_at(tally.latencies.of(Series::Lag), 0.99).map(milliseconds)
}

/// p99 of lag beyond this makes the generator the bottleneck, in milliseconds.
#[must_use]
pub fn lag_limit_ms(thresholds: &[Threshold]) -> f64 {
    let tightest = thresholds
        .iter()
        .filter_map(Threshold::latency_limit_ms)
        .fold(f64::INFINITY, f64::min);
    if tightest.is_finite() {
        LAG_FLOOR_MS.max(tightest * LAG_SHARE)
    } else {
        LAG_FLOOR_MS
    }
}

fn invalid_reasons(evidence: &Evidence<'_>) -> Vec<String> {
    let counts = &evidence.tally.counts;
    let mut reasons = Vec::new();
    if let End::Aborted(signal) = evidence.end {
        reasons.push(format!("the run was aborted by {signal}"));
    }
    if counts.due == 0 {
        reasons.push("nothing was measured: no request was due".to_owned());
    }
    let lag_limit_ms = lag_limit_ms(evidence.thresholds);
    if let Some(lag_ms) = lag_p99_ms(evidence.tally).filter(|lag_ms| *lag_ms > lag_limit_ms) {
        reasons.push(format!(
            "the generator was the bottleneck: p99 of lag (send minus due) is {lag_ms:.1} ms, \
             {lag_limit_ms:.1} ms is the most that these thresholds bear"
        ));
    }
    if let Some(share) = ratio(counts.shed, counts.due).filter(|share| *share > SHED_SHARE) {
        reasons.push(format!(
            "{:.2} % of requests were not sent because {} were already in flight (0.1 % is allowed)",
            share * 100.0,
            show_count(evidence.max_in_flight as u64)
        ));
    }
    let local = evidence.tally.errors_of(ErrorKind::Local);
    if let Some(share) = ratio(local, counts.due).filter(|share| *share > SHED_SHARE) {
        reasons.push(format!(
            "the generator was the bottleneck: it had no descriptor or port left for {:.2} % of \
             requests (0.1 % is allowed)",
            share * 100.0
        ));
    }
    reasons.extend(missing_reason(evidence));
    if evidence.suspended > SUSPENDED {
        reasons.push(format!(
            "the machine was suspended for {:.1} s",
            evidence.suspended.as_secs_f64()
        ));
    }
    reasons.extend(starved_reason(evidence, lag_limit_ms));
    reasons.extend(unjudged_reasons(evidence));
    reasons.extend(unread_reason(evidence));
    reasons.extend(evidence.server.iter().flat_map(server_reasons));
    reasons
}

/// A hit rate that gates is that of nearly all judged answers.
fn unread_reason(evidence: &Evidence<'_>) -> Option<String> {
    let mut thresholds = evidence.thresholds.iter();
    let threshold = thresholds.find(|threshold| threshold.metric() == Metric::HitRate)?;
    let relevance = &evidence.tally.relevance;
    let share = relevance.unread_share();
    let share = share.filter(|share| *share > UNREAD_SHARE)?;
    Some(format!(
        "{threshold} cannot be judged: {} answers to judged queries were not looked at, {:.1} % (1 % is \
         allowed)",
        show_count(relevance.unread),
        share * 100.0
    ))
}

/// Why the server's own figures are not those of the client.
fn server_reasons(server: &ServerRecord) -> impl Iterator<Item = String> {
    let what = if server.status == NOT_CHECKED {
        "the server's own figures were not checked"
    } else {
        "the server's own figures disagree"
    };
    let reasons = server.reasons.iter().filter(|_| !server.agrees());
    reasons.map(move |reason| format!("{what}: {reason}"))
}

/// Counted in time: a resumed run has a shorter window.
fn missing_reason(evidence: &Evidence<'_>) -> Option<String> {
    let missing_ns = evidence.planned_ns.saturating_sub(evidence.measured_ns);
    let share = ratio(missing_ns, evidence.planned_ns).filter(|share| *share > MISSING_SHARE)?;
    Some(format!(
        "{:.1} s of {:.1} s were not recorded, {:.1} % (1 % is allowed)",
        seconds(missing_ns),
        seconds(evidence.planned_ns),
        share * 100.0
    ))
}

/// p99 of the whole run does not show that the generator stood still for a part of it. A window
/// half of whose requests went out too late counts as one that is missing.
fn starved_reason(evidence: &Evidence<'_>, lag_limit_ms: f64) -> Option<String> {
    let lags_ms = &evidence.findings.lag_p50_ms;
    let starved = lags_ms
        .iter()
        .filter(|lag_ms| **lag_ms > lag_limit_ms)
        .count() as u64;
    (float(starved) > MISSING_SHARE * float(evidence.windows_planned)).then(|| {
        format!(
            "the generator was starved in {starved} of {} windows: half of their requests went \
             out more than {lag_limit_ms:.1} ms late (1 % is allowed)",
            evidence.windows_planned
        )
    })
}

/// What was asked and cannot be answered: the run is too short, or data is missing.
fn unjudged_reasons(evidence: &Evidence<'_>) -> Vec<String> {
    let findings = evidence.findings;
    let thresholds = evidence.thresholds.iter().zip(&findings.worst);
    let unjudged = thresholds.filter_map(|(threshold, worst)| {
        findings::cannot_be_judged(threshold, worst.as_ref(), findings)
    });
    // A budget of growth in a short run is "not applicable"; without data it is a defect.
    let missing = findings
        .drift
        .iter()
        .filter(|drift| drift.budget_per_h.is_some() && drift.status == "insufficient")
        .map(|drift| {
            format!(
                "the drift of {} cannot be judged: {}",
                drift.series, drift.reason
            )
        });
    let mut reasons: Vec<String> = unjudged.chain(missing).collect();
    if evidence.end == End::Planned {
        reasons.extend(evidence.too_short.iter().cloned());
    }
    reasons
}

fn record(
    evidence: &Evidence<'_>,
    verdict: Verdict,
    reasons: Vec<String>,
    thresholds: Vec<ThresholdRecord>,
) -> VerdictRecord {
    let tally = evidence.tally;
    let measured_s = seconds(evidence.measured_ns);
    let per_second = |value: f64| {
        if measured_s > 0.0 {
            value / measured_s
        } else {
            0.0
        }
    };
    let in_ms = |series| tally.percentiles(series).in_ms();
    VerdictRecord {
        verdict,
        reasons,
        response_ms: in_ms(Series::Response),
        ok_ms: in_ms(Series::Ok),
        service_ms: in_ms(Series::Service),
        lag_ms: in_ms(Series::Lag),
        counts: tally.counts,
        errors_by_kind: tally.errors_by_kind(),
        errors_by_cause: tally.causes.by_name().clone(),
        error_rate: tally.counts.error_rate(),
        throughput_per_s: per_second(float(tally.counts.ok)),
        thresholds,
        drift: drift_records(evidence.findings, measured_s),
        steps: evidence.findings.steps.clone(),
        cache: CacheRecord {
            query_count: evidence.query_count,
            unique: evidence.unique,
            answers: tally.cache.answers,
            hit_rate: ratio(tally.cache.cached, tally.cache.answers),
        },
        hit_rate: tally.relevance.hit_rate(),
        relevance: evidence.judged_queries.map(|queries| JudgedRecord {
            k: relevance::K as u64,
            queries,
            counts: tally.relevance,
        }),
        server: evidence.server.clone(),
        generator: GeneratorRecord {
            cpu_cores: per_second(evidence.generator_cpu_s),
            lag_p99_ms: lag_p99_ms(tally),
        },
        coverage: CoverageRecord {
            measured_s,
            windows_planned: evidence.windows_planned,
            windows_recorded: evidence.windows_recorded,
            stopped_early: evidence.end != End::Planned,
            suspended_ms: u64::try_from(evidence.suspended.as_millis()).unwrap_or(u64::MAX),
            wall_step_ms: evidence.wall_step_ms,
        },
    }
}

/// Every drift test; of a run in which nothing was followed, why.
fn drift_records(findings: &Findings, measured_s: f64) -> Vec<DriftRecord> {
    if !findings.drift.is_empty() {
        return findings.drift.clone();
    }
    let (status, reason) = if measured_s < FROM_S {
        ("not applicable", "the run is shorter than 30 minutes")
    } else {
        ("insufficient", "no window has a figure that is followed")
    };
    vec![DriftRecord {
        series: Figure::P95.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        ..DriftRecord::default()
    }]
}

#[cfg(test)]
mod tests;
