//! `capacity.html`: self-contained, no network and no script.

use super::{plot, show_ms, show_rate, text};
use crate::report::escaped;
use crate::soak::capacity::record::{CapacityRecord, TryRecord};
use crate::soak::capacity::search::{Answer, Leg};
use crate::soak::record::Verdict;
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1a1a;--quiet:#5c5c5c;--rule:#d9d9d9;--paper:#fff;
--a:#0072b2;--b:#b84a00;--c:#00795a}
@media (prefers-color-scheme:dark){:root{--ink:#ececec;--quiet:#a8a8a8;--rule:#3c3c3c;--paper:#161616;
--a:#6cbcf0;--b:#f0a35e;--c:#4fd0a5}}
body{margin:2rem auto;max-width:52rem;padding:0 1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}
.quiet{color:var(--quiet)}p{margin:.4rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--quiet)}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
td:last-child,th:last-child{text-align:left;white-space:normal}
svg{width:100%;height:auto}svg text{font-size:12px;fill:var(--ink)}svg text.quiet{fill:var(--quiet)}
.grid{stroke:var(--rule)}.limit{stroke:var(--quiet);stroke-dasharray:8 4}
.held{stroke:var(--ink);stroke-width:1.5}.broke{stroke:var(--ink);stroke-dasharray:3 3}
.knee{stroke:var(--quiet);stroke-dasharray:1 4;stroke-width:2}
.line{fill:none;stroke-width:2}.line.b{stroke-dasharray:7 3}.line.c{stroke-dasharray:2 3}
.a{stroke:var(--a)}.b{stroke:var(--b)}.c{stroke:var(--c)}
.mark.a{fill:var(--a)}.mark.b{fill:var(--b)}.mark.c{fill:var(--c)}
.mark.hollow{fill:var(--paper);stroke-width:1.5}
svg text.name{stroke:none;font-weight:600}
svg text.name.a{fill:var(--a)}svg text.name.b{fill:var(--b)}svg text.name.c{fill:var(--c)}
@media print{body{margin:0}}";

/// Text as HTML.
pub(super) fn escape(text: &str) -> String {
    escaped(text, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        _ => None,
    })
}

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
         <title>Capacity of {target}: {title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n\
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
    page.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Latency by rate\"><table>\n\
         <caption>Response, measured from when requests were due; of a rate that was tried several \
         times, medians. Hollow marks are rates that did not hold.</caption>\n\
         <tr><th scope=\"col\">rate</th><th scope=\"col\">p50</th><th scope=\"col\">p95</th>\
         <th scope=\"col\">p99</th><th scope=\"col\">sustained</th><th scope=\"col\">errors</th>\
         <th scope=\"col\">held</th></tr>\n",
    );
    for point in &record.curve {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{:.2} %</td><td>{} of {}</td></tr>",
            show_rate(point.rate_per_s),
            show_ms(point.p50_ms),
            show_ms(point.p95_ms),
            show_ms(point.p99_ms),
            point
                .sustained_per_s
                .map_or_else(|| "-".to_owned(), show_rate),
            point.error_rate.unwrap_or(0.0) * 100.0,
            point.held,
            point.tried
        );
    }
    page.push_str("</table></div>\n");
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
    page.push_str(
        "<h2>Every step</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Every step\"><table>\n\
         <tr><th scope=\"col\">run</th><th scope=\"col\">rate</th><th scope=\"col\">requests</th>\
         <th scope=\"col\">p95</th><th scope=\"col\">unit</th><th scope=\"col\">generator</th>\
         <th scope=\"col\">what came of it</th></tr>\n",
    );
    for step in &record.steps {
        let cores = |cores: Option<f64>| {
            cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2} cores"))
        };
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            escape(&step.run),
            show_rate(step.rate_per_s),
            crate::soak::units::show_count(step.counts.due),
            show_ms(step.response_ms.p95),
            cores(step.usage.unit_cores),
            cores(Some(step.usage.generator_cores)),
            escape(&came_of(step))
        );
    }
    page.push_str("</table></div>\n");
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
