//! `alfred soak --find-capacity`: the highest rate that a target holds.

use super::soak::{SoakArgs, resolve_failure, run_failure};
use super::soak_after::Around;
use super::soak_notice::{Noticed, Voice};
use super::{Context, Outcome};
use crate::clock::SystemClock;
use crate::failure::{Failure, FailureKind};
use crate::notify::News;
use crate::report::capacity as report;
use crate::soak::capacity::hunt::Found;
use crate::soak::capacity::plan::parse_precision;
use crate::soak::capacity::record::TryRecord;
use crate::soak::capacity::search::Leg;
use crate::soak::capacity::{Asked, CapacityRecord, Follow, Plan, find};
use crate::soak::latency::Percentiles;
use crate::soak::record::Verdict;
use crate::soak::tally::Counts;
use crate::soak::threshold::Threshold;
use crate::soak::units::{Rate, parse_duration, show_duration};
use crate::soak::{Place, SoakError, Watch};
use crate::telemetry::events::{self, SoakVerdict};
use std::path::Path;
use std::time::Duration;

/// Flags of the search.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Finding the capacity")]
pub struct CapacityArgs {
    /// Search for the highest rate at which every threshold holds; --qps and --duration do not apply
    #[arg(long, conflicts_with_all = ["resume", "resume_unfinished", "resume_all"])]
    pub find_capacity: bool,
    /// Lowest rate to try [default: 10]
    #[arg(long, value_name = "RATE", requires = "find_capacity")]
    pub from: Option<Rate>,
    /// Highest rate to try [default: 100000]
    #[arg(long, value_name = "RATE", requires = "find_capacity")]
    pub up_to: Option<Rate>,
    /// How long each rate is tried; the rate found, three times as long [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "find_capacity")]
    pub step_duration: Option<Duration>,
    /// How far apart the highest rate held and the lowest that broke may be [default: 3%]
    #[arg(long, value_name = "SHARE", value_parser = parse_precision, requires = "find_capacity")]
    pub precision: Option<f64>,
}

/// Makes the search, says what was found, and ends as it does.
pub(super) fn perform(args: &SoakArgs, around: &Around<'_>) -> Outcome {
    let asked = Asked {
        from: args.capacity.from,
        up_to: args.capacity.up_to,
        step: args.capacity.step_duration,
        precision: args.capacity.precision,
    };
    let plan = args
        .given()
        .and_then(|settings| Plan::resolve(settings, &asked))
        .map_err(resolve_failure)?;
    let place = match &args.out {
        Some(folder) => Place::At(folder.clone()),
        None => Place::In(around.runs_dir.to_owned()),
    };
    if let Some(note) = plan.scenario.unused() {
        around.voice.warn(&note);
    }
    let mut follower = Follower {
        thresholds: plan.scenario.thresholds.clone(),
        most_steps: 0,
        voice: around.voice,
    };
    let found =
        find(&plan, &place, &SystemClock, &mut follower).map_err(|error| failure(error, &place))?;
    keep(&found)?;
    record(&found);
    let printed = print(&found, around.context);
    let news = News::of_capacity(&found.record, &found.folder);
    around.after(&found.folder, &news);
    printed?;
    judged(&found, around.voice)
}

/// The result in the journal.
fn record(found: &Found) {
    let record = &found.record;
    let step = record.last_held();
    let count =
        |of: fn(&Counts) -> u64| -> u64 { record.steps.iter().map(|step| of(&step.counts)).sum() };
    let figure = |of: fn(&Percentiles<f64>) -> Option<f64>| of(&step?.response_ms);
    events::soak_verdict(&SoakVerdict {
        verdict: record.verdict.unwrap_or(Verdict::Invalid).as_str(),
        scenario: &record.name,
        target: &record.target,
        run: &found.folder.display().to_string(),
        reason: &record.reasons.join("; "),
        due: count(|counts| counts.due),
        ok: count(|counts| counts.ok),
        errors: count(|counts| counts.error),
        error_rate: step.and_then(|step| step.error_rate),
        p50_ms: figure(|response| response.p50),
        p95_ms: figure(|response| response.p95),
        p99_ms: figure(|response| response.p99),
        measured_s: record.took_s,
        capacity_per_s: record.held.map(|held| held.rate_per_s),
    });
}

fn print(found: &Found, context: &Context) -> Outcome {
    let text = if context.json {
        serde_json::to_string_pretty(&found.record)
            .map_err(|error| Failure::failed("cannot write the result as JSON").because(error))?
            + "\n"
    } else {
        report::text(&found.record, &found.folder, console::colors_enabled())
    };
    super::report::to_stdout(&text)
}

fn failure(error: SoakError, place: &Place) -> Failure {
    match error {
        // A step is no run to go on with: what it was a step of is gone.
        SoakError::Left { folder } => {
            let what = "the machine is going down, and the search ends without a result";
            let folder = folder.parent().unwrap_or(&folder).display().to_string();
            Failure::new(FailureKind::Invalid, what)
                .hint(format!("see what held so far in {folder}/capacity.json"))
        }
        other => run_failure(other, Some(place)),
    }
}

/// Writes the report for people beside `capacity.json`.
fn keep(found: &Found) -> Outcome {
    let files = [
        ("capacity.html", report::page(&found.record)),
        (
            "capacity.txt",
            report::text(&found.record, &found.folder, false),
        ),
    ];
    for (name, text) in files {
        let path = found.folder.join(name);
        std::fs::write(&path, text).map_err(|error| {
            Failure::failed(format!("cannot write {}", path.display())).because(error)
        })?;
    }
    Ok(())
}

fn judged(found: &Found, voice: Voice) -> Outcome {
    let kind = match found.record.verdict {
        Some(Verdict::Pass) => return Ok(()),
        Some(Verdict::Fail) => FailureKind::ThresholdCrossed,
        Some(Verdict::Invalid) | None => FailureKind::Invalid,
    };
    let folder = found.folder.display();
    let reasons = found.record.reasons.join("; ");
    let what = format!("no capacity was found: {reasons}");
    let hint = format!("see every step in {folder}/capacity.html");
    Err(Failure::new(kind, what).hint(hint).told(voice.in_journal))
}

/// Tells the search on stderr: a line a step, and within a step what a soak shows.
struct Follower {
    thresholds: Vec<Threshold>,
    most_steps: u64,
    voice: Voice,
}

impl Follow for Follower {
    fn begins(&mut self, folder: &Path, record: &CapacityRecord) {
        let asked = &record.asked;
        self.most_steps = asked.most_steps;
        let most = Duration::try_from_secs_f64(asked.most_s).unwrap_or_default();
        self.voice.say(&format!(
            "searching the capacity of {} from {}/s up to {}/s: at most {} steps, {} in all; recorded \
             in {}",
            record.target,
            asked.from_per_s,
            asked.up_to_per_s,
            asked.most_steps,
            show_duration(Duration::from_secs(most.as_secs())),
            folder.display()
        ));
    }

    fn step(&mut self, _number: u64, _rate: f64, _leg: Leg) -> Box<dyn Watch> {
        Box::new(Noticed::new(self.thresholds.clone(), self.voice))
    }

    fn made(&mut self, step: &TryRecord) {
        self.voice.say(&report::line(step, self.most_steps));
    }

    fn recovers(&mut self) {
        self.voice
            .say("waiting until the target answers as quickly as before the search");
    }
}
