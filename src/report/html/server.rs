//! The target's own histogram beside what the client measured.

use super::words::milliseconds;
use crate::report::markup::{Table, escape};
use crate::report::{Report, server};
use crate::soak::record::ServerRecord;
use crate::soak::server::record::ServerPercentile;
use std::fmt::Write as _;

/// Of each run that was checked.
pub(super) fn write(page: &mut String, report: &Report) {
    let checked = report.runs.iter().filter_map(|run| {
        let server = run.verdict.as_ref()?.server.as_ref()?;
        Some((run.run.id.as_str(), server))
    });
    for (number, (id, server)) in checked.enumerate() {
        if number == 0 {
            page.push_str("<h2 id=\"server\">The server's own histogram</h2>\n");
        }
        if report.runs.len() > 1 {
            let _ = writeln!(page, "<h3>{}</h3>", escape(id));
        }
        one(page, server);
    }
}

fn one(page: &mut String, record: &ServerRecord) {
    page.push_str("<ul>\n");
    let reasons = record.reasons.iter().cloned();
    let thresholds = record.thresholds.len();
    let mut lines = server::lines(record);
    // They have a table of their own here.
    lines.truncate(lines.len() - thresholds);
    for line in lines.into_iter().chain(reasons) {
        let _ = writeln!(page, "<li>{}</li>", escape(&line));
    }
    page.push_str("</ul>\n");
    if !record.percentiles.is_empty() {
        percentiles(page, record);
    }
    if thresholds > 0 {
        let table = Table {
            label: "Thresholds by the server's own figures",
            caption: "Thresholds on the whole run, by the bounds of the server's buckets.",
            head: &["threshold", "server", "result"],
            last_is_words: true,
        };
        let rows = record.thresholds.iter().map(|one| {
            let held = server::held(one).to_owned();
            vec![one.expr.clone(), server::value(one), held]
        });
        table.write(page, rows);
    }
}

fn percentiles(page: &mut String, record: &ServerRecord) {
    let caption = format!(
        "The server's bucket and the client's service time, which may lie above it by: {}.",
        server::allowance(record)
    );
    let table = Table {
        label: "Percentiles by server and client",
        caption: &caption,
        head: &[
            "percentile",
            "server",
            "service",
            "may lie above by",
            "result",
        ],
        last_is_words: true,
    };
    let row = |one: &ServerPercentile| {
        let result = match one.agrees {
            Some(true) => "✓ agrees",
            Some(false) => "✗ disagrees",
            None => "shown alone",
        };
        vec![
            format!("p{}", (one.quantile * 1e8).round() / 1e6),
            server::bucket(one),
            milliseconds(one.service_ms),
            milliseconds(Some(one.allowance_ms)),
            result.to_owned(),
        ]
    };
    table.write(page, record.percentiles.iter().map(row));
}
