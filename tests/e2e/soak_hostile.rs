//! Soaks of servers that do with HTTP what they should not: each request ends once, with the kind of
//! error that it is, and none is sent twice.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, Ran};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a server does with a connection once the head of a request has come; `false` closes it.
type Manners = fn(&mut TcpStream) -> io::Result<bool>;

/// A server with a thread for each connection. Its threads end with their connections; the one that
/// accepts ends with the test process.
struct Hostile {
    url: String,
    bench: Bench,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Hostile {
    fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let counts = (Arc::clone(&requests), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counts.1.fetch_add(1, Ordering::Relaxed);
                let requests = Arc::clone(&counts.0);
                // It fails when the client has had enough, which is what is tested.
                std::thread::spawn(move || serve(stream?, &requests, manners));
            }
        });
        Self {
            url,
            bench: Bench::new(),
            requests,
            connections,
        }
    }

    /// Ten requests in half a second, and what always holds of them.
    fn soak(&self, flags: &str) -> Ran {
        let flags = format!("--qps 20 --duration 500ms --method GET --no-recorder {flags}");
        let ran = self.bench.soak("hostile", &self.url, &flags);
        ran.assert_sound(10);
        let came = self.requests.load(Ordering::Relaxed);
        assert_eq!(came, 10, "nothing is sent twice: {}", ran.stdout);
        ran
    }
}

fn serve(mut stream: TcpStream, requests: &AtomicUsize, manners: Manners) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            requests.fetch_add(1, Ordering::Relaxed);
            head.clear();
            if !manners(&mut stream)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// All ten requests of `ran` ended with this kind of error, for this reason.
fn assert_all(ran: &Ran, kind: &str, cause: &str) {
    let verdict = ran.verdict();
    assert_eq!(verdict["errors_by_kind"][kind], 10, "{}", ran.stdout);
    let causes = verdict["errors_by_cause"].to_string();
    assert!(causes.contains(cause), "{causes}");
}

/// Writes `piece` until the client closes.
fn forever(stream: &mut TcpStream, piece: &[u8]) -> io::Result<bool> {
    loop {
        stream.write_all(piece)?;
    }
}

fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())
}

#[test]
fn a_head_without_end_is_no_answer() {
    let target = Hostile::start(|stream| {
        say(stream, "HTTP/1.1 200 OK\r\nx: ")?;
        forever(stream, &[b'y'; 4_096])
    });
    assert_all(&target.soak(""), "protocol", "header section too long");
}

#[test]
fn interim_answers_without_end_are_no_answer() {
    let target =
        Hostile::start(|stream| forever(stream, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"));
    assert_all(&target.soak(""), "protocol", "header section too long");
}

#[test]
fn a_few_interim_answers_are_skipped() {
    let target = Hostile::start(|stream| {
        say(
            stream,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 H\r\n\r\n",
        )?;
        say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        Ok(true)
    });
    assert_eq!(target.soak("--check size<=1KiB").count("ok"), 10);
}

#[test]
fn a_body_shorter_than_said_is_a_reset() {
    let target = Hostile::start(|stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        )?;
        Ok(false)
    });
    assert_all(
        &target.soak(""),
        "reset",
        "closed before the answer was complete",
    );
    let target = Hostile::start(|stream| {
        say(stream, "HTTP/1.1 200 OK\r\ncontent-le")?;
        Ok(false)
    });
    assert_all(
        &target.soak(""),
        "reset",
        "closed before the answer was complete",
    );
}

#[test]
fn chunks_that_are_none_are_no_answer() {
    let target = Hostile::start(|stream| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        say(stream, &format!("{head}fffffffffffffffff\r\n"))?;
        Ok(true)
    });
    assert_all(&target.soak(""), "protocol", "a chunk size too large");
}

#[test]
fn bodies_without_end_are_too_large() {
    let target = Hostile::start(|stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n",
        )?;
        forever(stream, &[b'x'; 16_384])
    });
    assert_all(
        &target.soak(""),
        "body_too_large",
        "larger than 16777216 bytes",
    );
    let target = Hostile::start(|stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
        forever(stream, chunk.as_bytes())
    });
    assert_all(
        &target.soak(""),
        "body_too_large",
        "larger than 16777216 bytes",
    );
}

#[test]
fn bytes_after_an_answer_cost_the_connection_alone() {
    let target = Hostile::start(|stream| {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        say(stream, &format!("{answer}HTTP/1.1 500 Or this\r\n\r\n"))?;
        Ok(true)
    });
    assert_eq!(target.soak("").count("ok"), 10);
    assert_eq!(target.connections.load(Ordering::Relaxed), 10);
}

#[test]
fn an_answer_may_come_byte_by_byte() {
    let target = Hostile::start(|stream| {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        for byte in answer.as_bytes() {
            stream.write_all(std::slice::from_ref(byte))?;
            stream.flush()?;
        }
        Ok(true)
    });
    assert_eq!(target.soak("").count("ok"), 10);
}

#[test]
fn an_answer_that_stops_halfway_times_out() {
    let target = Hostile::start(|stream| {
        say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
        Ok(true)
    });
    assert_all(
        &target.soak("--timeout 300ms"),
        "timeout",
        "no answer within 300ms",
    );
}

#[test]
fn a_connection_that_is_closed_while_idle_costs_no_request() {
    let target = Hostile::start(|stream| {
        say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        Ok(false)
    });
    let ran = target.soak("");
    assert_eq!(ran.count("ok"), 10, "{}", ran.stdout);
}

#[test]
fn a_body_may_end_with_the_connection() {
    let target = Hostile::start(|stream| {
        say(stream, "HTTP/1.0 200 OK\r\n\r\nall of it")?;
        Ok(false)
    });
    let ran = target.soak("--check size<=1KiB");
    assert_eq!(ran.count("ok"), 10, "{}", ran.stdout);
}

#[test]
fn an_answer_before_the_request_was_read_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || refuse_early(stream?));
        }
        io::Result::Ok(())
    });
    let bench = Bench::new();
    std::fs::write(bench.path("queries.txt"), "x".repeat(8 << 20)).unwrap();
    let ran = bench.soak("early", &url, "--qps 8 --duration 500ms");
    ran.assert_sound(4);
    assert_eq!(
        ran.verdict()["errors_by_kind"]["status_4xx"],
        4,
        "{}",
        ran.stdout
    );
}

/// Answers 413 to the first bytes of a request, and reads the rest afterwards.
fn refuse_early(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1_024];
    let _ = stream.read(&mut buffer)?;
    say(
        &mut stream,
        "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n",
    )?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}
