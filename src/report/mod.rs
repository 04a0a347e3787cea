//! Reports on recorded runs, from their run folders alone.
//!
//! One run or several: histograms are added without loss, so percentiles of several runs are those
//! of all their requests together, never averages of percentiles.

mod beside;
pub mod capacity;
pub mod compare;
mod compare_text;
mod csv;
mod hlog;
mod html;
mod junit;
pub mod live;
mod markup;
mod prom;
mod server;
pub mod text;
mod together;

use crate::plain;
use crate::soak::record::{Verdict, VerdictRecord};
use crate::soak::run_folder::{RecordedRun, RunFolderError};
use crate::soak::tally::Tally;
use crate::soak::units::show_latency_us;
use compare::Comparison;
use std::fmt::Write as _;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// The shape of verdict.json, with the runs.
    Json,
    /// A page with plots, self-contained.
    Html,
    /// One line a window.
    Csv,
    /// HdrHistogram interval log.
    Hlog,
    /// JUnit XML: one case a threshold.
    Junit,
    /// Prometheus text, for the textfile collector.
    Prom,
}

/// One or several runs, and what they amount to together.
#[derive(Debug)]
pub struct Report {
    /// The runs, as given.
    pub runs: Vec<RecordedRun>,
    /// All their requests.
    pub tally: Tally,
    /// Of one finished run its own verdict; else judged anew from the folders.
    pub verdict: VerdictRecord,
    /// These runs beside a baseline.
    pub comparison: Option<Comparison>,
}

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of a run folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A run folder cannot be read again.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// It cannot be turned into JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Puts runs together.
    ///
    /// # Errors
    /// When runs have to be judged together and their histograms cannot be read.
    pub fn of(runs: Vec<RecordedRun>) -> Result<Self, RunFolderError> {
        let mut tally = Tally::default();
        for run in &runs {
            tally.add(&run.tally);
        }
        let own = match runs.as_slice() {
            [run] => run.verdict.clone(),
            _ => None,
        };
        let verdict = match own {
            Some(own) => own,
            None => together::judge(&runs, &tally)?,
        };
        Ok(Self {
            runs,
            tally,
            verdict,
            comparison: None,
        })
    }

    /// Adds a comparison with `baseline`.
    ///
    /// # Errors
    /// When histograms cannot be read.
    pub fn compared_with(mut self, baseline: &[RecordedRun]) -> Result<Self, RunFolderError> {
        self.comparison = Some(compare::compare(baseline, &self.runs)?);
        Ok(self)
    }

    /// Writes it; `color` is for [`Format::Text`].
    ///
    /// # Errors
    /// When a histogram log, or what lies beside it, cannot be read again.
    pub fn write(&self, format: Format, color: bool) -> Result<String, ReportError> {
        match format {
            Format::Text => Ok(text::report(self, color)),
            Format::Json => self.json(),
            Format::Html => html::page(self),
            Format::Csv => Ok(csv::report(self)),
            Format::Hlog => hlog::report(self),
            Format::Junit => Ok(junit::report(self)),
            Format::Prom => Ok(prom::report(self)),
        }
    }

    fn json(&self) -> Result<String, ReportError> {
        #[derive(serde::Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            verdict: &'a VerdictRecord,
            runs: Vec<One<'a>>,
            /// Of several runs, by how much their starts lie apart.
            #[serde(skip_serializing_if = "Option::is_none")]
            starts_apart_s: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            comparison: Option<&'a Comparison>,
        }
        #[derive(serde::Serialize)]
        struct One<'a> {
            folder: String,
            #[serde(flatten)]
            run: &'a crate::soak::record::RunRecord,
            windows: usize,
            verdict: Option<Verdict>,
        }
        let runs = self.runs.iter().map(|run| One {
            folder: run.folder.display().to_string(),
            run: &run.run,
            windows: run.windows.len(),
            verdict: run.verdict.as_ref().map(|verdict| verdict.verdict),
        });
        let whole = Whole {
            verdict: &self.verdict,
            runs: runs.collect(),
            starts_apart_s: together::starts_apart_s(&self.runs),
            comparison: self.comparison.as_ref(),
        };
        let mut text = plain::json(&serde_json::to_string_pretty(&whole)?);
        text.push('\n');
        Ok(text)
    }
}

/// Milliseconds with three digits and a unit; `-` when nothing was measured.
fn show_ms(ms: Option<f64>) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a latency of at most hours, 0 or more"
    )]
    ms.map_or_else(
        || "-".to_owned(),
        |ms| show_latency_us((ms * 1e3).round() as u64),
    )
}

/// `text` with what XML and Prometheus labels cannot hold escaped by `escape`.
fn escaped(text: &str, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match escape(character) {
            Some(replacement) => safe.push_str(replacement),
            None => {
                let _ = write!(safe, "{character}");
            }
        }
    }
    safe
}
