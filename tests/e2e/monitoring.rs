//! What is shipped for Prometheus and Grafana: sound by their own tools, documented, and answered by a
//! real Prometheus that scrapes real daemons under load.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

mod dashboard;
mod living;
pub(crate) mod prometheus;
mod textfile;

use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap()
}

/// What promtool says of it, which has to be nothing bad.
#[track_caller]
fn promtool(arguments: &[&str], path: &Path) -> String {
    let done = Command::new("promtool").args(arguments).arg(path).output();
    let done = done.expect("promtool is installed (Debian: prometheus)");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(done.status.success(), "promtool {arguments:?}: {said}");
    said
}

/// The values of a key in YAML that has one line for each.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let value = |line: &'a str| {
        let line = line.trim().trim_start_matches("- ");
        let value = line.strip_prefix(key)?.strip_prefix(':')?;
        Some(value.trim().trim_matches('"'))
    };
    yaml.lines().filter_map(value).collect()
}

#[test]
fn promtool_takes_rules_and_configuration_and_every_alert_fires_when_it_should() {
    let said = promtool(&["check", "config"], &shipped("prometheus/prometheus.yml"));
    assert!(
        said.contains("12 rules found") && said.contains("8 rules found"),
        "{said}"
    );
    promtool(&["check", "rules"], &shipped("prometheus/recording.yml"));
    promtool(&["check", "rules"], &shipped("prometheus/alerts.yml"));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/monitoring/alerts_test.yml");
    promtool(&["test", "rules"], &tests);
    let tests = std::fs::read_to_string(tests).unwrap();
    for alert in values(&text("prometheus/alerts.yml"), "alert") {
        let fires = format!("{{alertname=\"{alert}\", alertstate=\"firing\"");
        assert!(tests.contains(&fires), "no test in which {alert} fires");
    }
}

/// The fragment by which Markdown's readers find a heading.
fn fragment(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let words: String = heading.to_lowercase().chars().filter(kept).collect();
    words.replace(' ', "-")
}

#[test]
fn every_alert_says_what_to_do_about_it() {
    let (alerts, page) = (text("prometheus/alerts.yml"), text("../docs/monitoring.md"));
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let headings: Vec<String> = headings.map(fragment).collect();
    let names = values(&alerts, "alert");
    assert!(names.len() >= 10, "{names:?}");
    for key in ["summary", "description", "runbook_url", "severity", "expr"] {
        assert_eq!(values(&alerts, key).len(), names.len(), "{key}");
    }
    for (name, runbook) in names.iter().zip(values(&alerts, "runbook_url")) {
        let heading = runbook.strip_prefix("file:///usr/share/doc/alfred/monitoring.md#");
        let heading = heading.unwrap_or_else(|| panic!("{runbook}"));
        assert!(
            headings.iter().any(|known| known == heading),
            "{heading} in {headings:?}"
        );
        assert!(
            heading.starts_with(&format!("{}-", name.to_lowercase())),
            "{heading}"
        );
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not in the table"
        );
    }
    let severities = values(&alerts, "severity");
    assert!(
        severities
            .iter()
            .all(|word| ["page", "ticket"].contains(word)),
        "{severities:?}"
    );
}
