//! Every expression that is shipped, asked of a real Prometheus over daemons under load.

use super::dashboard;
use super::prometheus::{Prometheus, exporter};
use crate::postgres_server::Server;
use crate::provider::Standin;
use crate::soak_bench::Bench;
use crate::support::{Daemon, Home, PATIENCE, eventually};
use crate::tls::{self, Authority};
use alfred::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::time::Duration;

/// What works as it is written, whatever else changes.
pub(super) const PROMISED: [&str; 3] = [
    "histogram_quantile(0.95, rate(retrieval_latency_ms_bucket[1m]))",
    "rate(retrieval_errors_total[1m])",
    "rate(openai_tokens_total[1m])",
];

/// What makes a run end in FAIL, however busy the machine is: no answer is as expected, and a generator that
/// is late is no reason for INVALID.
pub(super) const FAILING: &str =
    "--expect-status 404 --threshold error_rate<1% --threshold p95<60s";

/// A daemon over PostgreSQL and a provider.
fn full(home: &Home, server: &Server, standin: &Standin) -> Daemon {
    let mut command = standin.alfred(home, &["serve", "--listen", "127.0.0.1:0"]);
    command.env("POSTGRES_DSN", server.dsn().reveal());
    command.env("ALFRED__EMBEDDING__RETRIES", "0");
    let daemon = Daemon::start(command);
    eventually(PATIENCE, || {
        (daemon.request("GET", "/readyz", None).0 == 200).then_some(())
    });
    let document = json!({"source": "a.md", "content": "# Otters\n\nOtters hold hands.\n"});
    assert_eq!(
        daemon.request("POST", "/v1/documents", Some(&document)).0,
        200
    );
    daemon
}

/// What makes an alert's expression true is left out, so that what it looks at is there.
fn without_comparison(expression: &str) -> &str {
    [" > ", " < ", " == "]
        .iter()
        .find_map(|operator| expression.split_once(operator))
        .unwrap_or_else(|| panic!("{expression} compares nothing"))
        .0
}

/// All that has to be answered: where it is from, and the expression.
fn asked(prometheus: &Prometheus) -> Vec<(String, String)> {
    let promised = PROMISED.map(|line| ("promised".to_owned(), line.to_owned()));
    let mut asked = Vec::from(promised);
    for name in dashboard::ALL {
        for (title, expression) in dashboard::expressions(&dashboard::read(name)) {
            let expression = expression.replace("$__rate_interval", "30s");
            asked.push((format!("{name}: {title}"), expression));
        }
    }
    let groups = prometheus.api("/api/v1/rules")["groups"].take();
    let rules = groups.as_array().unwrap().iter();
    let rules: Vec<&Value> = rules
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert_eq!(rules.len(), 20, "{rules:?}");
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule}");
        let name = rule["name"].as_str().unwrap().to_owned();
        let expression = rule["query"].as_str().unwrap();
        let expression = match rule["type"].as_str() {
            Some("alerting") => without_comparison(expression),
            _ => expression,
        };
        asked.push((name, expression.to_owned()));
    }
    asked
}

/// Both daemons in place of the shipped target: one over HTTP, one over TLS.
fn targets(plain: &Daemon, secure: &Daemon, authority: &Authority) -> String {
    format!(
        "      - targets: [\"{}\"]\n  - job_name: alfred-tls\n    scheme: https\n    tls_config:\n\
         \x20     ca_file: {}\n      server_name: localhost\n    static_configs:\n      - targets: [\"{}\"]",
        plain.endpoint.authority(),
        authority.ca.display(),
        secure.endpoint.authority()
    )
}

#[test]
fn a_real_prometheus_answers_every_panel_rule_and_alert() {
    let (home, server, standin) = (Home::new(), Server::new(), Standin::start(&[]));
    let daemon = full(&home, &server, &standin);
    let secure_home = Home::new();
    let authority = Authority::new(&secure_home.path().join("authority"));
    let secure = tls::served(&secure_home, &authority, "");
    let bench = Bench::new();
    let url = daemon.endpoint.at("/v1/query").to_string();
    // The verdict is FAIL: the alert on it has to fire.
    let flags = format!("--qps 20 --duration 2s --window 1s --no-recorder {FAILING}");
    assert_eq!(bench.soak("nightly", &url, &flags).code, 99);
    let report = bench
        .command(&["report", "nightly", "--format", "prom"])
        .output()
        .unwrap();
    let text = String::from_utf8(report.stdout).unwrap();
    let text = text.replace("scenario=\"soak\"", "scenario=\"nightly\"");
    super::textfile::assert_sound(&text);

    let both = targets(&daemon, &secure, &authority);
    let prometheus = Prometheus::start(&[
        ("  scrape_interval: 15s", "  scrape_interval: 500ms"),
        ("  evaluation_interval: 15s", "  evaluation_interval: 1s"),
        ("      - targets: [\"127.0.0.1:8080\"]", &both),
        (
            "\"127.0.0.1:9100\"",
            &format!("\"{}\"", exporter(move || text.clone())),
        ),
    ]);
    let load = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let flags = "--qps 20 --duration 12s --window 1s --unique --no-recorder \
                         --threshold error_rate<1% --threshold p95<60s";
            bench.soak("load", &url, flags)
        });
        SystemClock.sleep(Duration::from_secs(3));
        secure.ask(&json!({"query": "What do otters do?"}));
        load.join().unwrap()
    });
    assert_eq!(load.code, 0, "{}{}", load.stdout, load.stderr);
    let asked = asked(&prometheus);
    let unanswered = || -> Vec<String> {
        let is_empty =
            |(_, expression): &&(String, String)| prometheus.values(expression).is_empty();
        let empty = asked.iter().filter(is_empty);
        empty
            .map(|(place, expression)| format!("{place}: {expression}"))
            .collect()
    };
    let until = SystemClock.monotonic() + PATIENCE / 3;
    while !unanswered().is_empty() && SystemClock.monotonic() < until {
        SystemClock.sleep(Duration::from_millis(500));
    }
    assert_eq!(unanswered(), [""; 0], "of {} expressions", asked.len());
    assert_eq!(prometheus.values("min(up)"), [1.0]);
    assert!(prometheus.values("sum(rate(openai_tokens_total[1m]))")[0] > 0.0);
    // 240 queries, and a window of 300 s.
    let rate = prometheus.values("max(instance:retrieval_requests:rate5m)")[0];
    assert!((0.3..2.0).contains(&rate), "{rate}");
    let firing = "count(ALERTS{alertname=\"AlfredSoakFailed\", alertstate=\"firing\", scenario=\"nightly\"})";
    assert_eq!(prometheus.values(firing), [1.0]);
    let others = "ALERTS{alertname!~\"AlfredSoakFailed\", alertstate=\"firing\"}";
    assert_eq!(prometheus.values(others), [0.0; 0]);
}
