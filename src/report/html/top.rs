//! The top of the page: the verdict and why, then what it rests on: thresholds, drift, steps, counts.

use super::words::{clock, length, milliseconds, percent};
use crate::report::Report;
use crate::report::beside;
use crate::report::compare::{Compared, Comparison, TOO_NOISY};
use crate::report::markup::{Table, escape};
use crate::report::text::{queries, relevance};
use crate::soak::figure::Figure;
use crate::soak::record::{DriftRecord, StepRecord, ThresholdRecord, Verdict, VerdictRecord};
use crate::soak::threshold::Threshold;
use crate::soak::units::{float, show_count};
use std::fmt::Write as _;

/// Causes of errors that are shown.
const CAUSES_SHOWN: usize = 16;

/// The verdict in a word, why, and the figures that most ask for.
pub(super) fn heading(page: &mut String, report: &Report) {
    let verdict = &report.verdict;
    let (class, sign) = match verdict.verdict {
        Verdict::Pass => ("pass", "✓"),
        Verdict::Fail => ("fail", "✗"),
        Verdict::Invalid => ("invalid", "!"),
    };
    let word = verdict.verdict.as_str();
    let names = names(report);
    let _ = writeln!(
        page,
        "<header class=\"verdict {class}\">\n<h1><span class=\"sign\" aria-hidden=\"true\">{sign}</span> \
         <strong>{word}</strong> <span class=\"name\">{}</span></h1>",
        escape(&names)
    );
    let reasons = reasons(verdict);
    match reasons.as_slice() {
        [one] => {
            let _ = writeln!(page, "<p class=\"reason\">{}</p>", escape(one));
        }
        many => {
            page.push_str("<ul class=\"reason\">\n");
            for reason in many {
                let _ = writeln!(page, "<li>{}</li>", escape(reason));
            }
            page.push_str("</ul>\n");
        }
    }
    page.push_str("</header>\n");
    for run in &report.runs {
        let scenario = &run.run.scenario;
        let state = match (&run.verdict, report.runs.len()) {
            (None, _) => ", unfinished".to_owned(),
            (Some(own), 2..) => format!(", {}", own.verdict.as_str()),
            _ => String::new(),
        };
        let line = format!(
            "{}: {}, {} for {}, {}, from {}{state}",
            run.run.id,
            run.run.target,
            scenario.load(),
            length(scenario.duration_s),
            scenario.arrivals,
            run.run.start.wall
        );
        let _ = writeln!(page, "<p class=\"quiet\">{}</p>", escape(&line));
    }
    if let Some(apart_s) = crate::report::together::starts_apart_s(&report.runs) {
        let _ = writeln!(
            page,
            "<p class=\"quiet\">{} runs as one; their starts lie {apart_s:.3} s apart, each by its own \
             host's clock.</p>",
            report.runs.len()
        );
    }
}

/// Names of the scenarios, each once.
pub(super) fn names(report: &Report) -> String {
    let mut names: Vec<&str> = report
        .runs
        .iter()
        .map(|run| run.run.name.as_str())
        .collect();
    names.dedup();
    names.join(", ")
}

/// Why; of a PASS, what held and by how much.
fn reasons(verdict: &VerdictRecord) -> Vec<String> {
    if !verdict.reasons.is_empty() {
        return verdict.reasons.clone();
    }
    let held = verdict.thresholds.iter().map(|record| {
        let value = shown(record);
        let place = place(record);
        format!("{}{place} held: {value}", record.expr)
    });
    let held: Vec<String> = held.collect();
    if held.is_empty() {
        vec!["There was no threshold to cross.".to_owned()]
    } else {
        held
    }
}

fn shown(record: &ThresholdRecord) -> String {
    match record.expr.parse::<Threshold>() {
        Ok(threshold) => threshold.show(record.value),
        Err(_) => record
            .value
            .map_or_else(|| "nothing measured".to_owned(), |value| value.to_string()),
    }
}

fn place(record: &ThresholdRecord) -> String {
    match record.scope.as_str() {
        "run" => String::new(),
        scope => format!(" in {scope}"),
    }
}

/// The figures that most ask for.
pub(super) fn figures(page: &mut String, report: &Report) {
    let verdict = &report.verdict;
    let counts = &verdict.counts;
    let response = &verdict.response_ms;
    let coverage = &verdict.coverage;
    let facts = [
        ("p50", milliseconds(response.p50)),
        ("p95", milliseconds(response.p95)),
        ("p99", milliseconds(response.p99)),
        ("max", milliseconds(response.max)),
        ("not ok", percent(verdict.error_rate)),
        ("ok a second", format!("{:.2}", verdict.throughput_per_s)),
        ("requests due", show_count(counts.due)),
        ("measured", clock(coverage.measured_s)),
    ];
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in facts {
        let _ = writeln!(
            page,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escape(&value)
        );
    }
    page.push_str("</dl>\n");
}

/// Thresholds, drift, steps, counts and errors.
pub(super) fn grounds(page: &mut String, report: &Report) {
    let verdict = &report.verdict;
    thresholds(page, &verdict.thresholds);
    drift(page, &verdict.drift);
    steps(page, &verdict.steps);
    requests(page, verdict);
    coverage(page, report);
}

fn thresholds(page: &mut String, records: &[ThresholdRecord]) {
    page.push_str("<h2 id=\"thresholds\">Thresholds</h2>\n");
    if records.is_empty() {
        page.push_str("<p>None was set.</p>\n");
        return;
    }
    let table = Table {
        label: "Thresholds",
        caption: "",
        head: &[
            "threshold",
            "result",
            "value",
            "margin",
            "held against",
            "worst from",
        ],
        last_is_words: false,
    };
    let row = |record: &ThresholdRecord| {
        let from = match (record.at_s, record.until_s) {
            (Some(from_s), Some(to_s)) => format!("{} to {}", clock(from_s), clock(to_s)),
            (Some(from_s), None) => clock(from_s),
            _ => String::new(),
        };
        let result = if record.pass {
            "✓ held"
        } else {
            "✗ crossed"
        };
        vec![
            record.expr.clone(),
            result.to_owned(),
            shown(record),
            margin(record),
            match record.scope.as_str() {
                "run" => "the whole run".to_owned(),
                scope => scope.to_owned(),
            },
            from,
        ]
    };
    table.write(page, records.iter().map(row));
}

/// How far the value is from the limit, as a share of the limit.
fn margin(record: &ThresholdRecord) -> String {
    let limit = record.expr.parse::<Threshold>().ok().map(|t| t.limit());
    let (Some(limit), Some(value)) = (limit.filter(|limit| *limit > 0.0), record.value) else {
        return "-".to_owned();
    };
    let share = (value - limit) / limit * 100.0;
    let side = if share < 0.0 { "below" } else { "above" };
    format!("{:.1} % {side}", share.abs())
}

fn drift(page: &mut String, records: &[DriftRecord]) {
    page.push_str("<h2 id=\"drift\">Drift</h2>\n");
    let fitted = |record: &&DriftRecord| record.slope_per_h.is_some();
    let table = Table {
        label: "Drift",
        caption: "Fitted slopes an hour (Theil–Sen on the floors of blocks), with 95 % intervals.",
        head: &["figure", "slope", "interval", "budget", "level", "result"],
        last_is_words: true,
    };
    let row = |record: &DriftRecord| {
        let figure = Figure::named(&record.series);
        let change = |value: Option<f64>| match (value, figure) {
            (None, _) => "-".to_owned(),
            (Some(value), Some(figure)) => figure.show_change(value),
            (Some(value), None) => value.to_string(),
        };
        let level = record.level.map_or_else(
            || "-".to_owned(),
            |level| figure.map_or_else(|| level.to_string(), |figure| figure.show(level)),
        );
        // The reason begins with the figures, which have columns of their own here.
        let why = record.reason.split_once("), ");
        let why = why.map_or(record.reason.as_str(), |(_, why)| why);
        let sign = match record.status.as_str() {
            "pass" => "✓ ",
            "fail" => "✗ ",
            _ => "",
        };
        vec![
            record.series.clone(),
            change(record.slope_per_h),
            format!(
                "{} to {}",
                change(record.lower_per_h),
                change(record.upper_per_h)
            ),
            change(record.budget_per_h),
            level,
            format!("{sign}{}: {why}", record.status),
        ]
    };
    if records.iter().any(|record| fitted(&record)) {
        table.write(page, records.iter().filter(fitted).map(row));
    }
    for record in records.iter().filter(|record| !fitted(record)) {
        let said = format!("{} {}: {}", record.series, record.status, record.reason);
        let _ = writeln!(page, "<p>{}</p>", escape(&said));
    }
}

fn steps(page: &mut String, records: &[StepRecord]) {
    if records.is_empty() {
        return;
    }
    page.push_str("<h2 id=\"steps\">Step changes</h2>\n");
    let table = Table {
        label: "Step changes",
        caption: "Lasting changes of a level.",
        head: &[
            "figure", "at", "before", "after", "change", "allowed", "result",
        ],
        last_is_words: true,
    };
    let row = |step: &StepRecord| {
        let figure = Figure::named(&step.series);
        let show = |value: f64| figure.map_or_else(|| value.to_string(), |f| f.show(value));
        let result = match (step.budget, step.pass) {
            (None, _) => "evidence alone",
            (Some(_), true) => "✓ within",
            (Some(_), false) => "✗ beyond",
        };
        vec![
            step.series.clone(),
            clock(step.at_s),
            show(step.before),
            show(step.after),
            format!("{:+.1} %", step.change * 100.0),
            percent(step.budget),
            result.to_owned(),
        ]
    };
    table.write(page, records.iter().map(row));
}

fn requests(page: &mut String, verdict: &VerdictRecord) {
    let counts = &verdict.counts;
    let _ = writeln!(
        page,
        "<h2 id=\"requests\">Requests</h2>\n<p>due {} = ok {} + error {} + shed {} + in flight at end {}</p>",
        show_count(counts.due),
        show_count(counts.ok),
        show_count(counts.error),
        show_count(counts.shed),
        show_count(counts.in_flight_at_end)
    );
    let share = |count: u64| percent(crate::soak::tally::ratio(count, counts.due));
    let row =
        |(name, count): (&String, &u64)| vec![name.clone(), show_count(*count), share(*count)];
    if !verdict.errors_by_kind.is_empty() {
        let table = Table {
            label: "Errors by kind",
            caption: "Errors by kind, and their share of the due requests.",
            head: &["kind", "errors", "share"],
            last_is_words: false,
        };
        table.write(page, verdict.errors_by_kind.iter().map(row));
    }
    let mut causes: Vec<(&String, &u64)> = verdict.errors_by_cause.iter().collect();
    causes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    causes.truncate(CAUSES_SHOWN);
    if !causes.is_empty() {
        let table = Table {
            label: "Causes of errors",
            caption: "The same errors by what was said of them.",
            head: &["cause", "errors", "share"],
            last_is_words: false,
        };
        table.write(page, causes.into_iter().map(row));
    }
}

/// How much was measured, how well, and of what the cache answered.
fn coverage(page: &mut String, report: &Report) {
    let verdict = &report.verdict;
    let coverage = &verdict.coverage;
    let mut lines = vec![
        format!(
            "{} of {} windows recorded, {} measured{}",
            show_count(coverage.windows_recorded),
            show_count(coverage.windows_planned),
            clock(coverage.measured_s),
            if coverage.stopped_early {
                ", stopped early"
            } else {
                ""
            }
        ),
        format!(
            "generator: {:.3} cores, p99 of lag {}",
            verdict.generator.cpu_cores,
            milliseconds(verdict.generator.lag_p99_ms)
        ),
        format!("queries: {}", queries(verdict)),
    ];
    lines.extend(verdict.relevance.as_ref().map(relevance));
    lines.extend(report.runs.iter().filter_map(beside::unreached_line));
    if coverage.suspended_ms > 0 {
        let slept_s = float(coverage.suspended_ms) / 1e3;
        lines.push(format!("the machine was suspended for {slept_s:.1} s"));
    }
    if coverage.wall_step_ms != 0 {
        lines.push(format!(
            "the wall clock was stepped by {} ms, which does no harm",
            coverage.wall_step_ms
        ));
    }
    page.push_str("<ul>\n");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", escape(&line));
    }
    page.push_str("</ul>\n");
}

/// These runs beside a baseline.
pub(super) fn comparison(page: &mut String, comparison: &Comparison) {
    let [old, new] = comparison.batches;
    let _ = writeln!(
        page,
        "<h2 id=\"comparison\">Compared with {}</h2>",
        escape(&comparison.baseline.join(", "))
    );
    let caption = format!(
        "{old} and {new} batches of {} windows; ratios with 98 % intervals.",
        comparison.batch_windows
    );
    let table = Table {
        label: "Comparison",
        caption: &caption,
        head: &["figure", "baseline", "run", "ratio", "interval", "result"],
        last_is_words: true,
    };
    let row = |one: &Compared| {
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| one.show(v));
        let is_noisy = one.is_too_noisy();
        let interval = match (one.lower, one.upper) {
            (Some(lower), Some(upper)) if !is_noisy => format!("{lower:.3} to {upper:.3}"),
            _ => "-".to_owned(),
        };
        let ratio = one.ratio.filter(|_| !is_noisy);
        let seen = one
            .smallest_seen
            .filter(|_| one.result == "no difference seen");
        let seen = seen.map_or_else(String::new, |seen| {
            format!("; the smallest would have been {:.1} %", seen * 100.0)
        });
        vec![
            one.metric.clone(),
            show(one.baseline),
            show(one.run),
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
            interval,
            if is_noisy {
                TOO_NOISY.to_owned()
            } else {
                format!("{}{seen}", one.result)
            },
        ]
    };
    table.write(page, comparison.metrics.iter().map(row));
    for note in &comparison.notes {
        let _ = writeln!(page, "<p>! the scenarios differ, {}</p>", escape(note));
    }
}
