//! Which requests are logged, how gravely, and with what.

use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::events;
use crate::telemetry::testing::{Fields, events_of};
use crate::telemetry::trace::Stage;

/// How one request ended.
#[derive(Clone, Copy)]
struct Ended {
    status: u16,
    kind: Option<&'static str>,
    took_ms: u64,
    slow_ms: Option<u64>,
}

const GOOD: Ended = Ended {
    status: 200,
    kind: None,
    took_ms: 20,
    slow_ms: Some(300),
};

/// Records it, having sent its body within `read_ms`.
fn record(observer: &Observer, ended: Ended, read_ms: u64) {
    let began = SystemClock.monotonic();
    let at = |after_ms| began + Duration::from_millis(after_ms);
    let trail = Trail::begin(began, None, None, || SystemClock.wall());
    trail.reached(Stage::Queue, at(read_ms));
    trail.reached(Stage::Embed, at(read_ms + 1));
    observer.record(&Observation {
        route: QUERY_ROUTE,
        method: &Method::POST,
        status: StatusCode::from_u16(ended.status).unwrap(),
        ended: at(ended.took_ms),
        duration: Duration::from_millis(ended.took_ms),
        request_id: "r-1",
        peer: Peer::Unix,
        client: None,
        key: Some("ops"),
        trail: &trail,
        kind: ended.kind,
        cause: "the cause",
        slow_after: ended.slow_ms.map(Duration::from_millis),
    });
}

fn said(ended: Ended, read_ms: u64) -> Option<Fields> {
    let observer = Observer::new(SystemClock.monotonic(), Arc::default());
    let mut said = events_of(|| record(&observer, ended, read_ms));
    assert!(said.len() <= 1, "logged twice: {said:?}");
    said.pop()
}

#[test]
fn what_is_fast_and_fine_is_not_logged() {
    assert_eq!(said(GOOD, 1), None);
    let slow = Ended {
        took_ms: 400,
        ..GOOD
    };
    let never = Ended {
        slow_ms: None,
        ..slow
    };
    assert_eq!(said(never, 1), None);
    assert_eq!(said(slow, 390), None, "the client was slow, not the server");
}

#[test]
fn a_slow_request_is_logged_with_its_stages() {
    let slow = Ended {
        took_ms: 400,
        ..GOOD
    };
    let event = said(slow, 10).unwrap();
    for (field, value) in [
        ("message_id", events::REQUEST_SLOW),
        ("kind", "slow"),
        ("key", "ops"),
        ("peer", "unix"),
        ("read_ms", "10.0"),
        ("queue_ms", "1.0"),
        ("embed_ms", "389.0"),
        ("stage", "embed"),
    ] {
        assert_eq!(event[field], value, "{field}");
    }
    assert!(!event.contains_key("query") && !event.contains_key("client"));
}

#[test]
fn what_failed_is_logged_once_as_gravely_as_it_is() {
    for (status, kind, gravity) in [
        (400, "not_json", Gravity::Info),
        (401, "unauthorized", Gravity::Info),
        (404, "not_found", Gravity::Info),
        (408, "slow_request", Gravity::Info),
        (429, "rate_limited", Gravity::Warning),
        (500, "internal", Gravity::Error),
        (503, "overloaded", Gravity::Warning),
        (503, "not_ready", Gravity::Info),
        (504, "timeout", Gravity::Warning),
        // A generated answer was owed, and a quoted one given.
        (200, "openai_error", Gravity::Warning),
    ] {
        let ended = Ended {
            status,
            kind: Some(kind),
            took_ms: 5_000,
            slow_ms: Some(300),
        };
        let event = said(ended, 1).unwrap();
        assert_eq!(event["message_id"], events::REQUEST_FAILED, "{status}");
        assert_eq!(event["message"], "request failed: the cause");
        assert_eq!(
            (&*event["kind"], &*event["status"]),
            (kind, &*status.to_string())
        );
        let trail = Trail::begin(SystemClock.monotonic(), None, None, || SystemClock.wall());
        let seen = Observation {
            route: QUERY_ROUTE,
            method: &Method::POST,
            status: StatusCode::from_u16(status).unwrap(),
            ended: trail.began(),
            duration: Duration::ZERO,
            request_id: "r-1",
            peer: Peer::Unix,
            client: None,
            key: None,
            trail: &trail,
            kind: Some(kind),
            cause: "",
            slow_after: None,
        };
        assert_eq!(seen.gravity(), gravity, "{status}");
    }
}

#[test]
fn the_end_says_what_was_counted() {
    let observer = Observer::new(SystemClock.monotonic(), Arc::default());
    let failed = Ended {
        status: 503,
        kind: Some("search_error"),
        ..GOOD
    };
    let said = events_of(|| {
        for _ in 0..50 {
            record(&observer, failed, 1);
        }
        observer.end();
    });
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!(said[5]["message_id"], events::REQUESTS_SUMMED);
    assert_eq!(said[5]["requests"], "45");
}

/// What a request that is fast and fine pays for the log.
#[test]
fn looking_whether_to_log_costs_less_than_200_ns() {
    let began = SystemClock.monotonic();
    let trail = Trail::begin(began, None, None, || SystemClock.wall());
    let seen = Observation {
        route: QUERY_ROUTE,
        method: &Method::POST,
        status: StatusCode::OK,
        ended: began,
        duration: Duration::from_millis(5),
        request_id: "r-1",
        peer: Peer::Unix,
        client: None,
        key: None,
        trail: &trail,
        kind: None,
        cause: "",
        slow_after: Some(Duration::from_millis(300)),
    };
    let run = || {
        let began = SystemClock.monotonic();
        for _ in 0..1_000 {
            assert!(!std::hint::black_box(&seen).has_failed() && !seen.is_slow());
        }
        SystemClock.monotonic() - began
    };
    let cost = std::iter::repeat_with(run).take(50).min().unwrap() / 1_000;
    println!("looking whether to log a request: {cost:?}");
    assert!(cost < Duration::from_nanos(200), "{cost:?}");
}
