//! What runs say, of made-up runs.

use super::*;
use crate::soak::capacity::testing::window;
use crate::soak::findings::Findings;
use crate::soak::tally::{Outcome, Times};
use crate::soak::verdict::{End, Evidence, judge as verdict_of};
use std::time::Duration;

const MS: u64 = 1_000_000;

/// Ten seconds at 100/s of which some were shed and some failed.
struct Made {
    service_ms: u64,
    errors: u64,
    shed: u64,
    lag_ms: u64,
    rises_ms: f64,
    cores: f64,
    end: End,
    suspended: Duration,
}

const SOUND: Made = Made {
    service_ms: 5,
    errors: 0,
    shed: 0,
    lag_ms: 0,
    rises_ms: 0.0,
    cores: 0.1,
    end: End::Planned,
    suspended: Duration::ZERO,
};

fn judged(made: &Made) -> Judged {
    let thresholds = ["p95<300ms", "error_rate<1%"].map(|text| text.parse().unwrap());
    let mut tally = Tally::default();
    let timeout_ns = 10_000 * MS;
    for number in 0..1_000 {
        tally.due();
        if number < made.shed {
            tally.shed(timeout_ns);
            continue;
        }
        tally.sent(made.lag_ms * MS);
        let outcome = if number < made.shed + made.errors {
            Outcome::Error(ErrorKind::Status5xx, "status 503".into())
        } else {
            Outcome::Ok { cached: None }
        };
        let times = Times {
            age_ns: (made.service_ms + made.lag_ms) * MS,
            service_ns: made.service_ms * MS,
            timeout_ns,
        };
        tally.ended(times, outcome);
    }
    let windows: Vec<WindowRecord> = (0..10)
        .map(|n| window(f64::from(n), Some(5.0 + made.rises_ms * f64::from(n))))
        .collect();
    let verdict = verdict_of(&Evidence {
        tally: &tally,
        thresholds: &thresholds,
        findings: &Findings::default(),
        too_short: Vec::new(),
        planned_ns: 10_000 * MS,
        measured_ns: 10_000 * MS,
        windows_planned: 10,
        windows_recorded: 10,
        max_in_flight: 10_000,
        end: made.end,
        suspended: made.suspended,
        wall_step_ms: 0,
        generator_cpu_s: 1.0,
        query_count: 1,
        unique: false,
        judged_queries: None,
        server: None,
    });
    judge(&Step {
        rate: 100.0,
        thresholds: &thresholds,
        verdict: &verdict,
        windows: &windows,
        tally: &tally,
        generator_cores: made.cores,
    })
}

#[test]
fn a_target_holds_or_breaks() {
    let held = judged(&SOUND);
    assert_eq!((held.answer, held.reasons.len()), (Some(Answer::Held), 0));
    assert!((held.sustained_per_s - 100.0).abs() < 1e-9);
    let slow = judged(&Made {
        service_ms: 400,
        ..SOUND
    });
    assert_eq!(slow.answer, Some(Answer::Broke));
    assert_eq!(slow.reasons, ["p95<300ms was crossed: 400.13 ms"]);
    let refusing = judged(&Made {
        errors: 20,
        ..SOUND
    });
    assert_eq!(refusing.answer, Some(Answer::Broke));
}

#[test]
fn a_queue_that_grows_breaks_before_the_latency_does() {
    let queue = judged(&Made {
        rises_ms: 25.0,
        ..SOUND
    });
    assert_eq!(queue.answer, Some(Answer::Broke));
    assert!((queue.sustained_per_s - 100.0 / 1.025).abs() < 0.01);
    let told = "97.6/s are sustained, below 99 % of the rate: latency rises by 25 ms a second";
    assert_eq!(queue.reasons, [told]);
    let noise = judged(&Made {
        rises_ms: 8.0,
        ..SOUND
    });
    assert_eq!(noise.answer, Some(Answer::Held));
    let faster = judged(&Made {
        rises_ms: -0.5,
        ..SOUND
    });
    assert!((faster.sustained_per_s - 100.0).abs() < 1e-9);
}

#[test]
fn the_generators_faults_are_its_own() {
    let lagging = judged(&Made {
        lag_ms: 40,
        ..SOUND
    });
    assert_eq!(lagging.answer, Some(Answer::Generator));
    assert!(
        lagging.reasons[0].contains("its lag"),
        "{:?}",
        lagging.reasons
    );
    // However the target answers: nothing that was measured counts.
    let both = judged(&Made {
        lag_ms: 40,
        service_ms: 400,
        ..SOUND
    });
    assert_eq!(both.answer, Some(Answer::Generator));
    let shed = judged(&Made { shed: 300, ..SOUND });
    assert_eq!(shed.answer, Some(Answer::Generator));
    assert!(
        shed.reasons[0].contains("shed 30.0 %"),
        "{:?}",
        shed.reasons
    );
    let busy = judged(&Made {
        service_ms: 400,
        cores: 0.97,
        ..SOUND
    });
    assert_eq!(busy.answer, Some(Answer::Generator));
    let busy_and_held = judged(&Made {
        cores: 0.97,
        ..SOUND
    });
    assert_eq!(busy_and_held.answer, Some(Answer::Held));
}

#[test]
fn a_target_that_fills_the_cap_broke_by_what_was_sent() {
    let flooded = judged(&Made {
        shed: 300,
        service_ms: 4_000,
        ..SOUND
    });
    assert_eq!(flooded.answer, Some(Answer::Broke));
    assert!(
        flooded.reasons[0].contains("from send"),
        "{:?}",
        flooded.reasons
    );
}

#[test]
fn what_cannot_be_judged_is_no_answer() {
    let stopped = judged(&Made {
        end: End::Stopped,
        ..SOUND
    });
    assert_eq!(stopped.answer, None);
    let slept = judged(&Made {
        suspended: Duration::from_secs(3),
        ..SOUND
    });
    assert_eq!(slept.answer, None);
    assert!(
        slept.reasons[0].contains("suspended"),
        "{:?}",
        slept.reasons
    );
}
