//! What goes and what stays, and that nothing else is touched.

use super::*;
use crate::soak::record::FORMAT;
use serde_json::json;

/// A run folder as far as this module reads it.
fn make(runs: &Path, name: &str, scenario: &str, verdict: Option<&str>) -> PathBuf {
    let folder = runs.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let scenario_record = json!({
        "method": "POST", "header_names": [], "queries": null, "query_count": 0, "unique": false,
        "qps": 10.0, "duration_s": 60.0, "window_s": 10.0, "warmup_s": 0.0, "arrivals": "uniform",
        "seed": 1, "timeout_ms": 1, "grace_ms": 1, "max_in_flight": 1, "expected_status": [],
        "thresholds": [],
    });
    let run = json!({
        "format": FORMAT, "id": "x", "name": scenario, "target": "http://x/", "version": "0",
        "scenario": scenario_record,
        "host": {"hostname": "h", "kernel": "k", "machine": "m", "cpus": 1, "memory_bytes": 1},
        "start": {"wall": "2026-11-29T00:00:00Z", "monotonic_ns": 0, "boottime_ns": 0},
    });
    std::fs::write(folder.join(files::RUN), run.to_string()).unwrap();
    std::fs::write(folder.join(files::WINDOWS), "").unwrap();
    if let Some(verdict) = verdict {
        let percentiles = json!({});
        let record = json!({
            "verdict": verdict, "reasons": [], "response_ms": percentiles, "ok_ms": percentiles,
            "service_ms": percentiles, "lag_ms": percentiles,
            "counts": {"due": 0, "ok": 0, "error": 0, "shed": 0, "in_flight_at_end": 0},
            "errors_by_kind": {}, "error_rate": null, "throughput_per_s": 0.0, "thresholds": [],
            "drift": [], "steps": [],
            "cache": {"query_count": 0, "unique": false, "answers": 0, "hit_rate": null},
            "generator": {"cpu_cores": 0.0, "lag_p99_ms": null},
            "coverage": {"measured_s": 0.0, "windows_planned": 0, "windows_recorded": 0,
                         "stopped_early": false, "suspended_ms": 0, "wall_step_ms": 0},
        });
        std::fs::write(folder.join(files::VERDICT), record.to_string()).unwrap();
    }
    folder
}

/// The names of entries that go.
fn going(entries: &[Entry], wish: &Wish) -> Vec<String> {
    let fates = plan(entries, wish);
    assert_eq!(fates.len(), entries.len());
    let gone = entries.iter().zip(fates).filter(|(_, fate)| fate.is_none());
    gone.map(|(entry, _)| entry.name()).collect()
}

fn keep(keep: usize) -> Wish {
    Wish {
        keep,
        ..Wish::default()
    }
}

#[test]
fn the_oldest_of_each_scenario_go_and_the_newest_pass_stays() {
    let home = tempfile::tempdir().unwrap();
    let runs = home.path();
    make(runs, "1-a", "a", Some("PASS"));
    make(runs, "2-a", "a", Some("PASS"));
    make(runs, "3-b", "b", Some("PASS"));
    make(runs, "4-a", "a", Some("FAIL"));
    make(runs, "5-a", "a", None);
    make(runs, "6-a", "a", Some("INVALID"));
    let entries = entries(runs).unwrap();
    assert_eq!(entries.len(), 6);
    assert_eq!(going(&entries, &keep(2)), ["1-a"], "2-a is the newest PASS");
    assert_eq!(going(&entries, &keep(1)), ["1-a", "4-a"]);
    assert_eq!(
        going(&entries, &keep(0)),
        ["1-a", "2-a", "3-b", "4-a", "6-a"]
    );
    assert_eq!(going(&entries, &keep(9)), [""; 0]);
    let unfinished = Wish {
        unfinished: true,
        ..keep(1)
    };
    assert_eq!(going(&entries, &unfinished), ["1-a", "4-a", "5-a"]);
    let of_b = Wish {
        scenario: Some("b".to_owned()),
        ..keep(0)
    };
    assert_eq!(going(&entries, &of_b), ["3-b"]);
    let spared = Wish {
        spare: Some(runs.join("4-a")),
        ..keep(1)
    };
    assert_eq!(going(&entries, &spared), ["1-a"]);
}

#[test]
fn what_is_recorded_damaged_or_a_link_stays() {
    let home = tempfile::tempdir().unwrap();
    let runs = &home.path().join("runs");
    let running = make(runs, "1-a", "a", None);
    let held = File::open(running.join(files::WINDOWS)).unwrap();
    held.lock().unwrap();
    let damaged = make(runs, "2-a", "a", Some("PASS"));
    std::fs::write(damaged.join(files::RUN), "{").unwrap();
    let elsewhere = make(home.path(), "3-a", "a", Some("FAIL"));
    std::os::unix::fs::symlink(&elsewhere, runs.join("3-a")).unwrap();
    std::fs::create_dir(runs.join("notes")).unwrap();
    std::fs::write(runs.join("file"), "").unwrap();
    let entries = entries(runs).unwrap();
    let states: Vec<_> = entries.iter().map(|entry| entry.state.as_str()).collect();
    assert_eq!(states, ["running", "FAIL", "damaged"]);
    let all = Wish {
        unfinished: true,
        ..keep(0)
    };
    let fates = plan(&entries, &all);
    let expected = [Stays::Running, Stays::Link, Stays::Damaged].map(Some);
    assert_eq!(fates, expected);
    for (name, why) in [
        ("1-a", "a process is recording it"),
        ("3-a", "it is no folder"),
        ("file", "it is no folder"),
        ("notes", "it is not the folder of a run"),
    ] {
        let error = remove(&runs.join(name)).unwrap_err();
        assert_eq!(error.source.to_string(), why);
        assert!(runs.join(name).exists(), "{name}");
    }
    drop(held);
    assert!(entry(&running).state == State::Unfinished);
    remove(&running).unwrap();
    assert!(!running.exists() && elsewhere.exists());
}

#[test]
fn a_removal_follows_no_link_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let runs = &home.path().join("runs");
    let folder = make(runs, "1-a", "a", Some("PASS"));
    let precious = home.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("file"), vec![1; 100_000]).unwrap();
    std::os::unix::fs::symlink(&precious, folder.join("evidence")).unwrap();
    std::fs::write(folder.join(files::HISTOGRAMS), vec![1; 50_000]).unwrap();
    let before = size(&folder);
    assert_eq!(before.files, 4);
    assert!((50_000..100_000).contains(&before.bytes), "{before:?}");
    assert_eq!(remove(&folder).unwrap(), before.bytes);
    assert_eq!(std::fs::read_dir(runs).unwrap().count(), 0);
    assert!(precious.join("file").exists());
    // What was cut off in the middle is no run, and goes with the next one.
    make(runs, ".pruned-0-a", "a", Some("PASS"));
    assert!(entries(runs).unwrap().is_empty());
    sweep(runs);
    assert_eq!(std::fs::read_dir(runs).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_not_there_has_no_runs() {
    assert!(entries(Path::new("/nonexistent/runs")).unwrap().is_empty());
}

#[test]
fn the_newest_are_listed_and_links_are_not() {
    let home = tempfile::tempdir().unwrap();
    let runs = home.path();
    for day in 10..15 {
        make(
            runs,
            &format!("202611{day}T134501Z-soak-1f0c2d3e"),
            "soak",
            Some("PASS"),
        );
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let other = make(elsewhere.path(), "other", "soak", None);
    std::os::unix::fs::symlink(&other, runs.join("20261120T134501Z-soak-77aa01b2")).unwrap();
    std::fs::create_dir(runs.join("no-run")).unwrap();
    let listed = newest(runs, 2).unwrap();
    let names: Vec<String> = listed.entries.iter().map(Entry::name).collect();
    let days = ["20261114", "20261113"].map(|day| format!("{day}T134501Z-soak-1f0c2d3e"));
    assert_eq!((names, listed.total), (days.to_vec(), 5));
    assert_eq!(newest(&runs.join("none"), 2).unwrap().total, 0);
}
