//! What goes wrong with Redis costs no query more than its timeout.

use super::super::{Found, SharedState, SharedStore};
use super::support::*;
use crate::clock::{Clock as _, Deadline, SystemClock};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

#[test]
fn a_paused_redis_costs_one_timeout_and_is_back_within_2_s() {
    let redis = Redis::start(&[]);
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    ask(&cache, "a query");
    wait_for_writes(&cache, 1);
    redis.signal(Signal::STOP);
    let ((), first) = took(|| assert!(!ask(&cache, "a query").cached));
    assert!(first < TIMEOUT + SLACK, "{first:?}");
    let ((), others) = took(|| {
        for _ in 0..1_000 {
            assert!(!ask(&cache, "a query").cached);
        }
    });
    // Not even one of them waited.
    assert!(others < TIMEOUT, "{others:?} for 1,000");
    wait_for(&cache, SharedState::Down);
    SystemClock.sleep(Duration::from_millis(1_500));
    assert!(!ask(&cache, "a query").cached, "still paused");
    redis.signal(Signal::CONT);
    let ((), recovery) = took(|| {
        eventually("a hit", || ask(&cache, "a query").cached.then_some(()));
    });
    assert!(recovery < Duration::from_secs(2), "{recovery:?}");
    eprintln!(
        "first {first:?}, others {:?} each, recovery {recovery:?}",
        others / 1_000
    );
}

#[test]
fn a_redis_that_was_killed_is_back_within_2_s() {
    let mut redis = Redis::start(&[]);
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    ask(&cache, "a query");
    wait_for_writes(&cache, 1);
    redis.kill();
    for _ in 0..100 {
        let ((), time) = took(|| assert!(!ask(&cache, "a query").cached));
        assert!(time < TIMEOUT + SLACK, "{time:?}");
    }
    wait_for(&cache, SharedState::Down);
    redis.start_again();
    let ((), recovery) = took(|| {
        eventually("a hit", || ask(&cache, "a query").cached.then_some(()));
    });
    assert!(recovery < Duration::from_secs(2), "{recovery:?}");
}

#[test]
fn a_redis_that_is_not_there_yet_is_used_once_it_is() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    let ((), time) = took(|| assert!(!ask(&cache, "a query").cached));
    assert!(time < TIMEOUT + SLACK, "{time:?}");
    wait_for(&cache, SharedState::Down);
    redis.start_again();
    wait_for(&cache, SharedState::Up);
    ask(&cache, "a query");
    wait_for_writes(&cache, 1);
    assert!(ask(&cache, "a query").cached);
}

#[test]
fn a_late_answer_is_taken_for_no_other() {
    let redis = Redis::start(&[]);
    let store = start(&redis.url(), TIMEOUT);
    for text in ["one", "two"] {
        redis.ask(&["SET", text, text]);
    }
    let read = |key| store.read(key, 100, Deadline::NONE);
    assert_eq!(read("one"), Found::Value(b"one".to_vec()));
    redis.signal(Signal::STOP);
    assert_eq!(read("one"), Found::TimedOut);
    redis.signal(Signal::CONT);
    let two = eventually("an answer", || {
        let found = read("two");
        (found != Found::Skipped).then_some(found)
    });
    assert_eq!(two, Found::Value(b"two".to_vec()));
}

#[test]
fn nobody_waits_beyond_its_own_deadline() {
    let redis = Redis::start(&[]);
    let store = start(&redis.url(), PATIENCE);
    eventually("a connection", || {
        (store.health().state == SharedState::Up).then_some(())
    });
    redis.signal(Signal::STOP);
    let deadline = Deadline::after(&SystemClock, Duration::from_millis(30));
    let (found, time) = took(|| store.read("one", 100, deadline));
    assert_eq!(found, Found::TimedOut);
    assert!(time < Duration::from_millis(30) + SLACK, "{time:?}");
    redis.signal(Signal::CONT);
}

#[test]
fn a_full_redis_refuses_writes_and_nothing_else_happens() {
    let redis = Redis::start(&["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]);
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    for number in 0..200 {
        assert!(!ask(&cache, &format!("query {number}")).cached);
    }
    let stats = eventually("refused writes", || {
        let stats = cache.shared().unwrap();
        (stats.refused_writes > 0).then_some(stats)
    });
    assert_eq!(
        (stats.state, stats.errors),
        (SharedState::Up, 0),
        "{stats:?}"
    );
    assert_eq!(model.calls(), 200);
}

#[test]
fn an_answer_byte_by_byte_holds_no_query_up() {
    let url = trickling(
        b"$1000\r\n01234567890123456789012345678901234567890123456789",
        TIMEOUT / 4,
    );
    let model = Model::new();
    let cache = forgetful(&model, &url);
    wait_for(&cache, SharedState::Up);
    for number in 0..20 {
        let ((), time) = took(|| assert!(!ask(&cache, &format!("query {number}")).cached));
        assert!(time < TIMEOUT + SLACK, "{number}: {time:?}");
    }
    let stats = cache.shared().unwrap();
    assert_eq!((stats.timeouts, stats.skipped), (1, 19), "{stats:?}");
}

#[test]
fn what_does_not_speak_redis_is_no_cache() {
    let url = trickling(b"HTTP/1.1 400 Bad Request\r\n\r\n", Duration::ZERO);
    let model = Model::new();
    let cache = forgetful(&model, &url);
    for number in 0..20 {
        assert!(!ask(&cache, &format!("query {number}")).cached);
    }
    assert_eq!((model.calls(), cache.shared().unwrap().hits), (20, 0));
}

/// A server that takes every command and answers `reply`, one byte each `pause`.
fn trickling(reply: &'static [u8], pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer_slowly(stream, reply, pause));
        }
    });
    url
}

/// The first two answers, to the probes, are quick.
fn answer_slowly(mut stream: TcpStream, reply: &[u8], pause: Duration) {
    let mut command = [0; 4_096];
    for number in 0.. {
        if !matches!(stream.read(&mut command), Ok(1..)) {
            return;
        }
        let quick = [b"$0\r\n\r\n".as_slice(), b"$0\r\n\r\n"];
        if let Some(quick) = quick.get(number) {
            let _ = stream.write_all(quick);
            continue;
        }
        for byte in reply {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            SystemClock.sleep(pause);
        }
    }
}
