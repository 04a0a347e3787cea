//! Verdicts of soaks for node_exporter's textfile collector.

use super::living::FAILING;
use crate::soak_bench::Bench;
use crate::soak_target::{Behaviour, TestTarget};
use alfred::clock::{Clock as _, SystemClock};
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

/// promtool finds nothing to say.
#[track_caller]
pub(super) fn assert_sound(text: &str) {
    let said = crate::support::promtool_says(text);
    assert!(said.trim().is_empty(), "{said}\n{text}");
}

fn value(text: &str, series: &str) -> f64 {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found
        .unwrap_or_else(|| panic!("no {series} in {text}"))
        .parse()
        .unwrap()
}

/// The command of the drop-in, as systemd would give it to the shell.
fn command_of_drop_in() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/examples/textfile.conf");
    let text = std::fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStopPost=+/bin/sh -c '"));
    let line = line.unwrap().strip_suffix('\'').unwrap();
    line.replace("$$", "$").replace("%i", "night")
}

#[test]
fn the_drop_in_hands_over_the_last_run_that_has_a_verdict() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let runs = bench.path("runs");
    let run = |name: &str, flags: &str| {
        let out = format!("runs/20261129T22000{name}");
        bench.soak(
            &out,
            &target.url(),
            &format!("--qps 50 --duration 400ms --window 200ms {flags}"),
        )
    };
    assert_eq!(run("0Z-night-0a0b0c0d", FAILING).code, 99);
    assert_eq!(run("1Z-night-0a0b0c0e", "--threshold p95<60s").code, 0);
    // One that was cut off, and one of another scenario.
    let cut = run("2Z-night-0a0b0c0f", FAILING);
    std::fs::remove_file(cut.run.join("verdict.json")).unwrap();
    assert_eq!(run("3Z-night-long-0a0b0c0f", FAILING).code, 99);
    let (bin, files) = (bench.path("bin"), bench.path("files"));
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(&files).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_alfred"), bin.join("alfred")).unwrap();
    let hand_over = || {
        Command::new("/bin/sh")
            .args(["-c", &command_of_drop_in()])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("ALFRED__SOAK__RUNS_DIR", &runs)
            .env("TEXTFILES", &files)
            .output()
            .unwrap()
    };
    let done = hand_over();
    assert!(done.status.success(), "{done:?}");
    let names = std::fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["alfred-soak-night.prom"]);
    let text = std::fs::read_to_string(files.join("alfred-soak-night.prom")).unwrap();
    assert_sound(&text);
    let one = |series: &str, expected: f64| {
        let found = value(&text, series);
        assert!((found - expected).abs() < 1e-9, "{series}: {found}");
    };
    one(
        "alfred_soak_verdict{scenario=\"soak\",verdict=\"PASS\"}",
        1.0,
    );
    one("alfred_soak_error_rate{scenario=\"soak\"}", 0.0);
    one("alfred_soak_requests{scenario=\"soak\",end=\"ok\"}", 20.0);
    one(
        "alfred_soak_threshold_held{scenario=\"soak\",expr=\"p95<60s\",scope=\"run\"}",
        1.0,
    );
    let now = SystemClock
        .wall()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let age = now
        - value(
            &text,
            "alfred_soak_end_timestamp_seconds{scenario=\"soak\"}",
        );
    assert!((-2.0..120.0).contains(&age), "{age}");
}
