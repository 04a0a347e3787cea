//! Queries that keep no thread of the server: the reply comes from a thread of the store.

use super::client::{Connection, Reply, post};
use super::fakes;
use super::server::{settings, start_app};
use crate::support::eventually;
use alfred::clock::{Deadline, SystemClock};
use alfred::domain::{Answer, Query};
use alfred::http::App;
use alfred::search::{AnswerThen, SearchError};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server that answers later by `answer`, and how often it answered in the usual way.
fn start(
    answer: impl Fn(&Query, AnswerThen) + Send + Sync + 'static,
) -> (super::server::Server, Arc<AtomicUsize>) {
    let usual = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&usual);
    let mut cases = fakes::use_cases(Arc::new(move |query: &Query, deadline| {
        count.fetch_add(1, Ordering::Relaxed);
        fakes::instant_answer(query, deadline)
    }));
    cases.answer_later = Some(Arc::new(move |query, then| answer(query, then)));
    let settings = alfred::http::Settings {
        max_in_flight: 1,
        max_waiting: 0,
        ..settings()
    };
    let app = App::new(cases, settings, Arc::new(SystemClock));
    (start_app(app), usual)
}

fn body(text: &str) -> String {
    json!({"query": text}).to_string()
}

fn ask(connection: &mut Connection, text: &str) -> Reply {
    connection.post("/v1/query", body(text))
}

fn answered(query: &Query) -> Result<Answer, SearchError> {
    fakes::instant_answer(query, Deadline::NONE)
}

#[test]
fn a_reply_may_come_from_another_thread() {
    let (server, usual) = start(|query, then| {
        let query = query.clone();
        std::thread::spawn(move || then(answered(&query)));
    });
    let mut connection = server.connect();
    for _ in 0..3 {
        let reply = ask(&mut connection, "how");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["citations"][0]["excerpt"], "how");
    }
    assert_eq!(usual.load(Ordering::Relaxed), 0);
    let elsewhere = r#"{"query": "how", "collection": "elsewhere"}"#;
    let problem = connection.post("/v1/query", elsewhere).problem(404);
    assert!(
        problem["detail"].as_str().unwrap().contains("default"),
        "{problem}"
    );
}

#[test]
fn what_does_not_come_is_answered_in_the_usual_way() {
    let (server, usual) = start(|query, then| match query.text.as_str() {
        "dropped" => drop(then),
        "panic" => {
            let broken = std::thread::spawn(move || {
                let _then = then;
                panic!("a thread of the store broke");
            });
            assert!(broken.join().is_err());
        }
        _ => unreachable!("nothing else is asked"),
    });
    let mut connection = server.connect();
    for (count, text) in (1..).zip(["dropped", "panic"]) {
        let reply = ask(&mut connection, text);
        assert_eq!(reply.status, 200, "{text}");
        assert_eq!(usual.load(Ordering::Relaxed), count);
    }
}

#[test]
fn a_panic_before_it_is_handed_over_costs_one_reply() {
    let (server, _) = start(|query, then| {
        assert_ne!(query.text.as_str(), "bad", "it cannot be asked");
        then(answered(query));
    });
    let mut connection = server.connect();
    ask(&mut connection, "bad").problem(500);
    let mut connection = server.connect();
    let reply = ask(&mut connection, "good");
    assert_eq!(reply.status, 200, "the only place is free again");
}

#[test]
fn who_leaves_keeps_its_place_until_the_store_has_ended() {
    let (hand, handed) = std::sync::mpsc::channel();
    let hand = std::sync::Mutex::new(hand);
    let (server, _) = start(move |query, then| match query.text.as_str() {
        "long" => hand.lock().unwrap().send(then).unwrap(),
        _ => then(answered(query)),
    });
    let mut leaver = server.connect();
    let json = "content-type: application/json\r\n";
    leaver.send(post("/v1/query", json, body("long").as_bytes()));
    let then = handed.recv_timeout(Duration::from_secs(20)).unwrap();
    drop(leaver);
    let mut connection = server.connect();
    ask(&mut connection, "short").problem(503);
    drop(then);
    eventually(Duration::from_secs(20), || {
        (ask(&mut connection, "short").status == 200).then_some(())
    });
}
