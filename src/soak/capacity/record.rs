//! What `capacity.json` holds, as serde types.

use super::curve::{Knee, Point};
use super::saturation::{Saturated, Usage};
use super::search::{Answer, Leg};
use crate::soak::latency::Percentiles;
use crate::soak::record::{HostRecord, Verdict};
use crate::soak::run_folder::{self, RunFolderError};
use crate::soak::tally::Counts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of these shapes.
pub const FORMAT: u32 = 1;
/// The file's name.
pub const FILE: &str = "capacity.json";

/// `capacity.json` of a folder.
///
/// # Errors
/// When it is not there, cannot be read, is damaged, or comes from a newer version.
pub fn read(folder: &Path) -> Result<CapacityRecord, RunFolderError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        version: String,
    }
    let path = folder.join(FILE);
    let folder = folder.to_owned();
    let Some(text) = run_folder::read_if_there(&path)? else {
        return Err(RunFolderError::NotARun { folder });
    };
    let head: Head = run_folder::parse(&path, &text)?;
    if head.format > FORMAT {
        let version = head.version;
        return Err(RunFolderError::Newer { folder, version });
    }
    run_folder::parse(&path, &text)
}

/// `capacity.json`: what was asked, every step, and what they amount to. Written anew after every
/// step; without a verdict the search is going on, or was killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityRecord {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// The alfred that made the search.
    pub version: String,
    /// The scenario's name.
    pub name: String,
    /// Where requests went.
    pub target: String,
    /// When it began: RFC 3339, UTC.
    pub start: String,
    /// How long it took so far.
    pub took_s: f64,
    /// The machine that made the requests.
    pub host: HostRecord,
    /// What was asked.
    pub asked: AskedRecord,
    /// PASS: a rate was found and confirmed; FAIL: not even the lowest held; INVALID: it cannot be
    /// told.
    pub verdict: Option<Verdict>,
    /// Why it is not PASS, or what is to be known of it, in words.
    pub reasons: Vec<String>,
    /// The highest rate that held.
    pub held: Option<EdgeRecord>,
    /// Whether the longer run at that rate held too.
    pub confirmed: bool,
    /// The lowest rate that did not; `null` when all up to the highest did.
    pub broke: Option<EdgeRecord>,
    /// Latency by rate, in the order of rates.
    pub curve: Vec<Point>,
    /// Where latency begins to rise steeply.
    pub knee: Option<Knee>,
    /// What was at its limit, the first first.
    pub saturated: Vec<Saturated>,
    /// Every step, in the order in which they were made.
    pub steps: Vec<TryRecord>,
}

impl CapacityRecord {
    /// The last step at the highest rate that held.
    #[must_use]
    pub fn last_held(&self) -> Option<&TryRecord> {
        let held = self.held?;
        let is_there = |step: &&TryRecord| {
            step.answer == Some(Answer::Held) && step.rate_per_s.total_cmp(&held.rate_per_s).is_eq()
        };
        self.steps.iter().rev().find(is_there)
    }
}

/// What was asked of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedRecord {
    /// The lowest rate.
    pub from_per_s: f64,
    /// The highest.
    pub up_to_per_s: f64,
    /// How wide the interval may be, as a share.
    pub precision: f64,
    /// Seconds of a step.
    pub step_s: f64,
    /// Seconds of the confirming run.
    pub confirm_s: f64,
    /// Seconds of requests before a step.
    pub warmup_s: f64,
    /// Thresholds of the scenario.
    pub thresholds: Vec<String>,
    /// The share of the rate that must be sustained besides.
    pub sustained_share: f64,
    /// The most steps.
    pub most_steps: u64,
    /// The longest that it takes.
    pub most_s: f64,
}

/// An end of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeRecord {
    /// Requests a second.
    pub rate_per_s: f64,
    /// How often it was tried.
    pub tried: u64,
    /// How often it held.
    pub held: u64,
    /// What the target or the generator did there.
    pub answer: Answer,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TryRecord {
    /// 1-based.
    pub number: u64,
    /// Its run folder, beside `capacity.json`.
    pub run: String,
    /// What it was for.
    pub leg: Leg,
    /// Requests a second.
    pub rate_per_s: f64,
    /// What came of it; `null` when it could not be judged.
    pub answer: Option<Answer>,
    /// Why it did not hold.
    pub reasons: Vec<String>,
    /// From due, all.
    pub response_ms: Percentiles<f64>,
    /// How due requests ended.
    pub counts: Counts,
    /// 0 to 1.
    pub error_rate: Option<f64>,
    /// Errors by what was said of them.
    pub errors_by_cause: BTreeMap<String, u64>,
    /// Requests that were answered as expected, a second, less what queued up meanwhile.
    pub sustained_per_s: f64,
    /// p99 of the generator's lag.
    pub lag_p99_ms: Option<f64>,
    /// What was used meanwhile.
    pub usage: Usage,
}
