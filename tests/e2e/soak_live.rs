//! What is seen of a soak while it goes on: the screen on a terminal, lines elsewhere.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::soak_bench::Bench;
use crate::soak_target::{Behaviour, TestTarget};
use crate::terminal::{Terminal, on_a_terminal};
use std::process::{Command, Output};
use std::time::Duration;

/// Ends every drawing.
const DRAWN: &str = "\u{1b}[J";

fn steady() -> TestTarget {
    TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(5),
    })
}

fn soak(url: &str, flags: &str) -> String {
    format!(
        "\"$ALFRED\" soak --target {url} --queries queries.txt --out run --name watched {flags}"
    )
}

/// What was on the terminal after each drawing, and at the end.
fn screens(output: &Output, (rows, columns): (usize, usize)) -> (Vec<String>, Terminal) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut terminal = Terminal::new(rows, columns);
    let mut screens = Vec::new();
    for part in text.split_inclusive(DRAWN) {
        terminal.feed(part);
        if part.ends_with(DRAWN) {
            screens.push(terminal.screen());
            let gone = &terminal.scrolled;
            assert!(gone.is_empty(), "a drawing scrolled: {gone:?}");
        }
    }
    (screens, terminal)
}

#[track_caller]
fn assert_seen(screens: &[String], parts: &[&str]) {
    let all = |screen: &&String| parts.iter().all(|part| screen.contains(part));
    let found = screens.iter().find(all);
    assert!(found.is_some(), "{parts:?} in none of {screens:#?}");
}

fn plain(bench: &Bench) -> Command {
    bench.command(&[])
}

#[test]
fn the_screen_is_drawn_in_place_and_makes_room_for_the_report() {
    let (bench, target, size) = (Bench::new(), steady(), (24, 80));
    let flags = format!(
        "--qps 50 --duration 3s --window 500ms --warmup 1s --threshold 'p95<3s' \
         --threshold 'max<9s in every window' --pid {}",
        std::process::id()
    );
    let output = on_a_terminal(&plain(&bench), &soak(&target.url(), &flags), size);
    let (screens, end) = screens(&output, size);
    assert_eq!(output.status.code(), Some(0), "{}", end.screen());
    assert!(
        screens.len() >= 10,
        "4 drawings a second: {}",
        screens.len()
    );
    assert_seen(
        &screens,
        &["warming up, not counted: 0:0", "of 0:01", "ends "],
    );
    assert_seen(
        &screens,
        &[
            "window 3 of 6",
            "watched  http://",
            "  50/s",
            " left, ends ",
        ],
    );
    assert_seen(
        &screens,
        &["✓ p95<3s", " % below", "✓ max<9s in every window  worst "],
    );
    assert_seen(&screens, &["so far", "now", "p95     ", "█", "memory "]);
    let report = end.screen();
    let over = report.contains("window 3 of 6") || report.contains("so far");
    assert!(!over && report.contains("PASS"), "{report}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\u{1b}[2m"),
        "it has colours"
    );
}

#[test]
fn a_small_terminal_without_colours_has_what_matters_most() {
    let (bench, target, size) = (Bench::new(), steady(), (7, 36));
    let mut command = plain(&bench);
    command.env("NO_COLOR", "1").env("LC_ALL", "C");
    let flags = "--qps 50 --duration 2s --window 500ms --threshold 'p95<30s' --json > verdict";
    let output = on_a_terminal(&command, &soak(&target.url(), flags), size);
    let (screens, end) = screens(&output, size);
    assert_eq!(output.status.code(), Some(0), "{}", end.screen());
    assert_seen(&screens, &["so far", "####", "+ p95<30s"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("\u{1b}[1m") && !text.contains("\u{1b}[2m"));
    assert!(text.is_ascii(), "{text:?}");
    assert_eq!(end.screen().trim(), "", "nothing is left of it");
}

#[test]
fn what_fails_is_said_and_stays_above_the_screen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (bench, size) = (Bench::new(), (24, 80));
    let flags = "--qps 20 --duration 2s --window 500ms --threshold 'p95<30s' \
                 --threshold 'error_rate<1%'";
    let output = on_a_terminal(&plain(&bench), &soak(&url, flags), size);
    let (screens, _) = screens(&output, size);
    assert_eq!(output.status.code(), Some(99));
    let warning = "warning: all of the first 5 requests to http://127.0.0.1:";
    assert_seen(
        &screens,
        &[
            warning,
            "errors  connect ",
            "✗ error_rate<1%",
            "window 4 of 4",
        ],
    );
}

#[test]
fn a_terminal_that_is_made_narrower_gets_narrower_lines() {
    let (bench, target) = (Bench::new(), steady());
    let script = format!(
        "{} & pid=$!; until [ -s run/windows.jsonl ]; do sleep 0.05; done; stty rows 12 cols 40; \
         wait $pid",
        soak(
            &target.url(),
            "--qps 50 --duration 3s --window 500ms --json > verdict"
        )
    );
    let output = on_a_terminal(&plain(&bench), &script, (24, 80));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let widths: Vec<usize> = text
        .split_inclusive(DRAWN)
        .filter(|part| part.contains('█'))
        .map(|part| {
            let mut wide = Terminal::new(60, 300);
            wide.feed(part);
            let screen = wide.screen();
            let widths = screen.lines().map(|line| line.trim_end().chars().count());
            widths.max().unwrap_or(0)
        })
        .collect();
    assert!(widths[0] > 60, "{widths:?}");
    assert!(*widths.last().unwrap() < 40, "{widths:?}");
}

#[test]
fn a_dumb_terminal_gets_a_line_a_window() {
    let (bench, target, size) = (Bench::new(), steady(), (24, 200));
    let mut command = plain(&bench);
    command.env("TERM", "dumb");
    let flags = "--qps 20 --duration 3s --window 1s --json > verdict";
    let output = on_a_terminal(&command, &soak(&target.url(), flags), size);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(text.matches("soak window ").count(), 3, "{text}");
}

#[test]
fn elsewhere_there_is_a_line_a_window_and_at_most_one_a_second() {
    let (bench, target) = (Bench::new(), steady());
    let flags = "--qps 20 --duration 3s --window 1s --threshold p95<30s";
    let ran = bench.soak("long", &target.url(), flags);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{}", ran.stderr);
    assert!(lines[0].starts_with("soak http://"), "{lines:?}");
    for (number, line) in lines[1..].iter().enumerate() {
        let begin = format!(
            "soak window {} of 3: due 20, ok 20, errors 0, shed 0, p50 ",
            number + 1
        );
        assert!(line.starts_with(&begin), "{line}");
        assert!(
            ["p95 ", "p99 ", "max "]
                .iter()
                .all(|name| line.contains(name))
        );
    }
    let silent = TestTarget::start(Behaviour::Status(503));
    let flags = "--qps 20 --duration 2500ms --window 250ms";
    let ran = bench.soak("short", &silent.url(), flags);
    let told: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("soak window"))
        .collect();
    assert_eq!(told.len(), 3, "{}", ran.stderr);
    let begin =
        "soak windows 1 to 4 of 10: due 20, ok 0, errors 20 (status_5xx 20), shed 0, highest";
    assert!(told[0].starts_with(begin), "{told:?}");
    assert!(
        told[2].starts_with("soak windows 9 to 10 of 10: due 10"),
        "{told:?}"
    );
}
