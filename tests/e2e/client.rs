//! The client's one-request call, against servers that behave and misbehave.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_target::{Behaviour, TestTarget};
use alfred::client::{ClientError, Endpoint, Limits, Outgoing, Response, Target, request_blocking};
use std::io::{Read as _, Write as _};
use std::time::Duration;

fn ask(url: &str) -> Result<Response, ClientError> {
    let outgoing = Outgoing {
        method: http::Method::POST,
        body: "hello".into(),
        ..Outgoing::default()
    };
    let limits = Limits {
        timeout: Duration::from_millis(500),
        max_response_bytes: 100_000,
    };
    request_blocking(&url.parse().unwrap(), outgoing, limits)
}

#[test]
fn an_answer_is_an_answer_whatever_its_status() {
    let target = TestTarget::start(Behaviour::Status(503));
    let response = ask(&target.url()).unwrap();
    assert_eq!(response.status, 503);
    assert_eq!(response.body, "{}");
    assert_eq!(target.bodies(), ["hello"]);
}

#[test]
fn what_is_no_answer_says_why() {
    let told = |behaviour| {
        let target = TestTarget::start(behaviour);
        ask(&target.url()).unwrap_err()
    };
    assert!(matches!(
        told(Behaviour::Silent),
        ClientError::Timeout { .. }
    ));
    assert!(matches!(told(Behaviour::Reset), ClientError::Reset { .. }));
    assert!(matches!(
        told(Behaviour::Garbage),
        ClientError::Protocol { .. }
    ));
    let large = told(Behaviour::Endless);
    assert!(matches!(
        large,
        ClientError::TooLarge {
            limit_bytes: 100_000
        }
    ));
    let refused = ask("unix:/nonexistent.sock:/x").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot connect to unix:/nonexistent.sock"
    );
}

#[test]
fn speaks_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(reply).unwrap();
        String::from_utf8(head).unwrap()
    });
    let target: Target = Endpoint::Unix(path).at("/v1/status");
    let limits = Limits {
        timeout: Duration::from_secs(5),
        max_response_bytes: 10,
    };
    let response = request_blocking(&target, Outgoing::default(), limits).unwrap();
    assert_eq!(response.body, "ok");
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /v1/status HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: localhost\r\n"), "{head}");
}
