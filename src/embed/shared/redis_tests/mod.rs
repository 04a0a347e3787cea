//! The shared cache against a real Redis, which each test starts for itself.

mod support;
mod trouble;

use super::{SharedState, codec};
use crate::domain::Embedding;
use crate::embed::CachedEmbedder;
use support::*;

#[test]
fn what_one_daemon_embedded_the_other_finds() {
    let redis = Redis::start(&[]);
    let (one, other) = (Model::new(), Model::new());
    let (first, second) = (
        forgetful(&one, &redis.url()),
        forgetful(&other, &redis.url()),
    );
    let made = ask(&first, "how do otters sleep");
    wait_for_writes(&first, 1);
    let found = ask(&second, " how do\totters sleep ");
    assert!(!made.cached && found.cached);
    assert_eq!((found.embedding, found.tokens), (made.embedding, 4));
    assert_eq!((one.calls(), other.calls()), (1, 0));
    assert_eq!(
        (second.hits(), second.misses(), second.memory_misses()),
        (1, 0, 1)
    );
    let redis::Value::Array(keys) = redis.ask(&["KEYS", "*"]) else {
        panic!("no keys")
    };
    assert_eq!(keys.len(), 1);
    let redis::Value::BulkString(key) = &keys[0] else {
        panic!("no key")
    };
    let key = std::str::from_utf8(key).unwrap();
    assert!(
        key.starts_with("alfred:q1:fake model:1536:") && !key.contains("otters"),
        "{key}"
    );
    let redis::Value::Int(ttl) = redis.ask(&["TTL", key]) else {
        panic!("no TTL")
    };
    assert!((29 * 86_400..=30 * 86_400).contains(&ttl), "{ttl}");
}

#[test]
fn what_is_found_is_kept_in_memory() {
    let redis = Redis::start(&[]);
    let model = Model::new();
    ask(&forgetful(&model, &redis.url()), "a query");
    let cache =
        CachedEmbedder::new(model.clone(), 10).with_shared(Box::new(start(&redis.url(), TIMEOUT)));
    assert!(ask(&cache, "a query").cached && ask(&cache, "a query").cached);
    let stats = cache.shared().unwrap();
    assert_eq!((model.calls(), stats.hits, stats.misses), (1, 1, 0));
    assert_eq!((cache.memory_hits(), cache.memory_misses()), (1, 1));
}

#[test]
fn garbage_is_not_believed_and_is_overwritten() {
    let redis = Redis::start(&[]);
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    let key = codec::key(&model.id, "a query");
    let good = ask(&cache, "a query").embedding;
    let whole = codec::value_bytes(model.id.dimensions);
    let mut rejected = 0;
    for (number, garbage) in [
        vec!["SET".to_owned(), key.clone(), "garbage".to_owned()],
        vec!["SET".to_owned(), key.clone(), "\u{1}".repeat(whole)],
        vec!["SET".to_owned(), key.clone(), "x".repeat(50 << 20)],
        vec!["LPUSH".to_owned(), key.clone(), "a list".to_owned()],
    ]
    .into_iter()
    .enumerate()
    {
        let writes = number as u64 + 1;
        wait_for_writes(&cache, writes);
        redis.ask(&["DEL", &key]);
        redis.ask(&garbage.iter().map(String::as_str).collect::<Vec<_>>());
        let made = ask(&cache, "a query");
        assert!(!made.cached && made.embedding == good, "{number}");
        rejected += 1;
        assert_eq!(cache.shared().unwrap().rejected, rejected, "{number}");
        wait_for_writes(&cache, writes + 1);
        assert!(ask(&cache, "a query").cached, "{number}");
    }
    assert_eq!(cache.shared().unwrap().state, SharedState::Up);
}

#[test]
fn a_password_is_used_and_a_wrong_one_is_in_no_message() {
    let redis = Redis::start(&["--requirepass", "hunter2"]);
    let url = |password: &str| format!("redis://{password}127.0.0.1:{}/1", redis.port);
    let model = Model::new();
    let cache = forgetful(&model, &url(":hunter2@"));
    ask(&cache, "a query");
    wait_for_writes(&cache, 1);
    assert!(ask(&cache, "a query").cached);
    for wrong in [":hunter3@", ""] {
        let cache = forgetful(&model, &url(wrong));
        assert!(!ask(&cache, "a query").cached);
        wait_for(&cache, SharedState::Down);
        let ((), time) = took(|| assert!(!ask(&cache, "a query").cached));
        assert!(time < SLACK, "{time:?}");
    }
}

#[test]
fn a_user_with_the_documented_rights_is_enough() {
    let redis = Redis::start(&[]);
    let rules = "ACL SETUSER alfred on >hunter2 ~alfred:q1:* +getrange +set";
    redis.ask(&rules.split(' ').collect::<Vec<_>>());
    let manual = include_str!("../../../../docs/retrieval.md");
    assert!(
        manual.contains(&rules.replace("hunter2", "PASSWORD")),
        "as documented"
    );
    let model = Model::new();
    let url = format!("redis://alfred:hunter2@127.0.0.1:{}", redis.port);
    let cache = forgetful(&model, &url);
    ask(&cache, "a query");
    wait_for_writes(&cache, 1);
    assert!(ask(&cache, "a query").cached);
}

#[test]
fn what_was_asked_last_is_written_before_the_end() {
    let redis = Redis::start(&[]);
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    for number in 0..20 {
        ask(&cache, &format!("query {number}"));
    }
    drop(cache);
    assert_eq!(redis.ask(&["DBSIZE"]), redis::Value::Int(20));
}

#[test]
fn many_at_once_are_served_over_one_connection() {
    let redis = Redis::start(&[]);
    let model = Model::new();
    let cache = forgetful(&model, &redis.url());
    for number in 0..64 {
        ask(&cache, &format!("query {number}"));
    }
    wait_for_writes(&cache, 64);
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..200 {
                    let text = format!("query {}", (number * 7 + caller) % 64);
                    let found = ask(cache, &text);
                    let bytes = text.bytes().cycle().take(1536).map(f32::from).collect();
                    assert_eq!(*found.embedding, Embedding::normalised(bytes).unwrap());
                }
            });
        }
    });
    let redis::Value::Int(connections) = redis::cmd("CLIENT")
        .arg("LIST")
        .query::<String>(&mut redis.connection())
        .map(|list| redis::Value::Int(i64::try_from(list.lines().count()).unwrap()))
        .unwrap()
    else {
        panic!("no list")
    };
    assert_eq!(connections, 2, "the cache's, and the one that asks");
    let stats = cache.shared().unwrap();
    // Equal queries at the same moment share one look, so it is not known how many there were.
    assert!(stats.hits > 100 && stats.errors == 0, "{stats:?}");
    assert_eq!(model.calls(), 64, "nothing was embedded twice");
}
