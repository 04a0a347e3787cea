//! JUnit XML: a case for whether the run could be judged, and one a threshold.

use super::{Report, escaped};
use crate::soak::figure::Figure;
use crate::soak::record::{Verdict, VerdictRecord};
use crate::soak::threshold::Threshold;
use std::fmt::Write as _;

pub(super) fn report(report: &Report) -> String {
    let verdict = &report.verdict;
    let invalid = verdict.verdict == Verdict::Invalid;
    let beyond = beyond_budget(verdict);
    let failed = verdict.thresholds.iter().filter(|t| !t.pass).count() + beyond.len();
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
        verdict.thresholds.len() + 1 + beyond.len(),
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
        let name = match threshold.scope.as_str() {
            "run" => xml(&threshold.expr),
            scope => xml(&format!("{} in {scope}", threshold.expr)),
        };
        let _ = write!(text, "  <testcase classname=\"{suite}\" name=\"{name}\"");
        if threshold.pass {
            text.push_str("/>\n");
        } else {
            let parsed = threshold.expr.parse::<Threshold>();
            let value = match (parsed, threshold.value) {
                (Ok(threshold), value) => threshold.show(value),
                (Err(_), Some(value)) => value.to_string(),
                (Err(_), None) => "nothing measured".to_owned(),
            };
            let value = xml(&value);
            let _ = writeln!(text, "><failure message=\"value: {value}\"/></testcase>");
        }
    }
    for (name, reason) in &beyond {
        let (name, reason) = (xml(name), xml(reason));
        let _ = writeln!(
            text,
            "  <testcase classname=\"{suite}\" name=\"{name}\"><failure message=\"{reason}\"/></testcase>"
        );
    }
    text.push_str("</testsuite></testsuites>\n");
    text
}

/// Drifts and steps beyond their budgets: the name of a case, and why it fails.
fn beyond_budget(verdict: &VerdictRecord) -> Vec<(String, String)> {
    let drifts = verdict.drift.iter().filter(|drift| drift.status == "fail");
    let drifts = drifts.map(|drift| (format!("drift of {}", drift.series), drift.reason.clone()));
    let steps = verdict.steps.iter().filter(|step| !step.pass).map(|step| {
        let figure = Figure::named(&step.series);
        let show = |value: f64| figure.map_or_else(|| value.to_string(), |f| f.show(value));
        let reason = format!("from {} to {}", show(step.before), show(step.after));
        (
            format!("step of {} at {} s", step.series, step.at_s),
            reason,
        )
    });
    drifts.chain(steps).collect()
}

fn xml(text: &str) -> String {
    escaped(text, |character| match character {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        // Blanks that an attribute keeps only so.
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        '\t' => Some("&#9;"),
        // XML 1.0, 2.2: nobody may write these, however escaped.
        '\u{fffe}' | '\u{ffff}' => Some("\u{fffd}"),
        control if control.is_control() => Some("\u{fffd}"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::xml;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            xml("<a>\u{1b}[31m\u{0}\u{ffff}\n&\"é"),
            "&lt;a&gt;\u{fffd}[31m\u{fffd}\u{fffd}&#10;&amp;&quot;é"
        );
    }
}
