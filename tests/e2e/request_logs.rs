//! Requests that failed or were slow, in the log of a daemon: with what, how often, and how it looks.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::journal::Serving;
use crate::provider::Standin;
use crate::support::{Home, PATIENCE, eventually};
use crate::terminal::on_a_terminal;
use alfred::client::Outgoing;
use alfred::clock::Clock as _;
use alfred::telemetry::burst;
use alfred::telemetry::events::{REQUEST_FAILED, REQUEST_SLOW, REQUESTS_SUMMED};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Duration;

/// More than the model takes, so that nothing is slow by chance.
const NEVER_SLOW: (&str, &str) = ("ALFRED__LOG__SLOW_MS", "60000");

/// The lines that carry this message id.
fn lines(log: &str, id: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    lines.filter(|line| line["message_id"] == id).collect()
}

#[test]
fn a_burst_of_failures_is_a_few_lines_that_add_up() {
    let home = Home::new();
    let mut serving = Serving::plain(&home, &[NEVER_SLOW]);
    let requests = 2_000;
    for number in 0..requests {
        let mut outgoing = Outgoing::default();
        let id = format!("burst-{number}").parse().unwrap();
        outgoing.headers.insert("x-request-id", id);
        assert_eq!(serving.send("/nothing/here", outgoing), Some(404));
    }
    // The sum of the last window comes with the end, or before it.
    serving.stop();
    let log = serving.on_stderr();
    let (whole, sums) = (lines(&log, REQUEST_FAILED), lines(&log, REQUESTS_SUMMED));
    let summed: u64 = sums
        .iter()
        .map(|sum| sum["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(whole.len() as u64 + summed, requests, "{log}");
    // Each further window of 10 s is an example and a sum.
    let windows = sums.len();
    assert!(whole.len() <= burst::WHOLE as usize + windows, "{log}");
    assert!((1..=12).contains(&windows), "{log}");
    for line in whole.iter().chain(&sums) {
        let expected = (&json!("unknown"), &json!("not_found"), &json!("INFO"));
        assert_eq!((&line["route"], &line["kind"], &line["level"]), expected);
    }
    assert_eq!(whole[0]["request_id"], "burst-0");
    assert_eq!(sums[0]["first_request_id"], "burst-5");
    assert_eq!(sums[windows - 1]["last_request_id"], "burst-1999");
    assert!(sums[0]["slowest_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_sum_comes_though_nothing_else_does() {
    let home = Home::new();
    let mut serving = Serving::plain(&home, &[NEVER_SLOW]);
    for _ in 0..8 {
        assert_eq!(serving.status("/nothing/here"), Some(404));
    }
    let sums = eventually(PATIENCE, || {
        Some(lines(&serving.on_stderr(), REQUESTS_SUMMED)).filter(|sums| !sums.is_empty())
    });
    assert_eq!(sums[0]["requests"], 3);
    serving.stop();
    assert_eq!(
        lines(&serving.on_stderr(), REQUESTS_SUMMED).len(),
        1,
        "said once"
    );
}

const QUESTION: &str = "Where do the velvet otters sleep?";

#[test]
fn a_slow_query_is_told_by_stages_and_without_its_text() {
    let home = Home::new();
    let mut serving = Serving::plain(&home, &[("ALFRED__LOG__SLOW_MS", "1")]);
    assert_eq!(serving.ask(QUESTION), 200);
    serving.stop();
    let log = serving.on_stderr();
    assert!(!log.contains("velvet"), "{log}");
    let slow = lines(&log, REQUEST_SLOW);
    let line = slow
        .iter()
        .find(|line| line["route"] == "/v1/query")
        .unwrap();
    assert_eq!(
        (&line["level"], &line["kind"]),
        (&json!("WARN"), &json!("slow"))
    );
    assert_eq!(
        (&line["status"], &line["stage"]),
        (&json!(200), &Value::Null)
    );
    let of = |stage: &str| {
        line[stage]
            .as_f64()
            .unwrap_or_else(|| panic!("{stage}: {line}"))
    };
    let stages = of("queue_ms") + of("embed_ms") + of("search_ms") + of("answer_ms");
    let whole = of("duration_ms");
    assert!(of("read_ms") + stages <= whole + 0.01, "{line}");
    assert!(of("embed_ms") > 0.0 && whole >= 1.0, "{line}");
    let words = line["message"].as_str().unwrap();
    assert!(words.starts_with("slow request: ") && words.contains(" ms, of these "));
}

#[test]
fn what_is_slow_and_what_of_it_is_told_changes_with_a_reload() {
    let home = Home::new();
    let file = home.write("alfred.toml", "[log]\nslow_ms = 0\n");
    let mut serving = Serving::plain(&home, &[]);
    assert_eq!(serving.ask(QUESTION), 200);
    std::fs::write(&file, "[log]\nslow_ms = 1\nqueries = true\n").unwrap();
    let reload = Outgoing {
        method: "POST".parse().unwrap(),
        ..Outgoing::default()
    };
    assert_eq!(serving.send("/v1/reload", reload), Some(200));
    let other = "What is the other question about otters?";
    assert_eq!(serving.ask(other), 200);
    serving.stop();
    let slow = lines(&serving.on_stderr(), REQUEST_SLOW);
    let queries: Vec<&Value> = slow.iter().map(|line| &line["query"]).collect();
    let asked: Vec<&&Value> = queries.iter().filter(|query| query.is_string()).collect();
    assert_eq!(asked, [&&json!(other)], "{slow:?}");
}

#[test]
fn a_query_that_failed_says_in_which_stage() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let provider = standin.variables();
    let variables = [
        ("OPENAI_API_KEY", &*provider.0),
        ("OPENAI_BASE_URL", &*provider.1),
        ("ALFRED__SERVER__REQUEST_TIMEOUT_MS", "300"),
        NEVER_SLOW,
    ];
    let mut serving = Serving::plain(&home, &variables);
    standin.control(&json!({"hang": true}));
    assert_eq!(serving.ask(QUESTION), 504);
    standin.control(&json!({"reset": true, "fail_status": 401}));
    assert_eq!(serving.ask("another one"), 503);
    serving.stop();
    let log = serving.on_stderr();
    let failed = lines(&log, REQUEST_FAILED);
    let of: Vec<(&str, u64, &str)> = failed
        .iter()
        .map(|line| {
            let text = |field: &str| line[field].as_str().unwrap_or_default();
            (
                text("kind"),
                line["status"].as_u64().unwrap(),
                text("stage"),
            )
        })
        .collect();
    assert_eq!(
        of,
        [("timeout", 504, "embed"), ("openai_error", 503, "embed")],
        "{log}"
    );
    assert!(failed[0]["embed_ms"].as_f64().unwrap() > 100.0, "{log}");
    assert!(
        failed[1]["message"]
            .as_str()
            .unwrap()
            .contains("status 401")
    );
    assert!(
        !log.contains(&*provider.0) && !log.contains("velvet"),
        "{log}"
    );
}

/// A document, so that something is found.
fn store(serving: &Serving) {
    let document = json!({"source": "otters.md", "content": "# Otters\n\nThey sleep afloat."});
    assert_eq!(serving.send("/v1/documents", posted(&document)), Some(200));
}

fn posted(body: &Value) -> Outgoing {
    let mut outgoing = Outgoing {
        method: "POST".parse().unwrap(),
        body: body.to_string().into(),
        ..Outgoing::default()
    };
    let json = "application/json".parse().unwrap();
    outgoing.headers.insert("content-type", json);
    outgoing
}

#[test]
fn a_good_reply_that_lacks_what_was_owed_is_logged_with_its_cause() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let (key, url) = standin.variables();
    let variables = [
        ("OPENAI_API_KEY", &*key),
        ("OPENAI_BASE_URL", &*url),
        ("ALFRED__ANSWER__MODEL", "gpt-4o-mini"),
        ("ALFRED__ANSWER__KIND", "generated"),
        NEVER_SLOW,
    ];
    let mut serving = Serving::plain(&home, &variables);
    store(&serving);
    standin.control(&json!({"only": "chat", "fail_status": 404}));
    assert_eq!(serving.ask(QUESTION), 200);
    serving.stop();
    let log = serving.on_stderr();
    let failed = lines(&log, REQUEST_FAILED);
    let [line] = &failed[..] else { panic!("{log}") };
    let expected = (&json!(200), &json!("openai_error"), &json!("WARN"));
    assert_eq!((&line["status"], &line["kind"], &line["level"]), expected);
    assert!(
        line["message"].as_str().unwrap().contains("status 404"),
        "{line}"
    );
    assert_eq!(log.matches("status 404").count(), 1, "logged twice: {log}");
}

#[test]
fn a_client_that_was_kept_waiting_and_left_is_in_the_log() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let (key, url) = standin.variables();
    let variables = [
        ("OPENAI_API_KEY", &*key),
        ("OPENAI_BASE_URL", &*url),
        ("ALFRED__LOG__SLOW_MS", "100"),
    ];
    let mut serving = Serving::plain(&home, &variables);
    standin.control(&json!({"latency_ms": 3_000}));
    let mut client = serving.connect();
    let body = json!({ "query": QUESTION }).to_string();
    let head = "POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let length = body.len();
    write!(client, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
    eventually(PATIENCE, || {
        let asked = standin.control(&Value::Null)["traces"].as_array()?.len();
        (asked > 0).then_some(())
    });
    alfred::clock::SystemClock.sleep(Duration::from_millis(300));
    drop(client);
    let line = eventually(PATIENCE, || {
        let mut failed = lines(&serving.on_stderr(), REQUEST_FAILED).into_iter();
        failed.find(|line| line["kind"] == "abandoned")
    });
    assert_eq!(
        (&line["stage"], &line["level"]),
        (&json!("embed"), &json!("WARN"))
    );
    assert!(line["embed_ms"].as_f64().unwrap() >= 200.0, "{line}");
    serving.stop();
}

/// Says what the daemon's log looks like where `script` lets it go.
fn seen_on_a_terminal(home: &Home, variables: &[(&str, &str)]) -> String {
    let mut command = home.command(&[]);
    command.envs(variables.iter().copied());
    let script = r#""$ALFRED" serve --listen "unix:$PWD/alfred.sock" & pid=$!
        until "$ALFRED" status >/dev/null 2>&1; do sleep 0.1; done
        kill "$pid"; wait "$pid""#;
    let output = on_a_terminal(&command, script, (30, 200));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn people_at_a_terminal_get_lines_and_whoever_asks_for_json_gets_that() {
    let home = Home::new();
    let text = seen_on_a_terminal(&home, &[]);
    assert!(
        text.contains("listening on unix:") && !text.contains('{'),
        "{text}"
    );
    let json = seen_on_a_terminal(&home, &[("ALFRED__LOG__FORMAT", "json")]);
    assert!(json.contains(r#""message":"listening on unix:"#), "{json}");
}

/// Neither a terminal nor the journal: a container, whose runtime takes lines.
#[test]
fn where_nobody_reads_along_a_line_is_json_unless_text_is_asked_for() {
    let home = Home::new();
    // Inherited from whoever started the test, it would name another stream.
    let mut serving = Serving::plain(&home, &[("JOURNAL_STREAM", "8:1")]);
    serving.stop();
    let log = serving.on_stderr();
    let all = log.lines().map(serde_json::from_str::<Value>);
    assert!(
        all.into_iter()
            .all(|line| line.is_ok_and(|line| line.is_object())),
        "{log}"
    );
    let home = Home::new();
    let mut serving = Serving::plain(&home, &[("ALFRED__LOG__FORMAT", "text")]);
    assert_eq!(serving.status("/nothing/here"), Some(404));
    serving.stop();
    let log = serving.on_stderr();
    let line = log
        .lines()
        .find(|line| line.contains("request failed"))
        .unwrap();
    assert!(
        line.contains("INFO") && line.contains(r#"kind="not_found""#),
        "{line}"
    );
    assert!(
        !line.contains("message_id") && !line.contains('\u{1b}'),
        "{line}"
    );
}
