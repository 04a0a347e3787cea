//! What happens to a run beside its requests: a line of `events.jsonl` each, synced when it is known.
//!
//! They have a file of their own, so that every line of `windows.jsonl` stays a window.

use super::units::show_count;
use crate::clock::Clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// When it was seen, in seconds from the end of the warm-up; below 0 before.
    pub at_s: f64,
    /// The same by the wall clock: RFC 3339, UTC.
    pub wall: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

impl EventRecord {
    /// `event`, seen now, `at_s` seconds from the end of the warm-up.
    #[must_use]
    pub fn now(event: Event, at_s: f64, clock: &dyn Clock) -> Self {
        Self {
            at_s: (at_s * 1e3).round() / 1e3,
            wall: OffsetDateTime::from(clock.wall())
                .format(&Rfc3339)
                .unwrap_or_default(),
            event,
        }
    }
}

/// What happened. The field `event` of a line has the name in snake case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run was not going on: it was killed or the machine was off, and then it was resumed.
    Gap {
        /// The end of the last window that is recorded, from the end of the warm-up.
        from_s: f64,
        /// Where requests were sent again (or the planned end).
        to_s: f64,
        /// Windows between of which nothing is recorded, not counting the one in which it goes on.
        windows_lost: u64,
        /// Whether the machine was started anew meanwhile.
        rebooted: bool,
    },
    /// The machine was suspended: boot time went on and monotonic time did not.
    Suspended {
        /// For how long.
        ms: u64,
    },
    /// The wall clock was stepped; the schedule does not use it.
    ClockStep {
        /// How far; below 0 when back.
        ms: i64,
    },
    /// The run folder cannot be written; windows are kept in memory.
    DiskTrouble {
        /// What the system said.
        problem: String,
    },
    /// It can be written again, and what was kept is on disk.
    DiskBack {
        /// Windows that had been kept.
        windows: u64,
    },
    /// A window that no memory was left for.
    WindowDropped {
        /// Which.
        window: u64,
    },
    /// The unit under test was started again.
    UnitRestarted {
        /// Its name.
        unit: String,
        /// Automatic restarts so far, as systemd counts them.
        restarts: u64,
        /// The main process now; 0 while there is none.
        pid: u32,
    },
    /// The process under test ended.
    ProcessGone {
        /// Which.
        pid: u32,
    },
    /// Something cannot be sampled, and its fields are left out from here on.
    SamplerTrouble {
        /// What, and why.
        problem: String,
    },
    /// The flight recorder took evidence.
    EvidenceTaken {
        /// The folder in `evidence/`, `<window>-<reason>`.
        folder: String,
        /// `threshold`, `stall`, `step`, `restart` or `memory`.
        reason: String,
    },
    /// Evidence was taken and could not be written; the run goes on.
    EvidenceDropped {
        /// The folder that it was for.
        folder: String,
        /// What the system said.
        problem: String,
    },
    /// More was seen than evidence was taken of, by the limits of the recorder: told at the end of a run.
    EvidenceLeftOut {
        /// How often, by reason.
        counts: BTreeMap<String, u64>,
        /// The same by the limit that forbade it: `busy`, `quiet_s`, `max_takings` or `max_bytes`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        limits: BTreeMap<String, u64>,
        /// When the first was seen, in seconds from the end of the warm-up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_s: Option<f64>,
        /// When the last was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_s: Option<f64>,
    },
    /// Written by a later version.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap {
                from_s,
                to_s,
                windows_lost,
                rebooted,
            } => {
                let why = if *rebooted {
                    "after the machine was started anew"
                } else {
                    "after its process ended"
                };
                let lost = show_count(*windows_lost);
                let length_s = to_s - from_s;
                write!(
                    formatter,
                    "resumed {why}: nothing is recorded for {length_s:.1} s, {lost} windows are lost"
                )
            }
            Self::Suspended { ms } => {
                write!(formatter, "the machine was suspended for {ms} ms")
            }
            Self::ClockStep { ms } => write!(
                formatter,
                "the wall clock was stepped by {ms} ms, which does no harm"
            ),
            Self::DiskTrouble { problem } => write!(
                formatter,
                "the run folder cannot be written, windows are kept in memory: {problem}"
            ),
            Self::DiskBack { windows } => write!(
                formatter,
                "the run folder can be written again: {windows} windows are on disk late"
            ),
            Self::WindowDropped { window } => write!(
                formatter,
                "window {window} is lost: too many are kept in memory"
            ),
            Self::UnitRestarted {
                unit,
                restarts,
                pid,
            } => write!(
                formatter,
                "{unit} was started again: main process {pid}, {restarts} automatic restarts so far"
            ),
            Self::ProcessGone { pid } => write!(formatter, "the process {pid} ended"),
            Self::SamplerTrouble { problem } => write!(formatter, "not sampled: {problem}"),
            Self::EvidenceTaken { folder, .. } => {
                write!(formatter, "evidence is in evidence/{folder}")
            }
            Self::EvidenceDropped { folder, problem } => {
                write!(formatter, "evidence {folder} is lost: {problem}")
            }
            Self::EvidenceLeftOut {
                counts,
                limits,
                first_s,
                last_s,
            } => left_out(formatter, counts, limits, (*first_s, *last_s)),
            Self::Unknown => formatter.write_str("an event that a later version wrote"),
        }
    }
}

fn left_out(
    formatter: &mut fmt::Formatter<'_>,
    counts: &BTreeMap<String, u64>,
    limits: &BTreeMap<String, u64>,
    span_s: (Option<f64>, Option<f64>),
) -> fmt::Result {
    let named = |(reason, count): (&String, &u64)| format!("{reason} {}", show_count(*count));
    let counts: Vec<String> = counts.iter().map(named).collect();
    write!(formatter, "no evidence was taken of {}", counts.join(", "))?;
    match span_s {
        (Some(first), Some(last)) if last > first => {
            write!(formatter, " between {first:.0} s and {last:.0} s")?;
        }
        (Some(first), _) => write!(formatter, " at {first:.0} s")?,
        _ => {}
    }
    let limits: Vec<String> = limits.iter().map(limit_in_words).collect();
    if limits.is_empty() {
        return Ok(());
    }
    write!(formatter, ": {}", limits.join(", "))
}

/// What forbade to take evidence, and how often.
fn limit_in_words((limit, count): (&String, &u64)) -> String {
    let count = show_count(*count);
    match limit.as_str() {
        "busy" => format!("{count} while other evidence was being taken"),
        "quiet_s" => format!("{count} too soon after other evidence (recorder.quiet_s)"),
        "max_takings" => format!("{count} beyond the most of a run (recorder.max_takings)"),
        "max_bytes" => format!("{count} beyond the most bytes of a run (recorder.max_bytes)"),
        other => format!("{count} by {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_names_the_limit_and_the_time() {
        let line = r#"{"event":"evidence_left_out","counts":{"threshold":8},
            "limits":{"busy":1,"quiet_s":7},"first_s":12.0,"last_s":58.4}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(
            event.to_string(),
            "no evidence was taken of threshold 8 between 12 s and 58 s: 1 while other evidence was \
             being taken, 7 too soon after other evidence (recorder.quiet_s)"
        );
        let earlier = r#"{"event":"evidence_left_out","counts":{"stall":1}}"#;
        let event: Event = serde_json::from_str(earlier).unwrap();
        assert_eq!(event.to_string(), "no evidence was taken of stall 1");
    }

    #[test]
    fn lines_have_a_flat_shape_and_unknown_ones_are_read() {
        let record = EventRecord {
            at_s: 1.5,
            wall: "2026-11-24T00:00:00Z".to_owned(),
            event: Event::ClockStep { ms: -20 },
        };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(
            line,
            r#"{"at_s":1.5,"wall":"2026-11-24T00:00:00Z","event":"clock_step","ms":-20}"#
        );
        assert_eq!(serde_json::from_str::<EventRecord>(&line).unwrap(), record);
        let later = line.replace("clock_step", "moon_phase");
        let read: EventRecord = serde_json::from_str(&later).unwrap();
        assert_eq!(read.event, Event::Unknown);
    }
}
