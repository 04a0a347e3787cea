//! The gate, as a user runs it: `alfred soak` against servers that behave and misbehave.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_target::{Behaviour, TestTarget};
use alfred::soak::run_folder;
use alfred::soak::tally::{Series, value_at};
use alfred::soak::units::milliseconds;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

const FIVE_MS: Duration = Duration::from_millis(5);

/// A place for a query file and run folders.
struct Bench {
    folder: TempDir,
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
    run: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queries = "How do I upgrade?\n\nWhat is p95?\nWhich \"metrics\" are there?\n";
        std::fs::write(folder.path().join("queries.txt"), queries).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alfred"));
        command.args(arguments).current_dir(self.folder.path());
        for name in [
            "TARGET_URL",
            "QPS",
            "DURATION",
            "QUERY_FILE",
            "CLICOLOR_FORCE",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a soak on the query file, recorded in `name`.
    fn soak(&self, name: &str, target: &str, flags: &str) -> Ran {
        let run = self.path(name);
        let mut arguments = vec![
            "soak",
            "--target",
            target,
            "--queries",
            "queries.txt",
            "--out",
        ];
        arguments.push(run.to_str().unwrap());
        arguments.extend(flags.split_whitespace());
        let output = self.command(&arguments).output().unwrap();
        Ran::of(&output, run)
    }
}

impl Ran {
    fn of(output: &Output, run: PathBuf) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
            run,
        }
    }

    fn verdict(&self) -> Value {
        let text = std::fs::read(self.run.join("verdict.json"))
            .unwrap_or_else(|error| panic!("{error}: {}", self.stderr));
        serde_json::from_slice(&text).unwrap()
    }

    fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }

    fn count(&self, name: &str) -> u64 {
        self.verdict()["counts"][name].as_u64().unwrap()
    }

    /// What holds of every run, however the target behaves.
    fn assert_sound(&self, due: u64) {
        let ends = ["ok", "error", "shed", "in_flight_at_end"].map(|name| self.count(name));
        assert_eq!(self.count("due"), due, "{}", self.stdout);
        assert_eq!(ends.iter().sum::<u64>(), due, "{ends:?}");
        let kinds = self.verdict()["errors_by_kind"].clone();
        let of_kinds: u64 = kinds
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_u64().unwrap())
            .sum();
        assert_eq!(of_kinds, ends[1], "{kinds}");
        assert_folder_agrees(&self.run, &self.verdict());
    }
}

/// The windows add up to the verdict, and the histogram log gives its percentiles.
fn assert_folder_agrees(folder: &Path, verdict: &Value) {
    let recorded = run_folder::read(folder).unwrap();
    let counts = serde_json::to_value(recorded.tally.counts).unwrap();
    assert_eq!(counts, verdict["counts"]);
    for window in &recorded.windows {
        assert!(window.counts.adds_up(), "{window:?}");
    }
    for series in Series::ALL {
        let told = &verdict[format!("{}_ms", series.as_str())];
        let read = serde_json::to_value(recorded.tally.percentiles(series).in_ms()).unwrap();
        assert_eq!(*told, read, "{series:?}");
    }
    let response = recorded.tally.latencies.of(Series::Response);
    assert_eq!(response.len(), recorded.tally.counts.due);
}

fn p95_ms(verdict: &Value) -> f64 {
    verdict["response_ms"]["p95"].as_f64().unwrap()
}

/// Timing tests share the machine with whatever else runs: a few attempts, all shown.
fn within_attempts(mut attempt: impl FnMut(u32) -> Result<(), String>) {
    let mut problems = Vec::new();
    for number in 0..4 {
        match attempt(number) {
            Ok(()) => return,
            Err(problem) => problems.push(problem),
        }
    }
    panic!("{}", problems.join("\n---\n"));
}

/// 100/s for 30 s are 3,000 due requests. The freeze of 5 s catches 500, due 10 ms apart, which
/// wait 5 s, 4.99 s, … down to 0; the 2,850th smallest has 150 above it, so p95 is 5 s less 1.5 s.
#[test]
fn a_freeze_that_others_miss_fails_with_the_true_p95() {
    let bench = Bench::new();
    within_attempts(|number| {
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
    within_attempts(|number| {
        let target = TestTarget::start(Behaviour::Steady { delay: FIVE_MS });
        let flags = "--qps 100 --duration 6s --window 1s --warmup 1s";
        let ran = bench.soak(&format!("steady{number}"), &target.url(), flags);
        ran.assert_sound(600);
        let own = target.own_latencies_ms();
        assert_eq!(own.len(), 700, "the warm-up is sent and not counted");
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
        "--qps 10 --duration 1s --timeout 20s",
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
        ("status", Behaviour::Status(500), "status_5xx"),
        ("denied", Behaviour::Status(404), "status_4xx"),
        ("moved", Behaviour::Status(301), "status_3xx"),
        ("reset", Behaviour::Reset, "reset"),
        ("garbage", Behaviour::Garbage, "protocol"),
    ];
    let bench = Bench::new();
    for (name, behaviour, kind) in cases {
        let target = TestTarget::start(behaviour);
        let ran = bench.soak(name, &target.url(), "--qps 40 --duration 500ms");
        ran.assert_sound(20);
        assert_eq!(ran.code, 99, "{name}");
        assert_eq!(
            ran.verdict()["errors_by_kind"][kind],
            20,
            "{name}: {}",
            ran.stdout
        );
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
        .command(&[
            "soak",
            "night.toml",
            "--qps",
            "40",
            "--json",
            "--runs-dir",
            "runs",
        ])
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

    let listed = bench
        .command(&["runs", "--runs-dir", "runs"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("PASS"));
}

#[test]
fn the_environment_gives_defaults() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let output = bench
        .command(&["soak", "--json", "--runs-dir", "runs"])
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
            "cannot read the query set none.txt",
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
            vec!["soak", "--target", "https://x/"],
            2,
            "https is not supported yet",
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

/// Sends SIGINT once `count` windows are recorded.
fn interrupt_after(bench: &Bench, url: &str, times: u32) -> (Ran, Duration) {
    use rustix::process::{Pid, Signal, kill_process};
    let run = bench.path("interrupted");
    let flags = [
        "--qps",
        "50",
        "--duration",
        "60s",
        "--window",
        "1s",
        "--queries",
        "queries.txt",
    ];
    let mut command = bench.command(&["soak", "--target", url, "--out", run.to_str().unwrap()]);
    let child = command
        .args(flags)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| {
        std::fs::read_to_string(run.join("windows.jsonl")).is_ok_and(|text| text.contains('\n'))
    });
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let started = now();
    for _ in 0..times {
        kill_process(pid, Signal::INT).unwrap();
        std::thread::park_timeout(Duration::from_millis(150));
    }
    let output = child.wait_with_output().unwrap();
    (Ran::of(&output, run), started.elapsed())
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(20);
    while !condition() {
        assert!(now() < deadline, "waited for 20 s");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test measures what it waits for"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn one_interrupt_finishes_the_window_and_judges() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady { delay: FIVE_MS });
    let (ran, took) = interrupt_after(&bench, &target.url(), 1);
    let windows = run_folder::read(&ran.run).unwrap().windows.len() as u64;
    ran.assert_sound(50 * windows);
    assert_eq!(ran.verdict()["coverage"]["stopped_early"], true);
    assert_ne!(ran.verdict()["verdict"], "FAIL", "{}", ran.stdout);
    assert!((2..10).contains(&windows) && took < Duration::from_secs(10));
}

#[test]
fn two_interrupts_abort() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Silent);
    let listener = TestTarget::start(Behaviour::Steady { delay: FIVE_MS });
    drop(target);
    let (ran, took) = interrupt_after(&bench, &listener.url(), 2);
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"));
    assert!(ran.stderr.contains("aborted"), "{}", ran.stderr);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_folder_agrees(&ran.run, &ran.verdict());
}

#[test]
fn reports_come_from_the_folder_alone_and_merge_without_loss() {
    let bench = Bench::new();
    let fast = TestTarget::start(Behaviour::Status(200));
    let slow = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(50),
    });
    let flags = "--qps 60 --duration 1s --window 500ms";
    let one = bench.soak("one", &fast.url(), flags);
    let two = bench.soak("two", &slow.url(), flags);
    assert_eq!((one.code, two.code), (0, 0), "{}{}", one.stderr, two.stderr);

    let report = |arguments: &[&str]| {
        let arguments: Vec<&str> = std::iter::once("report")
            .chain(arguments.iter().copied())
            .collect();
        let output = bench.command(&arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        report(&["one"]),
        one.stdout.replace(one.run.to_str().unwrap(), "one")
    );

    let merged: Value = serde_json::from_str(&report(&["one", "two", "--format", "json"])).unwrap();
    assert_eq!(merged["counts"]["due"], 120);
    assert_eq!(merged["runs"].as_array().unwrap().len(), 2);
    let mut whole = run_folder::read(&one.run).unwrap().tally;
    whole.add(&run_folder::read(&two.run).unwrap().tally);
    let p90 = milliseconds(value_at(whole.latencies.of(Series::Response), 0.9).unwrap());
    assert_eq!(merged["response_ms"]["p90"], p90);
    let throughput = merged["throughput_per_s"].as_f64().unwrap();
    assert!((throughput - 60.0).abs() < 0.01, "{throughput}");

    let csv = report(&["one", "--format", "csv"]);
    assert_eq!(csv.lines().count(), 3);
    let columns = |line: &str| line.split(',').count();
    assert!(
        csv.lines()
            .all(|line| columns(line) == columns(csv.lines().next().unwrap()))
    );

    let hlog = report(&["one", "two", "--format", "hlog"]);
    assert_eq!(
        hlog.lines()
            .filter(|line| line.starts_with("Tag=response,"))
            .count(),
        4
    );
    assert!(report(&["two", "--format", "junit"]).contains("failures=\"0\""));
    let prom = report(&["two", "--format", "prom"]);
    assert!(
        prom.contains("alfred_soak_verdict{scenario=\"soak\",verdict=\"PASS\"} 1"),
        "{prom}"
    );
}

#[test]
fn a_run_that_was_killed_is_reported_as_unfinished() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let ran = bench.soak(
        "killed",
        &target.url(),
        "--qps 60 --duration 1s --window 500ms",
    );
    std::fs::remove_file(ran.run.join("verdict.json")).unwrap();
    let windows = ran.run.join("windows.jsonl");
    let text = std::fs::read_to_string(&windows).unwrap();
    std::fs::write(&windows, &text[..text.len() - 20]).unwrap();
    let output = bench
        .command(&["report", "killed", "--json"])
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verdict"], "INVALID");
    assert_eq!(told["counts"]["due"], 30);
    assert!(
        told["reasons"]
            .to_string()
            .contains("1 of 2 windows are missing"),
        "{told}"
    );
}
