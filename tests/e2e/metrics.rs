//! `/metrics` of a daemon: what its parts count, and that a reload resets nothing.

use crate::caching::{Redis, wait_for};
use crate::postgres_server::Server;
use crate::provider::Standin;
use crate::support::{Daemon, Home, PATIENCE, eventually};
use alfred::client::{Limits, Outgoing, Trust, request_blocking};
use serde_json::json;

/// What is scraped now.
pub(crate) struct Scrape(String);

impl Scrape {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let limits = Limits {
            timeout: PATIENCE,
            max_response_bytes: 4 << 20,
        };
        let endpoint = daemon.endpoint.at("/metrics");
        let outgoing = Outgoing {
            trust: Trust::Anybody,
            ..Outgoing::default()
        };
        let reply = request_blocking(&endpoint, outgoing, limits).unwrap();
        assert_eq!(reply.status.as_u16(), 200);
        Self(String::from_utf8(reply.body.to_vec()).unwrap())
    }

    /// The value of a series; `None` when it is not there.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        let found = self.get(series);
        found.unwrap_or_else(|| panic!("no {series} in {}", self.0))
    }

    #[track_caller]
    fn assert(&self, expected: &[(&str, f64)]) {
        for (series, expected) in expected {
            let found = self.value(series);
            assert!(
                (found - expected).abs() < 1e-9,
                "{series}: {found}, expected {expected}"
            );
        }
    }
}

fn store(daemon: &Daemon, source: &str, collection: &str) {
    let content = "# Otters\n\nAn otter holds hands while it sleeps.\n";
    let document = json!({"source": source, "content": content, "collection": collection});
    let (status, reply) = daemon.request("POST", "/v1/documents", Some(&document));
    assert_eq!(status, 200, "{reply}");
}

#[test]
fn the_parts_behind_a_query_count_what_they_do() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let before = Scrape::of(&daemon);
    before.assert(&[
        (r#"documents_total{collection="default"}"#, 0.0),
        (r#"embedding_cache_hits_total{tier="memory"}"#, 0.0),
        (r#"embedding_repo_latency_seconds_count{op="search"}"#, 0.0),
        ("db_pool_timeouts_total", 0.0),
        ("alfred_config_last_reload_successful", 1.0),
    ]);
    let embedded = r#"embedding_latency_seconds_count{provider="local"}"#;
    let at_start = before.value(embedded);
    store(&daemon, "a.md", "default");
    store(&daemon, "b.md", "animals");
    for _ in 0..3 {
        daemon.ask(&json!({"query": "What do otters do while they sleep?"}));
    }
    eventually(PATIENCE, || {
        let counted = Scrape::of(&daemon).get(r#"documents_total{collection="animals"}"#);
        (counted == Some(1.0)).then_some(())
    });
    let after = Scrape::of(&daemon);
    after.assert(&[
        (r#"documents_total{collection="default"}"#, 1.0),
        (r#"chunks_total{collection="animals"}"#, 1.0),
        (r#"embedding_cache_hits_total{tier="memory"}"#, 2.0),
        (r#"embedding_cache_misses_total{tier="memory"}"#, 1.0),
        (r#"embedding_cache_misses_total{tier="redis"}"#, 0.0),
        (r#"embedding_repo_latency_seconds_count{op="upsert"}"#, 2.0),
        (r#"retrieval_requests_total{status="200"}"#, 3.0),
        ("retrieval_latency_ms_count", 3.0),
        (embedded, at_start + 3.0),
    ]);
    assert!(after.value(r#"embedding_repo_latency_seconds_count{op="search"}"#) >= 3.0);
    assert!(after.value("process_resident_memory_bytes") > 1e6);
    assert!(after.value("process_open_fds") > 5.0);
    let started = after.value("process_start_time_seconds");
    let reloaded = after.value("alfred_config_last_reload_success_timestamp_seconds");
    assert!((started - reloaded).abs() < 300.0, "{started} {reloaded}");
    let cpu = after.value("process_cpu_seconds_total");
    assert!(cpu > 0.0 && cpu < 600.0, "{cpu}");
}

#[test]
fn counters_go_on_when_a_reload_replaces_what_counts() {
    let home = Home::new();
    let config = |more: &str| {
        let socket = home.path().join("store/alfred.sock");
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\n{more}",
            socket.display()
        );
        home.write("alfred.toml", text);
    };
    config("");
    std::fs::create_dir_all(home.path().join("store")).unwrap();
    let daemon = Daemon::start(home.command(&["serve", "--config", "alfred.toml"]));
    let reload = || home.alfred(&["reload", "--socket", "store/alfred.sock"]);
    let ask = || daemon.ask(&json!({"query": "anything"}));
    ask();
    ask();
    // Another cache before the same model, which has to embed the question once more.
    config("max_in_flight = 7\n[embedding]\ncache_entries = 100\n");
    reload().expect(0);
    ask();
    ask();
    let series = [
        (r#"retrieval_requests_total{status="200"}"#, 4.0),
        (r#"embedding_cache_hits_total{tier="memory"}"#, 2.0),
        (r#"embedding_cache_misses_total{tier="memory"}"#, 2.0),
        ("alfred_config_last_reload_successful", 1.0),
    ];
    let scrape = Scrape::of(&daemon);
    scrape.assert(&series);
    let at = scrape.value("alfred_config_last_reload_success_timestamp_seconds");
    config("max_in_flight = 0\n");
    reload().expect(1);
    let scrape = Scrape::of(&daemon);
    scrape.assert(&series[..3]);
    scrape.assert(&[
        ("alfred_config_last_reload_successful", 0.0),
        ("alfred_config_last_reload_success_timestamp_seconds", at),
    ]);
}

#[test]
fn a_provider_its_rate_limit_and_the_shared_cache_show() {
    let redis = Redis::plain(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let (standin, home) = (Standin::start(&[]), Home::new());
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("ALFRED__EMBEDDING__REDIS_TIMEOUT_MS", "1000"),
        ("ALFRED__EMBEDDING__RETRIES", "0"),
        ("ALFRED__ANSWER__MODEL", "gpt-4o-mini"),
    ];
    let daemon = standin.daemon(&home, &settings);
    wait_for(&daemon, "state", &json!("up"));
    let question = json!({"query": "How do I upgrade the Helm chart?", "answer": "generated"});
    daemon.ask(&question);
    wait_for(&daemon, "writes", &json!(1));
    standin.control(&json!({"fail_status": 429, "retry_after": "60"}));
    let limited = daemon.request("POST", "/v1/query", Some(&json!({"query": "another"})));
    assert_eq!(limited.0, 503, "{}", limited.1);
    let scrape = Scrape::of(&daemon);
    scrape.assert(&[
        (r#"openai_requests_total{status="429"}"#, 1.0),
        (r#"openai_requests_total{status="200"}"#, 3.0),
        (r#"embedding_cache_misses_total{tier="redis"}"#, 2.0),
        (r#"embedding_cache_hits_total{tier="redis"}"#, 0.0),
        (r#"retrieval_errors_total{kind="openai_error"}"#, 1.0),
        (r#"retrieval_requests_total{status="503"}"#, 1.0),
    ]);
    assert!(scrape.value(r#"openai_tokens_total{kind="embedding"}"#) > 0.0);
    assert!(scrape.value(r#"openai_tokens_total{kind="completion"}"#) > 0.0);
    assert!(scrape.value(r#"embedding_latency_seconds_count{provider="openai"}"#) >= 3.0);
    // Another daemon finds the vector where the first one put it; its chat model is limited, and it
    // quotes.
    let other = Home::new();
    let mut command = standin.alfred(&other, &["serve", "--listen", "127.0.0.1:0"]);
    command.envs(settings);
    let second = Daemon::start(command);
    wait_for(&second, "state", &json!("up"));
    second.ask(&question);
    Scrape::of(&second).assert(&[
        (r#"embedding_cache_hits_total{tier="redis"}"#, 1.0),
        (r#"embedding_cache_misses_total{tier="redis"}"#, 0.0),
    ]);
}

#[test]
fn the_pool_of_a_database_shows_and_goes_on_after_a_reload() {
    let (home, server) = (Home::new(), Server::new());
    std::fs::create_dir_all(home.path().join("store")).unwrap();
    let config = |pool_size: u32| {
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\n[store]\n\
             pool_size = {pool_size}\n",
            home.path().join("store/alfred.sock").display()
        );
        home.write("alfred.toml", text);
    };
    config(3);
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.env("POSTGRES_DSN", server.dsn().reveal());
    let daemon = Daemon::start(command);
    eventually(PATIENCE, || {
        (daemon.request("GET", "/readyz", None).0 == 200).then_some(())
    });
    store(&daemon, "a.md", "default");
    daemon.ask(&json!({"query": "otters"}));
    let before = Scrape::of(&daemon);
    before.assert(&[(r#"db_pool_connections{state="max"}"#, 3.0)]);
    let waits = before.value("db_pool_wait_seconds_count");
    assert!(waits >= 2.0, "{waits}");
    config(5);
    home.alfred(&["reload", "--socket", "store/alfred.sock"])
        .expect(0);
    let after = Scrape::of(&daemon);
    after.assert(&[(r#"db_pool_connections{state="max"}"#, 5.0)]);
    assert!(after.value("db_pool_wait_seconds_count") >= waits);
    eventually(PATIENCE, || {
        let counted = Scrape::of(&daemon).get(r#"documents_total{collection="default"}"#);
        (counted == Some(1.0)).then_some(())
    });
}

/// What `promtool check metrics` says of names that were promised before it was asked. Everything
/// else that it says is a mistake.
const KNOWN: &[&str] = &[
    "chunks_total non-counter metrics should not have \"_total\" suffix",
    "documents_total non-counter metrics should not have \"_total\" suffix",
    "retrieval_latency_ms use base unit \"seconds\" instead of \"milliseconds\"",
    "retrieval_latency_ms metric names should not contain abbreviated units",
];

#[test]
fn promtool_finds_nothing_but_what_is_known() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    store(&daemon, "a.md", "default");
    daemon.ask(&json!({"query": "otters"}));
    let scrape = eventually(PATIENCE, || {
        let scrape = Scrape::of(&daemon);
        scrape.get("documents_total{collection=\"default\"}")?;
        Some(scrape)
    });
    let said = crate::support::promtool_says(&scrape.0);
    let unknown: Vec<&str> = said
        .lines()
        .filter(|line| !KNOWN.contains(&line.trim()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(said.contains(KNOWN[0]), "promtool read nothing: {said}");
}
