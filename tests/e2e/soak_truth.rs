//! What a soak reports of targets whose latencies follow a known law.

use crate::soak_bench::Bench;
use crate::soak_law::{Law, LawTarget, Plan};
use alfred::soak::units::float;

/// As far as a percentile may be off.
const SHARE: f64 = 0.02;
const LEAST_MS: f64 = 0.2;
/// The same in the everyday suite, which runs on machines that do other things: it is to find what is wrong, not
/// what is late.
const EVERYDAY_LEAST_MS: f64 = 1.0;
/// A busy machine spoils a measurement, and not three of them.
const ATTEMPTS: u32 = 3;
/// Most that is granted for pauses: behind longer ones a percentile could be anything.
const MOST_PAUSED_MS: f64 = 10.0;

/// Holds what a soak reports of a law against the law: what is off, in words. What the machine paused
/// meanwhile is no fault of who measures, and is granted beside.
#[expect(clippy::print_stdout, reason = "shown with --no-capture")]
fn holds(plan: Plan, least_ms: f64) -> Result<(), String> {
    let (bench, target) = (Bench::new(), LawTarget::start(plan));
    let url = format!("http://{}/", target.address);
    let flags = format!("--qps {} --count {} --window 1s", plan.per_s, plan.count);
    let ran = if least_ms < EVERYDAY_LEAST_MS {
        bench.soak_first("law", &url, &flags)
    } else {
        bench.soak("law", &url, &flags)
    };
    ran.assert_sound(plan.count);
    let verdict = ran.verdict();
    if verdict["verdict"] == "INVALID" {
        return Err(ran.stdout);
    }
    let (truth, pauses) = (plan.responses_ms(), target.stop());
    for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)] {
        let expected_ms = at(&truth, quantile);
        let seen_ms = verdict["response_ms"][name].as_f64().unwrap();
        let (off_ms, paused_ms) = ((seen_ms - expected_ms).abs(), pauses.at(quantile));
        println!("{name}: {seen_ms:.3} ms, the law's {expected_ms:.3}, pauses {paused_ms:.3}");
        if off_ms > least_ms.max(SHARE * expected_ms) + paused_ms.min(MOST_PAUSED_MS) {
            return Err(format!(
                "{plan:?} {name}: {seen_ms} ms, the law's {expected_ms} ms, and the machine paused {paused_ms:.3} ms"
            ));
        }
    }
    Ok(())
}

/// The value that `quantile` of them do not pass, as HdrHistogram counts.
fn at(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (quantile * float(sorted.len() as u64)).ceil();
    let place = (0..sorted.len()).find(|place| float(*place as u64 + 1) >= rank);
    sorted[place.unwrap_or(0)]
}

fn assert_holds(plan: Plan, least_ms: f64) {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match holds(plan, least_ms) {
            Ok(()) => return,
            Err(error) => last = error,
        }
    }
    panic!("{last}");
}

macro_rules! laws {
    ($least_ms:ident: $($name:ident: $law:ident, $per_s:literal/s, $count:literal;)*) => {$(
        #[test]
        fn $name() {
            assert_holds(Plan { law: Law::$law, per_s: $per_s, count: $count }, $least_ms);
        }
    )*};
}

laws! {
    EVERYDAY_LEAST_MS:
    truth_of_a_log_normal_law: LogNormal, 100/s, 1_500;
    truth_of_a_freeze: Freeze, 100/s, 2_000;
    truth_of_ramping_errors: RampingErrors, 200/s, 2_000;
}

laws! {
    LEAST_MS:
    long_truth_constant_100: Constant, 100/s, 6_000;
    long_truth_constant_1000: Constant, 1_000/s, 30_000;
    long_truth_log_normal_100: LogNormal, 100/s, 6_000;
    long_truth_log_normal_1000: LogNormal, 1_000/s, 30_000;
    long_truth_freeze_100: Freeze, 100/s, 6_000;
    long_truth_freeze_1000: Freeze, 1_000/s, 30_000;
    long_truth_slow_100: Slow2Percent, 100/s, 6_000;
    long_truth_slow_1000: Slow2Percent, 1_000/s, 30_000;
    long_truth_drift_100: Drift, 100/s, 18_000;
    long_truth_drift_1000: Drift, 1_000/s, 60_000;
    long_truth_ramping_errors_100: RampingErrors, 100/s, 6_000;
    long_truth_ramping_errors_1000: RampingErrors, 1_000/s, 30_000;
}
