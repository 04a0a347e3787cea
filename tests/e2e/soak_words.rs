//! What `alfred soak`, `alfred report` and `alfred runs` say to people who made a mistake, and of run
//! folders that somebody else wrote.

use crate::soak_bench::{Bench, Ran};
use crate::soak_target::{Behaviour, TestTarget};
use crate::synthetic_run::Synthetic;
use alfred::report::capacity;
use alfred::soak::capacity::CapacityRecord;
use alfred::soak::capacity::curve::{Point, curve};
use alfred::soak::capacity::record::TryRecord;
use serde_json::{Map, Value};
use std::path::Path;

fn soak(bench: &Bench, name: &str, more: &[&str]) -> Ran {
    let target = TestTarget::start(Behaviour::Status(200));
    let (url, run) = (target.url(), bench.path(name));
    let mut command = bench.command(&["soak", "--target", &url, "--qps", "50", "--out"]);
    command
        .arg(&run)
        .args(more)
        .env("QUERY_FILE", "queries.txt");
    Ran::of(&command.output().unwrap(), run)
}

#[test]
fn a_query_set_that_is_not_used_is_told_and_not_claimed() {
    let bench = Bench::new();
    let ran = soak(&bench, "unused", &["--body", "x", "--duration", "200ms"]);
    let told = "/queries.txt is not used: neither the body nor the target has a place";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    assert!(ran.stderr.contains("{{query}}"), "{}", ran.stderr);
    assert!(ran.stdout.contains("no query set"), "{}", ran.stdout);
    let used = soak(&bench, "used", &["--duration", "200ms"]);
    assert!(!used.stderr.contains("warning"), "{}", used.stderr);
    assert!(
        used.stdout.contains("query set of 3 texts"),
        "{}",
        used.stdout
    );
}

#[test]
fn a_count_that_was_not_reached_is_noted() {
    let bench = Bench::new();
    let flags = ["--count", "1000", "--duration", "200ms"];
    let ran = soak(&bench, "short", &flags);
    let told = "1,000 requests were asked for, and 10 fall due in 200ms";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let noted = "10 of 1,000 requests that were asked for fell due: the duration ended the run";
    assert!(ran.stdout.contains(noted), "{}", ran.stdout);
    let page = std::fs::read_to_string(ran.run.join("report.html")).unwrap();
    assert!(page.contains(noted));
    let reached = soak(&bench, "reached", &["--count", "10", "--duration", "1s"]);
    assert!(!reached.stdout.contains("asked for"), "{}", reached.stdout);
}

#[test]
fn what_is_mistyped_is_refused_with_the_right_form() {
    let bench = Bench::new();
    for (flags, told) in [
        (["--check", "/status = \"ok\""], "write /status == \"ok\""),
        (["--check", "/hits => 3"], "write /hits >= 3"),
        (["--duration", ""], "\"\" is not a duration such as"),
    ] {
        let ran = soak(&bench, "none", &flags);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

#[test]
fn a_search_and_a_damaged_run_lead_on() {
    let bench = Bench::new();
    let said = |folder: &str| {
        let output = bench.command(&["report", folder]).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    std::fs::create_dir(bench.path("search")).unwrap();
    std::fs::write(bench.path("search/capacity.json"), "{}").unwrap();
    let (code, stderr) = said("search");
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("\nhint: it is a search for the capacity"),
        "{stderr}"
    );
    assert!(stderr.contains("alfred runs show search"), "{stderr}");

    Synthetic::quiet(3).write(&bench.path("damaged"));
    let hlog = bench.path("damaged/latency.hlog");
    let whole = std::fs::read_to_string(&hlog).unwrap();
    std::fs::write(&hlog, whole.replace("Tag=", "Gat=")).unwrap();
    let (code, stderr) = said("damaged");
    assert_eq!(code, 1, "{stderr}");
    assert!(!stderr.contains("ParseError"), "{stderr}");
    assert!(
        stderr.contains("\nhint: restore the file from a copy"),
        "{stderr}"
    );
    std::fs::write(&hlog, whole).unwrap();
    std::fs::write(bench.path("damaged/verdict.json"), "{").unwrap();
    let (_, stderr) = said("damaged");
    assert!(stderr.contains("alfred soak --resume damaged"), "{stderr}");
}

#[test]
fn a_rate_that_held_at_its_second_try_is_shown_as_held() {
    let step = |rate: f64, answer: &str| -> TryRecord {
        serde_json::from_value(serde_json::json!({
            "number": 1, "run": "01-20", "leg": "climb", "rate_per_s": rate, "answer": answer,
            "reasons": [], "response_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0}, "error_rate": 0.0, "errors_by_cause": {},
            "counts": {"due": 1, "ok": 1, "error": 0, "shed": 0, "in_flight_at_end": 0},
            "sustained_per_s": rate, "lag_p99_ms": null, "usage": {"generator_cores": 0.1},
        }))
        .unwrap()
    };
    let points = curve(&[
        step(10.0, "held"),
        step(20.0, "broke"),
        step(20.0, "held"),
        step(40.0, "broke"),
        step(40.0, "broke"),
    ]);
    let held: Vec<bool> = points.iter().map(Point::is_held).collect();
    assert_eq!(held, [true, true, false]);
    let json = serde_json::to_value(&points).unwrap();
    assert_eq!(
        (&json[1]["held"], &json[1]["tried"], &json[1]["holds"]),
        (&1.into(), &2.into(), &true.into())
    );
    let record: CapacityRecord = serde_json::from_value(serde_json::json!({
        "format": 1, "version": "0", "name": "x", "target": "http://x:1/", "start": "", "took_s": 1.0,
        "host": {"hostname": "", "kernel": "", "machine": "", "cpus": 1, "memory_bytes": 1},
        "asked": {"from_per_s": 10.0, "up_to_per_s": 40.0, "precision": 0.1, "step_s": 1.0,
            "confirm_s": 3.0, "warmup_s": 0.0, "thresholds": [], "sustained_share": 0.99,
            "most_steps": 9, "most_s": 9.0},
        "verdict": null, "reasons": [], "held": null, "confirmed": false, "broke": null,
        "curve": json, "knee": null, "saturated": [], "steps": [],
    }))
    .unwrap();
    let text = capacity::text(&record, Path::new("x"), false);
    for line in text.lines().filter(|line| line.contains("1/2")) {
        assert!(line.starts_with('✓'), "{text}");
    }
    let page = capacity::page(&record);
    assert!(
        page.contains("✓ 1 of 2") && page.contains("✗ 0 of 2"),
        "{page}"
    );
}

/// Puts what a terminal obeys into every text of a record that is free to choose.
fn poison(value: &mut Value) {
    const FIXED: [&str; 4] = ["verdict", "event", "wall", "status"];
    match value {
        Value::String(text) => text.push_str("\u{1b}[31m\u{7}\u{9b}\u{202e}x"),
        Value::Array(values) => values.iter_mut().for_each(poison),
        Value::Object(fields) => {
            let old: Map<String, Value> = std::mem::take(fields);
            for (key, mut value) in old {
                if !FIXED.contains(&key.as_str()) {
                    poison(&mut value);
                }
                fields.insert(key, value);
            }
        }
        _ => {}
    }
}

fn poison_file(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let poisoned = serde_json::Deserializer::from_str(&text)
        .into_iter::<Value>()
        .fold(String::new(), |file, value| {
            let mut value = value.unwrap();
            poison(&mut value);
            if let Some(causes) = value.get_mut("errors_by_cause") {
                *causes = serde_json::json!({"\u{1b}]0;title\u{7}": 3});
            }
            file + &value.to_string() + "\n"
        });
    std::fs::write(path, poisoned).unwrap();
}

#[test]
fn a_run_folder_from_elsewhere_sends_no_command_to_a_terminal() {
    let bench = Bench::new();
    let folder = bench.path("runs/hostile");
    std::fs::create_dir(bench.path("runs")).unwrap();
    let other = bench.path("runs/other");
    Synthetic::troubled().write(&folder);
    let second = Synthetic {
        id: "2f0c2d3e",
        ..Synthetic::troubled()
    };
    second.write(&other);
    for file in ["run.json", "verdict.json", "events.jsonl"] {
        poison_file(&folder.join(file));
        poison_file(&other.join(file));
    }
    let told = |arguments: &[&str]| {
        let output = bench.command(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).unwrap() + &stderr
    };
    let is_command = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for arguments in [
        &["report", "hostile"][..],
        &["report", "hostile", "--baseline", "hostile"],
        &["report", "hostile", "other"],
        &["runs", "show", "hostile"],
        &["runs", "list"],
        &["report", "hostile", "--json"],
        &["runs", "show", "hostile", "--json"],
    ] {
        let text = told(arguments);
        assert!(!text.contains(is_command), "{arguments:?}: {text:?}");
    }
    let text = told(&["report", "hostile"]);
    assert!(text.contains("·[31m"), "{text}");
    for format in ["junit", "prom"] {
        let text = told(&["report", "hostile", "--format", format]);
        let is_forbidden = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(is_forbidden), "{text:?}");
    }
}
