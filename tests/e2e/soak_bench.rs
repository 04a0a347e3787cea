//! Runs `alfred soak` as a user does, and checks what holds of every run.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use alfred::soak::latency::Series;
use alfred::soak::run_folder;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A place for a query file and run folders.
pub(crate) struct Bench {
    folder: TempDir,
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) run: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queries = "How do I upgrade?\n\nWhat is p95?\nWhich \"metrics\" are there?\n";
        std::fs::write(folder.path().join("queries.txt"), queries).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_by(&[], arguments)
    }

    fn command_by(&self, by: &[&str], arguments: &[&str]) -> Command {
        let alfred = env!("CARGO_BIN_EXE_alfred");
        let mut command = Command::new(by.first().unwrap_or(&alfred));
        if let [_, rest @ ..] = by {
            command.args(rest).arg(alfred);
        }
        command.args(arguments).current_dir(self.folder.path());
        command.env("ALFRED__SOAK__RUNS_DIR", self.path("runs"));
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
    pub(crate) fn soak(&self, name: &str, target: &str, flags: &str) -> Ran {
        self.soak_by(&[], name, target, flags)
    }

    /// The same before all other programs of the machine, where this user may, so that what those do is not
    /// measured.
    pub(crate) fn soak_first(&self, name: &str, target: &str, flags: &str) -> Ran {
        self.soak_by(before_others(), name, target, flags)
    }

    /// Started by the program `by`, where there is one.
    fn soak_by(&self, by: &[&str], name: &str, target: &str, flags: &str) -> Ran {
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
        let output = self.command_by(by, &arguments).output().unwrap();
        Ran::of(&output, run)
    }
}

/// The command that starts a program before all other programs of the machine; none where this user may
/// not.
pub(crate) fn before_others() -> &'static [&'static str] {
    let real_time: &[&str] = &["chrt", "--rr", "1"];
    let mut trial = Command::new(real_time[0]);
    let trial = trial.args(&real_time[1..]).arg("true").output();
    let may = trial.is_ok_and(|output| output.status.success());
    if may { real_time } else { &[] }
}

impl Ran {
    pub(crate) fn of(output: &Output, run: PathBuf) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
            run,
        }
    }

    pub(crate) fn verdict(&self) -> Value {
        let text = std::fs::read(self.run.join("verdict.json"))
            .unwrap_or_else(|error| panic!("{error}: {}", self.stderr));
        serde_json::from_slice(&text).unwrap()
    }

    pub(crate) fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.verdict()["counts"][name].as_u64().unwrap()
    }

    /// The lines of `windows.jsonl`.
    pub(crate) fn windows(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run.join("windows.jsonl")).unwrap();
        let parse = |line| serde_json::from_str(line).unwrap();
        text.lines().map(parse).collect()
    }

    /// What holds of every run, however the target behaves.
    pub(crate) fn assert_sound(&self, due: u64) {
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
        let causes = self.verdict()["errors_by_cause"].clone();
        let of_causes = causes.as_object().unwrap().values();
        let of_causes: u64 = of_causes.map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(of_causes, ends[1], "{causes}");
        assert_folder_agrees(&self.run, &self.verdict());
    }
}

/// The windows add up to the verdict, and the histogram log gives its percentiles.
pub(crate) fn assert_folder_agrees(folder: &Path, verdict: &Value) {
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

pub(crate) fn p95_ms(verdict: &Value) -> f64 {
    verdict["response_ms"]["p95"].as_f64().unwrap()
}

/// Timing tests share the machine with whatever else runs: a few attempts, all shown.
pub(crate) fn within_attempts(limit: u32, mut attempt: impl FnMut(u32) -> Result<(), String>) {
    let mut problems = Vec::new();
    for number in 0..limit {
        match attempt(number) {
            Ok(()) => return,
            Err(problem) => problems.push(problem),
        }
    }
    panic!("{}", problems.join("\n---\n"));
}
