use super::*;
use crate::soak::scopes::Worst;
use crate::soak::tally::{Outcome, Times};
use std::sync::LazyLock;

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
    static NOTHING: LazyLock<Findings> = LazyLock::new(Findings::default);
    Evidence {
        tally,
        thresholds,
        findings: &NOTHING,
        too_short: Vec::new(),
        planned_ns: 10_000 * MS,
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
        judged_queries: None,
        server: None,
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
    assert!(invalid(&|e| e.measured_ns = 9_000 * MS));
    assert!(!invalid(&|e| e.measured_ns = 9_900 * MS));
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

fn found(drift_status: &str, budget: Option<f64>) -> Findings {
    Findings {
        drift: vec![DriftRecord {
            series: "rss".to_owned(),
            status: drift_status.to_owned(),
            reason: "the figures".to_owned(),
            budget_per_h: budget,
            slope_per_h: Some(5e6),
            ..DriftRecord::default()
        }],
        ..Findings::default()
    }
}

fn judged(findings: &mut Findings, texts: &[&str], worst: &[Option<Worst>]) -> VerdictRecord {
    let sound = tally(1_000, 0, 0);
    let limits: Vec<Threshold> = texts.iter().map(|text| text.parse().unwrap()).collect();
    findings.worst = worst.to_vec();
    let mut evidence = evidence(&sound, &limits);
    evidence.findings = findings;
    judge(&evidence)
}

#[test]
fn a_drift_beyond_its_budget_fails_and_one_without_data_is_invalid() {
    let verdict = |status, budget| judged(&mut found(status, budget), &[], &[]);
    assert_eq!(verdict("pass", Some(1e6)).verdict, Verdict::Pass);
    let failed = verdict("fail", Some(1e6));
    assert_eq!(failed.verdict, Verdict::Fail);
    assert_eq!(failed.reasons, ["rss drifts: the figures"]);
    assert_eq!(verdict("insufficient", Some(1e6)).verdict, Verdict::Invalid);
    assert_eq!(verdict("insufficient", None).verdict, Verdict::Pass);
    assert_eq!(verdict("not applicable", Some(1e6)).verdict, Verdict::Pass);
}

#[test]
fn growth_that_a_threshold_asks_for_needs_a_run_that_is_long_enough() {
    let growth = ["rss_growth<1MiB/h"];
    let verdict = |status| judged(&mut found(status, Some(1e6)), &growth, &[None]);
    let passed = verdict("pass");
    assert_eq!(
        (passed.verdict, passed.thresholds[0].value),
        (Verdict::Pass, Some(5e6))
    );
    assert_eq!(verdict("fail").verdict, Verdict::Fail);
    assert_eq!(verdict("not applicable").verdict, Verdict::Invalid);
}

#[test]
fn a_stretch_that_crosses_fails_and_one_that_does_not_exist_is_invalid() {
    let every = ["p95<300ms in every 5m"];
    let worst = |value| {
        Some(Worst {
            value: Some(value),
            at_s: 60.0,
            until_s: 360.0,
        })
    };
    let verdict = |worst| judged(&mut Findings::default(), &every, &[worst]);
    let failed = verdict(worst(400.0));
    assert_eq!(failed.verdict, Verdict::Fail);
    let reason = "p95<300ms in every 5m was crossed: 400.00 ms from 60 s on";
    assert_eq!(failed.reasons, [reason]);
    let record = &failed.thresholds[0];
    assert_eq!(
        (record.expr.as_str(), record.scope.as_str()),
        ("p95<300ms", "every 5m")
    );
    assert_eq!(record.until_s, Some(360.0));
    assert_eq!(verdict(worst(200.0)).verdict, Verdict::Pass);
    assert_eq!(verdict(None).verdict, Verdict::Invalid);
}

#[test]
fn windows_in_which_the_generator_stood_still_are_missing_ones() {
    let with = |lags_ms: &[f64]| {
        let mut findings = Findings {
            lag_p50_ms: lags_ms.to_vec(),
            ..Findings::default()
        };
        judged(&mut findings, &["p95<300ms"], &[None]).verdict
    };
    assert_eq!(with(&[0.1; 10]), Verdict::Pass);
    assert_eq!(with(&[0.1, 31.0]), Verdict::Invalid);
}

#[test]
fn nothing_that_ended_ok_is_no_pass() {
    let judged = judge(&evidence(&tally(0, 30, 0), &[]));
    assert_eq!(judged.verdict, Verdict::Fail);
    assert_eq!(judged.reasons, ["none of 30 requests ended ok"]);
}

#[test]
fn what_is_missing_is_counted_in_time() {
    let (tally, limits) = (tally(1_000, 0, 0), thresholds());
    let mut most = evidence(&tally, &limits);
    most.measured_ns = 9_900 * MS;
    assert_eq!(judge(&most).verdict, Verdict::Pass);
    most.measured_ns = 9_000 * MS;
    let judged = judge(&most);
    assert_eq!(judged.verdict, Verdict::Invalid);
    assert_eq!(
        judged.reasons,
        ["1.0 s of 10.0 s were not recorded, 10.0 % (1 % is allowed)"]
    );
}

#[test]
fn an_invalid_run_tells_what_was_crossed_besides() {
    let (tally, limits) = (tally(900, 100, 0), thresholds());
    let mut slept = evidence(&tally, &limits);
    slept.suspended = Duration::from_secs(3);
    let judged = judge(&slept);
    assert_eq!(judged.verdict, Verdict::Invalid);
    assert_eq!(judged.reasons[0], "the machine was suspended for 3.0 s");
    let told = judged.reasons[1..].join("; ");
    assert!(
        told.contains("besides, error_rate<1% was crossed: 10"),
        "{told}"
    );
}
