//! PURE: what is marked on every plot: gaps, restarts, reloads, errors in the journal, steps,
//! crossed thresholds, evidence. A mark has a letter for its kind and a number, so none needs colour.

use crate::soak::event::{Event, EventRecord};
use crate::soak::evidence::Taken;
use crate::soak::figure::Figure;
use crate::soak::record::{ThresholdRecord, VerdictRecord, WindowRecord};
use crate::soak::run_folder::RecordedRun;
use crate::soak::threshold::Threshold;
use crate::soak::units::show_count;
use serde::Serialize;
use std::collections::BTreeMap;

/// Most marks of a run; the most important stay.
pub(super) const MAX_MARKS: usize = 400;
/// A reload of the target shows as a change of this series.
const RELOADED: &str = "alfred_config_last_reload_success_timestamp_seconds";

/// What is marked, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Evidence,
    Gap,
    Restart,
    Threshold,
    Step,
    Reload,
    Disk,
    Clock,
    Journal,
    LeftOut,
    Other,
}

impl Kind {
    /// All of them with their letter and name.
    pub(super) const ALL: [(Self, char, &'static str); 11] = [
        (Self::Evidence, 'E', "evidence was taken"),
        (Self::Gap, 'G', "gap"),
        (Self::Restart, 'R', "restart"),
        (Self::Threshold, 'T', "threshold crossed"),
        (Self::Step, 'S', "step"),
        (Self::Reload, 'L', "reload"),
        (Self::Disk, 'D', "disk"),
        (Self::Clock, 'C', "clock"),
        (Self::Journal, 'J', "errors in the journal"),
        (Self::LeftOut, 'N', "no evidence taken"),
        (Self::Other, 'X', "other"),
    ];

    pub(super) fn letter(self) -> char {
        Self::ALL[self as usize].1
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].2
    }
}

/// A mark.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mark {
    /// Letter and number, as `R2`.
    pub(super) flag: String,
    /// Seconds from the end of the warm-up.
    pub(super) at_s: f64,
    /// Where it ends, of what lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_s: Option<f64>,
    #[serde(skip)]
    pub(super) kind: Kind,
    /// What happened, in words.
    pub(super) text: String,
    /// Of evidence, its place among what was taken.
    #[serde(skip)]
    pub(super) taken: Option<usize>,
}

/// The marks of a run in the order of time, and how many more there would be.
pub(super) struct Marks {
    pub(super) shown: Vec<Mark>,
    pub(super) left_out: usize,
}

/// Gathers them.
pub(super) fn of(run: &RecordedRun, verdict: Option<&VerdictRecord>, taken: &[Taken]) -> Marks {
    let mut marks: Vec<Mark> = run.events.iter().filter_map(event).collect();
    marks.extend(evidence(run, taken));
    marks.extend(journal(&run.windows));
    marks.extend(reloads(&run.windows));
    if let Some(verdict) = verdict {
        marks.extend(verdict.thresholds.iter().filter_map(crossed));
        marks.extend(verdict.steps.iter().map(|step| {
            let figure = Figure::named(&step.series);
            let show = |value: f64| figure.map_or_else(|| value.to_string(), |f| f.show(value));
            let (before, after) = (show(step.before), show(step.after));
            let change = step.change * 100.0;
            mark(
                Kind::Step,
                (step.at_s, None),
                format!("{} {change:+.1} %: {before} to {after}", step.series),
            )
        }));
    }
    marks.sort_by(|a, b| a.kind.cmp(&b.kind).then(a.at_s.total_cmp(&b.at_s)));
    let left_out = marks.len().saturating_sub(MAX_MARKS);
    marks.truncate(MAX_MARKS);
    marks.sort_by(|a, b| a.at_s.total_cmp(&b.at_s).then(a.kind.cmp(&b.kind)));
    let mut numbers = BTreeMap::new();
    for mark in &mut marks {
        let number = numbers.entry(mark.kind).or_insert(0);
        *number += 1;
        mark.flag = format!("{}{number}", mark.kind.letter());
    }
    Marks {
        shown: marks,
        left_out,
    }
}

fn mark(kind: Kind, (at_s, to_s): (f64, Option<f64>), text: String) -> Mark {
    Mark {
        flag: String::new(),
        at_s,
        to_s,
        kind,
        text,
        taken: None,
    }
}

/// The mark of an event; evidence has one of its own, with its folder.
fn event(record: &EventRecord) -> Option<Mark> {
    let text = record.event.to_string();
    let at = (record.at_s, None);
    let mark = match &record.event {
        Event::EvidenceTaken { .. } => return None,
        Event::Gap { from_s, to_s, .. } => mark(Kind::Gap, (*from_s, Some(*to_s)), text),
        Event::WindowDropped { .. } => mark(Kind::Gap, at, text),
        Event::Suspended { .. } | Event::ClockStep { .. } => mark(Kind::Clock, at, text),
        Event::DiskTrouble { .. } | Event::DiskBack { .. } | Event::EvidenceDropped { .. } => {
            mark(Kind::Disk, at, text)
        }
        Event::UnitRestarted { .. } | Event::ProcessGone { .. } => mark(Kind::Restart, at, text),
        Event::EvidenceLeftOut {
            first_s, last_s, ..
        } => {
            let to_s = last_s.filter(|last_s| Some(*last_s) > *first_s);
            mark(Kind::LeftOut, (first_s.unwrap_or(at.0), to_s), text)
        }
        Event::SamplerTrouble { .. } | Event::Unknown => mark(Kind::Other, at, text),
    };
    Some(mark)
}

fn evidence<'a>(run: &'a RecordedRun, taken: &'a [Taken]) -> impl Iterator<Item = Mark> + 'a {
    taken.iter().enumerate().filter_map(move |(place, one)| {
        let of_window = || {
            let number = one.window()?;
            let window = run.windows.iter().find(|window| window.window == number)?;
            Some(window.start_s)
        };
        let at_s = one.record.at_s.or_else(of_window)?;
        let colon = if one.record.trigger.is_empty() {
            ""
        } else {
            ": "
        };
        let text = format!("{}{colon}{}", one.reason(), one.record.trigger);
        Some(Mark {
            taken: Some(place),
            ..mark(Kind::Evidence, (at_s, None), text)
        })
    })
}

/// Neighbouring windows in which the unit logged errors are one mark.
fn journal(windows: &[WindowRecord]) -> Vec<Mark> {
    let mut marks: Vec<(f64, f64, u64)> = Vec::new();
    for window in windows {
        let logged = window.unit.as_ref().and_then(|unit| unit.journal_errors);
        let Some(errors @ 1..) = logged else {
            continue;
        };
        let end_s = window.start_s + window.length_s;
        match marks.last_mut() {
            Some(last) if window.start_s - last.1 < 1e-3 => {
                last.1 = end_s;
                last.2 += errors;
            }
            _ => marks.push((window.start_s, end_s, errors)),
        }
    }
    let told = |(from_s, to_s, errors): (f64, f64, u64)| {
        let lines = if errors == 1 { "line" } else { "lines" };
        let text = format!("the target logged {} {lines} of errors", show_count(errors));
        mark(Kind::Journal, (from_s, Some(to_s)), text)
    };
    marks.into_iter().map(told).collect()
}

fn reloads(windows: &[WindowRecord]) -> impl Iterator<Item = Mark> + '_ {
    windows.windows(2).filter_map(|pair| {
        let at = |window: &WindowRecord| window.metrics.get(RELOADED).copied();
        let (before, after) = (at(&pair[0])?, at(&pair[1])?);
        (after > before).then(|| {
            let text = "the target loaded its configuration anew".to_owned();
            mark(Kind::Reload, (pair[1].start_s, None), text)
        })
    })
}

/// A crossed threshold on a stretch: where the worst one is.
fn crossed(record: &ThresholdRecord) -> Option<Mark> {
    let at_s = record.at_s.filter(|_| !record.pass)?;
    let threshold: Option<Threshold> = record.expr.parse().ok();
    let value = threshold.map_or_else(String::new, |t| format!(": {}", t.show(record.value)));
    let text = format!("{} in {} was crossed{value}", record.expr, record.scope);
    Some(mark(Kind::Threshold, (at_s, record.until_s), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_their_order() {
        for (place, (kind, ..)) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }
}
