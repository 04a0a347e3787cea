//! `alfred runs`: listed, shown, pruned, and pruned by themselves.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::Bench;
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::eventually;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

struct Shelf {
    bench: Bench,
    good: TestTarget,
    bad: TestTarget,
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

impl Shelf {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            good: TestTarget::start(Behaviour::Status(200)),
            bad: TestTarget::start(Behaviour::Status(500)),
        }
    }

    /// Makes a run; its name.
    fn soak(&self, scenario: &str, is_good: bool, environment: &[(&str, &str)]) -> String {
        let target = if is_good { &self.good } else { &self.bad };
        let before = self.names();
        let url = target.url();
        let output = self
            .bench
            .command(&["soak", "--target", &url, "--queries", "queries.txt"])
            .args(["--qps", "20", "--duration", "200ms", "--window", "100ms"])
            .args(["--name", scenario, "--no-recorder"])
            // A run so short is INVALID when the machine is busy, unless latency may be high.
            .args(["--threshold", "p95<30s", "--threshold", "error_rate<1%"])
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let (code, _, stderr) = told(&output);
        assert_eq!(code, if is_good { 0 } else { 99 }, "{stderr}");
        let mut new = self.names();
        new.retain(|name| !before.contains(name));
        assert_eq!(new.len(), 1, "{stderr}");
        new.pop_first().unwrap()
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.bench.path("runs"));
        entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn runs(&self, arguments: &str) -> (i32, String, String) {
        let arguments: Vec<&str> = std::iter::once("runs")
            .chain(arguments.split_whitespace())
            .collect();
        told(&self.bench.command(&arguments).output().unwrap())
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        let (code, stdout, stderr) = self.runs(&format!("{arguments} --json"));
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    fn listed(&self, arguments: &str) -> Vec<String> {
        let listed = self.json(arguments);
        let runs = listed.as_array().unwrap().iter();
        runs.map(|run| run["run"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn runs_are_listed_as_they_are_asked_for() {
    let shelf = Shelf::new();
    assert!(shelf.runs("").1.starts_with("no runs in "));
    let made = [
        shelf.soak("a", true, &[]),
        shelf.soak("b", false, &[]),
        shelf.soak("a", false, &[]),
        shelf.soak("a", true, &[]),
    ];
    assert_eq!(
        shelf.listed("list"),
        made,
        "oldest first, also within a second"
    );
    assert_eq!(shelf.listed(""), made);
    assert_eq!(shelf.listed("--name a --verdict FAIL"), [made[2].clone()]);
    assert_eq!(shelf.listed("list --name a --limit 2"), made[2..]);
    assert_eq!(
        shelf.listed("list --verdict pass"),
        [made[0].clone(), made[3].clone()]
    );
    let (code, stdout, _) = shelf.runs("list --name c");
    assert_eq!(code, 0);
    assert!(stdout.starts_with("no such runs in "), "{stdout}");
    assert_eq!(shelf.runs("list --verdict maybe").0, 2);
    let table = shelf.runs("").1;
    assert_eq!(table.lines().count(), 5, "{table}");
}

#[test]
fn a_run_is_shown_with_what_it_takes() {
    let shelf = Shelf::new();
    shelf.soak("a", true, &[]);
    let latest = shelf.soak("a", false, &[]);
    let (code, shown, _) = shelf.runs("show latest");
    assert_eq!(code, 0);
    assert!(shown.starts_with(&format!("run        {latest}, FAIL\nfolder     ")));
    assert!(shown.contains(" KiB on disk in 6 files\n"), "{shown}");
    assert!(shown.ends_with("\nFAIL\n"), "the report follows: {shown}");
    let value = shelf.json(&format!("show {latest}"));
    assert_eq!(value["state"], "FAIL");
    assert_eq!(value["report"]["counts"]["error"], 4);
    assert_eq!(value["size"]["files"], 6);
    assert!(value["size"]["bytes"].as_u64().unwrap() >= 4_096);
    let (code, _, stderr) = shelf.runs("show nothing");
    assert_eq!(code, 2);
    assert!(stderr.contains("hint: list the recorded runs"), "{stderr}");
}

#[test]
fn old_runs_go_and_what_is_needed_stays() {
    let shelf = Shelf::new();
    let first = shelf.soak("a", true, &[]);
    let second = shelf.soak("a", true, &[]);
    let third = shelf.soak("a", false, &[]);
    let other = shelf.soak("b", true, &[]);
    let fourth = shelf.soak("a", false, &[]);
    let notes = shelf.bench.path("runs/notes");
    std::fs::create_dir(&notes).unwrap();
    let before = shelf.names();

    let (code, told, _) = shelf.runs("prune --keep 1 --dry-run");
    assert_eq!(code, 0);
    assert!(told.contains(&format!("would remove {first}  ")), "{told}");
    assert!(told.contains("would remove 2 runs, "), "{told}");
    assert_eq!(shelf.names(), before, "nothing went");

    let (code, told, _) = shelf.runs("prune --keep 1");
    assert_eq!(code, 0);
    assert!(
        told.contains("removed 2 runs, ") && told.contains(" freed; kept 3 runs"),
        "{told}"
    );
    assert!(
        told.contains("kept besides: 1, the newest PASS of its scenario"),
        "{told}"
    );
    assert!(!shelf.names().contains(&first) && !shelf.names().contains(&third));
    assert_eq!(shelf.listed(""), [second, other, fourth]);
    assert!(notes.exists());

    let (_, told, _) = shelf.runs("prune --keep 9 --name a");
    assert!(told.ends_with("; kept 2 runs of a\n"), "{told}");
    let pruned = shelf.json("prune --keep 0 --name a");
    assert_eq!(pruned["removed"].as_array().unwrap().len(), 2);
    assert!(pruned["freed_bytes"].as_u64().unwrap() > 0);
    assert_eq!(shelf.listed("").len(), 1);
    // The default is what the configuration says.
    assert_eq!(shelf.json("prune")["keep"], 100);
}

#[test]
fn a_run_that_goes_on_or_could_stays() {
    let shelf = Shelf::new();
    let url = shelf.good.url();
    let mut child = shelf
        .bench
        .command(&["soak", "--target", &url, "--queries", "queries.txt"])
        .args(["--qps", "20", "--duration", "60s", "--window", "200ms"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let windows = || {
        let run = shelf.names().pop_first()?;
        let file = shelf.bench.path("runs").join(run).join("windows.jsonl");
        std::fs::metadata(file).ok().filter(|found| found.len() > 0)
    };
    eventually(Duration::from_secs(20), windows);
    assert_eq!(shelf.json("list")[0]["state"], "running");
    let pruned = shelf.json("prune --keep 0 --unfinished");
    assert_eq!(
        (pruned["kept_running"].as_u64(), shelf.names().len()),
        (Some(1), 1)
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        shelf.json("list --verdict unfinished")[0]["state"],
        "unfinished"
    );
    let pruned = shelf.json("prune --keep 0");
    assert_eq!(
        (pruned["kept_unfinished"].as_u64(), shelf.names().len()),
        (Some(1), 1)
    );
    let (code, told, _) = shelf.runs("prune --keep 0 --unfinished");
    assert_eq!((code, shelf.names().len()), (0, 0), "{told}");
}

#[test]
fn a_soak_pushes_old_runs_of_its_own_scenario_out_where_that_was_said() {
    let shelf = Shelf::new();
    let keep = [("ALFRED__SOAK__RETENTION_RUNS", "2")];
    let baseline = shelf.soak("a", true, &[]);
    let other = shelf.soak("b", false, &[]);
    shelf.soak("b", false, &[]);
    shelf.soak("b", false, &[]);
    shelf.soak("a", false, &[]);
    shelf.soak("a", false, &[]);
    assert_eq!(shelf.names().len(), 6, "a default removes nothing");
    let last = shelf.soak("a", false, &keep);
    let left = shelf.listed("list --name a");
    assert_eq!(left.len(), 3, "two, and the newest PASS: {left:?}");
    assert_eq!((&left[0], &left[2]), (&baseline, &last));
    assert!(
        shelf.names().contains(&other),
        "another scenario keeps its own"
    );
    // One that is recorded elsewhere pushes nothing out.
    let url = shelf.good.url();
    let elsewhere = shelf
        .bench
        .command(&["soak", "--target", &url, "--queries", "queries.txt"])
        .args(["--qps", "20", "--duration", "200ms", "--window", "100ms"])
        .args(["--name", "b", "--out", "elsewhere"])
        .args(["--threshold", "p95<30s"])
        .env("ALFRED__SOAK__RETENTION_RUNS", "1")
        .output()
        .unwrap();
    assert_eq!(told(&elsewhere).0, 0);
    assert_eq!(shelf.listed("list --name b").len(), 3);
    let none = [("ALFRED__SOAK__RETENTION_RUNS", "0")];
    let output = shelf
        .bench
        .command(&["runs", "prune"])
        .envs(none)
        .output()
        .unwrap();
    let (code, _, stderr) = told(&output);
    assert_eq!(code, 2);
    assert!(stderr.contains("soak.retention_runs is 0"), "{stderr}");
}
