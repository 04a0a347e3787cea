//! What is promised of traces, against a collector of our own; `tests/e2e/traces.rs` has
//! OpenTelemetry's classes read the same.

use super::delivery::{Delivery, Stop};
use super::proto;
use super::span::{Kind, Span};
use super::testing::Collector;
use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::secret::Secret;
use crate::telemetry::events;
use crate::telemetry::metrics::TraceMetrics;
use crate::telemetry::testing::events_of;
use http::HeaderMap;
use prost::Message as _;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn target(endpoint: &str) -> Target {
    Target::parse(endpoint, &Secret::new("authorization=Bearer%20hush")).unwrap()
}

fn exporter(endpoint: &str, ratio: f64) -> (Arc<Exporter>, TraceMetrics) {
    let metrics = TraceMetrics::default();
    let sampling = Sampling::of_ratio(ratio);
    let exporter = Exporter::start(target(endpoint), sampling, metrics.clone()).unwrap();
    (exporter, metrics)
}

fn incoming(flags: &str) -> Option<Incoming> {
    let mut headers = HeaderMap::new();
    let parent = format!("00-{TRACE}-{CALLER}-{flags}");
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", "other=1".parse().unwrap());
    Incoming::of(&headers)
}

fn begin(incoming: Option<Incoming>, exporter: Option<&Arc<Exporter>>) -> Arc<Trail> {
    let began = SystemClock.monotonic();
    Arc::new(Trail::begin(began, incoming, exporter, || {
        SystemClock.wall()
    }))
}

fn described(name: &str) -> Described {
    Described {
        name: name.to_owned(),
        attributes: vec![("http.response.status_code", 200_u16.into())],
        is_error: false,
    }
}

/// What a call on behalf of `trail` tells a server.
fn told(trail: &Arc<Trail>) -> Option<Headers> {
    let now = SystemClock.monotonic();
    within(trail, || Call::begin(now).headers().cloned())
}

/// A request with a call in its embed stage, answered after 8 ms.
fn ask(exporter: &Arc<Exporter>, incoming: Option<Incoming>) -> (Arc<Trail>, Headers) {
    let trail = begin(incoming, Some(exporter));
    let at = |after_ms| trail.began() + Duration::from_millis(after_ms);
    trail.reached(Stage::Queue, at(1));
    let headers = within(&trail, || {
        reached(Stage::Embed, at(2));
        let mut call = Call::begin(at(2));
        call.failed(at(3), "503", Some(Duration::from_millis(1)));
        let headers = call.headers().cloned();
        let called = Called {
            route: "embeddings",
            server: "api.example:8443",
            status: Some(200),
            error: None,
        };
        call.end(at(4), called);
        reached(Stage::Search, at(5));
        reached(Stage::Answer, at(6));
        answered(at(7));
        headers
    });
    trail.export(at(8), || described("POST /v1/query"));
    (trail, headers.unwrap())
}

/// The spans that a collector took, by name.
fn spans(collector: &Collector) -> BTreeMap<String, proto::Span> {
    let requests = collector.taken().into_iter().map(|body| {
        let request = proto::Request::decode(&body[..]).unwrap();
        request.resource_spans
    });
    let scopes = requests.flatten().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans.map(|span| (span.name.clone(), span)).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn a_request_is_a_tree_of_spans_that_fit_into_each_other() {
    let collector = Collector::start();
    let (exporter, metrics) = exporter(&collector.endpoint, 0.0);
    let (trail, headers) = ask(&exporter, incoming("01"));
    assert!(trail.is_recorded(), "the caller's word counts, not ours");
    assert!(exporter.finish(SOON));
    let spans = spans(&collector);
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    let expected = [
        "POST /v1/query",
        "POST embeddings",
        "answer",
        "embed",
        "queue",
        "search",
    ];
    assert_eq!(names, expected);
    let server = &spans["POST /v1/query"];
    let call = &spans["POST embeddings"];
    assert_eq!(hex(&server.parent_span_id), CALLER);
    assert_eq!(
        (server.kind, call.kind),
        (Kind::Server as i32, Kind::Client as i32)
    );
    for name in ["queue", "embed", "search", "answer"] {
        let stage = &spans[name];
        assert_eq!(stage.parent_span_id, server.id, "{name}");
        assert!(stage.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(stage.end_time_unix_nano <= server.end_time_unix_nano);
    }
    assert_eq!(call.parent_span_id, spans["embed"].id);
    assert_eq!(
        call.end_time_unix_nano - call.start_time_unix_nano,
        2_000_000
    );
    assert_eq!(call.events.len(), 1);
    for span in spans.values() {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.trace_state, "other=1");
        assert_eq!(span.status, None);
    }
    let expected = format!("00-{TRACE}-{}-01", hex(&call.id));
    assert_eq!(headers.traceparent, expected);
    assert_eq!(headers.tracestate.as_deref(), Some("other=1"));
    assert_eq!(metrics.lost(), 0);
    let received = collector.received();
    let head = &received[0].head;
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    assert!(head.contains("authorization: bearer hush"), "{head}");
}

#[test]
fn who_is_told_what_depends_on_who_records() {
    let collector = Collector::start();
    let (all, _) = exporter(&collector.endpoint, 1.0);
    let (none, _) = exporter(&collector.endpoint, 0.0);
    let parent = |trail: &Arc<Trail>| told(trail).map(|headers| headers.traceparent);
    assert_eq!(parent(&begin(None, None)), None);
    for flags in ["00", "01"] {
        let passed = Some(format!("00-{TRACE}-{CALLER}-{flags}"));
        assert_eq!(parent(&begin(incoming(flags), None)), passed);
    }
    // Not sampled by the caller: nothing of ours is in the trace, so it goes on as it came.
    let passed = Some(format!("00-{TRACE}-{CALLER}-00"));
    assert_eq!(parent(&begin(incoming("00"), Some(&all))), passed);
    let own = begin(None, Some(&all));
    let id = own.trace_id().unwrap();
    assert!(own.is_recorded());
    let text = parent(&own).unwrap();
    assert!(
        text.starts_with(&format!("00-{id}-")) && text.ends_with("-01"),
        "{text}"
    );
    let left_out = begin(None, Some(&none));
    assert!(!left_out.is_recorded());
    assert!(parent(&left_out).unwrap().ends_with("-00"));
    left_out.export(left_out.began(), || unreachable!("nobody is told"));
}

#[test]
fn a_share_of_the_traces_that_begin_here_is_taken() {
    let taken = |ratio: f64| {
        let sampling = Sampling::of_ratio(ratio);
        let ids = std::iter::repeat_with(TraceId::random).take(10_000);
        ids.filter(|id| sampling.takes(*id)).count()
    };
    assert_eq!((taken(0.0), taken(1.0), taken(7.0)), (0, 10_000, 10_000));
    let quarter = taken(0.25);
    assert!((2_200..2_800).contains(&quarter), "{quarter}");
}

#[test]
fn stages_are_what_was_reached_and_where_it_ended() {
    let trail = begin(None, None);
    let at = |after_ms| trail.began() + Duration::from_millis(after_ms);
    let ms = |stages: &Stages| STAGES.map(|stage| stages.took(stage).map(|it| it.as_millis()));
    assert_eq!(trail.stages(at(9)), Stages::default());
    trail.reached(Stage::Queue, at(3));
    let waiting = trail.stages(at(9));
    assert_eq!(ms(&waiting), [Some(6), None, None, None]);
    assert_eq!(waiting.ended_in, Some(Stage::Queue));
    assert_eq!(waiting.until_first(), Some(Duration::from_millis(3)));
    // A search for words alone embeds nothing.
    trail.reached(Stage::Search, at(4));
    trail.reached(Stage::Answer, at(6));
    let given_up = trail.stages(at(16));
    assert_eq!(ms(&given_up), [Some(1), None, Some(2), Some(10)]);
    assert_eq!(given_up.ended_in, Some(Stage::Answer));
    trail.answered(at(7));
    let answered = trail.stages(at(16));
    assert_eq!(ms(&answered), [Some(1), None, Some(2), Some(1)]);
    assert_eq!(
        (answered.ended_in, answered.longest()),
        (None, Some(Stage::Search))
    );
}

#[test]
fn work_belongs_to_a_request_only_while_it_is_done() {
    let (one, other) = (begin(None, None), begin(None, None));
    let now = SystemClock.monotonic();
    remark("nobody's");
    within(&one, || {
        within(&other, || remark("the other's"));
        remark("the one's");
        remark("too late");
    });
    let crash = || within::<()>(&one, || panic!("on purpose"));
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(crash));
    assert!(panicked.is_err());
    remark("nobody's");
    reached(Stage::Embed, now);
    assert_eq!(one.remark(), Some("the one's"));
    assert_eq!(other.remark(), Some("the other's"));
    assert_eq!(one.stages(now), Stages::default());
}

/// Spans of one request, `count` of them.
fn some_spans(count: usize) -> Vec<Span> {
    let collector = Collector::start();
    let (exporter, _) = exporter(&collector.endpoint, 1.0);
    let trail = begin(None, Some(&exporter));
    let own = trail.recorded().unwrap();
    let span = Span {
        name: "test".into(),
        kind: Kind::Internal,
        trace: own.trace,
        id: SpanId::of(1),
        parent: None,
        is_parent_remote: false,
        state: None,
        began: SystemClock.wall(),
        ended: SystemClock.wall(),
        attributes: Vec::new(),
        events: Vec::new(),
        is_error: false,
    };
    vec![span; count]
}

#[test]
fn a_collector_that_is_away_is_waited_for_and_said_once() {
    let collector = Collector::start();
    let metrics = TraceMetrics::default();
    let (_say, said) = crossbeam_channel::bounded::<Instant>(1);
    let mut stop = Stop::when(said);
    let mut delivery = Delivery::new(target(&collector.endpoint), metrics.clone());
    let spans = some_spans(3);
    let logged = events_of(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let failures = || collector.received().len();
                while failures() < 2 {
                    SystemClock.sleep(Duration::from_millis(10));
                }
                collector.answer(200, "", &[]);
            });
            collector.answer(503, "retry-after: 0\r\n", &[]);
            delivery.deliver(&spans, &mut stop);
        });
        delivery.deliver(&spans, &mut stop);
    });
    let said: Vec<(&str, &str)> = logged
        .iter()
        .map(|event| (&*event["message_id"], &*event["dependency"]))
        .collect();
    let expected = [events::DEPENDENCY_DOWN, events::DEPENDENCY_BACK];
    assert_eq!(said, expected.map(|id| (id, "collector")), "{logged:?}");
    assert_eq!(logged[0]["reason"], "status 503");
    assert_eq!(metrics.lost(), 0);
    assert_eq!(collector.taken().len(), 2);
}

#[test]
fn what_a_collector_refuses_is_given_up_and_counted() {
    let collector = Collector::start();
    let metrics = TraceMetrics::default();
    let (_say, said) = crossbeam_channel::bounded::<Instant>(1);
    let mut stop = Stop::when(said);
    let mut delivery = Delivery::new(target(&collector.endpoint), metrics.clone());
    let spans = some_spans(10);
    collector.answer(400, "", &[]);
    delivery.deliver(&spans, &mut stop);
    assert_eq!((metrics.lost(), collector.received().len()), (10, 1));
    // Success, of which some is taken back.
    let partial = proto::Response {
        partial_success: Some(proto::PartialSuccess {
            rejected_spans: 4,
            error_message: "too old".to_owned(),
        }),
    };
    collector.answer(200, "", &partial.encode_to_vec());
    delivery.deliver(&spans, &mut stop);
    assert_eq!(metrics.lost(), 14);
    collector.answer(200, "", b"{\"not\": \"protobuf\"}");
    delivery.deliver(&spans, &mut stop);
    assert_eq!(metrics.lost(), 14);
}

#[test]
fn a_collector_that_is_away_costs_spans_and_no_time_and_they_add_up() {
    let collector = Collector::start();
    collector.answer(503, "retry-after: 60\r\n", &[]);
    let (exporter, metrics) = exporter(&collector.endpoint, 1.0);
    let spans = some_spans(1);
    let offered = 2 * QUEUE_SPANS as u64;
    let mut slow = 0;
    for _ in 0..offered {
        let before = SystemClock.monotonic();
        exporter.offer(spans[0].clone());
        slow += u64::from(SystemClock.monotonic() - before > Duration::from_millis(10));
    }
    // A machine that runs every test at once takes a thread away now and then.
    assert!(slow * 200 < offered, "{slow} took over 10 ms");
    let dropped = metrics.lost();
    assert!(
        dropped > 0 && dropped <= offered - QUEUE_SPANS as u64,
        "{dropped}"
    );
    let before = SystemClock.monotonic();
    assert!(exporter.finish(SOON));
    let took = SystemClock.monotonic() - before;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(metrics.lost(), offered);
    exporter.offer(spans[0].clone());
    assert_eq!(metrics.lost(), offered + 1, "after the end");
}

#[test]
fn a_silent_collector_holds_up_no_end() {
    let collector = Collector::start();
    collector.answer(0, "", &[]);
    let (exporter, _) = exporter(&collector.endpoint, 1.0);
    exporter.offer(some_spans(1).remove(0));
    while collector.received().is_empty() {
        SystemClock.sleep(Duration::from_millis(10));
    }
    let before = SystemClock.monotonic();
    assert!(!exporter.finish(Duration::from_millis(100)));
    let took = SystemClock.monotonic() - before;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn what_waits_is_delivered_when_a_reload_lets_an_exporter_go() {
    let collector = Collector::start();
    let (exporter, metrics) = exporter(&collector.endpoint, 1.0);
    ask(&exporter, None);
    drop(exporter);
    let until = SystemClock.monotonic() + SOON;
    while spans(&collector).len() < 6 && SystemClock.monotonic() < until {
        SystemClock.sleep(Duration::from_millis(10));
    }
    assert_eq!((spans(&collector).len(), metrics.lost()), (6, 0));
}

/// What a request that is fast and fine pays for being observed.
#[test]
fn a_request_that_nobody_traces_pays_less_than_2_us() {
    let headers = HeaderMap::new();
    let run = || {
        let began = SystemClock.monotonic();
        for _ in 0..1_000 {
            let incoming = Incoming::of(&headers);
            let trail = Arc::new(Trail::begin(began, incoming, None, || SystemClock.wall()));
            trail.reached(Stage::Queue, began);
            within(&trail, || {
                reached(Stage::Embed, began);
                reached(Stage::Search, began);
                reached(Stage::Answer, began);
                answered(began);
            });
        }
        SystemClock.monotonic() - began
    };
    let cost = std::iter::repeat_with(run).take(50).min().unwrap() / 1_000;
    println!("the trail of a request: {cost:?}");
    // Tests are built with less optimisation; with all of it this is some times less.
    assert!(cost < Duration::from_micros(2), "{cost:?}");
}
