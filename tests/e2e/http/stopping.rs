//! Stopping: nothing that was accepted is lost, and nothing is waited for without end.

use super::client::{Connection, post};
use super::fakes;
use super::server::{Server, settings, start, start_on, start_with};
use alfred::clock::{Clock as _, SystemClock};
use alfred::http::{App, Listener};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const QUERY: &[u8] = br#"{"query": "a"}"#;
const JSON: &str = "content-type: application/json\r\n";

fn stuck() -> (Server, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let mut settings = settings();
    settings.drain_timeout_s = 1;
    let server = start_with(
        settings,
        Arc::new(move |query, deadline| {
            let _ = held.lock().unwrap().recv();
            fakes::instant_answer(query, deadline)
        }),
    );
    (server, release)
}

fn ask(server: &Server) -> Connection {
    let mut connection = server.connect();
    connection.send(post("/v1/query", JSON, QUERY));
    while server.app.observer().in_flight() == 0 {
        std::thread::yield_now();
    }
    connection
}

#[test]
fn running_requests_end_and_idle_connections_close() {
    let (mut server, release) = stuck();
    let mut idle = server.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    let mut running = ask(&server);
    server.ask_to_stop();
    idle.assert_closed();
    drop(release);
    let reply = running.reply();
    assert_eq!((reply.status, reply.header("connection")), (200, "close"));
    running.assert_closed();
    assert_eq!(server.stop().cut_requests, 0);
}

#[test]
fn what_runs_for_too_long_is_cut_and_counted() {
    let (server, release) = stuck();
    let mut running = ask(&server);
    let started = SystemClock.monotonic();
    assert_eq!(server.stop().cut_requests, 1);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(4),
        "{took:?}"
    );
    running.assert_closed();
    drop(release);
}

#[test]
fn partial_heads_do_not_hold_the_stop_up_for_longer_than_the_drain() {
    let server = start_with(
        alfred::http::Settings {
            drain_timeout_s: 1,
            ..settings()
        },
        Arc::new(fakes::instant_answer),
    );
    let mut partial = server.connect();
    partial.send("GET /healthz HTTP/1.1\r\n");
    let mut fresh = server.connect();
    let started = SystemClock.monotonic();
    assert_eq!(server.stop().cut_requests, 0);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    partial.assert_closed();
    fresh.assert_closed();
}

#[test]
fn a_lame_duck_serves_on_and_says_close() {
    let mut server = start_with(
        alfred::http::Settings {
            lame_duck_ms: 1_500,
            ..settings()
        },
        Arc::new(fakes::instant_answer),
    );
    let mut kept = server.connect();
    assert_eq!(kept.get("/healthz").header("connection"), "");
    server.ask_to_stop();
    while kept_open(&server) {
        std::thread::yield_now();
    }
    let reply = server.connect().get("/readyz");
    reply.problem(503);
    assert_eq!(reply.header("connection"), "close");
    assert_eq!(kept.get("/healthz").header("connection"), "close");
    kept.assert_closed();
    server.stop();
}

/// Whether a new connection is not told to close yet.
fn kept_open(server: &Server) -> bool {
    server.connect().get("/healthz").header("connection") != "close"
}

#[test]
fn a_restart_under_load_loses_nothing_when_the_listening_socket_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = serve_on(&listener);
    let (answered, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (answered, done, address) = (answered.clone(), done.clone(), first.address);
            std::thread::spawn(move || load(address, &answered, &done))
        })
        .collect();
    let wait_for = |more: usize| {
        let goal = answered.load(Ordering::Relaxed) + more;
        let deadline = SystemClock.monotonic() + Duration::from_secs(30);
        while answered.load(Ordering::Relaxed) < goal && SystemClock.monotonic() < deadline {
            std::thread::yield_now();
        }
    };
    wait_for(200);
    assert_eq!(first.stop().cut_requests, 0);
    let second = serve_on(&listener);
    wait_for(200);
    done.store(true, Ordering::Relaxed);
    let lost: Vec<String> = clients
        .into_iter()
        .filter_map(|client| client.join().unwrap().err())
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(answered.load(Ordering::Relaxed) >= 400);
    second.stop();
}

/// A server on a listening socket that outlives it, as one passed by systemd does.
fn serve_on(listener: &TcpListener) -> Server {
    let settings = alfred::http::Settings {
        lame_duck_ms: 100,
        ..settings()
    };
    let cases = fakes::use_cases(Arc::new(|query, deadline| {
        std::thread::park_timeout(Duration::from_millis(2));
        fakes::instant_answer(query, deadline)
    }));
    let app = App::new(cases, settings, Arc::new(SystemClock));
    start_on(app, Listener::Tcp(listener.try_clone().unwrap()))
}

/// Sends requests, obeying `Connection: close`, until `done`; the error is the first one lost.
fn load(address: SocketAddr, answered: &AtomicUsize, done: &AtomicBool) -> Result<(), String> {
    let request = post("/v1/query", JSON, QUERY);
    while !done.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut close = false;
        while !close && !done.load(Ordering::Relaxed) {
            stream
                .write_all(&request)
                .map_err(|error| error.to_string())?;
            close = read_reply(&mut stream)?;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Reads one reply; whether the server closes after it.
fn read_reply(stream: &mut TcpStream) -> Result<bool, String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                if !head.starts_with("HTTP/1.1 200") {
                    return Err(head.to_owned());
                }
                return Ok(head.contains("connection: close"));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(format!("closed after {text:?}")),
            Ok(count) => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[test]
fn stopping_frees_the_port() {
    let server = start();
    let address = server.address;
    server.stop();
    assert!(TcpStream::connect(address).is_err());
}
