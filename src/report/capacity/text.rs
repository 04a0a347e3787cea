//! The report for people: the curve as a table, what was at its limit, and last the rate.

use super::{show_rate, show_tries};
use crate::plain;
use crate::report::show_ms;
use crate::report::text::{Palette, wrapped};
use crate::soak::capacity::curve::Point;
use crate::soak::capacity::record::{CapacityRecord, TryRecord};
use crate::soak::capacity::search::{Answer, Leg};
use crate::soak::record::Verdict;
use crate::soak::units::show_duration;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Widest line, besides addresses and folders.
const WIDTH: usize = 100;
/// Between two lines of one fact.
const CONTINUED: &str = "\n           ";

/// The report; `color` for a terminal.
#[must_use]
pub fn text(record: &CapacityRecord, folder: &Path, color: bool) -> String {
    let palette = Palette::new(color);
    let asked = &record.asked;
    let mut text = format!(
        "{}  {}  {} to {} in steps of {}\n{}\n\n",
        palette.strong.apply_to(plain::one_line(&record.name)),
        plain::one_line(&record.target),
        show_rate(asked.from_per_s),
        show_rate(asked.up_to_per_s),
        seconds(asked.step_s),
        palette
            .quiet
            .apply_to(plain::one_line(&folder.display().to_string()))
    );
    table(&mut text, &record.curve, &palette);
    facts(&mut text, record, &palette);
    ending(&mut text, record, &palette);
    text
}

fn table(text: &mut String, curve: &[Point], palette: &Palette) {
    if curve.is_empty() {
        return;
    }
    let head = format!(
        "{:>12}{:>11}{:>11}{:>11}{:>13}{:>10}{:>8}",
        "rate", "p50", "p95", "p99", "sustained", "errors", "held"
    );
    let _ = writeln!(text, "  {}", palette.quiet.apply_to(head));
    for point in curve {
        let errors = point
            .error_rate
            .map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0));
        let sustained = point
            .sustained_per_s
            .map_or_else(|| "-".to_owned(), show_rate);
        let _ = writeln!(
            text,
            "{} {:>12}{:>11}{:>11}{:>11}{sustained:>13}{errors:>10}{:>8}",
            palette.tick(point.is_held()),
            show_rate(point.rate_per_s),
            show_ms(point.p50_ms),
            show_ms(point.p95_ms),
            show_ms(point.p99_ms),
            format!("{}/{}", point.held, point.tried)
        );
    }
    text.push('\n');
}

fn facts(text: &mut String, record: &CapacityRecord, palette: &Palette) {
    let mut fact = |name: &str, value: &str| {
        let name = palette.quiet.apply_to(format!("{name:<10}"));
        let value = wrapped(&plain::one_line(value), WIDTH - 11).join(CONTINUED);
        let _ = writeln!(text, "{name} {value}");
    };
    fact("steps", &cost(record));
    let thresholds = record.asked.thresholds.join(", ");
    let share = record.asked.sustained_share * 100.0;
    fact(
        "thresholds",
        &format!("{thresholds}, and {share} % of the rate sustained"),
    );
    if !record.curve.is_empty() {
        fact("knee", &knee(record));
        for line in saturated(record) {
            fact("saturated", &line);
        }
    }
}

pub(super) fn cost(record: &CapacityRecord) -> String {
    format!(
        "{} in {}, of at most {} in {}",
        record.steps.len(),
        seconds(record.took_s.round()),
        record.asked.most_steps,
        seconds(record.asked.most_s.round())
    )
}

pub(super) fn knee(record: &CapacityRecord) -> String {
    match &record.knee {
        Some(knee) => format!(
            "{}, p95 {} there; {}",
            show_rate(knee.rate_per_s),
            show_ms(Some(knee.p95_ms)),
            knee.method
        ),
        None => "none: p95 does not bend below the lowest rate that broke".to_owned(),
    }
}

/// What was at its limit, the first first.
pub(super) fn saturated(record: &CapacityRecord) -> Vec<String> {
    if record.saturated.is_empty() {
        let sampled = record
            .steps
            .iter()
            .any(|step| step.usage.unit_cores.is_some());
        let hint = if sampled {
            ""
        } else {
            "; the target was not: name it with --unit or --pid"
        };
        return vec![format!("nothing that was sampled was at its limit{hint}")];
    }
    let said = |(place, one): (usize, &crate::soak::capacity::saturation::Saturated)| {
        let order = if place == 0 { "first" } else { "then" };
        format!(
            "{order} {} at {}: {}",
            one.what,
            show_rate(one.rate_per_s),
            one.figure
        )
    };
    record.saturated.iter().enumerate().map(said).collect()
}

fn ending(text: &mut String, record: &CapacityRecord, palette: &Palette) {
    text.push('\n');
    for line in outcome(record) {
        let line = plain::one_line(&line);
        let _ = writeln!(text, "{}", wrapped(&line, WIDTH).join("\n"));
    }
    let word = record.verdict.map_or("unfinished", Verdict::as_str);
    let style = record.verdict.map(|verdict| palette.verdict(verdict));
    let style = style.unwrap_or_default();
    let _ = writeln!(text, "\n{}", style.apply_to(word));
}

/// The rate with its interval, and why there is none, in sentences.
pub(super) fn outcome(record: &CapacityRecord) -> Vec<String> {
    let mut lines = record.reasons.clone();
    if let Some(held) = &record.held {
        let confirmed = if record.confirmed {
            format!(", confirmed for {}", seconds(record.asked.confirm_s))
        } else {
            ", not confirmed".to_owned()
        };
        lines.push(format!(
            "highest rate held: {} ({}{confirmed})",
            show_rate(held.rate_per_s),
            show_tries(held)
        ));
    }
    match &record.broke {
        Some(broke) => {
            let who = match broke.answer {
                Answer::Generator => " (the generator's limit)",
                Answer::Broke | Answer::Held => "",
            };
            let last = record.steps.iter().rev().find(|step| {
                step.answer == Some(broke.answer)
                    && step.rate_per_s.total_cmp(&broke.rate_per_s).is_eq()
            });
            let why = last.map_or_else(String::new, |step| step.reasons.join("; "));
            lines.push(format!(
                "lowest rate that broke{who}: {} ({}): {why}",
                show_rate(broke.rate_per_s),
                show_tries(broke)
            ));
        }
        None if record.confirmed => lines.push(format!(
            "nothing broke up to {}: the capacity is higher, raise --up-to",
            show_rate(record.asked.up_to_per_s)
        )),
        None => {}
    }
    lines
}

/// A step in a line, as it is told when it was made.
#[must_use]
pub fn line(step: &TryRecord, most_steps: u64) -> String {
    let (word, why) = match step.answer {
        Some(Answer::Held) => ("held", String::new()),
        Some(Answer::Broke) => ("broke", format!(": {}", step.reasons.join("; "))),
        Some(Answer::Generator) => (
            "generator's limit",
            format!(": {}", step.reasons.join("; ")),
        ),
        None => ("not judged", format!(": {}", step.reasons.join("; "))),
    };
    let leg = match step.leg {
        Leg::Confirm => " for longer",
        Leg::Climb | Leg::Narrow => "",
    };
    format!(
        "step {} of at most {most_steps}: {}{leg}: {word}, p95 {}, errors {:.2} %, {} sustained{why}",
        step.number,
        show_rate(step.rate_per_s),
        show_ms(step.response_ms.p95),
        step.error_rate.unwrap_or(0.0) * 100.0,
        show_rate(step.sustained_per_s)
    )
}

fn seconds(seconds: f64) -> String {
    show_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
