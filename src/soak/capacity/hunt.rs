//! Makes the search: a run at the rate that it names, then what came of it, until it is over.

use super::answer::{self, SUSTAINED_SHARE, Step};
use super::halt::Halt;
use super::plan::{Plan, RECOVERY};
use super::record::{AskedRecord, CapacityRecord, EdgeRecord, FILE, FORMAT, TryRecord};
use super::recovery::{Prober, Restless, Waited};
use super::search::{Answer, End, Leg, Next, Search};
use super::{curve, saturation};
use crate::clock::Clock;
use crate::soak::record::Verdict;
use crate::soak::run::{self, Place, SoakError, Watch};
use crate::soak::run_folder;
use crate::soak::run_log::{RunLogError, write_atomically};
use crate::soak::settings::ScenarioError;
use crate::soak::units::show_duration;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest wait for the target to recover from one step.
const MAX_WAIT: Duration = Duration::from_secs(45);
/// Steps in a row that could not be judged, and the search ends.
const MAX_UNJUDGED: u32 = 2;

/// Is told how a search goes.
pub trait Follow {
    /// It begins.
    fn begins(&mut self, folder: &Path, record: &CapacityRecord);
    /// A step is about to be made: what watches its run.
    fn step(&mut self, number: u64, rate: f64, leg: Leg) -> Box<dyn Watch>;
    /// It was made.
    fn made(&mut self, step: &TryRecord);
    /// The target is given time to recover.
    fn recovers(&mut self);
}

/// A search that came to its end.
#[derive(Debug)]
pub struct Found {
    /// Its folder.
    pub folder: PathBuf,
    /// What it amounts to.
    pub record: CapacityRecord,
}

/// Why a search is over.
enum Ending {
    Searched(End),
    NoAnswer(String),
    NotRecovered(f64, Restless),
    Unjudged(Vec<String>),
    Interrupted,
}

/// Searches, recording each step in a run folder of its own below the one at `place`.
///
/// # Errors
/// As [`run::run`].
pub fn find(
    plan: &Plan,
    place: &Place,
    clock: &dyn Clock,
    follow: &mut dyn Follow,
) -> Result<Found, SoakError> {
    let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let folder = match place {
        Place::At(folder) => folder.clone(),
        Place::In(runs_dir) => {
            let start = run::stamp(clock.wall());
            runs_dir.join(format!("{start}-{}-capacity-{id}", plan.scenario.name))
        }
    };
    let mut prober = Prober::new(&plan.scenario, &format!("probe-{id}"), clock)?;
    make_folder(&folder)?;
    let mut hunt = Hunt {
        plan,
        clock,
        _held: hold(&folder)?,
        halt: Halt::listen().map_err(SoakError::Start)?,
        record: begun(plan, clock),
        folder,
        from: clock.monotonic(),
        recovery_left: RECOVERY,
        search: Search::new(plan.bounds),
    };
    hunt.write()?;
    follow.begins(&hunt.folder, &hunt.record);
    let ending = match prober.first() {
        Err(why) => Ending::NoAnswer(why),
        Ok(()) => hunt.hunt(&mut prober, follow)?,
    };
    hunt.end(&ending);
    hunt.write()?;
    Ok(Found {
        folder: hunt.folder,
        record: hunt.record,
    })
}

fn make_folder(folder: &Path) -> Result<(), SoakError> {
    let failed = |source| RunLogError {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut entries = std::fs::read_dir(folder).map_err(failed)?;
    if entries.next().is_some() {
        let exists = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is not empty");
        return Err(failed(exists).into());
    }
    Ok(())
}

/// Locks the folder while the search goes on, between its steps too: nobody takes it for one that was
/// cut off.
fn hold(folder: &Path) -> Result<File, SoakError> {
    let held = File::open(folder).and_then(|held| {
        held.lock()?;
        Ok(held)
    });
    held.map_err(|source| {
        let path = folder.to_owned();
        RunLogError { path, source }.into()
    })
}

fn begun(plan: &Plan, clock: &dyn Clock) -> CapacityRecord {
    let scenario = &plan.scenario;
    let (most_steps, most_time) = plan.most();
    CapacityRecord {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: scenario.name.clone(),
        target: scenario.target.to_string(),
        start: OffsetDateTime::from(clock.wall())
            .format(&Rfc3339)
            .unwrap_or_default(),
        took_s: 0.0,
        host: run::host(),
        asked: AskedRecord {
            from_per_s: plan.bounds.from,
            up_to_per_s: plan.bounds.up_to,
            precision: plan.bounds.precision,
            step_s: plan.step.as_secs_f64(),
            confirm_s: plan.confirm.as_secs_f64(),
            warmup_s: scenario.load.warmup.as_secs_f64(),
            thresholds: scenario
                .thresholds
                .iter()
                .map(ToString::to_string)
                .collect(),
            sustained_share: SUSTAINED_SHARE,
            most_steps: most_steps as u64,
            most_s: most_time.as_secs_f64(),
        },
        verdict: None,
        reasons: Vec::new(),
        held: None,
        confirmed: false,
        broke: None,
        curve: Vec::new(),
        knee: None,
        saturated: Vec::new(),
        steps: Vec::new(),
    }
}

struct Hunt<'a> {
    plan: &'a Plan,
    clock: &'a dyn Clock,
    _held: File,
    halt: Halt,
    record: CapacityRecord,
    folder: PathBuf,
    from: Instant,
    recovery_left: Duration,
    search: Search,
}

impl Hunt<'_> {
    fn hunt(
        &mut self,
        prober: &mut Prober<'_>,
        follow: &mut dyn Follow,
    ) -> Result<Ending, SoakError> {
        let mut unjudged = 0;
        loop {
            let (rate, leg) = match self.search.next() {
                Next::Over(end) => return Ok(Ending::Searched(end)),
                Next::Try { rate, leg, .. } => (rate, leg),
            };
            if self.halt.is_asked() {
                return Ok(Ending::Interrupted);
            }
            let step = self.step(rate, leg, follow)?;
            follow.made(&step);
            let (answer, reasons) = (step.answer, step.reasons.clone());
            self.record.steps.push(step);
            if let Some(answer) = answer {
                unjudged = 0;
                self.search.tell(answer);
            } else {
                unjudged += 1;
            }
            self.sum_up();
            // What cannot be written now is written with the next step.
            let _ = self.write();
            if answer.is_none() && self.halt.is_asked() {
                return Ok(Ending::Interrupted);
            }
            if unjudged >= MAX_UNJUDGED {
                return Ok(Ending::Unjudged(reasons));
            }
            if answer != Some(Answer::Held)
                && let Some(ending) = self.recover(rate, prober, follow)
            {
                return Ok(ending);
            }
        }
    }

    /// Waits for the target; `None` when the search can go on.
    fn recover(
        &mut self,
        rate: f64,
        prober: &mut Prober<'_>,
        follow: &mut dyn Follow,
    ) -> Option<Ending> {
        if let Next::Over(_) = self.search.next() {
            return None;
        }
        follow.recovers();
        let from = self.clock.monotonic();
        let waited = prober.wait(MAX_WAIT.min(self.recovery_left), &self.halt);
        let took = self.clock.monotonic().saturating_duration_since(from);
        self.recovery_left = self.recovery_left.saturating_sub(took);
        match waited {
            Waited::Calm => None,
            Waited::TooLong(restless) => Some(Ending::NotRecovered(rate, restless)),
            Waited::Halted => Some(Ending::Interrupted),
        }
    }

    fn step(&self, rate: f64, leg: Leg, follow: &mut dyn Follow) -> Result<TryRecord, SoakError> {
        let number = self.record.steps.len() as u64 + 1;
        let length = match leg {
            Leg::Confirm => self.plan.confirm,
            Leg::Climb | Leg::Narrow => self.plan.step,
        };
        let scenario = self.plan.run_at(rate, length).map_err(unlikely)?;
        let name = format!("{number:02}-{rate}");
        let place = Place::At(self.folder.join(&name));
        let mut watch = follow.step(number, rate, leg);
        let finished = run::run(&scenario, &place, self.clock, &mut *watch)?;
        drop(watch);
        let recorded = run_folder::read(&finished.folder).map_err(SoakError::Folder)?;
        let verdict = &finished.verdict;
        let warmup_s = scenario.load.warmup.as_secs_f64();
        let usage = saturation::usage(&recorded.windows, verdict, warmup_s);
        let judged = answer::judge(&Step {
            rate,
            thresholds: &scenario.thresholds,
            verdict,
            windows: &recorded.windows,
            tally: &recorded.tally,
            generator_cores: usage.generator_cores,
        });
        Ok(TryRecord {
            number,
            run: name,
            leg,
            rate_per_s: rate,
            answer: judged.answer,
            reasons: judged.reasons,
            response_ms: verdict.response_ms,
            counts: verdict.counts,
            error_rate: verdict.error_rate,
            errors_by_cause: verdict.errors_by_cause.clone(),
            sustained_per_s: judged.sustained_per_s,
            lag_p99_ms: verdict.generator.lag_p99_ms,
            usage,
        })
    }

    /// What the steps so far amount to.
    fn sum_up(&mut self) {
        let now = self.clock.monotonic();
        let record = &mut self.record;
        record.took_s = now.saturating_duration_since(self.from).as_secs_f64();
        let edge = |rate: f64, answer| {
            let tries = record
                .steps
                .iter()
                .filter(|step| step.answer.is_some() && step.rate_per_s.total_cmp(&rate).is_eq());
            let held = tries
                .clone()
                .filter(|step| step.answer == Some(Answer::Held));
            EdgeRecord {
                rate_per_s: rate,
                tried: tries.count() as u64,
                held: held.count() as u64,
                answer,
            }
        };
        record.held = self.search.held().map(|rate| edge(rate, Answer::Held));
        record.broke = self.search.broke().map(|(rate, why)| edge(rate, why));
        record.curve = curve::curve(&record.steps);
        record.knee = curve::knee(&record.curve);
        let limit = record.broke.map_or(f64::INFINITY, |broke| broke.rate_per_s);
        record.saturated = saturation::saturated(&record.steps, record.host.cpus, limit);
    }

    fn end(&mut self, ending: &Ending) {
        self.sum_up();
        let (verdict, reasons) = match ending {
            Ending::Searched(End::Found) => (Verdict::Pass, Vec::new()),
            Ending::Searched(End::NothingHeld) => {
                let why = self.why(Answer::Broke);
                let from = self.plan.bounds.from;
                (
                    Verdict::Fail,
                    vec![format!("not even the lowest rate, {from}/s, held: {why}")],
                )
            }
            Ending::NotRecovered(rate, restless) if self.fails_at_lowest(restless) => (
                Verdict::Fail,
                vec![format!(
                    "not even the lowest rate, {rate}/s, held: {}; {restless}",
                    self.why(Answer::Broke)
                )],
            ),
            Ending::NoAnswer(why) => (
                Verdict::Fail,
                vec![format!(
                    "{} does not answer as expected, before any load: {why}",
                    self.record.target
                )],
            ),
            other => (Verdict::Invalid, vec![self.invalid(other)]),
        };
        self.record.confirmed = verdict == Verdict::Pass;
        self.record.verdict = Some(verdict);
        self.record.reasons = reasons;
    }

    /// Whether the target broke at the first rate of all, and fails without any load too: then there is
    /// nothing to recover from.
    fn fails_at_lowest(&self, restless: &Restless) -> bool {
        let broke = |step: &TryRecord| step.answer == Some(Answer::Broke);
        let steps = &self.record.steps;
        restless.is_failing() && !steps.is_empty() && steps.iter().all(broke)
    }

    fn invalid(&self, ending: &Ending) -> String {
        match ending {
            Ending::Searched(End::Generator) => {
                let rate = self.record.broke.map_or(0.0, |broke| broke.rate_per_s);
                format!(
                    "the generator was the limit: at {rate}/s {}",
                    self.why(Answer::Generator)
                )
            }
            Ending::Searched(_) => format!(
                "the target is unsteady: no rate that held for {} held for {}: {}",
                show_duration(self.plan.step),
                show_duration(self.plan.confirm),
                self.why(Answer::Broke)
            ),
            Ending::NotRecovered(rate, restless) => {
                format!("the target did not recover from the step at {rate}/s: {restless}")
            }
            Ending::Unjudged(reasons) => {
                format!("steps cannot be judged: {}", reasons.join("; "))
            }
            Ending::Interrupted | Ending::NoAnswer(_) => {
                "the search was interrupted, and what held is not confirmed".to_owned()
            }
        }
    }

    /// Why the last step with this answer did not hold.
    fn why(&self, answer: Answer) -> String {
        let steps = &self.record.steps;
        let last = steps.iter().rev().find(|step| step.answer == Some(answer));
        last.map_or_else(String::new, |step| step.reasons.join("; "))
    }

    fn write(&self) -> Result<(), SoakError> {
        let mut text = serde_json::to_vec_pretty(&self.record).map_err(|error| RunLogError {
            path: self.folder.join(FILE),
            source: error.into(),
        })?;
        text.push(b'\n');
        write_atomically(&self.folder, FILE, &text)?;
        Ok(())
    }
}

/// A rate between the bounds, which were checked.
fn unlikely(error: ScenarioError) -> SoakError {
    SoakError::Start(std::io::Error::other(error))
}
