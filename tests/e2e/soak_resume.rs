//! Runs that are killed, and resumed to their planned end.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, Ran, assert_folder_agrees};
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::eventually;
use alfred::soak::event::Event;
use alfred::soak::record::RunRecord;
use alfred::soak::run_folder::{self, RecordedRun};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const WINDOW_S: f64 = 0.5;
const QPS: u64 = 40;

/// Flags of a run with unique queries, so that the target can tell which it was sent.
fn flags(duration: &str) -> Vec<String> {
    let text = format!(
        "--qps {QPS} --duration {duration} --window 500ms --unique --queries queries.txt \
         --threshold p95<5s --threshold error_rate<1%"
    );
    text.split_whitespace().map(str::to_owned).collect()
}

fn start(bench: &Bench, url: &str, name: &str, duration: &str) -> Child {
    bench
        .command(&["soak", "--target", url, "--out", name])
        .args(flags(duration))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn resume(bench: &Bench, name: &str, more: &[&str]) -> Output {
    bench
        .command(&["soak", "--resume", name])
        .args(more)
        .output()
        .unwrap()
}

fn windows(folder: &Path) -> usize {
    fs::read_to_string(folder.join("windows.jsonl")).map_or(0, |text| text.lines().count())
}

fn wait_for_windows(folder: &Path, count: usize) {
    eventually(Duration::from_secs(30), || {
        (windows(folder) >= count).then_some(())
    });
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Numbers of the requests that the target was sent: each query ends in ` (mark-number)`.
fn numbers(target: &TestTarget) -> Vec<u64> {
    let number = |body: &String| {
        let query = serde_json::from_str::<Value>(body).unwrap();
        let text = query["query"].as_str().unwrap().to_owned();
        let last = text.trim_end_matches(')').rsplit('-').next().unwrap();
        last.parse().unwrap()
    };
    target.bodies().iter().map(number).collect()
}

/// The requests that were due while a window was recorded.
fn due_in(start_s: f64, length_s: f64) -> std::ops::Range<u64> {
    let first = |s: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few hundred requests"
        )]
        let count = (s * QPS as f64 - 1e-6).ceil() as u64;
        count
    };
    first(start_s)..first(start_s + length_s)
}

/// What holds of every run that was killed and resumed: each recorded window has exactly what was due
/// in it, the target was sent all of that, nothing was sent twice, and what it was sent besides was
/// due in windows that were open when the process died.
fn assert_nothing_else_is_lost(recorded: &RecordedRun, target: &TestTarget) {
    let sent = numbers(target);
    let once: BTreeSet<u64> = sent.iter().copied().collect();
    assert_eq!(sent.len(), once.len(), "a request was sent twice");
    let mut counted = BTreeSet::new();
    for window in &recorded.windows {
        let due: BTreeSet<u64> = due_in(window.start_s, window.length_s).collect();
        assert_eq!(window.counts.due, due.len() as u64, "{window:?}");
        assert_eq!(window.counts.ok, window.counts.due, "{window:?}");
        counted.extend(due);
    }
    assert!(counted.is_subset(&once), "counted and never sent");
    let gaps = gaps(recorded);
    for number in once.difference(&counted) {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred requests")]
        let due_s = *number as f64 / QPS as f64;
        // Lost are at most the windows that were open: with fast answers the one at the kill, and
        // the one before while it was waiting for its sample.
        let is_of_an_open_window = gaps
            .iter()
            .any(|(from_s, to_s)| (*from_s - 1e-3..*to_s + 1e-3).contains(&due_s));
        assert!(is_of_an_open_window, "{number} is lost: {gaps:?}");
    }
    let ok = recorded.tally.counts.ok;
    assert_eq!(ok, counted.len() as u64);
}

fn gaps(recorded: &RecordedRun) -> Vec<(f64, f64)> {
    let of = |event: &Event| match event {
        Event::Gap { from_s, to_s, .. } => Some((*from_s, *to_s)),
        _ => None,
    };
    recorded
        .events
        .iter()
        .filter_map(|record| of(&record.event))
        .collect()
}

/// Kills a run again and again after so many milliseconds, resuming it each time, and then lets it
/// go on to its end.
fn killed_at(moments_ms: &[u64], duration: &str) {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(2),
    });
    let run = bench.path("killed");
    let mut child = start(&bench, &target.url(), "killed", duration);
    eventually(Duration::from_secs(20), || {
        run.join("run.json").exists().then_some(())
    });
    for moment_ms in moments_ms {
        std::thread::park_timeout(Duration::from_millis(*moment_ms));
        kill(child);
        child = bench
            .command(&["soak", "--resume", "killed"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let ran = Ran::of(&output, run.clone());
    let recorded = run_folder::read(&run).unwrap();
    assert_folder_agrees(&run, &ran.verdict());
    assert_nothing_else_is_lost(&recorded, &target);
    let coverage = &ran.verdict()["coverage"];
    let measured_s: f64 = recorded.windows.iter().map(|window| window.length_s).sum();
    assert!((coverage["measured_s"].as_f64().unwrap() - measured_s).abs() < 1e-6);
    // A few seconds long: more than 1 % is missing, and the verdict says so.
    assert_eq!(
        (ran.code, ran.last_line()),
        (98, "INVALID"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("were not recorded"), "{}", ran.stderr);
    // Each gap is no longer than what the open window had, and the time in which nothing ran.
    for (from_s, to_s) in gaps(&recorded) {
        assert!(to_s >= from_s, "{from_s} {to_s}");
    }
    assert_eq!(windows_in_order(&recorded), recorded.windows.len());
}

fn windows_in_order(recorded: &RecordedRun) -> usize {
    let ends = recorded.windows.windows(2).filter(|pair| {
        pair[0].window < pair[1].window
            && pair[0].start_s + pair[0].length_s <= pair[1].start_s + 1e-9
    });
    ends.count() + usize::from(!recorded.windows.is_empty())
}

#[test]
fn a_run_that_is_killed_again_and_again_loses_the_open_windows_alone() {
    killed_at(&[700, 1_130, 420, 260], "4s");
}

#[test]
fn a_run_that_is_killed_at_random_moments_is_judged() {
    let mut seed = std::process::id() | 1;
    for _ in 0..2 {
        let mut moment = || {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            u64::from(seed >> 16) % 900
        };
        killed_at(&[moment(), moment()], "3s");
    }
}

/// Fifty kills at random moments.
#[test]
fn long_fifty_kills() {
    let mut seed = std::process::id() | 1;
    let mut moment = || {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        u64::from(seed >> 16) % 1_500
    };
    for _ in 0..10 {
        killed_at(&[moment(), moment(), moment(), moment(), moment()], "8s");
    }
}

/// With enough windows a kill costs less than 1 %, and the run passes.
#[test]
fn one_kill_in_a_long_run_does_no_harm() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let run = bench.path("long");
    let child = bench
        .command(&["soak", "--target", &target.url(), "--out", "long"])
        .args(
            "--qps 20 --duration 14s --window 100ms --timeout 5s --queries queries.txt".split(' '),
        )
        .args(["--threshold", "p95<5s"])
        .spawn()
        .unwrap();
    wait_for_windows(&run, 3);
    kill(child);
    let output = resume(&bench, "long", &[]);
    let ran = Ran::of(&output, run.clone());
    let recorded = run_folder::read(&run).unwrap();
    let measured_s = ran.verdict()["coverage"]["measured_s"].as_f64().unwrap();
    let missing_s = 14.0 - measured_s;
    assert!(missing_s > 0.0, "{}", ran.stdout);
    // 1 % of it may be missing.
    let expected = if missing_s <= 0.14 { 0 } else { 98 };
    assert_eq!(ran.code, expected, "{missing_s} s missing: {}", ran.stderr);
    assert_eq!(gaps(&recorded).len(), 1);
    assert!(
        ran.stderr.contains("resumed after its process ended"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("event      "), "{}", ran.stdout);
}

/// A folder of a run that was killed after two windows, and the scenario's target.
fn cut_off(bench: &Bench, target: &TestTarget, name: &str) {
    let child = start(bench, &target.url(), name, "3s");
    wait_for_windows(&bench.path(name), 2);
    kill(child);
}

#[test]
fn torn_files_cost_the_torn_window_alone() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    for (name, file, tear) in [
        ("one", "windows.jsonl", Tear::Cut(20)),
        ("two", "latency.hlog", Tear::Cut(20)),
        (
            "three",
            "windows.jsonl",
            Tear::Append(b"{\"window\": 9, \"start"),
        ),
        (
            "four",
            "latency.hlog",
            Tear::Append(b"Tag=response,1.000,0.5"),
        ),
        ("five", "windows.jsonl", Tear::Append(b"\0\0\0\0\0\0\0\n")),
        ("six", "events.jsonl", Tear::Append(b"{\"at_s\": 1")),
    ] {
        cut_off(&bench, &target, name);
        let folder = bench.path(name);
        let before = windows(&folder);
        tear.apply(&folder.join(file));
        let ran = Ran::of(&resume(&bench, name, &[]), folder.clone());
        let recorded = run_folder::read(&folder).unwrap();
        assert_folder_agrees(&folder, &ran.verdict());
        let first = gaps(&recorded)[0].0;
        let lost = usize::from(matches!(tear, Tear::Cut(_)));
        #[expect(clippy::cast_precision_loss, reason = "a few windows")]
        let kept_s = (before - lost) as f64 * WINDOW_S;
        assert!((first - kept_s).abs() < 1e-6, "{name}: {first} {before}");
        assert_eq!(windows_in_order(&recorded), recorded.windows.len());
    }
}

enum Tear {
    Cut(u64),
    Append(&'static [u8]),
}

impl Tear {
    fn apply(&self, path: &Path) {
        let mut content = fs::read(path).unwrap();
        match self {
            Self::Cut(bytes) => content.truncate(content.len() - usize::try_from(*bytes).unwrap()),
            Self::Append(bytes) => content.extend_from_slice(bytes),
        }
        fs::write(path, content).unwrap();
    }
}

#[test]
fn what_cannot_be_resumed_is_refused_with_the_reason() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    cut_off(&bench, &target, "cut");
    let refused = |name: &str, more: &[&str], code: i32, reason: &str| {
        let output = resume(&bench, name, more);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{more:?}: {stderr}");
        assert!(stderr.contains(reason), "{more:?}: {stderr}");
        assert!(!bench.path(name).join("verdict.json").exists() || name == "done");
    };
    refused("cut", &["--qps", "50"], 2, "qps was 40.0, is 50.0");
    refused(
        "cut",
        &["--duration", "9s"],
        2,
        "duration_s was 3.0, is 9.0",
    );
    refused("cut", &["--target", "http://127.0.0.1:9/"], 2, "target was");
    refused("cut", &["--out", "x"], 2, "cannot be used with");
    refused("nonesuch", &[], 2, "not a run folder");
    let queries = fs::read_to_string(bench.path("queries.txt")).unwrap();
    fs::write(bench.path("queries.txt"), format!("{queries}One more?\n")).unwrap();
    refused(
        "cut",
        &[],
        2,
        "queries.txt has now\nhint: put back the queries",
    );
    fs::write(bench.path("queries.txt"), queries).unwrap();

    let path = bench.path("cut/run.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut newer: Value = serde_json::from_str(&text).unwrap();
    newer["format"] = 99.into();
    fs::write(&path, newer.to_string()).unwrap();
    refused("cut", &[], 1, "in a newer format");
    let mut with_header: RunRecord = serde_json::from_str(&text).unwrap();
    with_header.scenario.header_names = vec!["authorization".to_owned()];
    fs::write(&path, serde_json::to_string(&with_header).unwrap()).unwrap();
    refused("cut", &[], 2, "values of headers are not recorded");
    fs::write(&path, &text).unwrap();

    let windows = bench.path("cut/windows.jsonl");
    let lines = fs::read_to_string(&windows).unwrap();
    fs::write(&windows, lines.replacen("\"window\"", "\"mirror\"", 1)).unwrap();
    refused("cut", &[], 1, "is damaged");
    fs::write(&windows, lines).unwrap();

    let ran = Ran::of(&resume(&bench, "cut", &[]), bench.path("cut"));
    assert_eq!(ran.code, 98, "{}", ran.stderr);
    fs::rename(bench.path("cut"), bench.path("done")).unwrap();
    refused("done", &[], 2, "has ended: it has a verdict");
}

#[test]
fn a_run_is_recorded_by_one_process_alone() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let child = start(&bench, &target.url(), "held", "2s");
    wait_for_windows(&bench.path("held"), 1);
    let output = resume(&bench, "held", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("recorded by another process"), "{stderr}");
    let ended = child.wait_with_output().unwrap();
    let ran = Ran::of(&ended, bench.path("held"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_nothing_else_is_lost(&run_folder::read(&ran.run).unwrap(), &target);
}

/// As after a reboot: the clocks began anew, and only the wall clock says how long it took.
#[test]
fn after_a_reboot_the_wall_clock_says_where_to_go_on() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    cut_off(&bench, &target, "boot");
    let path = bench.path("boot/run.json");
    let mut run: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    run["start"]["boot_id"] = "another".into();
    run["start"]["monotonic_ns"] = 999_999_999_999_999_u64.into();
    fs::write(&path, run.to_string()).unwrap();
    let ran = Ran::of(&resume(&bench, "boot", &[]), bench.path("boot"));
    let recorded = run_folder::read(&ran.run).unwrap();
    assert_nothing_else_is_lost(&recorded, &target);
    assert!(
        matches!(recorded.events[0].event, Event::Gap { rebooted: true, .. }),
        "{:?}",
        recorded.events
    );
    let last = recorded.windows.last().unwrap();
    assert!((last.start_s + last.length_s - 3.0).abs() < 1e-9);
}

/// A scenario file, and the runs that were made of it.
struct Night {
    bench: Bench,
    target: TestTarget,
}

impl Night {
    fn new() -> Self {
        let night = Self {
            bench: Bench::new(),
            target: TestTarget::start(Behaviour::Status(200)),
        };
        night.write("3s");
        night
    }

    fn write(&self, duration: &str) {
        let text = format!(
            "target = \"{}\"\nqueries = \"queries.txt\"\nqps = 40\nduration = \"{duration}\"\n\
             window = \"500ms\"\nheaders = {{ authorization = \"Bearer x\" }}\n",
            self.target.url()
        );
        fs::write(self.bench.path("night.toml"), text).unwrap();
    }

    fn runs(&self) -> Vec<PathBuf> {
        run_folder::list(&self.bench.path("runs")).unwrap()
    }

    fn command(&self) -> Command {
        self.bench
            .command(&["soak", "night.toml", "--resume-unfinished"])
    }

    /// Exit code and stderr.
    fn soak(&self) -> (i32, String) {
        told(&mut self.command())
    }

    fn resume_all(&self) -> (i32, String) {
        told(&mut self.bench.command(&["soak", "--resume-all"]))
    }

    /// Begins a run and waits for its first window.
    fn begin(&self) -> (Child, PathBuf) {
        let before = self.runs();
        let child = self
            .command()
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let folder = eventually(Duration::from_secs(20), || {
            let is_new = |run: &PathBuf| !before.contains(run);
            self.runs().into_iter().find(is_new)
        });
        wait_for_windows(&folder, 1);
        (child, folder)
    }

    fn begin_and_kill(&self) -> PathBuf {
        let (child, folder) = self.begin();
        kill(child);
        folder
    }
}

fn told(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), stderr)
}

#[test]
fn a_unit_goes_on_with_the_run_that_was_killed() {
    let night = Night::new();
    let (child, run) = night.begin();
    let (code, stderr) = night.soak();
    assert_eq!(code, 1);
    assert!(stderr.contains("another process is recording"), "{stderr}");
    kill(child);
    let (code, stderr) = night.soak();
    assert_eq!(code, 98, "{stderr}");
    assert_eq!(night.runs(), [run], "the run went on, and no other began");
    let recorded = run_folder::read(&night.runs()[0]).unwrap();
    assert_eq!(gaps(&recorded).len(), 1);
}

#[test]
fn a_run_that_is_long_past_its_end_is_judged_and_another_begins() {
    let night = Night::new();
    let stale = night.begin_and_kill();
    let path = stale.join("run.json");
    let mut run: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    run["start"]["boot_id"] = "another".into();
    run["start"]["wall"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, run.to_string()).unwrap();
    let (code, stderr) = night.soak();
    assert_eq!(code, 0, "{stderr}");
    let judged = run_folder::read(&stale).unwrap().verdict.unwrap();
    assert_eq!(judged.verdict.as_str(), "INVALID");
    assert_eq!(night.runs().len(), 2);
}

#[test]
fn a_changed_scenario_begins_a_run_and_the_boot_goes_on_with_the_old_one() {
    let night = Night::new();
    let changed = night.begin_and_kill();
    night.write("1s");
    let (code, stderr) = night.soak();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("duration_s was 3.0, is 1.0"), "{stderr}");
    assert!(!changed.join("verdict.json").exists());
    night.write("3s");
    let (code, stderr) = night.resume_all();
    assert_eq!(code, 98, "{stderr}");
    assert!(changed.join("verdict.json").exists());
    let (code, stderr) = night.resume_all();
    assert_eq!(code, 0);
    assert!(stderr.contains("no unfinished runs"), "{stderr}");
}
