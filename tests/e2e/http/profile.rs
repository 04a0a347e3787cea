//! `/debug/pprof/*`: who may, what is refused, and that a profile ends with who asked for it.

use super::client::{Connection, Reply, post};
use super::fakes;
use super::server::{Server, settings, start, start_with};
use alfred::clock::{Clock as _, SystemClock};
use alfred::telemetry::profile::Turn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const LOCAL: &str = "host: localhost\r\n";

fn get(connection: &mut Connection, path: &str, headers: &str) -> Reply {
    connection.send(format!("GET {path} HTTP/1.1\r\n{headers}\r\n"));
    connection.reply()
}

fn ask(server: &Server, path: &str) -> Reply {
    get(&mut server.connect(), path, LOCAL)
}

#[test]
fn profiles_are_for_this_machine() {
    let server = start();
    let mut connection = server.connect();
    for path in [
        "/debug/pprof/profile?seconds=1",
        "/debug/pprof/flamegraph",
        "/debug/pprof/heap",
    ] {
        for (headers, kind) in [
            ("host: example.org\r\n", "misdirected"),
            (
                "host: localhost\r\nx-forwarded-for: 127.0.0.1\r\n",
                "forbidden",
            ),
            ("host: 127.0.0.1\r\nvia: 1.1 proxy\r\n", "forbidden"),
        ] {
            let problem = get(&mut connection, path, headers).problem(403);
            assert_eq!(problem["kind"], kind);
        }
    }
    let heap = get(&mut connection, "/debug/pprof/heap", LOCAL);
    assert_eq!(heap.status, 200, "{heap:?}");
    assert_eq!(heap.body[..2], [0x1f, 0x8b], "gzip");
}

#[test]
fn parameters_out_of_range_are_named() {
    let server = start();
    for (query, field) in [
        ("seconds=0", "seconds"),
        ("seconds=301", "seconds"),
        ("seconds=x", "seconds"),
        ("frequency=0", "frequency"),
        ("frequency=100", "frequency"),
        ("seconds=1&seconds=2", "seconds"),
        ("second=1", "second"),
    ] {
        for route in ["profile", "flamegraph"] {
            let problem = ask(&server, &format!("/debug/pprof/{route}?{query}")).problem(422);
            assert_eq!(problem["field"], field, "{problem}");
        }
    }
}

#[test]
fn there_is_one_at_a_time_and_it_ends_when_the_client_leaves() {
    let server = start();
    let mut first = server.connect();
    first.send(format!(
        "GET /debug/pprof/profile?seconds=300 HTTP/1.1\r\n{LOCAL}\r\n"
    ));
    let deadline = SystemClock.monotonic() + Duration::from_secs(20);
    while Turn::take().is_some() {
        assert!(SystemClock.monotonic() < deadline, "the first never began");
        SystemClock.sleep(Duration::from_millis(1));
    }
    let problem = ask(&server, "/debug/pprof/heap").problem(409);
    assert_eq!(problem["kind"], "profile_running");
    for route in ["profile?seconds=1", "flamegraph?seconds=1", "heap"] {
        ask(&server, &format!("/debug/pprof/{route}")).problem(409);
    }
    drop(first);
    while ask(&server, "/debug/pprof/heap").status == 409 {
        assert!(
            SystemClock.monotonic() < deadline,
            "it went on without a client"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_profile_does_not_hold_up_a_stop() {
    let mut server = start();
    let mut connection = server.connect();
    connection.send(format!(
        "GET /debug/pprof/profile?seconds=300 HTTP/1.1\r\n{LOCAL}\r\n"
    ));
    while server.app.observer().in_flight() == 0 {
        std::thread::yield_now();
    }
    let began = SystemClock.monotonic();
    server.ask_to_stop();
    let reply = connection.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body[..2], [0x1f, 0x8b], "what was taken until then");
    assert!(began.elapsed() < Duration::from_mins(1));
    assert_eq!(server.stop().cut_requests, 0);
}

#[test]
fn an_idle_process_has_a_flame_graph_too() {
    let server = start();
    let reply = ask(&server, "/debug/pprof/flamegraph?seconds=1");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "image/svg+xml")
    );
    let svg = String::from_utf8(reply.body).unwrap();
    assert!(
        svg.contains("<svg") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
}

/// What burns CPU, so that there is something to sample, and panics once in a while.
fn panicking() -> Server {
    let count = AtomicU64::new(0);
    let answer = move |query: &_, deadline| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let mut hash = blake3::Hasher::new();
        for _ in 0..200 {
            hash.update(&[7; 4096]);
        }
        assert_ne!(number % 3, 0, "asked to, {}", hash.finalize());
        fakes::instant_answer(query, deadline)
    };
    start_with(settings(), Arc::new(answer))
}

/// Raises a flag when it is dropped.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn profile_while_handlers_panic(seconds: u64) -> (u64, u64) {
    // Backtraces are unwound while the timer fires, as in a daemon that is told to print them.
    let server = panicking();
    let stop = AtomicBool::new(false);
    let (asked, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let load = |server: &Server| {
        let mut connection = server.connect();
        while !stop.load(Ordering::Relaxed) {
            let headers = "content-type: application/json\r\n";
            connection.send(post("/v1/query", headers, br#"{"query": "a"}"#));
            let status = connection.reply().status;
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(status == 200 || status == 500, "{status}");
            failed.fetch_add(u64::from(status == 500), Ordering::Relaxed);
        }
    };
    let mut profiles = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load(&server));
        }
        // Also when what follows panics: a scope waits for its threads.
        let _ended = Raised(&stop);
        let end = SystemClock.monotonic() + Duration::from_secs(seconds);
        while SystemClock.monotonic() < end {
            for route in ["profile?seconds=2", "flamegraph?seconds=1", "heap"] {
                let status = ask(&server, &format!("/debug/pprof/{route}")).status;
                assert_eq!(status, 200, "{route}, after {profiles} profiles");
                profiles += 1;
            }
        }
    });
    assert!(
        failed.load(Ordering::Relaxed) > 0,
        "{profiles} profiles, {} requests, none of them panicked",
        asked.load(Ordering::Relaxed)
    );
    (profiles, failed.load(Ordering::Relaxed))
}

#[test]
fn profiles_survive_handlers_that_panic() {
    profile_while_handlers_panic(3);
}

/// The same for minutes, or for as many seconds as `ALFRED_PROFILING_S` says.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the test, no setting of alfred"
)]
fn long_profiles_survive_handlers_that_panic() {
    let seconds = std::env::var_os("ALFRED_PROFILING_S")
        .map_or(180, |said| said.to_str().unwrap().parse().unwrap());
    let (profiles, panics) = profile_while_handlers_panic(seconds);
    println!("{seconds} s: {profiles} profiles, {panics} panics in handlers");
    assert!(profiles > seconds / 9, "{profiles}");
    assert!(panics > 5 * seconds, "{panics}");
}
