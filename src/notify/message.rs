//! PURE: a verdict as a message that Slack, and others that speak its format, take: `text` for
//! notifications and plain clients, `blocks` for the rest.
//!
//! Source: Slack's "Formatting text for app surfaces" (`&`, `<` and `>` are written as entities) and
//! "Block Kit: blocks" (a section has up to 10 fields of 2,000 characters and a text of 3,000).

use crate::soak::capacity::CapacityRecord;
use crate::soak::record::{RunRecord, ThresholdRecord, Verdict, VerdictRecord};
use crate::soak::threshold::Threshold;
use crate::soak::units::{show_count, show_duration, show_latency_us};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Longest value, in characters; reasons together may have [`REASONS_CHARS`].
const VALUE_CHARS: usize = 300;
/// Longest list of reasons, in characters: entities make it five times as long at most.
const REASONS_CHARS: usize = 500;

/// A verdict, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    verdict: Verdict,
    /// `soak`, or what else was judged.
    what: &'static str,
    scenario: String,
    target: String,
    /// Name and value of each figure, at most 10.
    figures: Vec<(&'static str, String)>,
    reasons: Vec<String>,
    host: String,
    folder: String,
    version: String,
}

impl News {
    /// Of a run that was judged.
    #[must_use]
    pub fn of_run(run: &RunRecord, verdict: &VerdictRecord, folder: &Path) -> Self {
        let counts = &verdict.counts;
        let mut figures = vec![
            ("p95", show_ms(verdict.response_ms.p95)),
            ("p99", show_ms(verdict.response_ms.p99)),
            ("Error rate", show_share(verdict.error_rate)),
            (
                "Requests",
                format!(
                    "{} due, {} ok, {} errors, {} shed",
                    show_count(counts.due),
                    show_count(counts.ok),
                    show_count(counts.error),
                    show_count(counts.shed)
                ),
            ),
            ("Measured", show_seconds(verdict.coverage.measured_s)),
        ];
        if let Some(worst) = worst(&verdict.thresholds) {
            figures.push(("Worst threshold", worst));
        }
        Self {
            verdict: verdict.verdict,
            what: "soak",
            scenario: run.name.clone(),
            target: without_credentials(&run.target),
            figures,
            reasons: verdict.reasons.clone(),
            host: run.host.hostname.clone(),
            folder: folder.display().to_string(),
            version: run.version.clone(),
        }
    }

    /// Of a search for the capacity.
    #[must_use]
    pub fn of_capacity(record: &CapacityRecord, folder: &Path) -> Self {
        let rate = |edge: Option<f64>| edge.map_or_else(|| "none".to_owned(), |r| format!("{r}/s"));
        let step = record.last_held();
        let due: u64 = record.steps.iter().map(|step| step.counts.due).sum();
        let figures = vec![
            (
                "Highest rate held",
                rate(record.held.map(|edge| edge.rate_per_s)),
            ),
            (
                "Lowest that broke",
                rate(record.broke.map(|edge| edge.rate_per_s)),
            ),
            (
                "p95 there",
                show_ms(step.and_then(|step| step.response_ms.p95)),
            ),
            (
                "p99 there",
                show_ms(step.and_then(|step| step.response_ms.p99)),
            ),
            (
                "Error rate there",
                show_share(step.and_then(|step| step.error_rate)),
            ),
            (
                "Requests",
                format!("{} due in {} steps", show_count(due), record.steps.len()),
            ),
            ("Took", show_seconds(record.took_s)),
        ];
        Self {
            verdict: record.verdict.unwrap_or(Verdict::Invalid),
            what: "search for the capacity",
            scenario: record.name.clone(),
            target: without_credentials(&record.target),
            figures,
            reasons: record.reasons.clone(),
            host: record.host.hostname.clone(),
            folder: folder.display().to_string(),
            version: record.version.clone(),
        }
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What is posted.
    #[must_use]
    pub fn message(&self) -> Value {
        let word = self.verdict.as_str();
        let sign = match self.verdict {
            Verdict::Pass => ":white_check_mark:",
            Verdict::Fail => ":x:",
            Verdict::Invalid => ":warning:",
        };
        let (what, scenario, target) = (self.what, said(&self.scenario), said(&self.target));
        let figures = self.figures.iter().take(4);
        let summary: Vec<String> = figures
            .map(|(name, value)| format!("{name} {}", said(value)))
            .collect();
        let text = format!(
            "{word}: {what} {scenario} of {target} on {}: {}",
            said(&self.host),
            summary.join(", ")
        );
        let section = |text: &str| json!({"type": "section", "text": mrkdwn(text)});
        let fields: Vec<Value> = self
            .figures
            .iter()
            .map(|(name, value)| mrkdwn(&format!("*{name}*\n{}", said(value))))
            .collect();
        let mut blocks = vec![
            section(&format!("{sign} *{word}*  {what} *{scenario}*\n{target}")),
            json!({"type": "section", "fields": fields}),
        ];
        if !self.reasons.is_empty() {
            let reasons = cut(&self.reasons.join("\n"), REASONS_CHARS);
            blocks.push(section(&escaped(&reasons)));
        }
        let context = format!(
            "{}  {}  alfred {}",
            said(&self.host),
            said(&self.folder),
            said(&self.version)
        );
        blocks.push(json!({"type": "context", "elements": [mrkdwn(&context)]}));
        json!({"text": text, "blocks": blocks})
    }
}

fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text})
}

/// A value, cut and escaped.
fn said(text: &str) -> String {
    escaped(&cut(text, VALUE_CHARS))
}

/// With what Slack would take for its own signs written as entities.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A URL without user, password, query and fragment: tokens are often in one of them.
fn without_credentials(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}")
}

/// The threshold that is furthest beyond its limit, or nearest to it.
fn worst(records: &[ThresholdRecord]) -> Option<String> {
    let read = |record: &ThresholdRecord| {
        let written = match record.scope.as_str() {
            "run" => record.expr.clone(),
            scope => format!("{} in {scope}", record.expr),
        };
        let threshold: Threshold = written.parse().ok()?;
        // What was not measured is worst of all.
        let excess = record
            .value
            .map_or(Some(f64::INFINITY), |value| threshold.excess(value));
        Some((threshold, record.pass, record.value, excess.unwrap_or(0.0)))
    };
    let (threshold, _, value, _) = records
        .iter()
        .filter_map(read)
        .max_by(|a, b| (!a.1).cmp(&!b.1).then(a.3.total_cmp(&b.3)))?;
    let distance = value.map(|value| format!(", {}", threshold.show_distance(value)));
    Some(format!(
        "{threshold}: {}{}",
        threshold.show(value),
        distance.unwrap_or_default()
    ))
}

fn show_share(share: Option<f64>) -> String {
    share.map_or_else(
        || "unknown".to_owned(),
        |share| format!("{:.2} %", share * 100.0),
    )
}

fn show_seconds(seconds: f64) -> String {
    show_duration(Duration::try_from_secs_f64(seconds.round()).unwrap_or_default())
}

fn show_ms(ms: Option<f64>) -> String {
    let us = ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    us.map_or_else(
        || "unknown".to_owned(),
        |us| show_latency_us(u64::try_from(us.as_micros()).unwrap_or(u64::MAX)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(reasons: &[&str]) -> News {
        News {
            verdict: Verdict::Fail,
            what: "soak",
            scenario: "a<b>&c".to_owned(),
            target: without_credentials("https://me:hush@h:9/v1/query?key=hush#hush"),
            figures: vec![("p95", "5.10 ms".to_owned()), ("p99", "6 ms".to_owned())],
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            host: "box".to_owned(),
            folder: "/var/lib/alfred/soak/x".to_owned(),
            version: "0.9.0".to_owned(),
        }
    }

    #[test]
    fn a_message_says_it_all_and_escapes_what_slack_would_read() {
        let message = news(&["p95<300ms was crossed: 3.5 s"]).message();
        assert_eq!(
            message["text"],
            "FAIL: soak a&lt;b&gt;&amp;c of https://h:9/v1/query on box: p95 5.10 ms, p99 6 ms"
        );
        let blocks = message["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 4);
        assert_eq!(
            blocks[0]["text"]["text"],
            ":x: *FAIL*  soak *a&lt;b&gt;&amp;c*\nhttps://h:9/v1/query"
        );
        assert_eq!(blocks[1]["fields"][0]["text"], "*p95*\n5.10 ms");
        assert_eq!(blocks[2]["text"]["text"], "p95&lt;300ms was crossed: 3.5 s");
        assert_eq!(
            blocks[3]["elements"][0]["text"],
            "box  /var/lib/alfred/soak/x  alfred 0.9.0"
        );
        assert!(!message.to_string().contains("hush"), "{message}");
        assert_eq!(news(&[]).message()["blocks"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_text_stays_within_slacks_limits() {
        let long = "<".repeat(10_000);
        let blocks = news(&[&long, &long]).message()["blocks"].clone();
        let reasons = blocks[2]["text"]["text"].as_str().unwrap();
        assert!(
            reasons.len() < 3_000 && reasons.ends_with("&lt;…"),
            "{reasons}"
        );
    }

    #[test]
    fn the_worst_threshold_is_the_one_furthest_beyond_or_nearest() {
        let record = |expr: &str, scope: &str, value, pass| ThresholdRecord {
            expr: expr.to_owned(),
            scope: scope.to_owned(),
            value,
            pass,
            at_s: None,
            until_s: None,
        };
        let near = record("throughput>9/s", "run", Some(9.9), true);
        let far = record("p95<300ms", "run", Some(5.1), true);
        let told = worst(&[far.clone(), near.clone()]).unwrap();
        assert_eq!(told, "throughput>9/s: 9.90/s, 10 % above");
        let crossed = record("p99<1s", "every window", Some(3_500.0), false);
        let told = worst(&[far.clone(), crossed, near]).unwrap();
        assert_eq!(told, "p99<1s in every window: 3.50 s, 250 % above");
        let unknown = record("p50<1s", "run", None, false);
        assert_eq!(worst(&[far, unknown]).unwrap(), "p50<1s: nothing measured");
        assert_eq!(worst(&[]), None);
    }
}
