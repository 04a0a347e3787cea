//! Goes on with a run that was cut off, on its own time line: what was due meanwhile is lost, and
//! what is due from now on is sent as planned.
//!
//! The time line is monotonic time while the machine is the same boot, and the wall clock after it
//! was started anew, which is the only one that went on. A window in which the run goes on is
//! recorded from there, and is shorter.

use super::clocks::{ClockWatch, Reading, boot_id};
use super::driver::Begin;
use super::event::Event;
use super::keeper::{Keeper, Past};
use super::queries::QuerySet;
use super::record::{
    PrometheusRecord, RecorderRecord, RelevanceRecord, RunRecord, ScenarioRecord, StartRecord,
};
use super::recorder::Facts;
use super::recorder::settings::RecorderSettings;
use super::repair;
use super::run::{FinishedRun, SoakError, Watch, drive};
use super::run_folder::{self, RecordedRun, RunFolderError};
use super::run_log::{RunLog, RunLogError};
use super::scenario::Scenario;
use super::settings::{ArrivalKind, ScenarioError, Settings};
use super::units::{Rate, nanoseconds, seconds, signed};
use crate::clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Between the decision where to go on and the first request: threads must be started.
const LEAD_NS: u64 = 20_000_000;
/// Times in files are rounded to this, so that windows of a resumed run begin at whole ones.
const ROUND_NS: u64 = 1_000_000;

/// Less than this between the two clocks is no suspend.
const SUSPENDED_MS: u64 = 100;

/// Why a run cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It has a verdict.
    #[error("{} has ended: it has a verdict", folder.display())]
    Finished {
        /// Which run.
        folder: PathBuf,
    },
    /// Another process is recording it.
    #[error("{} is being recorded by another process", folder.display())]
    Busy {
        /// Which run.
        folder: PathBuf,
    },
    /// The scenario is another one than the run began with.
    #[error("the scenario of {} changed: {}", folder.display(), changes.join("; "))]
    Changed {
        /// Which run.
        folder: PathBuf,
        /// What changed, each with both values.
        changes: Vec<String>,
    },
    /// Nothing but the queries differs.
    #[error("{} was recorded with other queries than {} has now", folder.display(), file.display())]
    Queries {
        /// Which run.
        folder: PathBuf,
        /// The file of queries.
        file: PathBuf,
    },
    /// Values of headers are not recorded, and were not given.
    #[error("{} was made with the header {name:?}, and values of headers are not recorded", folder.display())]
    Header {
        /// Which run.
        folder: PathBuf,
        /// The header.
        name: String,
    },
    /// The recorded scenario cannot be read.
    #[error("the scenario in {} cannot be read: {problem}", folder.display())]
    Recorded {
        /// Which run.
        folder: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The scenario file cannot be read again.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// The settings that a run was made with, from its `run.json`. Values of headers come from `given`,
/// else from the scenario file that the run was read from.
///
/// # Errors
/// When a header's value is nowhere to be found, or `run.json` holds what this version cannot read.
pub fn settings_of(
    folder: &Path,
    run: &RunRecord,
    given: &Settings,
) -> Result<Settings, ResumeError> {
    let wrong = |problem: String| recorded(folder, problem);
    let scenario = &run.scenario;
    let duration =
        |s: f64| Duration::try_from_secs_f64(s).map_err(|error| wrong(error.to_string()));
    let sample = &scenario.sample;
    let trust = scenario.trust.as_deref();
    Ok(Settings {
        name: Some(run.name.clone()),
        target: Some(
            run.target
                .parse()
                .map_err(|error| wrong(format!("{error}")))?,
        ),
        method: Some(scenario.method.clone()),
        headers: headers(folder, run, given)?,
        body: (!scenario.body.is_empty() || scenario.queries.is_none())
            .then(|| scenario.body.clone()),
        queries: scenario.queries.as_ref().map(PathBuf::from),
        unique: Some(scenario.unique),
        shuffle: Some(scenario.shuffle),
        // Stages may begin at 0.
        qps: (scenario.qps > 0.0)
            .then(|| Rate::new(scenario.qps).map_err(wrong))
            .transpose()?,
        duration: scenario
            .stages
            .is_empty()
            .then(|| duration(scenario.duration_s))
            .transpose()?,
        stages: (!scenario.stages.is_empty()).then(|| scenario.stages.clone()),
        count: scenario.count,
        connections: scenario
            .connections
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        ca_file: trust
            .filter(|trust| !["system", "anybody"].contains(trust))
            .map(PathBuf::from),
        insecure: Some(trust == Some("anybody")),
        checks: Some(parsed(&scenario.checks).map_err(wrong)?),
        relevance: said(scenario.relevance.as_ref(), RelevanceRecord::settings).map_err(wrong)?,
        prometheus: said(scenario.prometheus.as_ref(), PrometheusRecord::settings)
            .map_err(wrong)?,
        window: Some(duration(scenario.window_s)?),
        warmup: Some(duration(scenario.warmup_s)?),
        arrivals: Some(if scenario.arrivals == "poisson" {
            ArrivalKind::Poisson
        } else {
            ArrivalKind::Uniform
        }),
        seed: Some(scenario.seed),
        timeout: Some(Duration::from_millis(scenario.timeout_ms)),
        grace: Some(Duration::from_millis(scenario.grace_ms)),
        max_in_flight: Some(usize::try_from(scenario.max_in_flight).unwrap_or(usize::MAX)),
        thresholds: Some(parsed(&scenario.thresholds).map_err(wrong)?),
        drift: Some(parsed(&scenario.drift).map_err(wrong)?),
        steps: Some(parsed(&scenario.steps).map_err(wrong)?),
        expected_status: Some(parsed(&scenario.expected_status).map_err(wrong)?),
        unit: sample.unit.clone(),
        pid: sample.pid,
        metrics: sample
            .metrics
            .as_ref()
            .map(|url| url.parse())
            .transpose()
            .map_err(|error| wrong(format!("{error}")))?,
        metrics_series: Some(sample.metrics_series.clone()),
        recorder: Some(recorder(scenario)),
        file: run.scenario_file.as_ref().map(PathBuf::from),
    })
}

fn recorded(folder: &Path, problem: String) -> ResumeError {
    let folder = folder.to_owned();
    ResumeError::Recorded { folder, problem }
}

/// The settings that a part of the record was made with.
fn said<R, S>(
    record: Option<&R>,
    settings: fn(&R) -> Result<S, String>,
) -> Result<Option<S>, String> {
    record.map(settings).transpose()
}

fn recorder(scenario: &ScenarioRecord) -> RecorderSettings {
    let recorded = scenario.recorder.as_ref();
    recorded.map_or_else(RecorderSettings::disabled, RecorderRecord::settings)
}

fn parsed<T: FromStr>(texts: &[String]) -> Result<Vec<T>, T::Err> {
    texts.iter().map(|text| text.parse()).collect()
}

fn headers(
    folder: &Path,
    run: &RunRecord,
    given: &Settings,
) -> Result<Option<BTreeMap<String, String>>, ResumeError> {
    if run.scenario.header_names.is_empty() || given.headers.is_some() {
        return Ok(None);
    }
    let from_file = match &run.scenario_file {
        Some(file) => Settings::read(Path::new(file))?.headers,
        None => None,
    };
    let missing = || ResumeError::Header {
        folder: folder.to_owned(),
        name: run.scenario.header_names[0].clone(),
    };
    from_file.map(Some).ok_or_else(missing)
}

/// What makes `now` another scenario than `then`, each difference with both values.
#[must_use]
pub fn changes(then: &ScenarioRecord, now: &ScenarioRecord) -> Vec<String> {
    let object = |record: &ScenarioRecord| {
        let mut value = serde_json::to_value(record).unwrap_or_default();
        // The same texts may lie elsewhere, and a target that was started anew has another pid.
        value["queries"] = serde_json::Value::Null;
        value["sample"]["pid"] = serde_json::Value::Null;
        if let Some(relevance) = value["relevance"].as_object_mut() {
            relevance.remove("file");
        }
        // Evidence is no part of what is measured or judged.
        value["recorder"] = serde_json::Value::Null;
        value
    };
    let file = now.queries.as_deref().unwrap_or("no file");
    let (then, now) = (object(then), object(now));
    let keys =
        [&then, &now].map(|record| record.as_object().into_iter().flat_map(|map| map.keys()));
    let keys: BTreeSet<&String> = keys.into_iter().flatten().collect();
    keys.into_iter()
        .filter(|key| then[key.as_str()] != now[key.as_str()])
        .map(|key| match key.as_str() {
            "queries_blake3" => format!("queries: {file} has others"),
            key => format!("{key} was {}, is {}", then[key], now[key]),
        })
        .collect()
}

/// Goes on with the run in `folder` to its planned end, and judges it; one whose planned end has
/// passed is judged at once.
///
/// # Errors
/// When it has ended, is being recorded, began with another scenario, is no run folder, or is
/// damaged elsewhere than at its end; and as [`super::run`].
pub fn resume(
    scenario: &Scenario,
    folder: &Path,
    clock: &dyn Clock,
    watch: &mut dyn Watch,
) -> Result<FinishedRun, SoakError> {
    let run = run_folder::read_run(folder)?;
    let queries = scenario.query_set()?;
    check(scenario, folder, &run, &queries)?;
    let start = run.start.clone();
    let log = RunLog::reopen(
        folder,
        || repair::whole(folder).map_err(SoakError::from),
        wall_of(&start),
    )
    .map_err(|error| busy(error, folder))?;
    // Once more: another process may have judged it while this one waited for nothing.
    if run_folder::read_verdict(folder)?.is_some() {
        let folder = folder.to_owned();
        return Err(ResumeError::Finished { folder }.into());
    }
    let recorded = run_folder::read(folder)?;
    watch.started(folder, &run);

    let now = Reading::take(clock);
    let place = Place::of(scenario, &start, now, recorded_until_ns(&recorded));
    let requests = scenario.requests(queries, &run.id)?;
    let slept_ms = slept_ms(&recorded, &start, now, place.rebooted);
    let past = past(recorded, now, slept_ms);
    let mut keeper = Keeper::new(scenario, log, place.begin, clock, past);
    keeper.happened(place.gap(scenario), watch);
    if slept_ms > 0 {
        keeper.happened(Event::Suspended { ms: slept_ms }, watch);
    }
    drive(keeper, requests, folder, watch)
}

/// Whether the run in `folder` began with `scenario`.
///
/// # Errors
/// When it has ended, or began with another one; and when the query set cannot be read.
pub fn is_same(scenario: &Scenario, folder: &Path, run: &RunRecord) -> Result<(), SoakError> {
    check(scenario, folder, run, &scenario.query_set()?)
}

fn check(
    scenario: &Scenario,
    folder: &Path,
    run: &RunRecord,
    queries: &QuerySet,
) -> Result<(), SoakError> {
    if run_folder::read_verdict(folder)?.is_some() {
        let folder = folder.to_owned();
        return Err(ResumeError::Finished { folder }.into());
    }
    let mut changes = changes(&run.scenario, &scenario.record(queries));
    let target = scenario.target.to_string();
    for (what, then, now) in [
        ("name", &run.name, &scenario.name),
        ("target", &run.target, &target),
    ] {
        if then != now {
            changes.push(format!("{what} was {then:?}, is {now:?}"));
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let folder = folder.to_owned();
    // A count of texts changes only with the texts.
    let only_queries = changes.iter().all(|change| change.starts_with("quer"));
    if let (true, Some(file)) = (only_queries, scenario.queries.clone()) {
        return Err(ResumeError::Queries { folder, file }.into());
    }
    Err(ResumeError::Changed { folder, changes }.into())
}

fn busy(error: SoakError, folder: &Path) -> SoakError {
    match error {
        SoakError::RunLog(RunLogError { source, .. })
            if source.kind() == io::ErrorKind::WouldBlock =>
        {
            let folder = folder.to_owned();
            ResumeError::Busy { folder }.into()
        }
        other => other,
    }
}

fn wall_of(start: &StartRecord) -> SystemTime {
    OffsetDateTime::parse(&start.wall, &Rfc3339).map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

fn recorded_until_ns(recorded: &RecordedRun) -> u64 {
    let end = |start_s: f64, length_s: f64| {
        nanoseconds(Duration::try_from_secs_f64(start_s + length_s).unwrap_or_default())
    };
    recorded
        .windows
        .last()
        .map_or(0, |window| end(window.start_s, window.length_s))
}

/// Where on the time line of the run it is now.
#[derive(Clone, Copy, Debug)]
struct Place {
    begin: Begin,
    /// From the end of the warm-up.
    recorded_until_ns: u64,
    rebooted: bool,
}

impl Place {
    fn of(scenario: &Scenario, start: &StartRecord, now: Reading, recorded_until_ns: u64) -> Self {
        let warmup_ns = nanoseconds(scenario.load.warmup);
        let (passed_ns, rebooted) = now.since(start, &boot_id());
        let at_ns = u64::try_from(passed_ns.saturating_add(signed(warmup_ns))).unwrap_or(0);
        // A wall clock that was set back must not record a window twice.
        let at_ns = if recorded_until_ns > 0 {
            at_ns.max(recorded_until_ns + warmup_ns)
        } else {
            at_ns
        };
        let from_ns = (at_ns + LEAD_NS).next_multiple_of(ROUND_NS);
        Self {
            begin: Begin {
                origin_ns: signed(now.monotonic_ns) - signed(at_ns),
                from_ns,
            },
            recorded_until_ns,
            rebooted,
        }
    }

    fn gap(&self, scenario: &Scenario) -> Event {
        let window_ns = nanoseconds(scenario.window).max(1);
        let from_ns = self
            .begin
            .from_ns
            .saturating_sub(nanoseconds(scenario.load.warmup));
        let to_ns = from_ns
            .min(nanoseconds(scenario.load.duration))
            .max(self.recorded_until_ns);
        Event::Gap {
            from_s: seconds(self.recorded_until_ns),
            to_s: seconds(to_ns),
            windows_lost: (to_ns / window_ns).saturating_sub(self.recorded_until_ns / window_ns),
            rebooted: self.rebooted,
        }
    }
}

/// How long the machine was suspended since the start, as far as no event says so: while nobody
/// looked. Of a machine that was started anew nobody knows.
fn slept_ms(recorded: &RecordedRun, start: &StartRecord, now: Reading, rebooted: bool) -> u64 {
    if rebooted {
        return 0;
    }
    let boottime_ns = now.boottime_ns.saturating_sub(start.boottime_ns);
    let monotonic_ns = now.monotonic_ns.saturating_sub(start.monotonic_ns);
    let known_ms: u64 = recorded
        .events
        .iter()
        .map(|record| match record.event {
            Event::Suspended { ms } => ms,
            _ => 0,
        })
        .sum();
    let slept_ms = boottime_ns.saturating_sub(monotonic_ns) / 1_000_000;
    let unknown_ms = slept_ms.saturating_sub(known_ms);
    if unknown_ms < SUSPENDED_MS {
        0
    } else {
        unknown_ms
    }
}

fn past(recorded: RecordedRun, now: Reading, slept_ms: u64) -> Past {
    let (mut suspended_ms, mut wall_step_ms) = (slept_ms, 0_i64);
    for record in &recorded.events {
        match record.event {
            Event::Suspended { ms } => suspended_ms = suspended_ms.saturating_add(ms),
            Event::ClockStep { ms } => wall_step_ms = wall_step_ms.saturating_add(ms),
            _ => {}
        }
    }
    Past {
        recorded_ns: recorded
            .windows
            .iter()
            .map(|window| {
                nanoseconds(Duration::try_from_secs_f64(window.length_s).unwrap_or_default())
            })
            .sum(),
        generator_cpu_s: recorded
            .windows
            .iter()
            .map(|window| window.resources.generator_cpu_s)
            .sum(),
        recorded_until_ns: recorded_until_ns(&recorded),
        windows: recorded.windows.iter().map(Facts::of).collect(),
        tally: recorded.tally,
        target: recorded.run.target,
        clocks: ClockWatch::new(now, suspended_ms, wall_step_ms),
    }
}

impl From<RunFolderError> for SoakError {
    fn from(error: RunFolderError) -> Self {
        Self::Folder(error)
    }
}
