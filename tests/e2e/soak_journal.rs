//! A soak as a unit of systemd: records in the journal, and what the service manager hears.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::journal::{Fields, Journal, in_namespaces, may_unshare};
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::{Home, finish};
use crate::systemd::Manager;
use alfred::telemetry::events;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

fn has(name: &'static str, value: &str) -> impl Fn(&Fields) -> bool {
    move |fields| fields.get(name).is_some_and(|found| found == value)
}

/// Runs a soak whose stderr is the journal; its exit code and what was on stderr all the same.
fn soak(home: &Home, journal: &Journal, manager: &Manager, flags: &str) -> (i32, String) {
    home.write("queries.txt", "How do I upgrade?\n");
    let stderr = home.path().join("stderr");
    let file = File::create(&stderr).unwrap();
    let identity = file.metadata().unwrap();
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
         mount --bind \"$JOURNAL\" /run/systemd/journal && \
         exec \"$ALFRED\" soak --queries queries.txt --name watched {flags}"
    );
    let mut command = in_namespaces(home, &["sh", "-c", &script]);
    command
        .env("JOURNAL", journal.folder.path())
        .env("NOTIFY_SOCKET", &manager.path)
        .env(
            "JOURNAL_STREAM",
            format!("{}:{}", identity.dev(), identity.ino()),
        )
        .stdout(std::process::Stdio::piped())
        .stderr(file);
    let code = finish(command.spawn().unwrap()).code;
    (code, std::fs::read_to_string(stderr).unwrap())
}

#[test]
fn windows_and_verdict_are_records_with_figures_and_nothing_is_said_twice() {
    if !may_unshare("records of a soak") {
        return;
    }
    let (home, journal) = (Home::new(), Journal::new());
    let manager = Manager::new(&home);
    let target = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(5),
    });
    let flags = format!(
        "--target {} --qps 20 --duration 3s --window 1s --threshold 'p95<30s' \
         --threshold 'throughput>1000/s' --pid {}",
        target.url(),
        std::process::id()
    );
    let (code, stderr) = soak(&home, &journal, &manager, &flags);
    assert_eq!((code, stderr.as_str()), (99, ""), "the journal has it all");
    let mut run = String::new();
    for number in 1..=3 {
        let entry = journal.until(has("MESSAGE_ID", events::SOAK_WINDOW));
        for (name, value) in [
            ("PRIORITY", "6"),
            ("ALFRED_SCENARIO", "watched"),
            ("ALFRED_WINDOW", &number.to_string()),
            ("ALFRED_WINDOWS", "3"),
            ("ALFRED_DUE", "20"),
            ("ALFRED_OK", "20"),
            ("ALFRED_ERRORS", "0"),
        ] {
            assert_eq!(entry[name], value, "{name}");
        }
        for name in ["P50_MS", "P95_MS", "P99_MS", "MAX_MS"] {
            let value: f64 = entry[&format!("ALFRED_{name}")].parse().unwrap();
            assert!((1.0..1_000.0).contains(&value), "{name} {value}");
        }
        assert!(entry["ALFRED_RSS_BYTES"].parse::<u64>().unwrap() > 1 << 20);
        run.clone_from(&entry["ALFRED_SOAK_RUN"]);
        let begin = format!("soak watched: window {number} of 3, due 20, ok 20, errors 0, p95 ");
        assert!(entry["MESSAGE"].starts_with(&begin), "{}", entry["MESSAGE"]);
    }
    let verdict = journal.until(has("MESSAGE_ID", events::SOAK_VERDICT));
    for (name, value) in [
        ("PRIORITY", "3"),
        ("ALFRED_VERDICT", "FAIL"),
        ("ALFRED_DUE", "60"),
        ("ALFRED_OK", "60"),
        ("ALFRED_MEASURED_S", "3.0"),
        ("ALFRED_TARGET_URL", &target.url()),
        ("ALFRED_RUN", &run),
        ("ALFRED_SOAK_RUN", &run),
    ] {
        assert_eq!(verdict[name], value, "{name}");
    }
    assert!(verdict["ALFRED_P95_MS"].parse::<f64>().unwrap() > 1.0);

    assert_eq!(manager.count("READY=1"), 1, "{:?}", manager.messages());
    let status = "STATUS=window 3 of 3, p95 ";
    assert_eq!(manager.count(status), 1, "{:?}", manager.messages());
    assert!(manager.count("WATCHDOG=1") >= 3);
}

/// The unit's watchdog has 120 s, and a scenario may have windows of 10 minutes.
#[test]
fn windows_longer_than_the_watchdog_kill_no_run() {
    let home = Home::new();
    let manager = Manager::new(&home);
    home.write("queries.txt", "How do I upgrade?\n");
    let target = TestTarget::start(Behaviour::Status(200));
    let url = target.url();
    let flags = [
        "soak",
        "--target",
        &url,
        "--queries",
        "queries.txt",
        "--qps",
        "10",
        "--duration",
        "3s",
        "--window",
        "3s",
    ];
    let mut command = home.command(&flags);
    command
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", "1000000");
    finish(command.spawn().unwrap()).expect(0);
    let messages = manager.messages();
    let closed = messages
        .iter()
        .position(|text| text.contains("STATUS=window 1 of 1"));
    let before = messages[..closed.unwrap()].iter();
    let alive = before.filter(|text| text.contains("WATCHDOG=1")).count();
    assert!((4..=13).contains(&alive), "{messages:?}");
}
