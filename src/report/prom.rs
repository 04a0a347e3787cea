//! Prometheus text for node_exporter's textfile collector.

use super::{Report, escaped};
use crate::soak::latency::Series;
use crate::soak::record::{ThresholdRecord, Verdict, VerdictRecord};
use crate::soak::run_folder::RecordedRun;
use crate::soak::units::float;
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The labels of a sample beside its scenario, and its value.
type Sample = (String, f64);

pub(super) fn report(report: &Report) -> String {
    let verdict = &report.verdict;
    let names: Vec<&str> = report
        .runs
        .iter()
        .map(|run| run.run.name.as_str())
        .collect();
    let mut page = Page {
        text: String::new(),
        scenario: label(&names.join(" ")),
    };
    page.gauge(
        "alfred_soak_verdict",
        "1 for the verdict of the last run.",
        &verdicts(verdict),
    );
    page.gauge(
        "alfred_soak_end_timestamp_seconds",
        "When the last request of the run was due, in s since 1970.",
        &end(&report.runs),
    );
    page.latencies(report);
    page.gauge(
        "alfred_soak_requests",
        "Due requests by how they ended.",
        &requests(verdict),
    );
    let error_rate = verdict.error_rate.map(|rate| (String::new(), rate));
    page.gauge(
        "alfred_soak_error_rate",
        "The share of due requests that did not end ok, 0 to 1.",
        error_rate.as_slice(),
    );
    if let Some(rate) = verdict.hit_rate {
        page.gauge(
            "alfred_soak_hit_rate",
            "The share of judged answers with a relevant source among the first three, 0 to 1.",
            &[(String::new(), rate)],
        );
    }
    page.gauge(
        "alfred_soak_throughput_per_second",
        "Requests that ended ok.",
        &[(String::new(), verdict.throughput_per_s)],
    );
    page.gauge(
        "alfred_soak_threshold_held",
        "1 for a threshold that held, 0 for one that was crossed.",
        &thresholds(verdict),
    );
    page.text
}

fn verdicts(verdict: &VerdictRecord) -> Vec<Sample> {
    let words = [Verdict::Pass, Verdict::Fail, Verdict::Invalid].map(|word| {
        let is = f64::from(u8::from(word == verdict.verdict));
        (format!(",verdict=\"{}\"", word.as_str()), is)
    });
    words.into()
}

/// By the wall clock of the machine that ran it; of several runs the last.
fn end(runs: &[RecordedRun]) -> Vec<Sample> {
    let of_run = |run: &RecordedRun| {
        let start = OffsetDateTime::parse(&run.run.start.wall, &Rfc3339).ok()?;
        let windows = run.windows.iter();
        let measured_s = windows.map(|window| window.start_s + window.length_s);
        let measured_s = measured_s.fold(0.0, f64::max);
        let warmup_s = run.run.scenario.warmup_s;
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let start_s = start.unix_timestamp() as f64;
        Some(start_s + warmup_s + measured_s)
    };
    let last = runs.iter().filter_map(of_run).reduce(f64::max);
    last.map(|end| (String::new(), end)).into_iter().collect()
}

fn requests(verdict: &VerdictRecord) -> Vec<Sample> {
    let counts = &verdict.counts;
    let ends = [
        ("ok", counts.ok),
        ("error", counts.error),
        ("shed", counts.shed),
        ("in_flight_at_end", counts.in_flight_at_end),
    ]
    .map(|(end, count)| (format!(",end=\"{end}\""), float(count)));
    ends.into()
}

fn thresholds(verdict: &VerdictRecord) -> Vec<Sample> {
    let sample = |threshold: &ThresholdRecord| {
        let (expr, scope) = (label(&threshold.expr), label(&threshold.scope));
        let labels = format!(",expr=\"{expr}\",scope=\"{scope}\"");
        (labels, f64::from(u8::from(threshold.pass)))
    };
    verdict.thresholds.iter().map(sample).collect()
}

struct Page {
    text: String,
    /// Escaped.
    scenario: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, samples: &[(String, f64)]) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            self.sample(name, labels, *value);
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let scenario = &self.scenario;
        let _ = writeln!(
            self.text,
            "{name}{{scenario=\"{scenario}\"{labels}}} {value}"
        );
    }

    /// A summary in seconds, the base unit of Prometheus.
    fn latencies(&mut self, report: &Report) {
        const NAME: &str = "alfred_soak_latency_seconds";
        let _ = writeln!(
            self.text,
            "# HELP {NAME} Latencies of the run.\n# TYPE {NAME} summary"
        );
        for series in Series::ALL {
            let of = format!(",series=\"{}\"", series.as_str());
            let percentiles = report.tally.percentiles(series).in_ms();
            let quantiles = ["0.5", "0.9", "0.95", "0.99", "0.999", "1"];
            for (quantile, value) in quantiles.iter().zip(percentiles.values()) {
                if let Some(ms) = value {
                    self.sample(NAME, &format!("{of},quantile=\"{quantile}\""), ms / 1e3);
                }
            }
            let histogram = report.tally.latencies.of(series);
            let count = float(histogram.len());
            self.sample(&format!("{NAME}_sum"), &of, histogram.mean() / 1e6 * count);
            self.sample(&format!("{NAME}_count"), &of, count);
        }
    }
}

fn label(text: &str) -> String {
    escaped(text, |character| match character {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        control if control.is_control() => Some("\u{fffd}"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn labels_end_where_they_should() {
        assert_eq!(label("a\"\\\nb\r\u{1b}"), "a\\\"\\\\\\nb\u{fffd}\u{fffd}");
    }
}
