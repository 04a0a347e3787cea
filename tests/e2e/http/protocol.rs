//! HTTP/1.1 itself: keep-alive, pipelining, refusals before routing, unix sockets.

use super::client::{Connection, post};
use super::fakes;
use super::server::{settings, start, start_on};
use alfred::clock::SystemClock;
use alfred::http::{App, ListenAddress};
use std::sync::Arc;

const QUERY: &[u8] = br#"{"query": "a"}"#;
const JSON: &str = "content-type: application/json\r\n";

#[test]
fn a_connection_is_used_again_after_errors() {
    let server = start();
    let mut connection = server.connect();
    for _ in 0..3 {
        connection.post("/v1/query", "{").problem(400);
        connection.get("/nowhere").problem(404);
        assert_eq!(connection.post("/v1/query", QUERY).status, 200);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start();
    let mut connection = server.connect();
    let mut bytes = Vec::new();
    for n in 0..20 {
        bytes.extend(post(
            "/v1/query",
            JSON,
            format!(r#"{{"query": "q{n}"}}"#).as_bytes(),
        ));
        bytes.extend(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    connection.send(bytes);
    for n in 0..20 {
        let excerpt = connection.reply().json()["citations"][0]["excerpt"].clone();
        assert_eq!(excerpt, format!("q{n}"));
        assert_eq!(connection.reply().json()["status"], "ok");
    }
}

#[test]
fn chunked_bodies_are_read_and_the_connection_lives() {
    let server = start();
    let mut connection = server.connect();
    for _ in 0..2 {
        connection.send(format!(
            "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
        ));
        connection.send("5\r\n{\"que\r\n");
        connection.send("9;ext=1\r\nry\": \"a\"}\r\n0\r\n\r\n");
        assert_eq!(connection.reply().status, 200);
    }
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let server = start();
    let mut connection = server.connect();
    connection.send(format!(
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}expect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        QUERY.len()
    ));
    assert_eq!(connection.reply().status, 100);
    connection.send(QUERY);
    assert_eq!(connection.reply().status, 200);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let server = start();
    let many = "a: b\r\n".repeat(200);
    for (head, status) in [
        (
            "host: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
            400,
        ),
        (
            "host: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n",
            400,
        ),
        (
            "host: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n",
            400,
        ),
        ("host: localhost\r\ntransfer-encoding: gzip\r\n", 400),
        ("content-length: 3\r\n", 400),
        ("host: localhost\r\nhost: b\r\n", 400),
        ("host: localhost\r\nbad header\r\n", 400),
        (&many, 431),
    ] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST /v1/query HTTP/1.1\r\nx-request-id: me\r\n{head}\r\n"
        ));
        let reply = connection.reply();
        reply.problem(status);
        assert_eq!(reply.header("connection"), "close", "{head}");
        connection.assert_closed();
    }
    let mut connection = server.connect();
    connection.send("POST / HTTP/1.1\r\nx-request-id: me\r\n\r\n");
    assert_eq!(connection.reply().header("x-request-id"), "me");
}

#[test]
fn other_protocols_are_told_so() {
    let server = start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(bytes);
        connection.reply().problem(400);
        connection.assert_closed();
    }
}

#[test]
fn a_refusal_waits_for_the_replies_before_it() {
    let server = start();
    let mut connection = server.connect();
    let mut bytes = post("/v1/query", JSON, QUERY);
    bytes.extend(b"GET / HTTP/1.1\r\n\r\n");
    connection.send(bytes);
    assert_eq!(connection.reply().status, 200);
    connection.reply().problem(400);
    connection.assert_closed();
}

#[test]
fn bad_chunks_are_400() {
    let server = start();
    let mut connection = server.connect();
    connection.send(format!(
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\nzz\r\n"
    ));
    connection.reply().problem(400);
    connection.assert_closed();
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = start();
    let mut connection = server.connect();
    connection.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(connection.reply().status, 200);
    connection.assert_closed();
}

#[test]
fn a_unix_socket_serves_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alfred.sock");
    let listener = alfred::http::bind(&ListenAddress::Unix(path.clone())).unwrap();
    let cases = fakes::use_cases(Arc::new(fakes::instant_answer));
    let _server = start_on(App::new(cases, settings(), Arc::new(SystemClock)), listener);
    let mut connection = Connection::unix(&path);
    assert_eq!(connection.post("/v1/query", QUERY).status, 200);
    connection.get("/nowhere").problem(404);
}
