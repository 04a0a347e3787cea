use super::*;
use crate::soak::tally::{Outcome, Times};

const MS: u64 = 1_000_000;
const BOUNDS: [f64; 6] = [5.0, 10.0, 100.0, 300.0, 5_000.0, f64::INFINITY];
/// When the measured part began.
const FROM_S: f64 = 1_000.0;

/// So many requests took so many milliseconds, and were sent in time.
fn tally(services: &[(u64, u64)]) -> Tally {
    let mut tally = Tally::default();
    for (times, ms) in services {
        for _ in 0..*times {
            tally.due();
            tally.sent(10_000);
            let took = Times {
                age_ns: ms * MS,
                service_ns: ms * MS,
                timeout_ns: 10_000 * MS,
            };
            tally.ended(took, Outcome::Ok { cached: None });
        }
    }
    tally
}

fn failed(tally: &mut Tally, times: u64, kind: ErrorKind) {
    for _ in 0..times {
        tally.due();
        tally.sent(10_000);
        let took = Times {
            age_ns: MS,
            service_ns: MS,
            timeout_ns: 10_000 * MS,
        };
        tally.ended(took, Outcome::Error(kind, "x".into()));
    }
}

/// What the server counted: so many in each bucket.
fn counted(counts: [f64; 6]) -> Counted {
    Counted {
        buckets: BOUNDS.into_iter().zip(counts).collect(),
        requests: counts.iter().sum(),
        from_s: FROM_S - 4.0,
        until_s: FROM_S + 63.0,
        scrapes: 6,
        interval_s: Some(15.0),
        processes: 1,
        ..Counted::default()
    }
}

fn thresholds(texts: &[&str]) -> Vec<Threshold> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn client<'a>(tally: &'a Tally, thresholds: &'a [Threshold]) -> Client<'a> {
    Client {
        tally,
        thresholds,
        measured_s: 60.0,
        planned_s: 60.0,
        warmup_s: 0.0,
        expects_server_errors: false,
    }
}

const ALLOWED: AllowanceRecord = AllowanceRecord {
    given_ms: None,
    scheduling_ms: SCHEDULING_MS,
    connect_ms: Some(0.5),
};

fn compared(client: &Client<'_>, counted: &Counted) -> ServerRecord {
    compare(client, counted, FROM_S, ALLOWED)
}

#[test]
fn what_fits_agrees_and_thresholds_are_held_by_the_bounds_of_buckets() {
    let tally = tally(&[(570, 7), (25, 200), (5, 900)]);
    let limits = thresholds(&[
        "p95<300ms",
        "ok_p99<250ms",
        "p97<100ms",
        "max<5s",
        "error_rate<1%",
        "p95<9ms in every window",
        "lag_p99<1ms",
    ]);
    let record = compared(
        &client(&tally, &limits),
        &counted([0.0, 570.0, 0.0, 25.0, 5.0, 0.0]),
    );
    assert_eq!((record.status.as_str(), record.reasons.len()), (AGREES, 0));
    let p95 = record.at(0.95).unwrap();
    assert_eq!((p95.lower_ms, p95.upper_ms), (5.0, Some(10.0)));
    assert_eq!(p95.agrees, Some(true));
    assert!((p95.allowance_ms - 6.01).abs() < 0.002, "{p95:?}");
    assert_eq!(record.at(0.9).unwrap().agrees, None, "it is shown alone");
    assert_eq!(record.at(0.97).unwrap().agrees, Some(true), "it is named");
    let held: Vec<_> = record
        .thresholds
        .iter()
        .map(|one| (one.expr.as_str(), one.holds))
        .collect();
    assert_eq!(
        held,
        [
            ("p95<300ms", Some(true)),
            ("ok_p99<250ms", None),
            ("p97<100ms", Some(false)),
            ("max<5s", None),
            ("error_rate<1%", Some(true)),
        ]
    );
    assert_eq!((record.from_s, record.until_s), (Some(-4.0), Some(63.0)));
}

#[test]
fn a_server_that_claims_to_be_quicker_than_network_and_scheduling_explain_disagrees() {
    let tally = tally(&[(500, 7), (100, 340)]);
    let limits = thresholds(&["p95<500ms"]);
    let record = compared(
        &client(&tally, &limits),
        &counted([0.0, 600.0, 0.0, 0.0, 0.0, 0.0]),
    );
    assert_eq!(record.status, DISAGREES);
    assert_eq!(record.reasons.len(), 2, "{:?}", record.reasons);
    let told = &record.reasons[0];
    for part in [
        "p95 of the client's service time is 340.22 ms",
        "the server's own is 5.00 ms to 10.00 ms",
        "330.22 ms above it, and the network and scheduling explain 6.01 ms",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let given = AllowanceRecord {
        given_ms: Some(400.0),
        ..ALLOWED
    };
    let client = client(&tally, &limits);
    let counted = counted([0.0, 600.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(compare(&client, &counted, FROM_S, given).agrees());
}

#[test]
fn nothing_explains_a_server_that_was_slower_than_its_client_saw() {
    let tally = tally(&[(600, 7)]);
    let record = compared(
        &client(&tally, &[]),
        &counted([0.0, 0.0, 600.0, 0.0, 0.0, 0.0]),
    );
    assert!(record.agrees(), "7 ms is less than 5 ms below 10 ms");
    let record = compared(
        &client(&tally, &[]),
        &counted([0.0, 0.0, 0.0, 0.0, 0.0, 600.0]),
    );
    assert_eq!(record.reasons.len(), 3);
    let told = &record.reasons[2];
    assert!(
        told.contains("p99") && told.contains("above 5.00 s"),
        "{told}"
    );
}

#[test]
fn counts_that_do_not_fit_are_of_somebody_else() {
    let tally = tally(&[(600, 7)]);
    let of = |n: f64| compared(&client(&tally, &[]), &counted([0.0, n, 0.0, 0.0, 0.0, 0.0]));
    for n in [571.0, 600.0, 629.0] {
        assert!(of(n).agrees(), "{n}");
    }
    let told = |n| of(n).reasons.join("; ");
    assert!(told(1_200.0).contains("counted 1,200 queries and the soak made 600: other load"));
    assert!(told(300.0).contains("counted 300 queries and the soak made 600: the series"));
    assert!(told(0.0).contains("counted 0 queries"));
    // What a scrape took in of the warm-up, and what a restart lost, is known.
    let warm = Client {
        warmup_s: 5.0,
        ..client(&tally, &[])
    };
    assert!(compared(&warm, &counted([0.0, 640.0, 0.0, 0.0, 0.0, 0.0])).agrees());
    let restarted = Counted {
        lost_s: 15.0,
        restarts: 1,
        ..counted([0.0, 455.0, 0.0, 0.0, 0.0, 0.0])
    };
    assert!(compared(&client(&tally, &[]), &restarted).agrees());
}

#[test]
fn what_only_one_of_them_counted_makes_the_interval_wider() {
    // 20 slow ones of the warm-up in the server's histogram: p95 may be either.
    let tally = tally(&[(600, 7)]);
    let counted = counted([0.0, 575.0, 0.0, 45.0, 0.0, 0.0]);
    let record = compared(&client(&tally, &[]), &counted);
    let p95 = record.at(0.95).unwrap();
    assert_eq!((p95.lower_ms, p95.upper_ms), (5.0, Some(300.0)));
    assert!(record.at(0.5).unwrap().upper_ms == Some(10.0));
}

#[test]
fn errors_are_compared_as_far_as_both_can_know_of_them() {
    let with = |server_errors, ours: u64, timeouts: u64| {
        let mut tally = tally(&[(1_000, 7)]);
        failed(&mut tally, ours, ErrorKind::Status5xx);
        failed(&mut tally, timeouts, ErrorKind::Timeout);
        let n = float(1_000 + ours + timeouts);
        let counted = Counted {
            server_errors,
            ..counted([0.0, n, 0.0, 0.0, 0.0, 0.0])
        };
        compared(&client(&tally, &[]), &counted).reasons
    };
    assert_eq!(with(0.0, 0, 0), [""; 0]);
    assert_eq!(with(40.0, 40, 0), [""; 0]);
    assert_eq!(
        with(9.0, 0, 9),
        [""; 0],
        "504 came after the client had gone"
    );
    assert!(with(40.0, 0, 0)[0].contains("answered 40 queries with a status of 500"));
    assert!(with(0.0, 40, 0)[0].contains("and the client saw 40"));
}

#[test]
fn refused_connections_are_no_reason_to_doubt_the_server() {
    let mut tally = tally(&[(300, 7)]);
    failed(&mut tally, 300, ErrorKind::Connect);
    let record = compared(
        &client(&tally, &[]),
        &counted([0.0, 300.0, 0.0, 0.0, 0.0, 0.0]),
    );
    assert!(record.agrees(), "{:?}", record.reasons);
}
