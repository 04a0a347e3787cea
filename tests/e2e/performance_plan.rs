//! The performance test plan: its page, its query set, the quick gate's harness, k6 and the mock.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::answers::manual;
use crate::provider::Standin;
use crate::soak_bench::{Bench, before_others, within_attempts};
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::{Done, Home, finish, installed_by};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The plan's own, which come first.
const FIRST: [&str; 5] = [
    "How do I upgrade the Helm chart?",
    "What is the default p95 latency target?",
    "How does the EmbeddingRepo interface work?",
    "What are the key metrics exported by the retrieval endpoint?",
    "Explain the vector schema design for PostgreSQL",
];

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(tree(path)).unwrap()
}

/// A program with this tree's alfred and without the variables of a gate.
fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command
        .env("ALFRED", env!("CARGO_BIN_EXE_alfred"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in [
        "TARGET_URL",
        "QPS",
        "DURATION",
        "QUERY_FILE",
        "RELEVANCE_FILE",
        "POSTGRES_DSN",
        "OPENAI_API_KEY",
    ] {
        command.env_remove(name);
    }
    command
}

fn python(script: &str) -> Command {
    let mut command = program("python3");
    command.arg(tree(script));
    command
}

fn run(command: &mut Command) -> Done {
    finish(command.spawn().unwrap())
}

/// `unshare` with a network of its own, in which every port is free; where this user may not, the one
/// that there is.
fn in_a_network_of_its_own(name: &str) -> Command {
    let ways: [&[&str]; 2] = [&["--net"], &["--map-current-user", "--keep-caps", "--net"]];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(way) = ways.iter().find(works) else {
        return program(name);
    };
    let mut command = program("unshare");
    command.args(*way).arg(name);
    command
}

#[test]
fn every_command_of_the_page_works() {
    let done = run(in_a_network_of_its_own("python3")
        .arg(tree("tests/plan/document.py"))
        .env("STANDIN", Standin::program())
        .env("PG_BIN", installed_by("postgres"))
        .env("K6", installed_by("k6")));
    println!("{}", done.stdout);
    done.expect(0);
}

/// Each question of the query set with the documents that were judged to answer it.
fn judged() -> Vec<(String, Vec<String>)> {
    let row = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        (cells.next().unwrap(), cells.collect())
    };
    text("perf/relevance.tsv").lines().map(row).collect()
}

#[test]
fn every_question_is_judged_by_documents_that_there_are() {
    let set = text("perf/queryset.txt");
    let questions: Vec<&str> = set.lines().collect();
    assert!(questions.len() >= 50 && questions.starts_with(&FIRST));
    let different: BTreeSet<&str> = questions.iter().copied().collect();
    assert_eq!(different.len(), questions.len(), "a question twice");
    let judged = judged();
    let order: Vec<&str> = judged
        .iter()
        .map(|(question, _)| question.as_str())
        .collect();
    assert_eq!(order, questions);
    for (question, sources) in &judged {
        let different: BTreeSet<&String> = sources.iter().collect();
        assert!(
            !sources.is_empty() && different.len() == sources.len(),
            "{question}"
        );
        for source in sources {
            assert!(tree(source).is_file(), "{question}: {source}");
        }
    }
}

#[test]
fn the_questions_find_the_documents_that_answer_them() {
    let (_home, daemon) = manual();
    let judged = judged();
    let is_hit = |(question, sources): &&(String, Vec<String>)| {
        let reply = daemon.ask(&json!({"query": question, "top_k": 3, "answer": "none"}));
        let citations = reply["citations"].as_array().unwrap();
        let found: Vec<&str> = citations
            .iter()
            .map(|c| c["source"].as_str().unwrap())
            .collect();
        let is_hit = found
            .iter()
            .any(|source| sources.iter().any(|judged| judged == source));
        if !is_hit {
            println!("missed: {question}: {found:?}, not {sources:?}");
        }
        is_hit
    };
    let hits = judged.iter().filter(is_hit).count();
    println!("hit rate@3: {hits} of {}", judged.len());
    assert!(
        hits * 10 >= judged.len() * 9,
        "only {hits} of {}",
        judged.len()
    );
}

/// The harness against a target, for a second at 50/s. On a busy machine any run may be INVALID, so that
/// it is tried until it ends as it has to, with a limit that bears a late generator.
fn harness(bench: &Bench, url: &str, arguments: &[&str], code: i32) -> Done {
    let mut ended = None;
    within_attempts(4, |_| {
        let done = run(python("perf/harness_scaffold.py")
            .args(["--threshold", "p95<3s", "--threshold", "error_rate<1%"])
            .args(arguments)
            .env("ALFRED__SOAK__RUNS_DIR", bench.path("runs"))
            .env("TARGET_URL", url)
            .env("QUERY_FILE", bench.path("queries.txt"))
            .env("QPS", "50")
            .env("DURATION", "1"));
        let told = format!("{done:?}");
        ended = (done.code == code).then_some(done);
        ended.as_ref().map(|_| ()).ok_or(told)
    });
    ended.unwrap()
}

/// The verdict of the run that passed.
fn passed(bench: &Bench) -> Value {
    let runs = std::fs::read_dir(bench.path("runs")).unwrap();
    let verdict = |run: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read(run.unwrap().path().join("verdict.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let mut verdicts = runs.map(verdict);
    verdicts
        .find(|verdict: &Value| verdict["verdict"] == "PASS")
        .unwrap()
}

/// The value of a line `name: value`.
#[track_caller]
fn line<'a>(done: &'a Done, name: &str) -> &'a str {
    let of_name = |line: &'a str| line.trim_start().strip_prefix(name)?.strip_prefix(": ");
    done.stdout
        .lines()
        .find_map(of_name)
        .unwrap_or_else(|| panic!("no {name} in {}{}", done.stdout, done.stderr))
}

#[test]
fn the_harness_prints_what_the_soak_found() {
    let target = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(20),
    });
    let bench = Bench::new();
    let done = harness(&bench, &target.url(), &[], 0);
    let verdict = passed(&bench);
    assert!(
        done.stdout
            .starts_with("📊 Performance Test Results\n====="),
        "{}",
        done.stdout
    );
    assert_eq!(
        (line(&done, "Total requests"), line(&done, "Successful")),
        ("50", "50")
    );
    assert_eq!(
        (line(&done, "Error rate"), line(&done, "error_rate")),
        ("0.00%", "0")
    );
    let p95: f64 = line(&done, "p95_latency_ms").parse().unwrap();
    let told = verdict["response_ms"]["p95"].as_f64().unwrap();
    assert!((p95 - told).abs() < 0.001, "{p95} {told}");
    for name in ["p50", "p99"] {
        let told = verdict["response_ms"][name].as_f64().unwrap();
        let shown = line(&done, name).trim_matches(['~', 'm', 's']);
        assert!(
            (shown.parse::<f64>().unwrap() - told).abs() < 0.06,
            "{shown} {told}"
        );
    }
    assert!(line(&done, "p95").ends_with("ms ✅"), "{}", done.stdout);
    assert_eq!(done.stdout.matches("✅ PASS\n").count(), 1);
    assert!(target.bodies()[0].contains("How do I upgrade?"));
}

#[test]
fn the_harness_ends_as_the_soak_did() {
    let bench = Bench::new();
    let failing = TestTarget::start(Behaviour::Status(500));
    let done = harness(&bench, &failing.url(), &[], 99);
    assert_eq!(
        (line(&done, "Successful"), line(&done, "Error rate")),
        ("0", "100.00%")
    );
    assert!(line(&done, "p95").ends_with(" ❌"), "{}", done.stdout);
    assert!(done.stdout.contains("\n❌ FAIL\n  - "), "{}", done.stdout);
    let silent = TestTarget::start(Behaviour::Silent);
    let flags = ["--max-in-flight", "5", "--timeout", "500ms"];
    let done = harness(&bench, &silent.url(), &flags, 98);
    assert!(
        line(&done, "p95").ends_with(" (not judged)"),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout.contains("INVALID: the run cannot be judged"),
        "{}",
        done.stdout
    );
    assert!(!done.stdout.contains("PASS\n"), "{}", done.stdout);
    // Without a run there is no block.
    let done = harness(&bench, &silent.url(), &["--qps", "none"], 2);
    assert_eq!(done.stdout, "");
    assert!(
        done.stderr.contains("no result: alfred soak ended with 2"),
        "{}",
        done.stderr
    );
    let missing = run(python("perf/harness_scaffold.py").env("ALFRED", "/nowhere/alfred"));
    let missing = missing.expect(1);
    assert!(
        missing.stderr.contains("hint: install alfred"),
        "{}",
        missing.stderr
    );
}

/// In place of alfred: notes its arguments, and has a verdict in which answers were judged.
const NOTING: &str = r#"#!/bin/sh
if [ "$*" = "soak --help" ]; then echo "$KNOWS"; exit; fi
echo "$QPS $DURATION $QUERY_FILE | $*" >"$(dirname "$0")/called"
echo '{"verdict": "PASS", "reasons": [], "counts": {"due": 600, "ok": 600}, "error_rate": 0.0,
  "response_ms": {"p50": 1.4, "p95": 5.25, "p99": null}, "thresholds": [], "hit_rate": 0.975}'
"#;

#[test]
fn the_harness_has_answers_judged_where_it_can() {
    let home = Home::new();
    let noting = home.write("alfred", NOTING);
    std::fs::set_permissions(&noting, std::fs::Permissions::from_mode(0o755)).unwrap();
    let asked = |knows: &str, variables: &[(&str, &str)]| {
        let mut command = python("perf/harness_scaffold.py");
        command.env("ALFRED", &noting).env("KNOWS", knows);
        let done = run(command
            .envs(variables.iter().copied())
            .current_dir(tree("")));
        let called = std::fs::read_to_string(home.path().join("called")).unwrap_or_default();
        let _ = std::fs::remove_file(home.path().join("called"));
        (done, called)
    };
    let judgments = tree("perf/relevance.tsv").display().to_string();
    let ours = ("QUERY_FILE", "perf/queryset.txt");
    let (done, called) = asked("  --relevance <FILE>", &[ours]);
    let done = done.expect(0);
    let expected = format!("10 60 perf/queryset.txt | soak --json --relevance {judgments}\n");
    assert_eq!(called, expected);
    assert_eq!(
        (line(&done, "Hit rate@3"), line(&done, "hit_rate_at_3")),
        ("97.5%", "0.975")
    );
    assert_eq!((line(&done, "p50"), line(&done, "p99")), ("~1.4ms", "–"));
    // Judgments of other queries say nothing of these.
    let (_, called) = asked("  --relevance <FILE>", &[("QUERY_FILE", "README.md")]);
    assert_eq!(called, "10 60 README.md | soak --json\n");
    let (_, called) = asked("  --queries <FILE>", &[]);
    assert!(
        called.ends_with("perf/queryset.txt | soak --json\n"),
        "{called}"
    );
    let named = [ours, ("RELEVANCE_FILE", "mine.tsv")];
    let (_, called) = asked("  --relevance <FILE>", &named);
    assert!(
        called.ends_with("soak --json --relevance mine.tsv\n"),
        "{called}"
    );
    let (done, called) = asked("  --queries <FILE>", &named);
    assert!(done.expect(2).stderr.contains("RELEVANCE_FILE is set") && called.is_empty());
}

#[test]
fn a_mock_is_never_taken_for_a_result() {
    let home = Home::new();
    let mock = |arguments: &[&str]| {
        run(python("perf/mock_performance_results.py")
            .args(arguments)
            .current_dir(home.path()))
    };
    let done = mock(&[]).expect(0);
    assert_eq!(
        (line(&done, "Total requests"), line(&done, "Successful")),
        ("600", "597")
    );
    let marked = ["📊 MOCK Performance Test Results", "MOCK ✅ PASS"];
    assert!(
        marked
            .iter()
            .all(|mark| done.stdout.lines().any(|line| line == *mark))
    );
    assert!(!done.stdout.contains("p95_latency_ms") && !done.stdout.contains("\n✅"));
    let file = home.path().join("mock_performance_results.json");
    let record: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(
        (&record["mock"], &record["verdict"]),
        (&json!(true), &Value::Null)
    );
    let seeded = ["--seed", "3", "--out", "three.json"];
    let three = mock(&seeded).expect(0).stdout;
    assert_eq!(three, mock(&seeded).expect(0).stdout);
    assert_ne!(three, done.stdout);
    assert!(
        mock(&["--out", "run/verdict.json"])
            .expect(2)
            .stderr
            .contains("real results")
    );
    // Not even under that name is it one.
    std::fs::rename(
        home.path().join("three.json"),
        home.path().join("verdict.json"),
    )
    .unwrap();
    let refused = home.alfred(&["report", home.path().to_str().unwrap()]);
    assert!(
        refused.code != 0 && !refused.stdout.contains("PASS"),
        "{refused:?}"
    );
}

/// One of the shipped k6 scripts for two seconds.
fn k6(script: &str, url: &str) -> Done {
    run(program(installed_by("k6"))
        .args(["run", "--quiet"])
        .arg(tree(script))
        .current_dir(tree(""))
        .env("PWD", tree(""))
        .env("TARGET_URL", url)
        .env("QUERY_FILE", "perf/queryset.txt")
        .env("DURATION", "2")
        .env("K6_NO_USAGE_REPORT", "true")
        .args(if script.ends_with("k6-script.js") {
            &["--duration", "2s"][..]
        } else {
            &[]
        }))
}

#[test]
fn k6_fails_on_what_the_gate_fails_on() {
    let slow = Behaviour::Steady {
        delay: Duration::from_millis(400),
    };
    for (behaviour, threshold) in [
        (slow, "✗ 'p(95)<300'"),
        (Behaviour::Status(302), "✗ 'rate<0.01'"),
    ] {
        let target = TestTarget::start(behaviour);
        for script in ["perf/k6-script.js", "perf/k6-arrival-rate.js"] {
            let done = k6(script, &target.url()).expect(99);
            assert!(done.stdout.contains(threshold), "{script}: {}", done.stdout);
        }
        assert!(target.bodies().iter().any(|body| body.contains(FIRST[0])));
    }
}

#[test]
fn k6_and_alfred_agree_on_a_target_of_known_latency() {
    within_attempts(5, |_| {
        let work = tempfile::tempdir().unwrap();
        let words = [before_others(), &["python3"]].concat();
        let done = run(program(words[0])
            .args(&words[1..])
            .arg(tree("perf/bench/k6.py"))
            .arg(work.path())
            .env("K6", installed_by("k6"))
            .env("ROUNDS", "1")
            .env("SECONDS_EACH", "3")
            .env("RATE", "20"));
        println!("{}", done.stdout);
        (done.code == 0).then_some(()).ok_or(format!("{done:?}"))
    });
}

#[test]
fn patterns_reach_any_depth_and_one_without_a_match_is_told() {
    let home = Home::new();
    home.write("docs/top.md", "# Otters\n\nAn otter holds hands.\n");
    home.write("docs/deep/er/bees.md", "# Bees\n\nA bee dances.\n");
    home.write("papers/notes.md", "# Ants\n\nAnts farm mushrooms.\n");
    let some = ["./docs/**/*.md", "./papers/**/*.pdf", "./gone/**/*.md"];
    let done = home.alfred(&[&["ingest"], &some[..], &["--batch", "128", "--json"]].concat());
    let done = done.expect(0);
    assert_eq!(
        (&done.json()["created"], &done.json()["files"]),
        (&json!(2), &json!(2))
    );
    let gone = home.path().join("gone");
    for told in [
        "warning: ./papers/**/*.pdf: matches nothing\n".to_owned(),
        format!(
            "warning: ./gone/**/*.md: matches nothing: there is no folder {}\n",
            gone.display()
        ),
    ] {
        assert!(done.stderr.contains(&told), "{told} in {}", done.stderr);
    }
    // With nothing at all it is an error, and nothing is made.
    let empty = Home::new();
    let none = empty
        .alfred(&["ingest", "./datasets/**/*.md", "./*.pdf"])
        .expect(2);
    assert!(
        none.stderr
            .contains("error: nothing was ingested: ./datasets/**/*.md"),
        "{}",
        none.stderr
    );
    assert!(
        none.stderr.contains("./*.pdf: matches nothing"),
        "{}",
        none.stderr
    );
    assert!(none.stderr.contains("\nhint: "), "{}", none.stderr);
    assert!(!empty.path().join("store").exists());
    // A folder that is not there is never one without files.
    let pruned = home
        .alfred(&["ingest", "docs", "gone/**/*.md", "--prune"])
        .expect(2);
    assert!(
        pruned.stderr.contains("there is no folder"),
        "{}",
        pruned.stderr
    );
}
