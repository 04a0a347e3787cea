//! Ids, functions and catalog belong together.

use super::*;
use crate::telemetry::testing::events_of;
use crate::telemetry::{burst, trace};
use std::collections::{BTreeMap, BTreeSet};

const CATALOG: &str = include_str!("../../systemd/alfred.catalog");

/// One entry of the catalog.
#[derive(Default)]
struct Entry {
    subject: String,
    headers: usize,
    body: String,
}

/// The catalog as systemd reads it: comments, `-- ID`, headers, an empty line, text.
fn entries() -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let mut current: Option<(String, Entry)> = None;
    let mut in_headers = false;
    for line in CATALOG.lines().filter(|line| !line.starts_with('#')) {
        if let Some(id) = line.strip_prefix("-- ") {
            if let Some((id, entry)) = current.replace((id.to_owned(), Entry::default())) {
                assert!(entries.insert(id.clone(), entry).is_none(), "{id} twice");
            }
            in_headers = true;
            continue;
        }
        let Some((_, entry)) = &mut current else {
            assert_eq!(line, "", "before the first entry");
            continue;
        };
        if in_headers && line.is_empty() {
            in_headers = false;
        } else if in_headers {
            let (name, value) = line.split_once(": ").unwrap();
            if name == "Subject" {
                entry.subject = value.to_owned();
            }
            entry.headers += 1;
        } else {
            entry.body.push_str(line);
            entry.body.push('\n');
        }
    }
    entries.extend(current);
    entries
}

/// The names between two `@`.
fn variables(text: &str) -> BTreeSet<String> {
    let parts: Vec<&str> = text.split('@').collect();
    assert_eq!(parts.len() % 2, 1, "an @ without its pair: {text}");
    parts
        .iter()
        .skip(1)
        .step_by(2)
        .map(|name| (*name).to_owned())
        .collect()
}

#[test]
fn every_id_is_explained_once_and_no_other() {
    let ids: BTreeSet<String> = ALL.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(ids.len(), ALL.len(), "two events have one id");
    for id in &ids {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(id.len() == 32 && id.chars().all(is_hex), "{id}");
    }
    let explained: BTreeSet<String> = entries().into_keys().collect();
    assert_eq!(ids, explained);
}

#[test]
fn the_catalog_quotes_only_fields_that_are_there() {
    let entries = entries();
    for (id, fields) in ALL {
        let Entry {
            subject,
            headers,
            body,
        } = &entries[*id];
        assert!(!subject.is_empty() && *headers == 3, "{id}");
        assert!(body.trim().len() > 60, "{id} explains nothing");
        let there: BTreeSet<String> = fields
            .iter()
            .map(|field| format!("ALFRED_{}", field.to_uppercase()))
            .collect();
        for quoted in variables(subject).union(&variables(body)) {
            assert!(there.contains(quoted), "{id}: {quoted} is not in {there:?}");
        }
        for line in body.lines() {
            assert!(line.len() <= 80, "too wide: {line}");
        }
    }
}

fn measured_window() -> SoakWindow<'static> {
    SoakWindow {
        scenario: "smoke",
        p50_ms: Some(1.0),
        p95_ms: Some(2.5),
        p99_ms: Some(3.0),
        max_ms: Some(4.0),
        rss_bytes: Some(5),
        cpu_cores: Some(0.5),
        ..SoakWindow::default()
    }
}

#[test]
fn what_was_not_measured_is_no_field_of_a_window() {
    let seen = events_of(|| {
        soak_window(&SoakWindow::default());
        soak_window(&measured_window());
    });
    for field in ["p50_ms", "p95_ms", "max_ms", "rss_bytes", "cpu_cores"] {
        assert!(!seen[0].contains_key(field), "{field}");
        assert!(seen[1].contains_key(field), "{field}");
    }
    assert_eq!(seen[1]["p95_ms"], "2.5");
    assert!(seen[1]["message"].ends_with("p95 2.5 ms"), "{seen:?}");
}

/// A request of which everything is known.
fn say_request(cause: Option<&str>, gravity: Gravity) {
    let began = crate::clock::Clock::monotonic(&crate::clock::SystemClock);
    let mut headers = http::HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", parent.parse().unwrap());
    let incoming = trace::Incoming::of(&headers);
    let trail = trace::Trail::begin(began, incoming, None, || {
        unreachable!("nothing is exported")
    });
    for (stage, after_ms) in trace::STAGES.into_iter().zip([2, 3, 7, 15]) {
        trail.reached(stage, began + Duration::from_millis(after_ms));
    }
    request(&RequestEvent {
        request_id: "r-1",
        trace_id: trail.trace_id(),
        peer: &"here",
        client: Some([127, 0, 0, 1].into()),
        key: Some("ops"),
        route: "/v1/query",
        method: "POST",
        status: 200,
        kind: "slow",
        duration: Duration::from_millis(25),
        stages: trail.stages(began + Duration::from_millis(25)),
        question: Some("How?"),
        cause,
        gravity,
    });
}

#[test]
fn a_request_is_told_by_stages_and_only_what_is_known() {
    let seen = events_of(|| {
        say_request(None, Gravity::Warning);
        request(&RequestEvent {
            request_id: "r-2",
            trace_id: None,
            peer: &"here",
            client: None,
            key: None,
            route: "/v1/status",
            method: "GET",
            status: 503,
            kind: "overloaded",
            duration: Duration::from_micros(1_234),
            stages: trace::Stages::default(),
            question: None,
            cause: Some("busy"),
            gravity: Gravity::Warning,
        });
    });
    let whole = [
        ("message", "slow request: 25 ms, of these answer 10"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("read_ms", "2.0"),
        ("queue_ms", "1.0"),
        ("embed_ms", "4.0"),
        ("search_ms", "8.0"),
        ("answer_ms", "10.0"),
        ("stage", "answer"),
    ];
    for (field, value) in whole {
        assert_eq!(seen[0][field], value, "{field}");
        assert!(
            field == "message" || !seen[1].contains_key(field),
            "{field}: {seen:?}"
        );
    }
    assert_eq!(seen[1]["message"], "request failed: busy");
    assert_eq!(seen[1]["duration_ms"], "1.234");
}

#[test]
fn every_event_carries_its_fields() {
    let second = Duration::from_secs(1);
    let now = crate::clock::Clock::monotonic(&crate::clock::SystemClock);
    let seen = events_of(|| {
        started("1", Some(1), second);
        started("1", None, second);
        reload_done("", "", second);
        reload_done("log.level", "server.listen", second);
        reload_refused("x");
        for dependency in [
            Dependency::Database,
            Dependency::Provider,
            Dependency::Cache,
            Dependency::Collector,
        ] {
            let mut outage = Outage::of(dependency);
            outage.is_down(now, "here", "refused");
            outage.is_down(now, "here", "refused");
            outage.is_up("here");
            outage.is_up("here");
        }
        overload_began("queries", 1, 2);
        overload_ended("queries", 3, second);
        say_request(Some("x"), Gravity::Error);
        say_request(None, Gravity::Warning);
        requests_summed(&burst::Sum {
            kind: burst::Kind {
                route: "/v1/query",
                word: "timeout",
            },
            count: 7,
            first: "r-1".into(),
            last: "r-7".into(),
            slowest: second,
            gravity: Gravity::Warning,
            lasted: second,
        });
        watchdog_miss("x", second);
        stopping("SIGTERM", 0);
        stopped(0);
        stopped(1);
        soak_window(&measured_window());
        for verdict in ["PASS", "FAIL", "INVALID"] {
            soak_verdict(&SoakVerdict {
                verdict,
                error_rate: Some(0.0),
                p50_ms: Some(1.0),
                p95_ms: Some(2.0),
                p99_ms: Some(3.0),
                capacity_per_s: Some(4.0),
                ..SoakVerdict::default()
            });
        }
        state_dump("{}");
    });
    assert_eq!(seen.len(), 27, "a dependency is down once and back once");
    let mut missing: BTreeSet<&str> = ALL.iter().map(|(id, _)| *id).collect();
    for event in &seen {
        let id = &event["message_id"];
        let (_, fields) = ALL.iter().find(|(known, _)| known == id).unwrap();
        let words = ["message", "message_id"];
        let fields: BTreeSet<&str> = fields.iter().chain(&words).copied().collect();
        let there: BTreeSet<&str> = event.keys().map(String::as_str).collect();
        assert_eq!(there, fields, "{id}");
        missing.remove(id.as_str());
    }
    assert!(missing.is_empty(), "{missing:?}");
}
