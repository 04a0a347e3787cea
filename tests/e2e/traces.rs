//! Traces from the caller through the daemon to the provider, as a collector gets them; read by
//! OpenTelemetry's own classes.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::collector::Collector;
use crate::journal::Serving;
use crate::metrics::Scrape;
use crate::provider::Standin;
use crate::support::{Daemon, Home, PATIENCE, eventually, installed_by};
use alfred::client::{Limits, Outgoing, request_blocking};
use alfred::telemetry::events::{DEPENDENCY_BACK, DEPENDENCY_DOWN};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ENDPOINT: &str = "ALFRED__TELEMETRY__OTLP_ENDPOINT";

/// Every span in the files of a folder, each a request to a collector, as JSON. What OpenTelemetry does
/// not know would be left over when it is written again.
const READER: &str = r#"
import json, pathlib, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

def values(attributes):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}

spans = []
for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    data = file.read_bytes()
    request = ExportTraceServiceRequest.FromString(data)
    request.DiscardUnknownFields()
    assert request.ByteSize() == len(data), "fields that OpenTelemetry does not know"
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                spans.append({
                    "name": span.name, "kind": span.kind, "flags": span.flags,
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(), "state": span.trace_state,
                    "from": span.start_time_unix_nano, "to": span.end_time_unix_nano,
                    "status": span.status.code, "attributes": values(span.attributes),
                    "events": [[e.name, values(e.attributes)] for e in span.events],
                    "resource": values(resource.resource.attributes), "scope": scope.scope.name})
print(json.dumps(spans))
"#;

/// The spans of one trace that the collector took.
fn spans(collector: &Collector, trace: &str) -> Vec<Value> {
    let mut all = all_spans(collector);
    all.retain(|span| span["trace"] == trace);
    all
}

fn all_spans(collector: &Collector) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    for (number, body) in collector.taken().iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number:03}")), body).unwrap();
    }
    let mut reader = Command::new(installed_by("opentelemetry"));
    let read = reader.args(["-c", READER]).arg(folder.path()).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{read:?}");
    serde_json::from_slice(&read.stdout).unwrap()
}

#[track_caller]
fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let mut found = spans.iter().filter(|span| span["name"] == name);
    let span = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "{name} twice in {spans:#?}");
    span
}

fn post(daemon: &Daemon, body: &Value, headers: &[(&'static str, &str)]) -> (u16, Value) {
    let mut outgoing = Outgoing {
        method: "POST".parse().unwrap(),
        body: body.to_string().into(),
        ..Outgoing::default()
    };
    let json = [("content-type", "application/json")];
    for (name, value) in json.iter().chain(headers) {
        outgoing.headers.insert(*name, value.parse().unwrap());
    }
    let limits = Limits {
        timeout: PATIENCE,
        max_response_bytes: 1 << 20,
    };
    let reply = request_blocking(&daemon.endpoint.at("/v1/query"), outgoing, limits).unwrap();
    let body = serde_json::from_slice(&reply.body).unwrap();
    (reply.status.as_u16(), body)
}

/// What the provider was told of traces, from the n-th request on.
fn told(standin: &Standin, from: usize) -> Vec<Value> {
    let counters = standin.control(&Value::Null);
    counters["traces"].as_array().unwrap()[from..].to_vec()
}

/// The headers of a caller that has a trace, sampled or not.
fn caller(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Asks a question in the caller's trace, and the provider fails once: the spans of that trace, and what
/// the provider was told of it.
fn a_traced_question() -> (Vec<Value>, Vec<Value>) {
    let (standin, home, collector) = (Standin::start(&[]), Home::new(), Collector::start());
    let settings = [
        (ENDPOINT, &*collector.endpoint),
        ("ALFRED__ANSWER__MODEL", "gpt-4o-mini"),
    ];
    let daemon = standin.daemon(&home, &settings);
    let before = told(&standin, 0).len();
    standin.control(&json!({"fail_status": 500, "fail_count": 1, "latency_ms": 20}));
    let question = json!({"query": "How do I upgrade the Helm chart?", "answer": "generated"});
    let parent = caller("01");
    let headers = [
        ("traceparent", &*parent),
        ("tracestate", "vendor=x1"),
        ("x-request-id", "r-42"),
    ];
    let (status, reply) = post(&daemon, &question, &headers);
    assert_eq!(status, 200, "{reply}");
    let said = told(&standin, before);
    let dropped = Scrape::of(&daemon).get(r#"trace_spans_total{outcome="dropped"}"#);
    assert_eq!(dropped, Some(0.0));
    assert_eq!(daemon.stop(), 0);
    (spans(&collector, TRACE), said)
}

#[track_caller]
fn are_a_tree(spans: &[Value]) {
    assert_eq!(spans.len(), 7, "{spans:#?}");
    let server = named(spans, "POST /v1/query");
    assert_eq!(
        (&server["parent"], &server["kind"]),
        (&json!(CALLER), &json!(2))
    );
    // Sampled; it is known where the parent is, and that is elsewhere.
    assert_eq!(server["flags"], 0x301);
    let (embed, answer) = (named(spans, "embed"), named(spans, "answer"));
    for (child, parent) in [
        (named(spans, "queue"), server),
        (embed, server),
        (named(spans, "search"), server),
        (answer, server),
        (named(spans, "POST embeddings"), embed),
        (named(spans, "POST chat/completions"), answer),
    ] {
        assert_eq!(child["parent"], parent["id"], "{child}");
        let both = format!("{child} {parent}");
        assert!(child["from"].as_u64() >= parent["from"].as_u64(), "{both}");
        assert!(child["to"].as_u64() <= parent["to"].as_u64(), "{both}");
    }
}

#[track_caller]
fn are_described(spans: &[Value]) {
    for span in spans {
        assert!(span["from"].as_u64() <= span["to"].as_u64(), "{span}");
        let expected = (&json!("vendor=x1"), &json!(0));
        assert_eq!((&span["state"], &span["status"]), expected);
        let resource = &span["resource"];
        assert_eq!(resource["service.name"], "alfred");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(resource["service.instance.id"].is_string());
        assert_eq!(span["scope"], "alfred");
    }
    let attributes = &named(spans, "POST /v1/query")["attributes"];
    for (name, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v1/query")),
        ("url.path", json!("/v1/query")),
        ("url.scheme", json!("http")),
        ("http.response.status_code", json!(200)),
        ("server.address", json!("127.0.0.1")),
        ("client.address", json!("127.0.0.1")),
        ("alfred.request_id", json!("r-42")),
    ] {
        assert_eq!(attributes[name], value, "{name}: {attributes}");
    }
    // The text of a question, and of an answer, is in no span.
    assert!(!json!(spans).to_string().contains("Helm"), "{spans:#?}");
}

#[test]
fn a_question_is_one_trace_from_the_caller_to_the_provider() {
    let (spans, said) = a_traced_question();
    are_a_tree(&spans);
    are_described(&spans);
    let embedding = named(&spans, "POST embeddings");
    let chat = named(&spans, "POST chat/completions");
    assert_eq!(embedding["kind"], 3);
    let event = &embedding["events"][0];
    assert_eq!(embedding["events"].as_array().unwrap().len(), 1);
    assert_eq!(event[0], "try failed");
    assert_eq!(event[1]["error.type"], "500");
    assert!(event[1]["alfred.wait_ms"].is_u64(), "{event}");
    let status = &embedding["attributes"]["http.response.status_code"];
    assert_eq!(status, 200);
    // One try that failed, one that did not, and the answer.
    let parent_of = |call: &Value| json!(format!("00-{TRACE}-{}-01", call["id"].as_str().unwrap()));
    let sent: Vec<&Value> = said.iter().map(|request| &request["traceparent"]).collect();
    let expected = [embedding, embedding, chat].map(parent_of);
    assert_eq!(sent, expected.iter().collect::<Vec<_>>());
    let is_passed_on = |request: &Value| request["tracestate"] == "vendor=x1";
    assert!(said.iter().all(is_passed_on), "{said:?}");
}

#[test]
fn without_a_collector_the_callers_trace_goes_on_as_it_came() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let daemon = standin.daemon(&home, &[]);
    let before = told(&standin, 0).len();
    let ask = |text: &str, headers: &[(&'static str, &str)]| {
        let (status, reply) = post(&daemon, &json!({ "query": text }), headers);
        assert_eq!(status, 200, "{reply}");
    };
    ask("one", &[("traceparent", &caller("01"))]);
    ask(
        "two",
        &[("traceparent", &caller("00")), ("tracestate", "a=1")],
    );
    ask("three", &[("traceparent", &caller("01").to_uppercase())]);
    ask("four", &[]);
    let said = told(&standin, before);
    let parents: Vec<&Value> = said.iter().map(|request| &request["traceparent"]).collect();
    let expected = [
        json!(caller("01")),
        json!(caller("00")),
        Value::Null,
        Value::Null,
    ];
    assert_eq!(parents, expected.iter().collect::<Vec<_>>());
    assert_eq!(said[1]["tracestate"], "a=1");
}

#[test]
fn a_trace_that_begins_here_is_exported_by_share_and_a_callers_word_counts() {
    let (home, collector) = (Home::new(), Collector::start());
    let ratio = ("ALFRED__TELEMETRY__OTLP_SAMPLE_RATIO", "0");
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.envs([(ENDPOINT, &*collector.endpoint), ratio]);
    let daemon = Daemon::start(command);
    for flags in ["00", "01"] {
        let question = json!({"query": "What is here?", "mode": "text"});
        let (status, _) = post(&daemon, &question, &[("traceparent", &caller(flags))]);
        assert_eq!(status, 200);
    }
    daemon.ask(&json!({"query": "What is here?"}));
    assert_eq!(daemon.stop(), 0);
    let taken = spans(&collector, TRACE);
    let names: Vec<&str> = taken
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    // Words alone are embedded by nobody; and nothing else came at all.
    assert_eq!(names, ["queue", "search", "answer", "POST /v1/query"]);
    assert_eq!(collector.taken().len(), 1);
}

#[test]
fn what_fails_is_an_error_of_its_span_and_stage() {
    let (standin, home, collector) = (Standin::start(&[]), Home::new(), Collector::start());
    let daemon = standin.daemon(&home, &[(ENDPOINT, &*collector.endpoint)]);
    standin.control(&json!({"fail_status": 401}));
    let headers = [("traceparent", &*caller("01"))];
    assert_eq!(post(&daemon, &json!({"query": "otters"}), &headers).0, 503);
    assert_eq!(post(&daemon, &json!({"query": 7}), &headers).0, 422);
    assert_eq!(daemon.stop(), 0);
    let spans = spans(&collector, TRACE);
    let (failed, refused): (Vec<&Value>, Vec<&Value>) = spans
        .iter()
        .filter(|span| span["name"] == "POST /v1/query")
        .partition(|span| span["attributes"]["http.response.status_code"] == 503);
    assert_eq!(failed[0]["attributes"]["error.type"], "openai_error");
    assert_eq!(
        (&failed[0]["status"], &refused[0]["status"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(refused[0]["attributes"]["alfred.kind"], "invalid_field");
    assert_eq!(named(&spans, "embed")["status"], 2);
    let call = named(&spans, "POST embeddings");
    assert_eq!(
        (&call["status"], &call["attributes"]["error.type"]),
        (&json!(2), &json!("401"))
    );
}

/// Somebody takes the collector away, and brings it back.
#[test]
fn a_collector_that_is_away_is_said_once_and_no_request_waits_for_it() {
    let (home, collector) = (Home::new(), Collector::start());
    let secret = "authorization=Bearer%20hunter2";
    let variables = [
        (ENDPOINT, &*collector.endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", secret),
    ];
    collector.answer(503, "retry-after: 0\r\n", &[]);
    let mut serving = Serving::plain(&home, &variables);
    for number in 0..20 {
        assert_eq!(serving.ask(&format!("question {number}")), 200);
    }
    eventually(PATIENCE, || (collector.received().len() > 3).then_some(()));
    collector.answer(200, "", &[]);
    eventually(PATIENCE, || {
        serving.on_stderr().contains(DEPENDENCY_BACK).then_some(())
    });
    serving.stop();
    let log = serving.on_stderr();
    assert_eq!(log.matches(DEPENDENCY_DOWN).count(), 1, "{log}");
    assert_eq!(log.matches(DEPENDENCY_BACK).count(), 1, "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    let head = &collector.received()[0].head;
    assert!(head.contains("authorization: bearer hunter2"), "{head}");
}

#[test]
fn a_daemon_whose_collector_is_nowhere_serves_and_stops() {
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let mut serving = Serving::plain(&home, &[(ENDPOINT, &*nowhere)]);
    assert_eq!(serving.ask("anybody there?"), 200);
    serving.stop();
    assert!(serving.on_stderr().contains("collector of traces is away"));
}

#[test]
fn an_endpoint_that_is_none_is_a_mistake_of_the_configuration() {
    let home = Home::new();
    let mut command = home.command(&["config", "check"]);
    command.env(ENDPOINT, "localhost:4318");
    let done = crate::support::finish(command.spawn().unwrap()).expect(78);
    assert!(
        done.stderr.contains("`telemetry.otlp_endpoint`"),
        "{}",
        done.stderr
    );
    let mut command = home.command(&["config", "check"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
    crate::support::finish(command.spawn().unwrap()).expect(0);
}

/// Traces are turned on by a reload, too.
#[test]
fn a_reload_begins_to_export() {
    let (home, collector) = (Home::new(), Collector::start());
    let file = home.write("alfred.toml", "");
    let mut serving = Serving::plain(&home, &[]);
    assert_eq!(serving.ask("before"), 200);
    let told = format!("telemetry.otlp_endpoint = {:?}\n", collector.endpoint);
    std::fs::write(Path::new(&file), told).unwrap();
    let reload = Outgoing {
        method: "POST".parse().unwrap(),
        ..Outgoing::default()
    };
    assert_eq!(serving.send("/v1/reload", reload), Some(200));
    for probe in ["/healthz", "/livez", "/readyz", "/metrics"] {
        assert_eq!(serving.status(probe), Some(200), "{probe}");
    }
    assert_eq!(serving.ask("after"), 200);
    serving.stop();
    let spans = all_spans(&collector);
    let servers = spans.iter().filter(|span| span["kind"] == 2);
    let names: Vec<&Value> = servers.map(|span| &span["name"]).collect();
    // The question after the reload, and nothing that machines ask all the time.
    assert_eq!(names, ["POST /v1/query"], "{}", serving.on_stderr());
}
