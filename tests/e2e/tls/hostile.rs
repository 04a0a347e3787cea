//! Clients that do not shake hands, or speak of something else.

use super::authority::Authority;
use super::client::{ANY, Secure};
use super::{port, served};
use crate::metrics::Scrape;
use crate::support::{Home, PATIENCE, eventually};
use alfred::clock::{Clock as _, SystemClock};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// What is sent back until the connection is closed, or reset.
fn told(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut told = Vec::new();
    // A reset is an end as well.
    let ended = stream.read_to_end(&mut told);
    if let Err(error) = ended {
        let kind = error.kind();
        assert_eq!(
            kind,
            std::io::ErrorKind::ConnectionReset,
            "it is not closed"
        );
    }
    String::from_utf8_lossy(&told).into_owned()
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

#[test]
fn a_client_that_never_shakes_hands_is_closed_in_time() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "header_timeout_ms = 500\n");
    let port = port(&daemon);
    // Nothing, the first byte of a handshake, and a record of which half is missing.
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let began = SystemClock.monotonic();
        let mut stream = connect(port);
        stream.write_all(begin).unwrap();
        assert_eq!(told(&mut stream), "");
        let took = SystemClock.monotonic() - began;
        assert!(took >= Duration::from_millis(450), "{took:?}");
    }
    let failures = Scrape::of(&daemon).get("http_server_tls_failures_total");
    assert_eq!(failures, Some(3.0));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_handshake_counts_as_a_connection_makes_room_and_holds_up_no_stop() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "max_connections = 1\n");
    let port = port(&daemon);
    let mut stuck = connect(port);
    // The counts come over the unix socket, which has one place, too: the command before may hold it still.
    eventually(PATIENCE, || {
        let status = home.alfred(&["status", "--json"]);
        (status.code == 0 && status.json()["http"]["connections"] == 2).then_some(())
    });
    let mut second = Secure::connect(port, &authority.ca, &ANY).unwrap();
    assert_eq!(told(&mut stuck), "", "it has made room");
    assert_eq!(second.get("/healthz").unwrap(), 200);
    drop(second);
    let stuck = connect(port);
    let began = SystemClock.monotonic();
    assert_eq!(daemon.stop(), 0);
    let took = SystemClock.monotonic() - began;
    assert!(took < Duration::from_secs(8), "{took:?}");
    drop(stuck);
}

#[test]
fn plain_http_is_told_to_speak_tls_and_nonsense_is_closed() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "");
    let port = port(&daemon);
    let mut stream = connect(port);
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let reply = told(&mut stream);
    assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{reply}");
    assert!(reply.contains("\"kind\":\"plain_http\""), "{reply}");
    for nonsense in [
        &b"\x00\x01\x02"[..],
        b"\x16\x03\x01\x00\x05hello",
        b"\xff\xff",
    ] {
        let mut stream = connect(port);
        stream.write_all(nonsense).unwrap();
        let reply = told(&mut stream);
        assert!(!reply.contains("HTTP"), "{nonsense:?}: {reply}");
    }
    let mut client = Secure::connect(port, &authority.ca, &ANY).unwrap();
    assert_eq!(client.get("/healthz").unwrap(), 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_handshake_with_a_plain_port_gets_an_answer_in_plain_text() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = home.serve(&[]);
    let alfred::client::Endpoint::Tcp { port, .. } = daemon.endpoint else {
        panic!("not over TCP: {}", daemon.endpoint);
    };
    let refused = Secure::connect(port, &authority.ca, &ANY);
    let why = refused.err().expect("there is no TLS").to_string();
    assert!(why.contains("corrupt message"), "{why}");
    let mut stream = connect(port);
    stream
        .write_all(b"\x16\x03\x01\x00\x05hello\r\n\r\n")
        .unwrap();
    let reply = told(&mut stream);
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert_eq!(daemon.stop(), 0);
}
