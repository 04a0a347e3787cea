//! PURE: from what a run recorded to PASS, FAIL or INVALID, with the reasons in words.
//!
//! INVALID comes first: when the generator lagged, the cap shed, data is missing or the machine
//! slept, neither a PASS nor a FAIL could be trusted.

use super::latency::{Series, value_at};
use super::record::{
    CacheRecord, CoverageRecord, DriftRecord, GeneratorRecord, ThresholdRecord, Verdict,
    VerdictRecord,
};
use super::tally::{ErrorKind, Tally, ratio};
use super::threshold::Threshold;
use super::units::{float, milliseconds, seconds, show_count};
use std::time::Duration;

/// p99 of lag that is never held against a run, in milliseconds.
const LAG_FLOOR_MS: f64 = 5.0;
/// Share of the tightest latency threshold that p99 of lag may take.
const LAG_SHARE: f64 = 0.1;
/// Share of due requests that the cap, or this machine's own limits, may cost.
const SHED_SHARE: f64 = 0.001;
/// Share of windows that may be missing.
const MISSING_SHARE: f64 = 0.01;
/// Boot time ahead of monotonic time by more than this is a suspended machine. The two clocks are
/// read microseconds apart.
const SUSPENDED: Duration = Duration::from_millis(100);
/// Drift is judged from this length on.
const DRIFT_FROM_S: f64 = 30.0 * 60.0;

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
    /// The length of the plan, as shortened by an interrupt.
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
}

/// Judges a run.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> VerdictRecord {
    let thresholds = threshold_records(evidence);
    let invalid = invalid_reasons(evidence);
    let failed: Vec<String> = evidence
        .thresholds
        .iter()
        .zip(&thresholds)
        .filter(|(_, record)| !record.pass)
        .map(|(threshold, record)| {
            format!("{threshold} was crossed: {}", threshold.show(record.value))
        })
        .collect();
    let (verdict, reasons) = match (invalid.is_empty(), failed.is_empty()) {
        (false, _) => (Verdict::Invalid, invalid),
        (true, false) => (Verdict::Fail, failed),
        (true, true) => (Verdict::Pass, Vec::new()),
    };
    record(evidence, verdict, reasons, thresholds)
}

fn threshold_records(evidence: &Evidence<'_>) -> Vec<ThresholdRecord> {
    evidence
        .thresholds
        .iter()
        .map(|threshold| {
            let value = threshold.value(evidence.tally, evidence.measured_ns);
            ThresholdRecord {
                expr: threshold.to_string(),
                scope: "run".to_owned(),
                value,
                pass: threshold.holds(value),
            }
        })
        .collect()
}

fn lag_p99_ms(tally: &Tally) -> Option<f64> {
    value_at(tally.latencies.of(Series::Lag), 0.99).map(milliseconds)
}

/// p99 of lag beyond this makes the generator the bottleneck.
fn lag_limit_ms(thresholds: &[Threshold]) -> f64 {
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
    let missing = evidence
        .windows_planned
        .saturating_sub(evidence.windows_recorded);
    if float(missing) > MISSING_SHARE * float(evidence.windows_planned) {
        reasons.push(format!(
            "{missing} of {} windows are missing (1 % is allowed)",
            evidence.windows_planned
        ));
    }
    if evidence.suspended > SUSPENDED {
        reasons.push(format!(
            "the machine was suspended for {:.1} s",
            evidence.suspended.as_secs_f64()
        ));
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
        drift: vec![drift(measured_s)],
        steps: Vec::new(),
        cache: CacheRecord {
            query_count: evidence.query_count,
            unique: evidence.unique,
            answers: tally.cache.answers,
            hit_rate: ratio(tally.cache.cached, tally.cache.answers),
        },
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

fn drift(measured_s: f64) -> DriftRecord {
    let (status, reason) = if measured_s < DRIFT_FROM_S {
        ("not applicable", "the run is shorter than 30 minutes")
    } else {
        ("not judged", "the scenario sets no drift budget")
    };
    DriftRecord {
        series: "response".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::tally::{Outcome, Times};

    const MS: u64 = 1_000_000;

    fn tally(ok: u64, failed: u64, lag_ms: u64) -> Tally {
        let mut tally = Tally::default();
        for index in 0..ok + failed {
            tally.due();
            tally.sent(lag_ms * MS);
            let times = Times {
                age_ns: 5 * MS,
                service_ns: 5 * MS,
                timeout_ns: 10_000 * MS,
            };
            let outcome = if index < ok {
                Outcome::Ok {
                    cached: Some(index % 2 == 0),
                }
            } else {
                Outcome::Error(ErrorKind::Status5xx, "status 503".into())
            };
            tally.ended(times, outcome);
        }
        tally
    }

    fn thresholds() -> Vec<Threshold> {
        ["p95<300ms", "error_rate<1%"]
            .map(|text| text.parse().unwrap())
            .to_vec()
    }

    fn evidence<'a>(tally: &'a Tally, thresholds: &'a [Threshold]) -> Evidence<'a> {
        Evidence {
            tally,
            thresholds,
            measured_ns: 10_000 * MS,
            windows_planned: 10,
            windows_recorded: 10,
            max_in_flight: 10_000,
            end: End::Planned,
            suspended: Duration::ZERO,
            wall_step_ms: 0,
            generator_cpu_s: 0.1,
            query_count: 60,
            unique: false,
        }
    }

    #[test]
    fn passes_and_fails_by_the_thresholds() {
        let limits = thresholds();
        let good = judge(&evidence(&tally(1_000, 0, 0), &limits));
        assert_eq!((good.verdict, good.reasons.len()), (Verdict::Pass, 0));
        assert_eq!(good.cache.hit_rate, Some(0.5));
        assert!((good.throughput_per_s - 100.0).abs() < 1e-9);
        assert_eq!(good.drift[0].status, "not applicable");
        let bad = judge(&evidence(&tally(940, 60, 0), &limits));
        assert_eq!(bad.verdict, Verdict::Fail);
        assert_eq!(
            bad.reasons,
            [
                "p95<300ms was crossed: 10.00 s",
                "error_rate<1% was crossed: 6.00 %"
            ]
        );
    }

    #[test]
    fn lag_is_held_against_the_tightest_threshold() {
        let limits = thresholds();
        assert_eq!(
            judge(&evidence(&tally(100, 0, 29), &limits)).verdict,
            Verdict::Pass
        );
        let lagging = tally(100, 0, 31);
        let verdict = judge(&evidence(&lagging, &limits));
        assert_eq!(verdict.verdict, Verdict::Invalid);
        assert!(
            verdict.reasons[0].contains("bottleneck"),
            "{:?}",
            verdict.reasons
        );
        let only_errors = ["error_rate<1%".parse().unwrap()];
        assert_eq!(
            judge(&evidence(&tally(100, 0, 6), &only_errors)).verdict,
            Verdict::Invalid
        );
    }

    #[test]
    fn what_is_missing_or_shed_or_slept_is_invalid() {
        let limits = thresholds();
        let sound = tally(1_000, 0, 0);
        let invalid = |change: &dyn Fn(&mut Evidence<'_>)| {
            let mut evidence = evidence(&sound, &limits);
            change(&mut evidence);
            judge(&evidence).verdict == Verdict::Invalid
        };
        assert!(!invalid(&|_| ()));
        assert!(invalid(&|e| e.windows_recorded = 9));
        assert!(!invalid(
            &|e| (e.windows_planned, e.windows_recorded) = (1_000, 990)
        ));
        assert!(invalid(&|e| e.suspended = Duration::from_secs(2)));
        assert!(!invalid(&|e| e.wall_step_ms = 3_600_000));
        assert!(invalid(&|e| e.end = End::Aborted("SIGTERM")));
        assert!(!invalid(&|e| e.end = End::Stopped));
        let mut shed = tally(998, 0, 0);
        for _ in 0..2 {
            shed.due();
            shed.shed(10_000 * MS);
        }
        assert_eq!(judge(&evidence(&shed, &limits)).verdict, Verdict::Invalid);
        assert_eq!(
            judge(&evidence(&Tally::default(), &limits)).verdict,
            Verdict::Invalid
        );
    }
}
