//! The names of the public contract, and what recording and scraping cost.

use super::*;
use crate::clock::{Clock as _, SystemClock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Type and labels of every metric that the contract names, and the values of labels that it lists.
const CONTRACT: &[(&str, &str, &str)] = &[
    ("retrieval_latency_ms", "histogram", "le"),
    ("retrieval_requests_total", "counter", "status"),
    ("retrieval_errors_total", "counter", "kind"),
    ("openai_tokens_total", "counter", "kind"),
    ("openai_requests_total", "counter", "status"),
    ("embedding_repo_latency_seconds", "histogram", "le op"),
    ("embedding_latency_seconds", "histogram", "le provider"),
    ("embedding_cache_hits_total", "counter", "tier"),
    ("embedding_cache_misses_total", "counter", "tier"),
    (
        "http_server_request_duration_seconds",
        "histogram",
        "le method route status",
    ),
    ("db_pool_connections", "gauge", "state"),
    ("db_pool_wait_seconds", "histogram", "le"),
    ("db_pool_timeouts_total", "counter", ""),
    ("documents_total", "gauge", "collection"),
    ("chunks_total", "gauge", "collection"),
    ("alfred_build_info", "gauge", "arch os version"),
    ("alfred_config_last_reload_successful", "gauge", ""),
    (
        "alfred_config_last_reload_success_timestamp_seconds",
        "gauge",
        "",
    ),
    ("process_cpu_seconds_total", "counter", ""),
    ("process_open_fds", "gauge", ""),
    ("process_max_fds", "gauge", ""),
    ("process_virtual_memory_bytes", "gauge", ""),
    ("process_resident_memory_bytes", "gauge", ""),
    ("process_start_time_seconds", "gauge", ""),
    ("process_threads", "gauge", ""),
];

/// What is beside it.
const MORE: &[(&str, &str, &str)] = &[
    ("http_server_in_flight", "gauge", ""),
    ("http_server_connections", "gauge", ""),
    ("http_server_abandoned_total", "counter", ""),
    ("http_server_refused_total", "counter", "status"),
    ("http_server_tls_failures_total", "counter", ""),
    ("alfred_ready", "gauge", ""),
    (
        "alfred_tls_certificate_expiry_timestamp_seconds",
        "gauge",
        "",
    ),
    ("log_lines_dropped_total", "counter", ""),
    ("trace_spans_total", "counter", "outcome"),
];

const VALUES: &[(&str, &str, &[&str])] = &[
    ("retrieval_errors_total", "kind", &ERROR_KINDS),
    ("openai_tokens_total", "kind", &["embedding", "completion"]),
    (
        "embedding_repo_latency_seconds",
        "op",
        &["search", "upsert"],
    ),
    (
        "embedding_latency_seconds",
        "provider",
        &["local", "openai"],
    ),
    ("embedding_cache_hits_total", "tier", &["memory", "redis"]),
    ("embedding_cache_misses_total", "tier", &["memory", "redis"]),
    ("db_pool_connections", "state", &["idle", "busy", "max"]),
    (
        "trace_spans_total",
        "outcome",
        &["exported", "dropped", "failed"],
    ),
];

/// A family as it is scraped: its type, and its samples by labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    values: BTreeMap<String, BTreeSet<String>>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut now = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            name.clone_into(&mut now);
            kind.clone_into(&mut families.entry(now.clone()).or_default().kind);
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let family = families.get_mut(&now).unwrap();
        assert!(line.starts_with(&now), "{line}");
        let Some((_, labels)) = line.split_once('{') else {
            continue;
        };
        let labels = labels.split_once('}').unwrap().0;
        for (label, value) in labels.split(',').filter_map(|pair| pair.split_once('=')) {
            family.labels.insert(label.to_owned());
            let value = value.trim_matches('"').to_owned();
            family
                .values
                .entry(label.to_owned())
                .or_default()
                .insert(value);
        }
    }
    families
}

fn scrape(metrics: &Metrics) -> String {
    metrics.render().unwrap()
}

#[test]
fn everything_in_the_contract_is_there_from_the_start_and_nothing_else() {
    let metrics = Metrics::default();
    metrics.corpus.set(&[("default", 0, 0)]);
    metrics.state.certificate_expires(SystemClock.wall());
    let found = families(&scrape(&metrics));
    let mut expected = BTreeSet::new();
    for (name, kind, labels) in CONTRACT.iter().chain(MORE) {
        let family = found
            .get(*name)
            .unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!(family.kind, *kind, "{name}");
        let of_family: Vec<&str> = family.labels.iter().map(String::as_str).collect();
        assert_eq!(of_family.join(" "), *labels, "{name}");
        expected.insert(*name);
    }
    let found_names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(found_names, expected);
    for (name, label, values) in VALUES {
        let values: BTreeSet<String> = values.iter().map(ToString::to_string).collect();
        assert_eq!(found[*name].values[*label], values, "{name}");
    }
}

#[test]
fn buckets_end_where_the_contract_says() {
    let text = scrape(&Metrics::default());
    let bounds = |name: &str| -> Vec<String> {
        let buckets = text.lines().filter(|line| line.starts_with(name));
        let bound = |line: &str| Some(line.split_once("le=\"")?.1.split_once('"')?.0.to_owned());
        buckets.filter_map(bound).collect()
    };
    let milliseconds = "1 2 5 10 20 50 100 150 200 250 300 400 500 750 1000 2500 5000 +Inf";
    assert_eq!(
        bounds("retrieval_latency_ms_bucket").join(" "),
        milliseconds
    );
    let seconds =
        "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.15 0.2 0.25 0.3 0.4 0.5 0.75 1 2.5 5 +Inf";
    for name in [
        "db_pool_wait_seconds_bucket",
        "http_server_request_duration_seconds_bucket",
        "embedding_latency_seconds_bucket{provider=\"local\"",
        "embedding_repo_latency_seconds_bucket{op=\"search\"",
    ] {
        assert_eq!(bounds(name).join(" "), seconds, "{name}");
    }
}

fn answered<'a>(method: &'a str, status: &'a str, owed: Option<&'a str>) -> Answered<'a> {
    Answered {
        route: "/v1/query",
        method,
        status,
        duration: Duration::from_micros(2_500),
        is_query: true,
        owed,
    }
}

#[test]
fn what_a_client_sends_makes_no_series_of_its_own() {
    let metrics = Metrics::default();
    for number in 0..1_000 {
        let method = format!("METHOD{number}");
        metrics.requests.answered(&answered(&method, "405", None));
        let kind = format!("kind{number}");
        metrics
            .requests
            .answered(&answered("POST", "500", Some(&kind)));
        metrics.provider.asked(&(600 + number).to_string());
    }
    let found = families(&scrape(&metrics));
    let methods = &found["http_server_request_duration_seconds"].values["method"];
    assert_eq!(methods.iter().collect::<Vec<_>>(), ["POST", "other"]);
    assert_eq!(found["retrieval_errors_total"].values["kind"].len(), 5);
    assert!(found["openai_requests_total"].values["status"].len() <= 7);
    let text = scrape(&metrics);
    assert!(text.contains("retrieval_errors_total{kind=\"internal\"} 1000\n"));
}

#[test]
fn collections_beyond_the_limit_are_added_up() {
    let metrics = Metrics::default();
    assert!(
        !scrape(&metrics).contains("documents_total{"),
        "not known yet"
    );
    let names: Vec<String> = (0..250).map(|number| format!("c{number:03}")).collect();
    let counts: Vec<_> = names
        .iter()
        .zip(1_u64..)
        .map(|(name, chunks)| (name.as_str(), 2, chunks))
        .collect();
    metrics.corpus.set(&counts);
    let text = scrape(&metrics);
    let found = families(&text);
    assert_eq!(found["documents_total"].values["collection"].len(), 101);
    assert!(text.contains("documents_total{collection=\"other\"} 300\n"));
    let small: u64 = (1..=150).sum();
    assert!(text.contains(&format!("chunks_total{{collection=\"other\"}} {small}\n")));
    assert!(text.contains("chunks_total{collection=\"c249\"} 250\n"));
    metrics.corpus.set(&[("default", 1, 3)]);
    let text = scrape(&metrics);
    assert_eq!(
        text.matches("chunks_total{").count(),
        1,
        "those that are gone"
    );
}

#[test]
fn a_change_ends_the_wait_for_one() {
    let corpus = Corpus::default();
    let began = SystemClock.monotonic();
    corpus.changed();
    corpus.wait_for_change(Duration::from_mins(1));
    corpus.wait_for_change(Duration::from_millis(5));
    std::thread::scope(|scope| {
        scope.spawn(|| corpus.changed());
        corpus.wait_for_change(Duration::from_mins(1));
    });
    assert!(began.elapsed() < Duration::from_secs(50));
}

/// Fills what a busy daemon would have: every route with several methods and statuses.
fn busy() -> Metrics {
    let metrics = Metrics::default();
    let names: Vec<String> = (0..50)
        .map(|number| format!("collection-{number}"))
        .collect();
    let counts: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), 1_000, 9_000))
        .collect();
    metrics.corpus.set(&counts);
    let routes = [
        "/v1/query",
        "/v1/documents",
        "/v1/documents/{id}",
        "/v1/collections",
        "/v1/status",
        "/healthz",
        "/readyz",
        "/livez",
        "/metrics",
        "/openapi.json",
        "unknown",
    ];
    for route in routes {
        for status in ["200", "404", "405", "422", "503", "504"] {
            let seen = answered("GET", status, None);
            metrics.requests.answered(&Answered { route, ..seen });
        }
    }
    metrics
}

/// The shortest of many runs: what the work costs when nobody else is on the machine.
fn shortest(runs: usize, mut work: impl FnMut()) -> Duration {
    let run = || {
        let began = SystemClock.monotonic();
        work();
        SystemClock.monotonic() - began
    };
    std::iter::repeat_with(run).take(runs).min().unwrap()
}

#[test]
fn recording_a_query_costs_less_than_2_us_and_a_scrape_less_than_2_ms() {
    let metrics = busy();
    let seen = answered("POST", "200", None);
    let record = shortest(50, || {
        for _ in 0..1_000 {
            metrics.requests.in_flight.inc();
            metrics.cache.looked(Tier::Memory, true);
            metrics.repo.search.time(|| ());
            metrics.requests.answered(&seen);
            metrics.requests.in_flight.dec();
        }
    }) / 1_000;
    let scrape = shortest(50, || drop(scrape(&metrics)));
    println!("recording a query: {record:?}; a scrape with 50 collections: {scrape:?}");
    // Tests are built with less optimisation; with all of it both are some times less.
    assert!(record < Duration::from_micros(2), "{record:?}");
    assert!(scrape < Duration::from_millis(2), "{scrape:?}");
}

#[test]
fn scrapes_do_not_hold_up_queries() {
    let metrics = busy();
    let seen = answered("POST", "200", None);
    metrics.requests.answered(&seen);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                scrape(&metrics);
            }
        });
        let record = || {
            let began = SystemClock.monotonic();
            metrics.requests.answered(&seen);
            SystemClock.monotonic() - began
        };
        let mut took: Vec<_> = std::iter::repeat_with(record).take(20_000).collect();
        stop.store(true, Ordering::Relaxed);
        took.sort_unstable();
        let p99 = took[took.len() * 99 / 100];
        println!("99 % of the records during scrapes took at most {p99:?}");
        assert!(p99 < Duration::from_micros(100), "{p99:?}");
    });
}
