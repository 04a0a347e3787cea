//! `GET /metrics`: what requests move, and that it answers when nothing else does.

use super::client::{Connection, post};
use super::fakes;
use super::server::{Server, settings, start, start_with};
use alfred::embed::EmbedError;
use alfred::search::SearchError;
use alfred::store::StoreError;
use serde_json::json;
use std::sync::{Arc, Mutex, mpsc};

const JSON: &str = "content-type: application/json\r\n";

pub(super) fn scrape(server: &Server) -> String {
    let reply = server.connect().get("/metrics");
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

/// The value of a series as it is written; 0 when it is not there.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[track_caller]
fn assert_values(text: &str, expected: &[(&str, f64)]) {
    for (series, expected) in expected {
        let found = value(text, series);
        assert!(
            (found - expected).abs() < 1e-9,
            "{series}: {found}, expected {expected}"
        );
    }
}

/// Fails as the question says.
fn failing() -> Server {
    let fail = |provider: &str| EmbedError::Unavailable {
        provider: provider.to_owned(),
        problem: "asked to".to_owned(),
        retry_after: None,
    };
    let store = || StoreError::Unavailable {
        location: "nowhere".to_owned(),
        problem: "asked to".to_owned(),
    };
    let late = || EmbedError::TimedOut {
        provider: "test".to_owned(),
        problem: "asked to".to_owned(),
    };
    start_with(
        settings(),
        Arc::new(move |query, deadline| match query.text.as_str() {
            "provider" => Err(SearchError::Embed(fail("test"))),
            "store" => Err(SearchError::Store(store())),
            "late" => Err(SearchError::Embed(late())),
            "panic" => panic!("asked to"),
            "fallback" => fakes::instant_answer(query, deadline).map(|answer| {
                let fallback = Some("the chat model is not available".to_owned());
                alfred::domain::Answer { fallback, ..answer }
            }),
            _ => fakes::instant_answer(query, deadline),
        }),
    )
}

fn ask(server: &Server, question: &str) -> u16 {
    let body = json!({"query": question}).to_string();
    server.connect().post("/v1/query", body).status
}

#[test]
fn every_outcome_of_a_query_is_counted_once() {
    let server = failing();
    let statuses = ["a", "provider", "store", "late", "panic", "fallback"];
    let statuses = statuses.map(|question| ask(&server, question));
    assert_eq!(statuses, [200, 503, 503, 504, 500, 200]);
    let mut connection = server.connect();
    let mut send = |body: &str| connection.post("/v1/query", body).status;
    assert_eq!(send("{"), 400);
    assert_eq!(send(r#"{"query": "a", "collection": "x"}"#), 404);
    assert_eq!(send(r#"{"query": ""}"#), 422);
    assert_eq!(server.connect().get("/v1/query").status, 405);
    let text = scrape(&server);
    assert_values(
        &text,
        &[
            (r#"retrieval_requests_total{status="200"}"#, 2.0),
            (r#"retrieval_requests_total{status="400"}"#, 1.0),
            (r#"retrieval_requests_total{status="404"}"#, 1.0),
            (r#"retrieval_requests_total{status="405"}"#, 0.0),
            (r#"retrieval_requests_total{status="422"}"#, 1.0),
            (r#"retrieval_requests_total{status="500"}"#, 1.0),
            (r#"retrieval_requests_total{status="503"}"#, 2.0),
            (r#"retrieval_requests_total{status="504"}"#, 1.0),
            (r#"retrieval_errors_total{kind="openai_error"}"#, 2.0),
            (r#"retrieval_errors_total{kind="search_error"}"#, 1.0),
            (r#"retrieval_errors_total{kind="timeout"}"#, 1.0),
            (r#"retrieval_errors_total{kind="internal"}"#, 1.0),
            (r#"retrieval_errors_total{kind="overloaded"}"#, 0.0),
            ("retrieval_latency_ms_count", 9.0),
        ],
    );
}

#[test]
fn a_route_is_its_template_and_an_unknown_path_is_one_word() {
    let server = start();
    let mut connection = server.connect();
    for number in 0..20 {
        connection.get(&format!("/nowhere/{number}"));
        connection.get(&format!(
            "/v1/documents/00000000-0000-0000-0000-0000000000{number:02}"
        ));
    }
    connection.request("BREW", "/healthz");
    let text = scrape(&server);
    let count = |labels: &str| format!("http_server_request_duration_seconds_count{{{labels}}}");
    assert_values(
        &text,
        &[
            (&count(r#"method="GET",route="unknown",status="404""#), 20.0),
            (
                &count(r#"method="GET",route="/v1/documents/{id}",status="404""#),
                20.0,
            ),
            (
                &count(r#"method="other",route="/healthz",status="405""#),
                1.0,
            ),
        ],
    );
    assert!(!text.contains("nowhere"), "{text}");
}

#[test]
fn its_type_is_that_of_the_text_format_and_head_has_no_body() {
    let server = start();
    let mut connection = server.connect();
    let reply = connection.get("/metrics");
    let content_type = reply.header("content-type");
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let head = connection.request("HEAD", "/metrics");
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, content_type)
    );
    assert_eq!(connection.get("/healthz").status, 200);
}

/// A server with one place for queries that is taken, and the question that has it.
fn jammed() -> (Server, Connection, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let mut settings = settings();
    settings.max_in_flight = 1;
    settings.max_waiting = 0;
    // Long enough for a scrape on a busy machine.
    settings.lame_duck_ms = 1_500;
    let answer = move |query: &_, deadline| {
        let _ = held.lock().unwrap().recv();
        fakes::instant_answer(query, deadline)
    };
    let server = start_with(settings, Arc::new(answer));
    let mut connection = server.connect();
    connection.send(post("/v1/query", JSON, br#"{"query": "a"}"#));
    while server.app.observer().in_flight() == 0 {
        std::thread::yield_now();
    }
    (server, connection, release)
}

#[test]
fn it_answers_while_queries_are_refused() {
    let (server, mut running, release) = jammed();
    while ask(&server, "b") != 503 {
        std::thread::yield_now();
    }
    let text = scrape(&server);
    assert_values(
        &text,
        &[(r#"retrieval_errors_total{kind="overloaded"}"#, 1.0)],
    );
    // The question, and the scrape itself.
    assert_values(&text, &[("http_server_in_flight", 2.0)]);
    drop(release);
    assert_eq!(running.reply().status, 200);
}

#[test]
fn it_answers_while_the_server_stops() {
    let (mut server, mut running, release) = jammed();
    server.ask_to_stop();
    while server.app.readiness().missing().is_empty() {
        std::thread::yield_now();
    }
    let reply = server.connect().get("/metrics");
    assert_eq!((reply.status, reply.header("connection")), (200, "close"));
    let text = String::from_utf8(reply.body).unwrap();
    assert_values(&text, &[("http_server_in_flight", 2.0)]);
    drop(release);
    assert_eq!(running.reply().status, 200);
}

#[test]
fn what_never_became_a_request_and_who_left_is_counted() {
    let (server, running, release) = jammed();
    let mut broken = server.connect();
    broken.send("BROKEN\r\n\r\n");
    broken.reply().problem(400);
    drop(running);
    while server.app.observer().abandoned() == 0 {
        std::thread::yield_now();
    }
    let text = scrape(&server);
    assert_values(
        &text,
        &[(r#"http_server_refused_total{status="400"}"#, 1.0)],
    );
    assert_values(&text, &[("http_server_abandoned_total", 1.0)]);
    drop(release);
}
