//! Prometheus text for node_exporter's textfile collector.

use super::{Report, escaped};
use crate::soak::latency::Series;
use crate::soak::record::Verdict;
use std::fmt::Write as _;

pub(super) fn report(report: &Report) -> String {
    let verdict = &report.verdict;
    let names: Vec<&str> = report
        .runs
        .iter()
        .map(|run| run.run.name.as_str())
        .collect();
    let scenario = label(&names.join(" "));
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, samples: &[(String, f64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{scenario=\"{scenario}\"{labels}}} {value}");
        }
    };
    let words = [Verdict::Pass, Verdict::Fail, Verdict::Invalid].map(|word| {
        let is = f64::from(u8::from(word == verdict.verdict));
        (format!(",verdict=\"{}\"", word.as_str()), is)
    });
    metric(
        "alfred_soak_verdict",
        "1 for the verdict of the last run.",
        &words,
    );
    let mut latencies = Vec::new();
    for series in Series::ALL {
        let percentiles = report.tally.percentiles(series).in_ms();
        let quantiles = ["0.5", "0.9", "0.95", "0.99", "0.999", "1"];
        for (quantile, value) in quantiles.iter().zip(percentiles.values()) {
            if let Some(value) = value {
                let series = series.as_str();
                let labels = format!(",series=\"{series}\",quantile=\"{quantile}\"");
                latencies.push((labels, value));
            }
        }
    }
    metric(
        "alfred_soak_latency_ms",
        "Latency quantiles of the run.",
        &latencies,
    );
    let counts = &verdict.counts;
    let ends = [
        ("ok", counts.ok),
        ("error", counts.error),
        ("shed", counts.shed),
        ("in_flight_at_end", counts.in_flight_at_end),
    ]
    .map(|(end, count)| (format!(",end=\"{end}\""), crate::soak::units::float(count)));
    metric(
        "alfred_soak_requests",
        "Due requests by how they ended.",
        &ends,
    );
    let throughput = [(String::new(), verdict.throughput_per_s)];
    metric(
        "alfred_soak_throughput_per_second",
        "Requests that ended ok.",
        &throughput,
    );
    text
}

fn label(text: &str) -> String {
    escaped(text, |character| match character {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        _ => None,
    })
}
