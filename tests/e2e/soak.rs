//! The gate, as a user runs it: `alfred soak` against servers that behave and misbehave.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, p95_ms, within_attempts};
use crate::soak_target::{Behaviour, TestTarget};
use alfred::soak::run_folder;
use serde_json::Value;
use std::time::Duration;

const FIVE_MS: Duration = Duration::from_millis(5);

/// 100/s for 30 s are 3,000 due requests. The freeze of 5 s catches 500, due 10 ms apart, which
/// wait 5 s, 4.99 s, … down to 0; the 2,850th smallest has 150 above it, so p95 is 5 s less 1.5 s.
#[test]
fn a_freeze_that_others_miss_fails_with_the_true_p95() {
    let bench = Bench::new();
    within_attempts(3, |number| {
        let target = TestTarget::start(Behaviour::Freeze {
            delay: FIVE_MS,
            from: Duration::from_secs(10),
            length: Duration::from_secs(5),
        });
        let flags = "--qps 100 --duration 30s";
        let ran = bench.soak(&format!("freeze{number}"), &target.url(), flags);
        ran.assert_sound(3_000);
        assert_eq!(ran.count("ok"), 3_000);
        let p95_s = p95_ms(&ran.verdict()) / 1e3;
        let service_p50 = ran.verdict()["service_ms"]["p50"].as_f64().unwrap();
        let right = (p95_s - 3.5).abs() < 3.5 * 0.05 && service_p50 < 10.0;
        if ran.code == 99 && ran.last_line() == "FAIL" && right {
            return Ok(());
        }
        Err(format!("{} p95 {p95_s} s\n{}", ran.code, ran.stdout))
    });
}

#[test]
fn without_a_freeze_it_passes_with_the_targets_own_p95() {
    let bench = Bench::new();
    within_attempts(3, |number| {
        let target = TestTarget::start(Behaviour::Steady { delay: FIVE_MS });
        let flags = "--qps 100 --duration 3s --window 1s --warmup 500ms";
        let ran = bench.soak(&format!("steady{number}"), &target.url(), flags);
        ran.assert_sound(300);
        let own = target.own_latencies_ms();
        assert_eq!(own.len(), 350, "the warm-up is sent and not counted");
        let own_p95 = own[own.len() * 95 / 100];
        let p95 = p95_ms(&ran.verdict());
        if ran.code == 0 && ran.last_line() == "PASS" && (p95 - own_p95).abs() < 1.0 {
            return Ok(());
        }
        Err(format!(
            "{} p95 {p95} ms, own {own_p95} ms\n{}",
            ran.code, ran.stdout
        ))
    });
}

#[test]
fn a_target_that_refuses_is_a_connect_error_each_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let bench = Bench::new();
    let ran = bench.soak("refuses", &url, "--qps 50 --duration 1s");
    ran.assert_sound(50);
    assert_eq!((ran.code, ran.last_line()), (99, "FAIL"));
    assert_eq!(ran.verdict()["errors_by_kind"]["connect"], 50);
    assert_eq!(ran.verdict()["errors_by_cause"]["connection refused"], 50);
    let warning = format!("requests to {url} failed: connection refused\n");
    assert_eq!(ran.stderr.matches("warning: ").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    let told = "causes     connection refused × 50\n";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    assert!(
        (10_000.0..10_010.0).contains(&p95_ms(&ran.verdict())),
        "a refusal counts as the timeout"
    );
}

#[test]
fn a_target_that_never_answers_times_out() {
    let target = TestTarget::start(Behaviour::Silent);
    let flags = "--qps 50 --duration 1s --timeout 300ms";
    let bench = Bench::new();
    let ran = bench.soak("silent", &target.url(), flags);
    ran.assert_sound(50);
    assert_eq!((ran.code, ran.last_line()), (99, "FAIL"));
    assert_eq!(ran.verdict()["errors_by_kind"]["timeout"], 50);
}

#[test]
fn what_is_in_flight_at_the_end_counts_with_its_age() {
    let target = TestTarget::start(Behaviour::Silent);
    let bench = Bench::new();
    let ran = bench.soak(
        "unfinished",
        &target.url(),
        "--qps 10 --duration 1s --timeout 20s --grace 500ms",
    );
    ran.assert_sound(10);
    assert_eq!(ran.code, 99);
    assert_eq!(ran.count("in_flight_at_end"), 10);
    assert!(p95_ms(&ran.verdict()) >= 20_000.0);
}

#[test]
fn beyond_the_cap_requests_are_shed_and_the_run_is_invalid() {
    let target = TestTarget::start(Behaviour::Silent);
    let flags = "--qps 100 --duration 1s --timeout 5s --max-in-flight 20";
    let bench = Bench::new();
    let ran = bench.soak("shed", &target.url(), flags);
    ran.assert_sound(100);
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"));
    assert_eq!(ran.count("shed"), 80);
    assert!(ran.stderr.contains("already in flight"), "{}", ran.stderr);
}

#[test]
fn errors_are_told_apart() {
    let cases = [
        ("status", Behaviour::Status(500), "status_5xx", "status 500"),
        ("denied", Behaviour::Status(404), "status_4xx", "status 404"),
        ("moved", Behaviour::Status(301), "status_3xx", "status 301"),
        (
            "reset",
            Behaviour::Reset,
            "reset",
            "the connection was closed before the answer was complete",
        ),
        (
            "garbage",
            Behaviour::Garbage,
            "protocol",
            "the answer is not HTTP/1.1: invalid HTTP version",
        ),
    ];
    let bench = Bench::new();
    for (name, behaviour, kind, cause) in cases {
        let target = TestTarget::start(behaviour);
        let ran = bench.soak(
            name,
            &target.url(),
            "--qps 40 --duration 500ms --threshold p95<5s --threshold error_rate<1%",
        );
        ran.assert_sound(20);
        assert_eq!(ran.code, 99, "{name}: {}", ran.stdout);
        assert_eq!(
            ran.verdict()["errors_by_kind"][kind],
            20,
            "{name}: {}",
            ran.stdout
        );
        let told = ran.verdict()["errors_by_cause"].clone();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert_eq!(told[cause], 20, "{told}");
    }
}

#[test]
fn a_body_without_end_is_cut_off() {
    let target = TestTarget::start(Behaviour::Endless);
    let bench = Bench::new();
    let ran = bench.soak("endless", &target.url(), "--qps 4 --duration 1s");
    ran.assert_sound(4);
    assert_eq!(
        ran.verdict()["errors_by_kind"]["body_too_large"],
        4,
        "{}",
        ran.stdout
    );
}

#[test]
fn a_target_that_closes_every_connection_costs_no_request() {
    let target = TestTarget::start(Behaviour::Closing);
    let bench = Bench::new();
    let ran = bench.soak("closing", &target.url(), "--qps 100 --duration 2s");
    ran.assert_sound(200);
    assert_eq!(ran.count("ok"), 200, "{}", ran.stdout);
    assert!(!ran.stderr.contains("warning: "), "{}", ran.stderr);
    assert_eq!(target.bodies().len(), 200, "nothing is sent twice");
}

#[test]
fn an_expected_status_is_no_error() {
    let target = TestTarget::start(Behaviour::Status(404));
    let flags = "--qps 40 --duration 500ms --expect-status 404 --threshold error_rate<1%";
    let bench = Bench::new();
    let ran = bench.soak("expected", &target.url(), flags);
    ran.assert_sound(20);
    assert_eq!(ran.count("ok"), 20);
}

#[test]
fn queries_are_cycled_and_unique_ones_differ() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Alfred);
    let ran = bench.soak("alfred", &target.url(), "--qps 40 --duration 500ms");
    let mut bodies = target.bodies();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 3);
    let body: Value = serde_json::from_str(&bodies[2]).unwrap();
    assert_eq!(body["top_k"], 3);
    assert_eq!(ran.verdict()["cache"]["hit_rate"], 0.5);
    let told = "query set of 3 texts; 50.0 % of answers came from the embedding cache";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);

    let target = TestTarget::start(Behaviour::Alfred);
    bench.soak(
        "unique",
        &target.url(),
        "--qps 40 --duration 500ms --unique",
    );
    let mut bodies = target.bodies();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 20);
}

#[test]
fn a_scenario_file_does_as_flags_do() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady { delay: FIVE_MS });
    let scenario = format!(
        "target = \"{}\"\nqueries = \"queries.txt\"\nqps = 20\nduration = \"1s\"\n\
         arrivals = \"poisson\"\nthresholds = [\"max<2s\"]\n",
        target.url()
    );
    std::fs::write(bench.path("night.toml"), scenario).unwrap();
    let output = bench
        .command(&["soak", "night.toml", "--qps", "40", "--json"])
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verdict"], "PASS", "{told}");
    assert_eq!(told["counts"]["due"], 40, "the flag wins");
    let runs = run_folder::list(&bench.path("runs")).unwrap();
    assert_eq!(runs.len(), 1);
    assert!(runs[0].to_str().unwrap().contains("-night-"), "{runs:?}");
    let written: Value =
        serde_json::from_slice(&std::fs::read(runs[0].join("verdict.json")).unwrap()).unwrap();
    assert_eq!(written, told);

    let listed = bench.command(&["runs"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("PASS"));
}

#[test]
fn the_environment_gives_defaults() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let output = bench
        .command(&["soak", "--json"])
        .env("TARGET_URL", target.url())
        .env("QPS", "20")
        .env("DURATION", "500ms")
        .env("QUERY_FILE", "queries.txt")
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["counts"]["due"], 10);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let bench = Bench::new();
    std::fs::write(bench.path("empty.txt"), " \n\n").unwrap();
    std::fs::write(bench.path("typo.toml"), "treshold = []\n").unwrap();
    std::fs::create_dir(bench.path("full")).unwrap();
    std::fs::write(bench.path("full/file"), "x").unwrap();
    let with = |more: &[&'static str]| {
        let base = [
            "soak",
            "--target",
            "http://127.0.0.1:9/",
            "--duration",
            "1s",
        ];
        base.iter().chain(more).copied().collect::<Vec<_>>()
    };
    let cases = [
        (
            with(&["--qps", "1", "--queries", "empty.txt"]),
            2,
            "is empty",
        ),
        (
            with(&["--qps", "1", "--queries", "none.txt"]),
            2,
            "/none.txt: No such file",
        ),
        (
            with(&["--qps", "1", "--queries", "none.txt"]),
            2,
            "with --queries FILE; the source tree has",
        ),
        (with(&["--qps", "1"]), 2, "--queries FILE"),
        (with(&["--queries", "queries.txt"]), 2, "--qps 10"),
        (with(&["--qps", "0"]), 2, "above 0"),
        (with(&["--qps", "1e9"]), 2, "at most 1000000"),
        (
            with(&["--qps", "1", "--queries", "queries.txt", "--window", "2s"]),
            2,
            "whole duration",
        ),
        (with(&["--threshold", "p95"]), 2, "not a threshold"),
        (
            with(&["--qps", "1", "--queries", "queries.txt", "--out", "full"]),
            1,
            "not empty",
        ),
        (vec!["soak", "typo.toml"], 78, "did you mean `thresholds`?"),
        (
            vec!["soak", "--target", "ftp://x/"],
            2,
            "must begin with http://, https:// or unix:/",
        ),
        (vec!["report", "nonesuch"], 2, "there is no run"),
        (vec!["report", "full"], 2, "not a run folder"),
    ];
    for (arguments, code, reason) in cases {
        let output = bench.command(&arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}
