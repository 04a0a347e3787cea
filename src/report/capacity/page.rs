//! `capacity.html`: self-contained, no network and no script.

use super::{plot, show_rate, text};
use crate::report::markup::{STYLE, Table, escape};
use crate::report::show_ms;
use crate::soak::capacity::curve::Point;
use crate::soak::capacity::record::{CapacityRecord, TryRecord};
use crate::soak::capacity::search::{Answer, Leg};
use crate::soak::record::Verdict;
use crate::soak::units::show_count;
use std::fmt::Write as _;

/// Of the plot; the rest is that of all pages.
const PLOT_STYLE: &str = "\
svg{width:100%;height:auto}svg text{font-size:12px;fill:var(--ink)}svg text.quiet{fill:var(--quiet)}
.grid{stroke:var(--rule)}.limit{stroke:var(--quiet);stroke-dasharray:8 4}
.held{stroke:var(--ink);stroke-width:1.5}.broke{stroke:var(--ink);stroke-dasharray:3 3}
.knee{stroke:var(--quiet);stroke-dasharray:1 4;stroke-width:2}
.line{fill:none;stroke-width:2}.line.b{stroke-dasharray:7 3}.line.c{stroke-dasharray:2 3}
.a{stroke:var(--a)}.b{stroke:var(--b)}.c{stroke:var(--c)}
.mark.a{fill:var(--a)}.mark.b{fill:var(--b)}.mark.c{fill:var(--c)}
.mark.hollow{fill:var(--paper);stroke-width:1.5}
svg text.name{stroke:none;font-weight:600}
svg text.name.a{fill:var(--a)}svg text.name.b{fill:var(--b)}svg text.name.c{fill:var(--c)}";

/// The page.
#[must_use]
pub fn page(record: &CapacityRecord) -> String {
    let word = record.verdict.map_or("unfinished", Verdict::as_str);
    let title = match &record.held {
        Some(held) if record.confirmed => format!("{} held", show_rate(held.rate_per_s)),
        _ => word.to_owned(),
    };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Capacity of {target}: {title}</title>\n<style>\n{STYLE}{PLOT_STYLE}\n</style>\n</head>\n<body>\n\
         <main>\n<h1>{word}: {title}</h1>\n<p class=\"quiet\">{name}, {target}, {start}</p>\n",
        target = escape(&record.target),
        name = escape(&record.name),
        start = escape(&record.start),
    );
    for line in text::outcome(record) {
        let _ = writeln!(page, "<p>{}</p>", escape(&line));
    }
    curve(&mut page, record);
    facts(&mut page, record);
    steps(&mut page, record);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn curve(page: &mut String, record: &CapacityRecord) {
    let Some(svg) = plot::svg(record) else {
        return;
    };
    page.push_str("<h2>Latency by rate</h2>\n");
    page.push_str(&svg);
    let table = Table {
        label: "Latency by rate",
        caption: "Response, measured from when requests were due; of a rate that was tried several \
                  times, medians. Hollow marks are rates that did not hold.",
        head: &["rate", "p50", "p95", "p99", "sustained", "errors", "held"],
        last_is_words: true,
    };
    let row = |point: &Point| {
        let sustained = point.sustained_per_s;
        vec![
            show_rate(point.rate_per_s),
            show_ms(point.p50_ms),
            show_ms(point.p95_ms),
            show_ms(point.p99_ms),
            sustained.map_or_else(|| "-".to_owned(), show_rate),
            format!("{:.2} %", point.error_rate.unwrap_or(0.0) * 100.0),
            format!(
                "{} {} of {}",
                if point.is_held() { "✓" } else { "✗" },
                point.held,
                point.tried
            ),
        ]
    };
    table.write(page, record.curve.iter().map(row));
}

fn facts(page: &mut String, record: &CapacityRecord) {
    page.push_str("<h2>What it rests on</h2>\n<ul>\n");
    let mut fact = |name: &str, said: &str| {
        let _ = writeln!(page, "<li>{name}: {}</li>", escape(said));
    };
    fact("steps", &text::cost(record));
    let asked = &record.asked;
    let share = asked.sustained_share * 100.0;
    fact(
        "thresholds",
        &format!(
            "{}, and {share} % of the rate sustained",
            asked.thresholds.join(", ")
        ),
    );
    fact("knee", &text::knee(record));
    for line in text::saturated(record) {
        fact("saturated", &line);
    }
    let host = &record.host;
    let machine = format!(
        "{} processors, {}, {}; alfred {}",
        host.cpus, host.kernel, host.machine, record.version
    );
    fact("generator", &machine);
    page.push_str("</ul>\n");
}

fn steps(page: &mut String, record: &CapacityRecord) {
    page.push_str("<h2>Every step</h2>\n");
    let table = Table {
        label: "Every step",
        caption: "",
        head: &[
            "run",
            "rate",
            "requests",
            "p95",
            "unit",
            "generator",
            "what came of it",
        ],
        last_is_words: true,
    };
    let cores = |cores: Option<f64>| {
        cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2} cores"))
    };
    let row = |step: &TryRecord| {
        vec![
            step.run.clone(),
            show_rate(step.rate_per_s),
            show_count(step.counts.due),
            show_ms(step.response_ms.p95),
            cores(step.usage.unit_cores),
            cores(Some(step.usage.generator_cores)),
            came_of(step),
        ]
    };
    table.write(page, record.steps.iter().map(row));
}

fn came_of(step: &TryRecord) -> String {
    let word = match step.answer {
        Some(Answer::Held) => "held",
        Some(Answer::Broke) => "broke",
        Some(Answer::Generator) => "the generator's limit",
        None => "not judged",
    };
    let leg = match step.leg {
        Leg::Confirm => "for longer: ",
        Leg::Climb | Leg::Narrow => "",
    };
    let why = step.reasons.join("; ");
    let colon = if why.is_empty() { "" } else { ": " };
    format!("{leg}{word}{colon}{why}")
}
