//! Against a stand-in on loopback that answers as it is told.

use super::*;
use crate::clock::SystemClock;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The path of every address here, which is in no message.
const SECRET: &str = "/services/T0/B0/hush";

/// Answers one connection after the other with these; an empty one is never answered. What was posted is
/// kept.
struct StandIn {
    address: String,
    posted: Arc<Mutex<Vec<String>>>,
}

/// One request: its head and body.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "cut off: {head}");
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

impl StandIn {
    fn start(answers: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let posted: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&posted);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                kept.lock().unwrap().push(read(&stream));
                let _ = stream.write_all(answer.as_bytes());
                if answer.is_empty() {
                    open.push(stream);
                }
            }
            // Those that are never answered stay open as long as the test may take.
            std::thread::park_timeout(Duration::from_secs(30));
        });
        Self { address, posted }
    }

    fn webhook(&self) -> Webhook {
        Webhook::parse(&Secret::new(format!("http://{}{SECRET}", self.address))).unwrap()
    }

    fn posted(&self) -> Vec<String> {
        self.posted.lock().unwrap().clone()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const BROKEN: &str = "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn quick() -> Patience {
    Patience {
        tries: 4,
        in_all: Duration::from_secs(5),
        one: Duration::from_secs(2),
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_secs(2),
    }
}

/// Posts; the result in words, and how long it took.
fn post(webhook: &Webhook, patience: Patience) -> (Result<u32, String>, Duration) {
    let from = SystemClock.monotonic();
    let result = webhook.post(&json!({"text": "PASS"}), patience, &SystemClock);
    let took = SystemClock.monotonic() - from;
    let result = result.map_err(|error| error.to_string());
    if let Err(told) = &result {
        assert!(
            !told.contains("hush") && !told.contains("services"),
            "{told}"
        );
    }
    (result, took)
}

#[test]
fn a_message_is_posted_once_as_json() {
    let stand_in = StandIn::start(vec![OK]);
    assert_eq!(post(&stand_in.webhook(), quick()).0, Ok(1));
    let posted = stand_in.posted();
    assert_eq!(posted.len(), 1);
    let lines = posted[0].to_ascii_lowercase();
    assert!(posted[0].starts_with(&format!("POST {SECRET} HTTP/1.1\r\n")));
    assert!(lines.contains("content-type: application/json\r\n"));
    assert!(
        posted[0].ends_with("\r\n\r\n{\"text\":\"PASS\"}"),
        "{posted:?}"
    );
}

#[test]
fn a_server_that_breaks_twice_gets_it_in_the_third_try() {
    let stand_in = StandIn::start(vec![BROKEN, BROKEN, OK]);
    assert_eq!(post(&stand_in.webhook(), quick()).0, Ok(3));
    assert_eq!(stand_in.posted().len(), 3);
}

#[test]
fn a_server_that_stays_broken_is_given_up() {
    let stand_in = StandIn::start(vec![BROKEN; 5]);
    let told = post(&stand_in.webhook(), quick()).0.unwrap_err();
    assert_eq!(
        told,
        "the verdict was not delivered to 127.0.0.1: status 500, after 4 tries"
    );
    assert_eq!(stand_in.posted().len(), 4);
}

#[test]
fn a_retry_after_is_kept_to_and_capped() {
    let later =
        "HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let stand_in = StandIn::start(vec![later, OK]);
    let (result, took) = post(&stand_in.webhook(), quick());
    assert_eq!(result, Ok(2));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let much_later =
        "HTTP/1.1 429 Slow\r\nretry-after: 3600\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let stand_in = StandIn::start(vec![much_later, OK]);
    let capped = Patience {
        longest_wait: Duration::from_millis(100),
        ..quick()
    };
    let (result, took) = post(&stand_in.webhook(), capped);
    assert_eq!(result, Ok(2));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_silent_server_costs_the_time_that_was_allowed_and_no_more() {
    let stand_in = StandIn::start(vec![""; 8]);
    let patience = Patience {
        in_all: Duration::from_millis(1_500),
        one: Duration::from_millis(500),
        ..quick()
    };
    let (result, took) = post(&stand_in.webhook(), patience);
    let told = result.unwrap_err();
    assert!(told.contains("no answer within"), "{told}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!((2..=4).contains(&stand_in.posted().len()));
}

#[test]
fn a_redirect_is_not_followed_and_not_tried_again() {
    let elsewhere = StandIn::start(vec![OK]);
    let answer: &'static str = Box::leak(
        format!(
            "HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\nconnection: \
             close\r\n\r\n",
            elsewhere.address
        )
        .into_boxed_str(),
    );
    let stand_in = StandIn::start(vec![answer, OK]);
    let told = post(&stand_in.webhook(), quick()).0.unwrap_err();
    assert!(told.contains("status 302, a redirect, which is not followed, after 1 try"));
    assert_eq!((stand_in.posted().len(), elsewhere.posted().len()), (1, 0));
}

#[test]
fn a_refusal_is_tried_again_and_a_wrong_address_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let webhook = Webhook::parse(&Secret::new(format!("http://{address}{SECRET}"))).unwrap();
    let told = post(&webhook, quick()).0.unwrap_err();
    assert!(
        told.ends_with("after 4 tries") && told.contains("refused"),
        "{told}"
    );
    let gone = "HTTP/1.1 404 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let stand_in = StandIn::start(vec![gone, OK]);
    let told = post(&stand_in.webhook(), quick()).0.unwrap_err();
    assert!(told.ends_with("status 404, after 1 try"), "{told}");
}

#[test]
fn an_address_that_is_none_is_refused_and_the_rest_is_never_shown() {
    for wrong in [
        "",
        "hooks.slack.com/x",
        "ftp://h/x",
        "https://",
        "http:///x",
        "nonsense",
    ] {
        assert!(Webhook::parse(&Secret::new(wrong)).is_err(), "{wrong}");
    }
    let url = Secret::new(" https://hooks.slack.com/services/T0/B0/hush\n");
    let webhook = Webhook::parse(&url).unwrap();
    assert_eq!(webhook.host, "hooks.slack.com");
    assert!(!format!("{webhook:?}").contains("hush"));
}
