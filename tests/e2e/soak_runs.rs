//! Runs that are interrupted, and what their folders still say afterwards.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, Ran, assert_folder_agrees, within_attempts};
use crate::soak_target::{Behaviour, TestTarget};
use alfred::soak::latency::{Series, value_at};
use alfred::soak::run_folder;
use alfred::soak::units::milliseconds;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

const FIVE_MS: Duration = Duration::from_millis(5);

/// Sends the signals once a window is recorded.
fn interrupt_after(bench: &Bench, url: &str, signals: &[Signal]) -> (Ran, Duration) {
    use rustix::process::{Pid, kill_process};
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
    for signal in signals {
        kill_process(pid, *signal).unwrap();
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
    let (ran, took) = interrupt_after(&bench, &target.url(), &[Signal::INT]);
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
    let (ran, took) = interrupt_after(&bench, &listener.url(), &[Signal::INT; 2]);
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"));
    assert!(ran.stderr.contains("aborted"), "{}", ran.stderr);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_folder_agrees(&ran.run, &ran.verdict());
}

/// An 8-hour gate that something else stopped after a minute has proved nothing.
#[test]
fn who_is_stopped_from_outside_gives_no_pass() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady { delay: FIVE_MS });
    let (ran, _) = interrupt_after(&bench, &target.url(), &[Signal::TERM]);
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"));
    assert!(ran.stderr.contains("aborted by SIGTERM"), "{}", ran.stderr);
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
    let latencies = "alfred_soak_latency_seconds";
    assert!(prom.contains(&format!("# TYPE {latencies} summary\n")));
    let count = format!("{latencies}_count{{scenario=\"soak\",series=\"response\"}} ");
    assert!(prom.contains(&count), "{prom}");
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
            .contains("0.5 s of 1.0 s were not recorded, 50.0 %"),
        "{told}"
    );
}

/// Two seconds a batch: ten windows of 200 ms, six batches of each run.
#[test]
fn a_slower_run_beside_its_baseline_is_told_with_its_ratio() {
    let bench = Bench::new();
    let [fast, slow] = [20, 30].map(|ms| {
        TestTarget::start(Behaviour::Steady {
            delay: Duration::from_millis(ms),
        })
    });
    let flags = "--qps 100 --duration 12s --window 200ms";
    let (base, same, run) = std::thread::scope(|threads| {
        let run = |name, url: String| {
            let bench = &bench;
            threads.spawn(move || bench.soak(name, &url, flags))
        };
        let started = [
            run("base", fast.url()),
            run("same", fast.url()),
            run("run", slow.url()),
        ];
        let [base, same, run] = started.map(|thread| thread.join().unwrap());
        (base, same, run)
    });
    assert!(
        [&base, &same, &run]
            .iter()
            .all(|ran| ran.count("ok") == 1_200)
    );
    let output = |arguments: &[&str]| bench.command(arguments).output().unwrap();
    let json = output(&["report", "run", "--baseline", "base", "--json"]);
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    let comparison = &told["comparison"];
    assert_eq!(comparison["batches"], serde_json::json!([6, 6]));
    let p50 = &comparison["metrics"][0];
    let ratio = p50["ratio"].as_f64().unwrap();
    assert_eq!(p50["result"], "higher", "{comparison:#}");
    assert!((1.3..1.6).contains(&ratio), "{ratio}");
    assert!(p50["lower"].as_f64().unwrap() < ratio && ratio < p50["upper"].as_f64().unwrap());
    let rss = &comparison["metrics"][4];
    assert_eq!(rss["result"], "cannot be compared");
    assert!(
        comparison["notes"].to_string().contains("target"),
        "{comparison:#}"
    );

    let text = output(&["report", "same", "--baseline", "base"]).stdout;
    let text = String::from_utf8(text).unwrap();
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("compared with"));
    assert!(lines.any(|line| line.starts_with("throughput")), "{text}");
    let told = lines.next().unwrap().trim_start();
    assert!(
        told.starts_with("no difference seen that this much data can show"),
        "{text}"
    );
    let refused = output(&["report", "same", "--baseline", "base", "--format", "csv"]);
    assert_eq!(refused.status.code(), Some(2));
}

/// The whole run passes: two seconds of twelve do not move its median. They do in the stretches of
/// one second around them.
#[test]
fn a_stretch_that_is_too_slow_fails_a_run_that_passes_as_a_whole() {
    let bench = Bench::new();
    within_attempts(3, |number| {
        let target = TestTarget::start(Behaviour::Freeze {
            delay: FIVE_MS,
            from: Duration::from_secs(4),
            length: Duration::from_secs(2),
        });
        let name = format!("stretch{number}");
        let run = bench.path(&name);
        let url = target.url();
        let flags = "--qps 50 --duration 12s --window 500ms --queries queries.txt";
        let mut arguments = vec!["soak", "--target", &url, "--out", run.to_str().unwrap()];
        arguments.extend(flags.split(' '));
        for threshold in [
            "p50<900ms",
            "p50<900ms in every 1s",
            "p50<900ms in last quarter",
        ] {
            arguments.extend(["--threshold", threshold]);
        }
        let ran = Ran::of(&bench.command(&arguments).output().unwrap(), run.clone());
        if (ran.code, ran.last_line()) != (99, "FAIL") {
            return Err(format!("{}{}", ran.stdout, ran.stderr));
        }
        let verdict = ran.verdict();
        let told: Vec<(&str, bool)> = verdict["thresholds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (
                    one["scope"].as_str().unwrap(),
                    one["pass"].as_bool().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("run", true),
                ("every 1s", false),
                ("last quarter", true),
                ("run", true)
            ]
        );
        let at_s = verdict["thresholds"][1]["at_s"].as_f64().unwrap();
        assert!((3.0..6.0).contains(&at_s), "{verdict:#}");
        assert!(
            ran.stdout.contains("✗ p50<900ms in every 1s"),
            "{}",
            ran.stdout
        );
        let again = ["report", &name, "--format", "junit"];
        let xml = bench.command(&again).output().unwrap().stdout;
        let xml = String::from_utf8(xml).unwrap();
        assert!(xml.contains("p50&lt;900ms in every 1s"), "{xml}");
        Ok(())
    });
}
