//! JUnit XML: a case for whether the run could be judged, and one a threshold.

use super::{Report, escaped};
use crate::soak::record::Verdict;
use std::fmt::Write as _;

pub(super) fn report(report: &Report) -> String {
    let verdict = &report.verdict;
    let invalid = verdict.verdict == Verdict::Invalid;
    let failed = verdict.thresholds.iter().filter(|t| !t.pass).count();
    let names: Vec<&str> = report
        .runs
        .iter()
        .map(|run| run.run.name.as_str())
        .collect();
    let suite = xml(&names.join(" "));
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let _ = writeln!(
        text,
        "<testsuites><testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\" time=\"{}\">",
        verdict.thresholds.len() + 1,
        usize::from(invalid),
        verdict.coverage.measured_s
    );
    let _ = write!(text, "  <testcase classname=\"{suite}\" name=\"valid\"");
    if invalid {
        let reasons = xml(&verdict.reasons.join("; "));
        let _ = writeln!(text, "><error message=\"{reasons}\"/></testcase>");
    } else {
        text.push_str("/>\n");
    }
    for threshold in &verdict.thresholds {
        let name = xml(&threshold.expr);
        let _ = write!(text, "  <testcase classname=\"{suite}\" name=\"{name}\"");
        if threshold.pass {
            text.push_str("/>\n");
        } else {
            let value = threshold
                .value
                .map_or_else(|| "nothing measured".to_owned(), |value| value.to_string());
            let _ = writeln!(text, "><failure message=\"value: {value}\"/></testcase>");
        }
    }
    text.push_str("</testsuite></testsuites>\n");
    text
}

fn xml(text: &str) -> String {
    escaped(text, |character| match character {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        _ => None,
    })
}
