//! Whether answers are right: hit rate@3 of a soak, by window and run, in every report and as a gate.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, Ran};
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::eventually;
use serde_json::json;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// Of the three queries of the bench the first finds its source in the second place, the second in the
/// fourth, and the third has no judgment.
const JUDGMENTS: &str = "# by hand\n\nHow do I upgrade?\tb.md\tz.md\nWhat is p95?\td.md\n";

/// Cites `sources`, best first.
fn citing(sources: &[&str]) -> TestTarget {
    let cited: Vec<_> = sources
        .iter()
        .map(|source| json!({"source": source}))
        .collect();
    TestTarget::start(Behaviour::Says(json!({"citations": cited}).to_string()))
}

fn bench() -> Bench {
    let bench = Bench::new();
    fs::write(bench.path("r.tsv"), JUDGMENTS).unwrap();
    bench
}

fn report(bench: &Bench, ran: &Ran, format: &str) -> String {
    let run = ran.run.to_str().unwrap();
    let mut command = bench.command(&["report", run, "--format", format]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn half_of_the_judged_answers_are_right_and_every_report_says_so() {
    let (bench, target) = (bench(), citing(&["a.md", "b.md", "c.md", "d.md"]));
    let flags = "--qps 60 --duration 1s --window 250ms --warmup 100ms --relevance r.tsv --threshold p95<5s \
                 --threshold hit_rate>=0.4 --threshold hit_rate@3>=40%";
    let ran = bench.soak("half", &target.url(), flags);
    ran.assert_sound(60);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let verdict = ran.verdict();
    assert_eq!(verdict["hit_rate"], 0.5);
    let counts = json!({"k": 3, "queries": 2, "answers": 40, "hits": 20, "unread": 0});
    assert_eq!(verdict["relevance"], counts);
    assert_eq!(verdict["thresholds"][1]["value"], 0.5);
    let sum = |name: &str| -> u64 {
        let of = |window: &serde_json::Value| window["relevance"][name].as_u64().unwrap();
        ran.windows().iter().map(of).sum()
    };
    assert_eq!((sum("answers"), sum("hits"), sum("unread")), (40, 20, 0));
    let told = "hit rate@3 50.00 %: 20 of 40 answers (judged queries: 2)";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    assert!(report(&bench, &ran, "text").contains(told));
    assert!(report(&bench, &ran, "html").contains(told));
    assert!(report(&bench, &ran, "json").contains("\"hit_rate\": 0.5"));
    let metrics = report(&bench, &ran, "prom");
    assert!(
        metrics.contains("alfred_soak_hit_rate{scenario=\"soak\"} 0.5\n"),
        "{metrics}"
    );
    let csv = report(&bench, &ran, "csv");
    assert!(csv.contains(",relevance_answers,relevance_hits"), "{csv}");
}

#[test]
fn a_hit_rate_below_its_threshold_fails_as_a_whole_and_by_window() {
    let (bench, target) = (bench(), citing(&["a.md", "b.md"]));
    let flags = "--qps 60 --duration 1s --window 500ms --relevance r.tsv --threshold hit_rate>=0.9 \
                 --threshold p95<5s";
    let ran = bench.soak("below", &target.url(), flags);
    assert_eq!((ran.code, ran.last_line()), (99, "FAIL"));
    let reasons = ran.verdict()["reasons"].to_string();
    assert!(
        reasons.contains("hit_rate>=0.9 was crossed: 50.00 %"),
        "{reasons}"
    );
    // Each window has one query, and two of three have none with a judgment.
    let scenario =
        "relevance = \"r.tsv\"\nthresholds = [\"hit_rate>=0.9 in every window\", \"p95<5s\"]\n";
    fs::write(bench.path("s.toml"), scenario).unwrap();
    fs::write(bench.path("r.tsv"), "How do I upgrade?\tb.md\n").unwrap();
    let flags = "s.toml --qps 5 --duration 2s --window 200ms";
    let ran = bench.soak("windows", &target.url(), flags);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let threshold = &ran.verdict()["thresholds"][0];
    assert_eq!(
        (&threshold["value"], &threshold["pass"]),
        (&json!(1.0), &json!(true))
    );
}

#[test]
fn another_service_has_its_sources_elsewhere() {
    let bench = bench();
    let body = json!({"hits": {"hits": [{"_id": 1}, {"_id": "b.md"}]}});
    let target = TestTarget::start(Behaviour::Says(body.to_string()));
    let flags = "--qps 60 --duration 500ms --relevance r.tsv --relevance-pointer /hits/hits/*/_id \
                 --threshold p95<5s --unique --shuffle";
    let ran = bench.soak("elsewhere", &target.url(), flags);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        ran.verdict()["hit_rate"],
        0.5,
        "{}",
        ran.verdict()["relevance"]
    );
    let none = citing(&[]);
    let ran = bench.soak(
        "none",
        &none.url(),
        "--qps 60 --duration 500ms --relevance r.tsv",
    );
    assert_eq!(ran.verdict()["hit_rate"], 0.0);
}

#[test]
fn answers_that_are_too_large_to_look_at_make_no_hit_rate() {
    let bench = bench();
    let body = json!({"citations": [{"source": "b.md", "excerpt": "x".repeat(300_000)}]});
    let target = TestTarget::start(Behaviour::Says(body.to_string()));
    let flags =
        "--qps 30 --duration 1s --relevance r.tsv --threshold hit_rate>=0.1 --threshold p95<5s";
    let ran = bench.soak("large", &target.url(), flags);
    ran.assert_sound(30);
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"));
    assert_eq!(ran.verdict()["relevance"]["unread"], 20);
    assert!(ran.verdict()["hit_rate"].is_null());
    let told = "20 answers to judged queries were not looked at, 100.0 % (1 % is allowed)";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let free = bench.soak(
        "free",
        &target.url(),
        "--qps 30 --duration 1s --relevance r.tsv --threshold p95<5s",
    );
    assert_eq!(free.code, 0, "nothing gates on it: {}", free.stderr);
}

#[test]
fn what_is_wrong_with_a_relevance_file_is_told_before_the_run() {
    let (bench, target) = (bench(), citing(&[]));
    let url = target.url();
    let refused = |content: &str, flags: &str, told: &str| {
        fs::write(bench.path("r.tsv"), content).unwrap();
        let ran = bench.soak("never", &url, &format!("--qps 10 --duration 1s {flags}"));
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
        assert!(!ran.run.exists());
    };
    let with = "--relevance r.tsv";
    refused("a\tb\nno tab\n", with, "line 2 of the relevance file ");
    refused("Who?\ta.md\n", with, "the first is \"Who?\"");
    refused("# nothing\n", with, "has no judgment");
    refused(
        "",
        "--relevance nowhere.tsv",
        "cannot read the relevance file",
    );
    refused("", "--threshold hit_rate>=0.9", "--relevance FILE");
    refused("", "--relevance-pointer /a/*", "--relevance FILE");
    refused(JUDGMENTS, "--relevance r.tsv --body x", "{{query}}");
    fs::write(bench.path("r.tsv"), format!("Who?\tb.md\n{JUDGMENTS}")).unwrap();
    let ran = bench.soak("some", &url, "--qps 10 --duration 300ms --relevance r.tsv");
    let told = "r.tsv has what is not in the query set: \"Who?\" in line 1\n";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

#[test]
fn a_resumed_run_goes_on_counting_and_takes_no_other_judgments() {
    let (bench, target) = (bench(), citing(&["b.md"]));
    let url = target.url();
    let flags = "--qps 60 --duration 3s --window 250ms --queries queries.txt --relevance r.tsv \
                 --threshold p95<5s --threshold hit_rate>=0.5 --threshold error_rate<1%";
    let mut child = bench
        .command(&["soak", "--target", &url, "--out", "cut"])
        .args(flags.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = bench.path("cut");
    eventually(Duration::from_secs(30), || {
        let windows = fs::read_to_string(run.join("windows.jsonl")).ok()?;
        (windows.lines().count() >= 3).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    fs::write(bench.path("r.tsv"), "What is p95?\tb.md\n").unwrap();
    let resume = || {
        bench
            .command(&["soak", "--resume", "cut"])
            .output()
            .unwrap()
    };
    let other = Ran::of(&resume(), run.clone());
    assert_eq!(other.code, 2);
    assert!(other.stderr.contains("relevance was {"), "{}", other.stderr);
    fs::write(bench.path("r.tsv"), JUDGMENTS).unwrap();
    let ran = Ran::of(&resume(), run);
    let relevance = &ran.verdict()["relevance"];
    let of_windows: u64 = ran
        .windows()
        .iter()
        .map(|window| window["relevance"]["answers"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(relevance["answers"], of_windows, "{}", ran.stderr);
    let hit_rate = ran.verdict()["hit_rate"].as_f64().unwrap();
    assert!((hit_rate - 0.5).abs() < 0.05, "{relevance}");
}
