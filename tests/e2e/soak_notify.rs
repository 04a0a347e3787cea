//! Who is told of a verdict: a webhook, against a stand-in.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::{Bench, Ran};
use crate::soak_target::{Behaviour, TestTarget};
use serde_json::Value;

/// A soak of 20 requests, whose verdict goes to `webhook`.
fn soak(bench: &Bench, target: &TestTarget, webhook: &str, flags: &str, on: &str) -> Ran {
    let url = target.url();
    let mut command = bench.command(&["soak", "--target", &url, "--queries", "queries.txt"]);
    command
        .args(["--out", "run", "--qps", "40", "--duration", "500ms"])
        .args([
            "--window",
            "250ms",
            "--threshold",
            "p95<30s",
            "--threshold",
            "error_rate<1%",
        ])
        .args(flags.split_whitespace())
        .env("ALFRED__NOTIFY__WEBHOOK_URL", webhook)
        .env("ALFRED__NOTIFY__ON", on);
    let output = command.output().unwrap();
    let ran = Ran::of(&output, bench.path("run"));
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!said.contains("v1/hush"), "{said}");
    ran
}

/// Its path is the secret.
fn address(stand_in: &TestTarget) -> String {
    format!("http://{}/v1/hush", stand_in.address)
}

#[test]
fn a_verdict_is_posted_once_and_slack_can_read_it() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let stand_in = TestTarget::start(Behaviour::Status(200));
    let ran = soak(&bench, &target, &address(&stand_in), "", "always");
    assert_eq!((ran.code, ran.last_line()), (0, "PASS"), "{}", ran.stderr);
    assert_eq!(stand_in.paths(), ["POST /v1/hush HTTP/1.1"]);
    let message: Value = serde_json::from_str(&stand_in.bodies()[0]).unwrap();
    let text = message["text"].as_str().unwrap();
    let begin = format!("PASS: soak soak of http://{}/v1/query on ", target.address);
    assert!(
        text.starts_with(&begin) && text.contains(": p95 "),
        "{text}"
    );
    let blocks = message["blocks"].to_string();
    let run = ran.run.to_str().unwrap().rsplit('/').next().unwrap();
    for part in [
        "*Error rate*\\n0.00 %",
        "*Requests*\\n20 due, 20 ok, 0 errors, 0 shed",
        "*Measured*",
        "*Worst threshold*\\np95&lt;30s: ",
        "*p99*",
        run,
    ] {
        assert!(blocks.contains(part), "{part} in {blocks}");
    }
}

#[test]
fn who_wants_only_bad_news_gets_no_other() {
    let bench = Bench::new();
    let stand_in = TestTarget::start(Behaviour::Status(200));
    let good = TestTarget::start(Behaviour::Status(200));
    let ran = soak(&bench, &good, &address(&stand_in), "", "fail");
    assert_eq!((ran.code, stand_in.bodies().len()), (0, 0));
    let bench = Bench::new();
    let bad = TestTarget::start(Behaviour::Status(500));
    let ran = soak(&bench, &bad, &address(&stand_in), "", "fail");
    assert_eq!((ran.code, stand_in.bodies().len()), (99, 1));
    assert!(stand_in.bodies()[0].contains("FAIL"));
    let bench = Bench::new();
    let silent = TestTarget::start(Behaviour::Silent);
    let shed = "--max-in-flight 1 --timeout 1s";
    let ran = soak(&bench, &silent, &address(&stand_in), shed, "fail");
    assert_eq!(
        (ran.code, stand_in.bodies().len()),
        (98, 2),
        "{}",
        ran.stdout
    );
    assert!(stand_in.bodies()[1].contains("INVALID"));
}

#[test]
fn a_webhook_that_fails_is_one_warning_and_changes_no_verdict() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let stand_in = TestTarget::start(Behaviour::Status(404));
    let ran = soak(&bench, &target, &address(&stand_in), "", "always");
    assert_eq!((ran.code, ran.last_line()), (0, "PASS"));
    let warnings: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .collect();
    let expected = "warning: the verdict was not delivered to 127.0.0.1: status 404, after 1 try";
    assert_eq!(warnings, [expected]);
    assert_eq!(ran.verdict()["verdict"], "PASS");
}

#[test]
fn an_address_that_is_none_is_said_before_anything_is_sent() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let ran = soak(&bench, &target, "hooks/v1/hush", "", "always");
    assert_eq!(ran.code, 78);
    assert!(ran.stderr.contains("notify.webhook_url"), "{}", ran.stderr);
    assert!(target.bodies().is_empty());
}

#[test]
fn a_search_for_the_capacity_is_told_too() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Status(200));
    let stand_in = TestTarget::start(Behaviour::Status(200));
    let url = target.url();
    let flags = "--find-capacity --from 10 --up-to 20 --step-duration 1s --out run";
    let mut command = bench.command(&["soak", "--target", &url, "--queries", "queries.txt"]);
    command
        .args(flags.split_whitespace())
        .env("ALFRED__NOTIFY__WEBHOOK_URL", address(&stand_in));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let bodies = stand_in.bodies();
    assert_eq!(bodies.len(), 1, "{stderr}");
    let message: Value = serde_json::from_str(&bodies[0]).unwrap();
    let text = message["text"].as_str().unwrap();
    assert!(
        text.contains(": search for the capacity soak of http://"),
        "{text}"
    );
    assert!(
        message["blocks"]
            .to_string()
            .contains("*Highest rate held*\\n")
    );
}
