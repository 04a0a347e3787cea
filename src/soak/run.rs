//! A run from its scenario to its verdict: starts the driver, writes windows, judges.

use super::causes::Cause;
use super::clocks::Reading;
use super::driver::{Begin, Driver, Interrupt, Phase};
use super::event::EventRecord;
use super::keeper::{Keeper, Kept, Past, Queries};
use super::latency::Series;
use super::ledger::Start;
use super::queries::{PathError, QueriesError, QuerySet, Requests};
use super::record::{FORMAT, HostRecord, RunRecord, VerdictRecord, WindowRecord};
use super::resume::ResumeError;
use super::run_folder::{self, RunFolderError};
use super::run_log::{RunLog, RunLogError};
use super::sampler::machine;
use super::scenario::Scenario;
use super::server::ServerRecord;
use super::tally::Tally;
use super::units::{nanoseconds, show_count, show_latency_us};
use super::verdict::{End, judge};
use crate::clock::Clock;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::macros::format_description;

/// Where a run is recorded.
#[derive(Clone, Debug)]
pub enum Place {
    /// A new folder in this one, named by start, scenario and id.
    In(PathBuf),
    /// This very folder.
    At(PathBuf),
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// There are no queries to ask.
    #[error(transparent)]
    Queries(#[from] QueriesError),
    /// A query makes a path that is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The run folder cannot be written.
    #[error(transparent)]
    RunLog(#[from] RunLogError),
    /// What was measured cannot be recorded to its end, so there is no verdict.
    #[error("{error}; measured and not judged: {measured}")]
    Lost {
        /// Why.
        error: Box<SoakError>,
        /// Counts and percentiles of the whole run.
        measured: String,
    },
    /// The run folder cannot be read back.
    #[error(transparent)]
    Folder(RunFolderError),
    /// The run cannot be resumed.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The machine is going down: the run has no verdict yet, and can be resumed.
    #[error("the machine is going down; {} is left unfinished", folder.display())]
    Left {
        /// The run.
        folder: PathBuf,
    },
    /// The generator's threads cannot be started.
    #[error("cannot start the load generator")]
    Start(#[source] std::io::Error),
}

/// A run that ended.
#[derive(Debug)]
pub struct FinishedRun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its verdict.
    pub verdict: VerdictRecord,
}

/// Is told how a run goes, on the thread that called [`run`].
pub trait Watch {
    /// The run has begun.
    fn started(&mut self, folder: &Path, run: &RunRecord);
    /// A window closed.
    fn window(&mut self, window: &WindowRecord);
    /// Some 20 times a second; `progress` computes percentiles only when asked.
    fn tick(&mut self, progress: &Progress<'_>);
    /// The first requests all failed: the target is not there, or refuses what it is sent.
    fn failing(&mut self, failing: &Failing);
    /// Something happened beside the requests: a gap, a restart of the unit, trouble with the disk.
    fn event(&mut self, event: &EventRecord);
    /// A signal was seen.
    fn interrupted(&mut self, interrupt: Interrupt);
    /// The load is over, and something else is waited for: told once.
    fn waiting(&mut self, _for_what: &str) {}
    /// All is well while it is waited for: some 20 times a second.
    fn alive(&mut self) {}
}

/// Failures that a warning is worth.
const FAILURES: u64 = 5;
/// After so long one is enough.
const PATIENCE_NS: u64 = 5_000_000_000;

/// A start at which nothing succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Where requests go.
    pub target: String,
    /// How many failed; none succeeded.
    pub requests: u64,
    /// Why the first one did.
    pub cause: Cause,
}

impl Failing {
    pub(super) fn of(start: Start, running_ns: u64, target: &str) -> Option<Self> {
        let enough = start.failed >= FAILURES || (start.failed > 0 && running_ns >= PATIENCE_NS);
        if start.any_ok || !enough {
            return None;
        }
        Some(Self {
            target: target.to_owned(),
            requests: start.failed,
            cause: start.first_cause?,
        })
    }
}

/// How far a run is.
pub struct Progress<'a> {
    driver: &'a Driver,
    closed: &'a Tally,
}

impl<'a> Progress<'a> {
    pub(super) fn new(driver: &'a Driver, closed: &'a Tally) -> Self {
        Self { driver, closed }
    }

    /// What is going on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.driver.phase()
    }

    /// How long has been measured; `None` in the warm-up.
    #[must_use]
    pub fn measured(&self) -> Option<Duration> {
        let planned_ns = self.driver.plan().measured_ns;
        let measured_ns = self.driver.measured_ns()?;
        Some(Duration::from_nanos(measured_ns.min(planned_ns)))
    }

    /// How long will be measured.
    #[must_use]
    pub fn planned(&self) -> Duration {
        Duration::from_nanos(self.driver.plan().measured_ns)
    }

    /// How much of the warm-up has passed, and how long it is.
    #[must_use]
    pub fn warmup(&self) -> (Duration, Duration) {
        let warmup_ns = self.driver.plan().measured_from_ns;
        let passed_ns = self.driver.running_ns().min(warmup_ns);
        (
            Duration::from_nanos(passed_ns),
            Duration::from_nanos(warmup_ns),
        )
    }

    /// How long it is to the planned end, as shortened by an interrupt.
    #[must_use]
    pub fn left(&self) -> Duration {
        let plan = self.driver.plan();
        let end_ns = plan.measured_from_ns.saturating_add(plan.measured_ns);
        Duration::from_nanos(end_ns.saturating_sub(self.driver.running_ns()))
    }

    /// The window in which requests are due now, 1-based, and how many windows there will be.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        let plan = self.driver.plan();
        let measured_ns = self.driver.measured_ns().unwrap_or(0);
        let windows = plan.windows();
        ((measured_ns / plan.window_ns + 1).min(windows), windows)
    }

    /// Whether a window should have closed before now: it is over for longer than the request
    /// timeout and `slack`.
    #[must_use]
    pub fn is_overdue(&self, slack: Duration) -> bool {
        self.driver.is_overdue(nanoseconds(slack))
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.driver.in_flight()
    }

    /// How long the oldest request in flight has been due.
    #[must_use]
    pub fn oldest_in_flight(&self) -> Option<Duration> {
        self.driver.oldest_age_ns().map(Duration::from_nanos)
    }

    /// The account of windows that are open, and that of everything so far. What is in flight is
    /// due and has no latency yet.
    #[must_use]
    pub fn tallies(&self) -> (Tally, Tally) {
        let open = self.driver.open_tally();
        let mut total = self.closed.clone();
        total.add(&open);
        (open, total)
    }
}

/// Runs `scenario` to its verdict, recording it at `place`.
///
/// # Errors
/// When the query set cannot be read, the run folder cannot be written, or threads cannot start.
/// A target that fails in whatever way is no error: it is what the verdict is about.
pub fn run(
    scenario: &Scenario,
    place: &Place,
    clock: &dyn Clock,
    watch: &mut dyn Watch,
) -> Result<FinishedRun, SoakError> {
    let queries = scenario.query_set()?;
    let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let now = Reading::take(clock);
    let measured_from = now.wall + scenario.load.warmup;
    let record = run_record(scenario, id, &queries, now);
    let requests = scenario.requests(queries, &record.id)?;
    let folder = match place {
        Place::At(folder) => folder.clone(),
        Place::In(runs_dir) => runs_dir.join(folder_name(&record, measured_from)),
    };
    let log = RunLog::create(&folder, &record, measured_from)?;
    watch.started(&folder, &record);

    let past = Past::none(record.target, Reading::take(clock));
    let keeper = Keeper::new(scenario, log, Begin::now(), clock, past);
    drive(keeper, requests, &folder, watch)
}

/// Sends what is left of a run, and judges it.
pub(super) fn drive(
    mut keeper: Keeper<'_>,
    requests: Requests,
    folder: &Path,
    watch: &mut dyn Watch,
) -> Result<FinishedRun, SoakError> {
    let folder = folder.to_owned();
    let asked = Queries {
        count: requests.queries(),
        judged: requests.relevant().map(|relevant| relevant.judged()),
    };
    let mut end = End::Planned;
    if !keeper.is_past_its_end() {
        let driver =
            Driver::start(keeper.scenario(), requests, keeper.begin()).map_err(SoakError::Start)?;
        match keeper.keep(&driver, watch)? {
            Kept::Ended(how) => end = how,
            Kept::Left => return Err(SoakError::Left { folder }),
        }
        keeper.take(driver.finish());
    }
    let over_ns = keeper.over_ns();
    // There is no load any more that evidence could be of.
    keeper.close_recorder();
    keeper.record(true, watch)?;
    let settled = keeper.settle(watch);
    settled.map_err(|error| lost(error, keeper.tally()))?;
    keeper.finish_recorder(end, watch);
    let shown = run_folder::findings(&folder, &keeper.asked(end)).map_err(SoakError::Folder);
    let shown = shown.map_err(|error| lost(error, keeper.tally()))?;
    let server = keeper.ask_server(end, over_ns, watch);
    let was_interrupted = server.as_ref().is_some_and(ServerRecord::is_interrupted);
    if was_interrupted && machine::is_going_down() {
        return Err(SoakError::Left { folder });
    }
    let mut evidence = keeper.evidence(end, asked, &shown, watch);
    evidence.server = server;
    let verdict = judge(&evidence);
    let finished = keeper.finish(&verdict, watch);
    finished.map_err(|error| lost(error, keeper.tally()))?;
    Ok(FinishedRun { folder, verdict })
}

/// The folder is gone or full: what was measured is told at least.
fn lost(error: SoakError, tally: &Tally) -> SoakError {
    let shown = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), show_latency_us);
    let (counts, response) = (&tally.counts, tally.percentiles(Series::Response));
    let measured = format!(
        "due {}, ok {}, errors {}, shed {}; response p50 {}, p95 {}, p99 {}, max {}",
        show_count(counts.due),
        show_count(counts.ok),
        show_count(counts.error),
        show_count(counts.shed),
        shown(response.p50),
        shown(response.p95),
        shown(response.p99),
        shown(response.max)
    );
    let error = Box::new(error);
    SoakError::Lost { error, measured }
}

fn run_record(scenario: &Scenario, id: String, queries: &QuerySet, now: Reading) -> RunRecord {
    RunRecord {
        format: FORMAT,
        id,
        name: scenario.name.clone(),
        target: scenario.target.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: scenario.record(queries),
        scenario_file: scenario
            .file
            .as_ref()
            .map(|file| file.display().to_string()),
        host: host(),
        start: now.start_record(nanoseconds(scenario.load.warmup)),
    }
}

fn folder_name(run: &RunRecord, measured_from: SystemTime) -> String {
    format!("{}-{}-{}", stamp(measured_from), run.name, run.id)
}

/// A moment as names of folders have it.
pub(super) fn stamp(moment: SystemTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::from(moment)
        .format(format)
        .unwrap_or_default()
}

pub(super) fn host() -> HostRecord {
    let names = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    #[expect(
        clippy::useless_conversion,
        reason = "the field is 32 bits wide on some machines"
    )]
    let memory_bytes = u64::from(memory.totalram).saturating_mul(u64::from(memory.mem_unit));
    HostRecord {
        hostname: names.nodename().to_string_lossy().into_owned(),
        kernel: format!(
            "{} {}",
            names.sysname().to_string_lossy(),
            names.release().to_string_lossy()
        ),
        machine: names.machine().to_string_lossy().into_owned(),
        cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
        memory_bytes,
    }
}
