//! `report.html`: a run for people, in one file that opens anywhere. Verdict first, then what it rests
//! on, plots, percentiles, events, evidence, scenario and host.
//!
//! Everything but the plots is there without the script, which draws with uPlot (`vendor/uplot`,
//! version 1.6.32, unchanged). Each plot has its values as a table besides. Nothing is loaded: the
//! page's own policy forbids it. All text of a run is escaped, in HTML by [`super::markup::escape`] and
//! in data by [`data::embedded`].

mod data;
mod evidence;
mod facts;
mod grid;
mod heat;
mod marks;
mod plots;
mod server;
mod top;
mod values;
mod words;

use super::markup::{self, escape};
use super::{Report, ReportError};
use crate::soak::evidence::{self as taken, Taken};
use crate::soak::run_folder::RecordedRun;
use heat::Heat;
use marks::{Mark, Marks};
use plots::{Plot, Source};
use std::fmt::Write as _;

/// Points of all plots of a page, gaps aside: 72 hours of windows of 10 s are 25,920.
const MAX_POINTS: usize = 30_000;
/// Runs whose plots are shown; the rest count in figures and tables.
const MAX_RUNS: usize = 16;
/// What the page may load: nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; base-uri 'none'; form-action 'none'";

const UPLOT: &str = include_str!("vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("vendor/uplot/uPlot.min.css");
const UPLOT_LICENSE: &str = include_str!("vendor/uplot/LICENSE");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("words.js"),
    include_str!("draw.js"),
    include_str!("heat.js"),
    include_str!("page.js")
);

/// A run with all that is shown of it.
struct Shown<'a> {
    run: &'a RecordedRun,
    /// Of several runs, what names of its elements begin with.
    prefix: String,
    times: Vec<f64>,
    windows_a_point: usize,
    plots: Vec<Plot>,
    heat: Option<Heat>,
    marks: Marks,
    taken: Vec<Taken>,
}

/// The page.
pub(super) fn page(report: &Report) -> Result<String, ReportError> {
    let count = report.runs.len().clamp(1, MAX_RUNS);
    let shown = report
        .runs
        .iter()
        .take(MAX_RUNS)
        .enumerate()
        .map(|(place, run)| show(report, (place, run), MAX_POINTS / count))
        .collect::<Result<Vec<_>, ReportError>>()?;
    let mut page = String::with_capacity(1 << 20);
    head(&mut page, report);
    page.push_str("<main>\n");
    top::heading(&mut page, report);
    navigation(&mut page, &shown);
    top::figures(&mut page, report);
    if let Some(comparison) = &report.comparison {
        top::comparison(&mut page, comparison);
    }
    top::grounds(&mut page, report);
    server::write(&mut page, report);
    plots(&mut page, report, &shown);
    facts::percentiles(&mut page, report);
    events(&mut page, &shown);
    evidence(&mut page, report, &shown);
    page.push_str("<h2 id=\"scenario\">Scenario and host</h2>\n");
    for run in report.runs.iter().take(MAX_RUNS) {
        facts::scenario(&mut page, run);
    }
    page.push_str("</main>\n");
    foot(&mut page, &shown)?;
    Ok(page)
}

fn show<'a>(
    report: &'a Report,
    (place, run): (usize, &'a RecordedRun),
    most_points: usize,
) -> Result<Shown<'a>, ReportError> {
    let single = report.runs.len() == 1;
    let judged = single.then_some(&report.verdict);
    let verdict = run.verdict.as_ref().or(judged);
    let source = Source::new(run, verdict, most_points);
    let taken = taken::read(&run.folder)?;
    Ok(Shown {
        run,
        prefix: if single {
            String::new()
        } else {
            format!("run{place}-")
        },
        times: source.grid.times(),
        windows_a_point: source.grid.windows_a_point,
        plots: plots::all(&source),
        heat: heat::read(run)?,
        marks: marks::of(run, verdict, &taken),
        taken,
    })
}

fn head(page: &mut String, report: &Report) {
    let word = report.verdict.verdict.as_str();
    let target = report
        .runs
        .first()
        .map_or("", |run| run.run.target.as_str());
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{word}: {}, {}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <style>\n{}{UPLOT_STYLE}{STYLE}</style>\n</head>\n<body>\n",
        escape(&top::names(report)),
        escape(target),
        markup::STYLE,
    );
}

fn navigation(page: &mut String, shown: &[Shown<'_>]) {
    let events: usize = shown.iter().map(|one| one.marks.shown.len()).sum();
    let taken: usize = shown.iter().map(|one| one.taken.len()).sum();
    let counted = |name: &str, count: usize| format!("{name} ({count})");
    let places = [
        ("thresholds", "Thresholds".to_owned()),
        ("plots", "Plots".to_owned()),
        ("percentiles", "Percentiles".to_owned()),
        ("events", counted("Events", events)),
        ("evidence", counted("Evidence", taken)),
        ("scenario", "Scenario and host".to_owned()),
    ];
    page.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for (id, name) in places {
        if id == "evidence" && taken == 0 {
            continue;
        }
        let _ = writeln!(page, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    page.push_str("</ul></nav>\n");
}

fn plots(page: &mut String, report: &Report, shown: &[Shown<'_>]) {
    page.push_str(
        "<h2 id=\"plots\">Plots</h2>\n\
         <noscript><p>The plots need JavaScript; the values under each are there without.</p></noscript>\n\
         <p class=\"quiet keys\" hidden>Drag to zoom in, double-click to zoom out. In a plot: ← → move by \
         a point, Page Up and Page Down by a tenth, Home and End to the ends, + − zoom, 0 shows all, n \
         and p go to the next and the previous mark.</p>\n\
         <div class=\"toolbar\" hidden></div>\n",
    );
    if let Some(left_out) = report
        .runs
        .len()
        .checked_sub(MAX_RUNS)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(
            page,
            "<p>The plots of {left_out} more runs are left out.</p>"
        );
    }
    for (place, one) in shown.iter().enumerate() {
        let several = shown.len() > 1;
        if several {
            let _ = writeln!(page, "<h3>{}</h3>", escape(&one.run.run.id));
        }
        if one.windows_a_point > 1 {
            let _ = writeln!(
                page,
                "<p>Each point stands for {} windows: of latencies, levels and errors the highest of \
                 them, of rates the mean.</p>",
                one.windows_a_point
            );
        }
        if one.plots.is_empty() {
            page.push_str("<p>There is no window to draw.</p>\n");
        }
        let level = if several { 4 } else { 3 };
        for plot in &one.plots {
            values::figure(page, one, (place, level), plot);
            if plot.id == "response" && one.heat.is_some() {
                values::heat(page, one, (place, level));
            }
        }
    }
}

fn events(page: &mut String, shown: &[Shown<'_>]) {
    page.push_str("<h2 id=\"events\">Events</h2>\n");
    for one in shown {
        if shown.len() > 1 {
            let _ = writeln!(page, "<h3>{}</h3>", escape(&one.run.run.id));
        }
        if one.marks.shown.is_empty() {
            page.push_str("<p>Nothing happened beside the requests that was seen.</p>\n");
            continue;
        }
        page.push_str("<ol class=\"events\">\n");
        for mark in &one.marks.shown {
            event(page, one, mark);
        }
        page.push_str("</ol>\n");
        if one.marks.left_out > 0 {
            let _ = writeln!(
                page,
                "<p>{} more are in events.jsonl and windows.jsonl.</p>",
                one.marks.left_out
            );
        }
    }
}

fn event(page: &mut String, one: &Shown<'_>, mark: &Mark) {
    let prefix = &one.prefix;
    let until = mark
        .to_s
        .map_or_else(String::new, |to_s| format!(" to {}", words::clock(to_s)));
    let _ = write!(
        page,
        "<li id=\"{prefix}mark-{flag}\" tabindex=\"-1\"><span class=\"flag\">{flag}</span> \
         <span class=\"at\">{at}{until}</span> <span class=\"kind\">{kind}</span>: {text}",
        flag = escape(&mark.flag),
        at = words::clock(mark.at_s),
        kind = mark.kind.name(),
        text = escape(&mark.text),
    );
    if let Some(place) = mark.taken {
        let _ = write!(
            page,
            " <a href=\"#{prefix}taken-{place}\">what was taken</a>"
        );
    }
    page.push_str("</li>\n");
}

fn evidence(page: &mut String, report: &Report, shown: &[Shown<'_>]) {
    if shown.iter().all(|one| one.taken.is_empty()) {
        return;
    }
    page.push_str("<h2 id=\"evidence\">Evidence</h2>\n");
    if report.runs.len() > 1 {
        page.push_str(
            "<p class=\"quiet\">Links are right where this page lies beside the run folders.</p>\n",
        );
    }
    let mut room = evidence::MAX_SHOWN_BYTES;
    for one in shown {
        let name = one
            .run
            .folder
            .file_name()
            .map(|name| name.to_string_lossy());
        let way = match name {
            Some(name) if report.runs.len() > 1 => format!("{name}/"),
            _ => String::new(),
        };
        let flag = |place: usize| {
            let marks = one.marks.shown.iter();
            let mut of_this = marks.filter(|mark| mark.taken == Some(place));
            of_this
                .next()
                .map_or_else(String::new, |mark| mark.flag.clone())
        };
        let flags: Vec<String> = (0..one.taken.len()).map(flag).collect();
        let place = evidence::Place {
            folder: &one.run.folder,
            way: &way,
            prefix: &one.prefix,
            flags: &flags,
        };
        evidence::section(page, &one.taken, &place, &mut room);
    }
}

fn foot(page: &mut String, shown: &[Shown<'_>]) -> Result<(), ReportError> {
    let runs = shown.iter().map(|one| {
        let last = one.run.windows.last();
        data::Run {
            id: &one.run.run.id,
            start_ms: whole_ms(super::together::start_s(one.run)),
            length_s: last.map_or(0.0, |last| last.start_s + last.length_s),
            x: data::Numbers(one.times.iter().copied().map(Some).collect()),
            plots: one.plots.iter().map(data::Drawn::of).collect(),
            heat: one.heat.as_ref(),
            marks: &one.marks.shown,
        }
    });
    let data = data::embedded(&data::Page {
        runs: runs.collect(),
    })?;
    let _ = write!(
        page,
        "<footer class=\"quiet\"><p>Made by alfred {} from the run folder alone. Plots: uPlot 1.6.32.</p>\n\
         <details><summary>Licence of uPlot</summary><pre tabindex=\"0\">{}</pre></details></footer>\n\
         <div id=\"live\" class=\"unseen\" role=\"status\" aria-live=\"polite\"></div>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>{UPLOT}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        escape(UPLOT_LICENSE),
    );
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds since the epoch, 0 or more"
)]
fn whole_ms(seconds: f64) -> u64 {
    (seconds * 1e3).round() as u64
}
