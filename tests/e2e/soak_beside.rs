//! What is recorded beside the requests: what a process used, and a disk that fills.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, Ran, assert_folder_agrees};
use crate::soak_target::{Behaviour, TestTarget};
use alfred::soak::event::Event;
use alfred::soak::run_folder;
use std::process::{Command, Stdio};

/// A shell whose child takes memory, opens files and burns CPU, a few seconds after it began.
const GREEDY: &str = "import os, time\n\
    time.sleep(1.2)\n\
    held = bytearray(80 << 20)\n\
    files = [open('/dev/null') for _ in range(50)]\n\
    end = time.process_time() + 0.5\n\
    while time.process_time() < end: pass\n\
    time.sleep(60)\n";

fn soak_beside_a_greedy_child(bench: &Bench, target: &TestTarget) -> Ran {
    let mut parent = Command::new("sh")
        .args(["-c", "python3 -c \"$GREEDY\" & wait"])
        .env("GREEDY", GREEDY)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let flags = format!(
        "--qps 20 --duration 5s --window 500ms --pid {}",
        parent.id()
    );
    let ran = bench.soak("greedy", &target.url(), &flags);
    // The shell and its child: the group is not theirs alone, so each by its own pid.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id()));
    for child in children.unwrap_or_default().split_whitespace() {
        let pid = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let _ = parent.kill();
    parent.wait().unwrap();
    ran
}

#[test]
fn a_child_that_takes_memory_and_descriptors_is_seen() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let ran = soak_beside_a_greedy_child(&bench, &target);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);

    let windows = run_folder::read(&ran.run).unwrap().windows;
    let units: Vec<_> = windows
        .iter()
        .filter_map(|window| window.unit.as_ref())
        .collect();
    assert!(
        units.len() >= 7,
        "{} of {} windows were sampled",
        units.len(),
        windows.len()
    );
    let (first, last) = (units[0], units[units.len() - 1]);
    assert_eq!(last.processes, Some(2));
    let gained = last.rss_bytes.unwrap() - first.rss_bytes.unwrap();
    assert!((70 << 20..110 << 20).contains(&gained), "{gained}");
    assert!(last.anon_bytes.unwrap() > first.anon_bytes.unwrap() + (70 << 20));
    assert!(last.pss_bytes.unwrap() > first.pss_bytes.unwrap() + (70 << 20));
    let opened = last.descriptors.unwrap() - first.descriptors.unwrap();
    assert_eq!(opened, 50);
    let cpu_s: f64 = units.iter().filter_map(|unit| unit.cpu_s).sum();
    assert!((0.4..1.5).contains(&cpu_s), "{cpu_s}");
    assert!(units.iter().any(|unit| unit.voluntary_switches > Some(0)));
    let hosts = windows.iter().filter_map(|window| window.host.as_ref());
    assert!(hosts.clone().count() >= 7 && hosts.clone().all(|host| host.free_bytes.is_some()));
    assert!(
        windows
            .iter()
            .all(|window| window.resources.generator_rss_bytes > Some(1 << 20))
    );

    assert!(
        ran.stdout.contains("\nunit       process "),
        "{}",
        ran.stdout
    );
    let csv = bench
        .command(&["report", "greedy", "--format", "csv"])
        .output()
        .unwrap();
    let csv = String::from_utf8(csv.stdout).unwrap();
    let place = csv
        .lines()
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == "unit_descriptors");
    let value = csv
        .lines()
        .last()
        .unwrap()
        .split(',')
        .nth(place.unwrap())
        .unwrap();
    assert_eq!(value, last.descriptors.unwrap().to_string());
}

#[test]
fn chosen_metrics_of_the_target_are_kept_beside_the_windows() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Metrics);
    let own = std::process::id();
    let flags = format!("--qps 20 --duration 3s --window 1s --pid {own}");
    let ran = bench.soak("metrics", &target.url(), &flags);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let windows = run_folder::read(&ran.run).unwrap().windows;
    let hits = "embedding_cache_hits_total{tier=\"memory\"}";
    let counted: Vec<f64> = windows.iter().map(|window| window.metrics[hits]).collect();
    assert_eq!(counted.len(), 3);
    assert!(counted.is_sorted() && counted[0] > 0.0, "{counted:?}");
    for window in &windows {
        assert!((window.metrics["process_open_fds"] - 7.0).abs() < 1e-9);
        assert!(!window.metrics.contains_key("other_total"));
    }

    // Where there are none: told once when they were named, and the run is none the worse.
    let target = TestTarget::start(Behaviour::Status(404));
    let flags = format!("{flags} --expect-status 404");
    let ran = bench.soak("quiet", &target.url(), &flags);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains("not sampled"), "{}", ran.stderr);
    let nowhere = format!("{flags} --metrics http://{}/nowhere", target.address);
    let ran = bench.soak("named", &target.url(), &nowhere);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told = ran.stderr.matches("/nowhere: status 404").count();
    assert_eq!(told, 1, "{}", ran.stderr);
}

#[test]
fn a_process_that_ends_is_an_event_and_an_unknown_unit_is_told_once() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let mut short = Command::new("sleep").arg("1").spawn().unwrap();
    let pid = short.id();
    // Whoever does not wait for it leaves a zombie, which still is a process.
    let waiting = std::thread::spawn(move || short.wait().unwrap());
    let flags = "--qps 20 --duration 3s --window 500ms";
    let ran = bench.soak("gone", &target.url(), &format!("{flags} --pid {pid}"));
    waiting.join().unwrap();
    let events = run_folder::read(&ran.run).unwrap().events;
    assert!(
        events
            .iter()
            .any(|record| record.event == Event::ProcessGone { pid }),
        "{events:?}"
    );
    let ran = bench.soak(
        "unit",
        &target.url(),
        &format!("{flags} --unit no-such-unit-at-all"),
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told = ran
        .stderr
        .matches("not sampled: no-such-unit-at-all.service")
        .count();
    assert_eq!(told, 1, "{}", ran.stderr);
    let windows = run_folder::read(&ran.run).unwrap().windows;
    assert!(windows.iter().all(|window| window.unit.is_none()));
}

/// The run folder is on a file system of 200 KB, which something else fills for a while.
#[test]
fn a_full_disk_costs_no_window() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    std::fs::create_dir(bench.path("small")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=200k none small || exit 90
        "$ALFRED" soak --target "$TARGET" --queries queries.txt --qps 40 --duration 6s --window 500ms \
            --out small/run 2>said >told &
        pid=$!
        until [ -s small/run/windows.jsonl ]; do sleep 0.05; done
        dd if=/dev/zero of=small/ballast bs=1k count=300 2>/dev/null
        until grep -q 'cannot be written' said; do sleep 0.05; done
        cp -r small/run torn
        sleep 1
        rm small/ballast
        wait $pid
        echo "soak: $?"
        cp -r small/run whole
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .current_dir(bench.path(""))
        .env("ALFRED", env!("CARGO_BIN_EXE_alfred"))
        .env("TARGET", target.url())
        .output()
        .unwrap();
    let said = std::fs::read_to_string(bench.path("said")).unwrap_or_default();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("soak: 0"), "{stdout}\n{said}");
    assert!(said.contains("windows are kept in memory"), "{said}");
    assert!(said.contains("can be written again"), "{said}");
    // What was on disk while there was no room is whole.
    let torn = run_folder::read(&bench.path("torn")).unwrap();
    let whole = run_folder::read(&bench.path("whole")).unwrap();
    assert!(
        (1..12).contains(&torn.windows.len()),
        "{}",
        torn.windows.len()
    );
    assert_eq!(whole.windows.len(), 12);
    assert_eq!(whole.tally.counts.ok, 240);
    let verdict = std::fs::read(bench.path("whole/verdict.json")).unwrap();
    assert_folder_agrees(
        &bench.path("whole"),
        &serde_json::from_slice(&verdict).unwrap(),
    );
    let kinds: Vec<_> = whole
        .events
        .iter()
        .filter(|record| {
            matches!(
                record.event,
                Event::DiskTrouble { .. } | Event::DiskBack { .. }
            )
        })
        .collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}
