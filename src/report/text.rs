//! The report for people: percentiles, counts, thresholds, and last the verdict in a word.

use super::{Report, beside, server};
use crate::plain;
use crate::soak::causes;
use crate::soak::figure::Figure;
use crate::soak::latency::{PERCENTILE_NAMES, Series};
use crate::soak::record::{JudgedRecord, StepRecord, Verdict, VerdictRecord};
use crate::soak::run_folder::RecordedRun;
use crate::soak::threshold::Threshold;
use crate::soak::units::{show_count, show_duration, show_latency_us};
use console::Style;
use std::fmt::Write as _;
use std::time::Duration;

/// Widest line of a report, besides addresses and folders.
const WIDTH: usize = 100;

/// Causes of errors in a report for people; `--format json` has them all.
const CAUSES_SHOWN: usize = 5;
/// Between two lines of one fact.
const CONTINUED: &str = "\n           ";
/// Before a line that belongs to the one above.
const BELOW: &str = "\n             ";

/// Colours, or none.
#[derive(Clone, Debug)]
pub struct Palette {
    /// What is good.
    pub good: Style,
    /// What is bad.
    pub bad: Style,
    /// What cannot be told.
    pub doubtful: Style,
    /// What matters less.
    pub quiet: Style,
    /// What matters most.
    pub strong: Style,
}

impl Palette {
    /// Colours when `color`, else plain text.
    #[must_use]
    pub fn new(color: bool) -> Self {
        let style = || Style::new().force_styling(color);
        Self {
            good: style().green(),
            bad: style().red(),
            doubtful: style().yellow(),
            quiet: style().dim(),
            strong: style().bold(),
        }
    }

    /// The style of a verdict.
    #[must_use]
    pub fn verdict(&self, verdict: Verdict) -> Style {
        match verdict {
            Verdict::Pass => self.good.clone().bold(),
            Verdict::Fail => self.bad.clone().bold(),
            Verdict::Invalid => self.doubtful.clone().bold(),
        }
    }

    /// A tick or a cross.
    #[must_use]
    pub fn tick(&self, pass: bool) -> String {
        if pass {
            self.good.apply_to("✓").to_string()
        } else {
            self.bad.apply_to("✗").to_string()
        }
    }
}

pub(super) fn report(report: &Report, color: bool) -> String {
    let palette = Palette::new(color);
    let mut text = String::new();
    for run in &report.runs {
        heading(&mut text, run, &palette, report.runs.len() > 1);
    }
    if let Some(apart_s) = super::together::starts_apart_s(&report.runs) {
        let _ = writeln!(
            text,
            "{} runs as one; their starts lie {apart_s:.3} s apart, each by its own host's clock",
            report.runs.len()
        );
    }
    percentile_table(&mut text, report, &palette);
    facts(&mut text, report, &palette);
    if let Some(comparison) = &report.comparison {
        super::compare_text::show(&mut text, comparison, &palette);
    }
    thresholds(&mut text, &report.verdict, &palette);
    ending(&mut text, &report.verdict, &palette);
    text
}

fn heading(text: &mut String, run: &RecordedRun, palette: &Palette, own_verdict: bool) {
    let scenario = &run.run.scenario;
    let seconds = |s: f64| show_duration(Duration::try_from_secs_f64(s).unwrap_or_default());
    let _ = write!(
        text,
        "{}  {}  {} for {}, {}",
        palette.strong.apply_to(plain::one_line(&run.run.name)),
        plain::one_line(&run.run.target),
        scenario.load(),
        seconds(scenario.duration_s),
        plain::one_line(&scenario.arrivals)
    );
    if scenario.warmup_s > 0.0 {
        let _ = write!(text, ", {} warm-up", seconds(scenario.warmup_s));
    }
    if own_verdict {
        let own = run.verdict.as_ref().map(|verdict| verdict.verdict);
        let word = own.map_or("unfinished", Verdict::as_str);
        let _ = write!(text, "  {word}");
    }
    text.push('\n');
    let folder = plain::one_line(&run.folder.display().to_string());
    let _ = writeln!(text, "{}", palette.quiet.apply_to(folder));
}

fn percentile_table(text: &mut String, report: &Report, palette: &Palette) {
    let mut head = format!("{:<10}", "");
    for name in PERCENTILE_NAMES {
        let _ = write!(head, "{name:>11}");
    }
    let _ = writeln!(text, "\n{}", palette.quiet.apply_to(head));
    for series in Series::ALL {
        let _ = write!(text, "{:<10}", series.as_str());
        for value in report.tally.percentiles(series).values() {
            let shown = value.map_or_else(|| "-".to_owned(), show_latency_us);
            let _ = write!(text, "{shown:>11}");
        }
        let note = match series {
            Series::Response => "from due, all",
            Series::Ok => "from due, ok",
            Series::Service => "from send",
            Series::Lag => "due to send",
        };
        let _ = writeln!(text, "   {}", palette.quiet.apply_to(note));
        let is_beside = series == Series::Service;
        if let Some(cells) = server::of(report)
            .filter(|_| is_beside)
            .and_then(server::cells)
        {
            server_row(text, &cells, palette);
        }
    }
}

/// The target's own histogram, below the service time.
fn server_row(text: &mut String, cells: &[String], palette: &Palette) {
    let _ = write!(text, "{:<10}", "server");
    for cell in cells {
        let _ = write!(text, "{cell:>11}");
    }
    let note = "its own, by Prometheus";
    let _ = writeln!(text, "   {}", palette.quiet.apply_to(note));
}

fn facts(text: &mut String, report: &Report, palette: &Palette) {
    let verdict = &report.verdict;
    let counts = &verdict.counts;
    text.push('\n');
    let mut fact = |name: &str, value: String| {
        let name = palette.quiet.apply_to(format!("{name:<10}"));
        // Whoever recorded the run is not who reads of it on a terminal.
        let _ = writeln!(text, "{name} {}", plain::lines(&value));
    };
    fact(
        "requests",
        format!(
            "due {} = ok {} + error {} + shed {} + in flight at end {}",
            show_count(counts.due),
            show_count(counts.ok),
            show_count(counts.error),
            show_count(counts.shed),
            show_count(counts.in_flight_at_end)
        ),
    );
    if !verdict.errors_by_kind.is_empty() {
        let kinds: Vec<String> = verdict
            .errors_by_kind
            .iter()
            .map(|(kind, count)| format!("{kind} {}", show_count(*count)))
            .collect();
        fact("errors", kinds.join(", "));
        let causes = causes::show(&verdict.errors_by_cause, CAUSES_SHOWN);
        if !causes.is_empty() {
            fact("causes", wrapped(&causes, WIDTH - 11).join(CONTINUED));
        }
    }
    fact(
        "throughput",
        format!("{:.2} ok/s", verdict.throughput_per_s),
    );
    fact("queries", queries(verdict));
    if let Some(line) = verdict.relevance.as_ref().map(relevance) {
        fact("relevance", line);
    }
    let lag = verdict.generator.lag_p99_ms;
    fact(
        "generator",
        format!(
            "{:.3} cores, p99 of lag {}",
            verdict.generator.cpu_cores,
            lag.map_or_else(|| "unknown".to_owned(), |lag| format!("{lag:.2} ms"))
        ),
    );
    for (name, value) in server_lines(report).into_iter().chain(beside_lines(report)) {
        fact(name, value);
    }
    for drift in &verdict.drift {
        let said = format!("{} {}: {}", drift.series, drift.status, drift.reason);
        fact("drift", wrapped(&said, WIDTH - 11).join(CONTINUED));
    }
    for step in &verdict.steps {
        fact("step", step_line(step));
    }
    for line in report.runs.iter().filter_map(beside::unreached_line) {
        fact("note", line);
    }
    if verdict.coverage.stopped_early {
        let measured = verdict.coverage.measured_s;
        fact("note", format!("stopped early: {measured} s were measured"));
    }
}

/// What the target's own histogram said in each run that was checked.
fn server_lines(report: &Report) -> Vec<(&'static str, String)> {
    let records = report.runs.iter().filter_map(|run| {
        let verdict = run.verdict.as_ref()?;
        verdict.server.as_ref()
    });
    let lines = records.map(|record| {
        let lines = server::lines(record);
        let wrap = |line: &String| wrapped(line, WIDTH - 13).join(BELOW);
        lines.iter().map(wrap).collect::<Vec<_>>().join(BELOW)
    });
    lines.map(|lines| ("server", lines)).collect()
}

/// What was sampled beside the requests, and what happened: names and texts of facts.
fn beside_lines(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for run in &report.runs {
        let unit = beside::unit_line(run).map(|line| ("unit", line));
        let events = beside::event_lines(run);
        let lines = unit
            .into_iter()
            .chain(events.into_iter().map(|line| ("event", line)));
        facts.extend(lines.map(|(name, line)| (name, wrapped(&line, WIDTH - 11).join(CONTINUED))));
        facts.extend(beside::evidence_lines(run).iter().map(|lines| {
            let wrap = |line: &String| wrapped(line, WIDTH - 13).join(BELOW);
            let lines: Vec<String> = lines.iter().map(wrap).collect();
            ("evidence", lines.join(BELOW))
        }));
    }
    facts
}

fn step_line(step: &StepRecord) -> String {
    let figure = Figure::named(&step.series);
    let show = |value: f64| figure.map_or_else(|| value.to_string(), |figure| figure.show(value));
    let at = Duration::try_from_secs_f64(step.at_s.round()).unwrap_or_default();
    let mut line = format!(
        "{} {:+.1} % at {}: {} to {}",
        step.series,
        step.change * 100.0,
        show_duration(at),
        show(step.before),
        show(step.after)
    );
    if let Some(budget) = step.budget {
        let _ = write!(line, ", {} % is allowed", budget * 100.0);
    }
    line
}

pub(super) fn queries(verdict: &VerdictRecord) -> String {
    let cache = &verdict.cache;
    let mut text = match (cache.query_count, cache.unique) {
        (0, _) => "no query set".to_owned(),
        (count, true) => format!("query set of {} texts, each made unique", show_count(count)),
        (count, false) => format!("query set of {} texts", show_count(count)),
    };
    if let Some(rate) = cache.hit_rate {
        let percent = rate * 100.0;
        let _ = write!(
            text,
            "; {percent:.1} % of answers came from the embedding cache"
        );
    }
    text
}

/// How many judged answers were right.
pub(super) fn relevance(judged: &JudgedRecord) -> String {
    let counts = &judged.counts;
    let rate = counts.hit_rate().map_or_else(
        || "unknown".to_owned(),
        |rate| format!("{:.2} %", rate * 100.0),
    );
    let mut text = format!(
        "hit rate@{} {rate}: {} of {} answers (judged queries: {})",
        judged.k,
        show_count(counts.hits),
        show_count(counts.answers),
        show_count(judged.queries)
    );
    if counts.unread > 0 {
        let _ = write!(text, "; {} were not looked at", show_count(counts.unread));
    }
    text
}

fn thresholds(text: &mut String, verdict: &VerdictRecord, palette: &Palette) {
    text.push('\n');
    for record in &verdict.thresholds {
        let value = match record.expr.parse::<Threshold>() {
            Ok(threshold) => threshold.show(record.value),
            Err(_) => format!("{:?}", record.value),
        };
        let tick = palette.tick(record.pass);
        let expr = match record.scope.as_str() {
            "run" => record.expr.clone(),
            scope => format!("{} in {scope}", record.expr),
        };
        let at = record.at_s.filter(|_| record.scope.starts_with("every"));
        let at = at.map_or_else(String::new, |at_s| format!(" from {at_s} s on"));
        let expr = plain::one_line(&expr);
        let _ = writeln!(text, "{tick} {expr:<22} {value}{at}");
    }
    if verdict.verdict == Verdict::Invalid {
        for reason in &verdict.reasons {
            let reason = wrapped(&plain::one_line(reason), WIDTH - 2).join("\n  ");
            let _ = writeln!(text, "{} {reason}", palette.doubtful.apply_to("!"));
        }
    }
}

fn ending(text: &mut String, verdict: &VerdictRecord, palette: &Palette) {
    let style = palette.verdict(verdict.verdict);
    let _ = writeln!(text, "\n{}", style.apply_to(verdict.verdict.as_str()));
}

/// Lines of at most `width` characters, broken at spaces; a longer word stays whole.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert!(wrapped("", 5).is_empty());
    }
}
