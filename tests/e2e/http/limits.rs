//! Limits of size, time and number.

use super::client::{Connection, post};
use super::fakes;
use super::server::{settings, start, start_with};
use alfred::clock::{Clock as _, SystemClock};
use alfred::http::Settings;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const QUERY: &[u8] = br#"{"query": "a"}"#;
const JSON: &str = "content-type: application/json\r\n";

fn quick(change: impl FnOnce(&mut Settings)) -> super::server::Server {
    let mut settings = settings();
    change(&mut settings);
    start_with(settings, Arc::new(fakes::instant_answer))
}

/// Keeps the answers of a server back until it is dropped.
struct Hold {
    begun: Arc<AtomicUsize>,
    _release: mpsc::Sender<()>,
}

impl Hold {
    /// Waits until work has begun on so many questions: requests that are in flight may wait for a place still.
    #[track_caller]
    fn wait_for(&self, questions: usize) {
        wait_until(|| self.begun.load(Ordering::Relaxed) >= questions);
    }
}

/// A server whose answers come only when the returned hold is dropped.
fn stuck(change: impl FnOnce(&mut Settings)) -> (super::server::Server, Hold) {
    let mut settings = settings();
    change(&mut settings);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let begun = Arc::new(AtomicUsize::new(0));
    let hold = Hold {
        begun: Arc::clone(&begun),
        _release: release,
    };
    let server = start_with(
        settings,
        Arc::new(move |query, deadline| {
            begun.fetch_add(1, Ordering::Relaxed);
            let _ = released.lock().unwrap().recv();
            fakes::instant_answer(query, deadline)
        }),
    );
    (server, hold)
}

/// Waits until `condition`, for at most 10 s.
#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = SystemClock.monotonic() + Duration::from_secs(10);
    while !condition() {
        assert!(
            SystemClock.monotonic() < deadline,
            "it did not happen within 10 s"
        );
        std::thread::yield_now();
    }
}

#[test]
fn bodies_over_the_limit_are_413_by_length_and_by_count() {
    let server = start();
    let mut connection = server.connect();
    connection.send(format!(
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 10000000\r\n\r\n"
    ));
    assert_eq!(connection.reply().problem(413)["kind"], "body_too_large");
    connection.assert_closed();

    let mut connection = server.connect();
    connection.send(format!(
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
    ));
    for _ in 0..65 {
        let _ = connection.try_send(format!("400\r\n{}\r\n", " ".repeat(1024)));
    }
    connection.reply().problem(413);
    connection.assert_closed();
}

#[test]
fn a_client_that_sends_10_mb_anyway_reads_the_reply() {
    let server = start();
    for path in ["/v1/query", "/v1/documents", "/nowhere", "/healthz"] {
        let mut connection = server.connect();
        connection.send(post(path, JSON, &vec![b' '; 10_000_000]));
        connection.reply().problem(413);
        connection.assert_closed();
    }
    assert_eq!(server.connect().post("/v1/query", QUERY).status, 200);
}

#[test]
fn an_unread_body_never_becomes_the_next_request() {
    let server = start();
    let mut connection = server.connect();
    let smuggled = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    connection.send(post("/nowhere", JSON, smuggled));
    let reply = connection.reply();
    reply.problem(404);
    assert_eq!(reply.header("connection"), "close");
    connection.assert_closed();
}

#[test]
fn large_heads_are_431() {
    let server = start();
    let mut connection = server.connect();
    let _ = connection.try_send(format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "x".repeat(20_000)
    ));
    connection.reply().problem(431);
    connection.assert_closed();
    let mut connection = server.connect();
    let _ = connection.try_send(format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(100_000)));
    connection.reply().problem(431);
    connection.assert_closed();
}

#[test]
fn a_slow_head_is_408() {
    let server = quick(|settings| settings.header_timeout_ms = 200);
    let mut connection = server.connect();
    let started = SystemClock.monotonic();
    for byte in b"GET /healthz HTTP/1.1\r\n" {
        if connection.try_send([*byte]).is_err() || started.elapsed().as_secs() > 5 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(connection.reply().problem(408)["kind"], "slow_request");
    connection.assert_closed();
}

#[test]
fn a_slow_head_on_a_used_connection_is_408() {
    let server = quick(|settings| settings.header_timeout_ms = 200);
    let mut connection = server.connect();
    assert_eq!(connection.get("/healthz").status, 200);
    connection.send("GET /healthz HT");
    connection.reply().problem(408);
    connection.assert_closed();
}

#[test]
fn a_slow_body_is_408() {
    let server = quick(|settings| settings.body_timeout_ms = 200);
    let mut connection = server.connect();
    connection.send(format!(
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 100\r\n\r\n{{"
    ));
    assert_eq!(connection.reply().problem(408)["kind"], "slow_request");
    connection.assert_closed();
}

#[test]
fn silent_and_idle_connections_are_closed() {
    let server = quick(|settings| {
        settings.header_timeout_ms = 200;
        settings.idle_timeout_ms = 200;
    });
    let mut silent = server.connect();
    silent.assert_closed();
    let mut idle = server.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    idle.assert_closed();
    wait_until(|| server.app.observer().connections() == 0);
}

#[test]
fn work_longer_than_the_idle_limit_is_awaited() {
    let (server, hold) = stuck(|settings| {
        settings.header_timeout_ms = 100;
        settings.idle_timeout_ms = 100;
    });
    let mut connection = server.connect();
    connection.send(post("/v1/query", JSON, QUERY));
    std::thread::park_timeout(Duration::from_millis(400));
    drop(hold);
    assert_eq!(connection.reply().status, 200);
}

#[test]
fn connections_over_the_cap_are_503_while_all_are_busy_and_places_come_back() {
    let (server, release) = stuck(|settings| settings.max_connections = 2);
    let mut busy: Vec<Connection> = (0..2)
        .map(|n| {
            let mut connection = server.connect();
            connection.send(post("/v1/query", JSON, QUERY));
            wait_until(|| server.app.observer().in_flight() == n + 1);
            connection
        })
        .collect();
    let mut third = server.connect();
    third.reply().problem(503);
    third.assert_closed();
    drop(release);
    for connection in &mut busy {
        assert_eq!(connection.reply().status, 200);
    }
    assert_eq!(server.connect().get("/healthz").status, 200);
}

#[test]
fn idle_connections_make_room_the_silent_ones_first() {
    let server = quick(|settings| settings.max_connections = 3);
    let mut first = server.connect();
    assert_eq!(first.get("/healthz").status, 200);
    let mut half = server.connect();
    half.send("GET /healthz HTTP/1.1\r\n");
    wait_until(|| server.app.observer().connections() == 2);
    let mut silent = server.connect();
    wait_until(|| server.app.observer().connections() == 3);
    // These stay, and were answered later than those that are still to go.
    let mut kept = Vec::new();
    for gone in [&mut half, &mut silent, &mut first] {
        let mut next = server.connect();
        assert_eq!(next.get("/healthz").status, 200);
        gone.assert_closed();
        kept.push(next);
    }
}

#[test]
fn overload_is_503_at_once_and_accepted_requests_end_well() {
    let (server, hold) = stuck(|settings| {
        settings.max_in_flight = 2;
        settings.max_waiting = 1;
        settings.queue_timeout_ms = 60_000;
        settings.request_timeout_ms = 60_000;
    });
    let mut accepted: Vec<Connection> = (0..3)
        .map(|n| {
            let mut connection = server.connect();
            connection.send(post("/v1/query", JSON, QUERY));
            wait_until(|| server.app.observer().in_flight() == n + 1);
            connection
        })
        .collect();
    let status = || server.connect().get("/v1/status").json()["http"].clone();
    wait_until(|| status()["queries_waiting"] == 1);
    let problem = server.connect().post("/v1/query", QUERY).problem(503);
    assert_eq!(problem["kind"], "overloaded");
    assert_eq!(
        server.connect().get("/readyz").status,
        200,
        "other routes are not queued behind"
    );
    drop(hold);
    for connection in &mut accepted {
        assert_eq!(connection.reply().status, 200);
    }
}

#[test]
fn a_wait_over_the_queue_limit_is_503() {
    let (server, hold) = stuck(|settings| {
        settings.max_in_flight = 1;
        settings.queue_timeout_ms = 50;
    });
    let mut first = server.connect();
    first.send(post("/v1/query", JSON, QUERY));
    hold.wait_for(1);
    assert_eq!(
        server.connect().post("/v1/query", QUERY).problem(503)["kind"],
        "overloaded"
    );
    drop(hold);
    assert_eq!(first.reply().status, 200);
}

#[test]
fn work_over_the_request_limit_is_504_and_keeps_its_place() {
    let (server, hold) = stuck(|settings| {
        settings.max_in_flight = 1;
        settings.queue_timeout_ms = 50;
        settings.request_timeout_ms = 100;
    });
    let mut connection = server.connect();
    assert_eq!(
        connection.post("/v1/query", QUERY).problem(504)["kind"],
        "timeout"
    );
    connection.post("/v1/query", QUERY).problem(503);
    drop(hold);
    wait_until(|| server.connect().post("/v1/query", QUERY).status == 200);
}

#[test]
fn a_client_that_goes_away_is_counted_and_leaves_the_queue() {
    let (server, hold) = stuck(|settings| {
        settings.max_in_flight = 1;
        settings.queue_timeout_ms = 60_000;
    });
    let mut first = server.connect();
    first.send(post("/v1/query", JSON, QUERY));
    hold.wait_for(1);
    let mut second = server.connect();
    second.send(post("/v1/query", JSON, QUERY));
    wait_until(|| server.app.observer().in_flight() == 2);
    drop(second);
    wait_until(|| server.app.observer().in_flight() == 1);
    assert_eq!(server.app.observer().abandoned(), 1);
    drop(hold);
    assert_eq!(first.reply().status, 200);
}

#[test]
fn places_in_which_nothing_ends_are_told_from_a_busy_daemon() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let mut settings = settings();
    settings.max_in_flight = 1;
    settings.request_timeout_ms = 50;
    settings.stuck_after_ms = 400;
    let server = start_with(
        settings,
        Arc::new(move |query, deadline| {
            let _ = held.lock().unwrap().recv();
            fakes::instant_answer(query, deadline)
        }),
    );
    let mut connection = server.connect();
    assert_eq!(connection.get("/livez").status, 200);
    assert_eq!(
        connection.post("/v1/query", r#"{"query": "a"}"#).status,
        504
    );
    assert_eq!(
        connection.get("/livez").status,
        200,
        "busy, for all that is known"
    );
    std::thread::park_timeout(Duration::from_millis(450));
    let stuck = connection.get("/livez");
    assert_eq!(stuck.status, 503);
    let detail = stuck.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.starts_with("all 1 places for queries are taken"),
        "{detail}"
    );
    drop(release);
    let working = || (server.connect().get("/livez").status == 200).then_some(());
    crate::support::eventually(Duration::from_secs(10), working);
}
