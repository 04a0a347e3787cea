//! A run from its scenario to its verdict: starts the driver, writes windows, judges.

use super::causes::Cause;
use super::driver::{Driver, Interrupt, Phase};
use super::ledger::{ClosedWindow, Start};
use super::monotonic::{boottime_ns, monotonic_ns, process_cpu_ns};
use super::queries::{self, Bodies, QueriesError};
use super::record::{
    FORMAT, HostRecord, ResourceRecord, RunRecord, StartRecord, VerdictRecord, WindowRecord,
};
use super::run_log::{RunLog, RunLogError};
use super::scenario::Scenario;
use super::tally::Tally;
use super::units::{nanoseconds, seconds};
use super::verdict::{End, Evidence, judge};
use crate::clock::Clock;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// How often windows are looked for and the watcher is told.
const TICK: Duration = Duration::from_millis(50);

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
    /// The run folder cannot be written.
    #[error(transparent)]
    RunLog(#[from] RunLogError),
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
    /// A signal was seen.
    fn interrupted(&mut self, interrupt: Interrupt);
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
    fn of(start: Start, running_ns: u64, target: &str) -> Option<Self> {
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

impl Progress<'_> {
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
    let texts = match &scenario.queries {
        Some(path) => queries::read(path)?,
        None => Vec::new(),
    };
    let query_count = texts.len() as u64;
    let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let mark = scenario.unique.then(|| id.clone());
    let bodies = Bodies::new(texts, scenario.body.clone(), mark);

    let measured_from = clock.wall() + scenario.warmup;
    let record = run_record(scenario, id, query_count, measured_from);
    let folder = match place {
        Place::At(folder) => folder.clone(),
        Place::In(runs_dir) => runs_dir.join(folder_name(&record, measured_from)),
    };
    let log = RunLog::create(&folder, &record, measured_from)?;
    watch.started(&folder, &record);

    let before = Clocks::read(clock);
    let driver = Driver::start(scenario, bodies).map_err(SoakError::Start)?;
    let mut keeper = Keeper {
        log,
        target: record.target,
        total: Tally::default(),
        windows: 0,
        cpu_ns: process_cpu_ns(),
    };
    let end = keeper.keep(&driver, clock, watch)?;
    let windows_left = driver.finish();
    keeper.record(&windows_left, watch)?;

    let evidence = Evidence {
        tally: &keeper.total,
        thresholds: &scenario.thresholds,
        measured_ns: keeper.measured_ns(scenario, end),
        windows_planned: keeper.windows_planned(scenario, end),
        windows_recorded: keeper.windows,
        max_in_flight: scenario.max_in_flight,
        end,
        suspended: before.suspended_until(&Clocks::read(clock)),
        wall_step_ms: before.wall_step_ms(&Clocks::read(clock)),
        generator_cpu_s: seconds(process_cpu_ns().saturating_sub(before.cpu_ns)),
        query_count,
        unique: scenario.unique,
    };
    let verdict = judge(&evidence);
    keeper.log.finish(&verdict)?;
    Ok(FinishedRun { folder, verdict })
}

/// Writes windows as they close.
struct Keeper {
    log: RunLog,
    target: String,
    total: Tally,
    windows: u64,
    cpu_ns: u64,
}

impl Keeper {
    fn keep(
        &mut self,
        driver: &Driver,
        clock: &dyn Clock,
        watch: &mut dyn Watch,
    ) -> Result<End, SoakError> {
        let (mut seen, mut started) = (None, false);
        loop {
            let over = driver.phase() == Phase::Over;
            self.record(&driver.take_closed(), watch)?;
            if !started {
                started = self.has_started(driver, watch);
            }
            let asked = driver.interrupt();
            if let Some(interrupt) = asked.filter(|_| asked != seen) {
                watch.interrupted(interrupt);
                if interrupt == Interrupt::Stop {
                    driver.stop_after_this_window();
                }
                seen = asked;
            }
            match (seen, over) {
                (Some(Interrupt::Abort(signal)), _) => return Ok(End::Aborted(signal)),
                (_, true) if driver.was_shortened() => return Ok(End::Stopped),
                (_, true) => return Ok(End::Planned),
                (_, false) => {}
            }
            watch.tick(&Progress {
                driver,
                closed: &self.total,
            });
            clock.sleep(TICK);
        }
    }

    /// Whether it is known how the start went; one at which all failed is told.
    fn has_started(&self, driver: &Driver, watch: &mut dyn Watch) -> bool {
        let start = driver.start_so_far();
        let any_ok = start.any_ok;
        let failing = Failing::of(start, driver.running_ns(), &self.target);
        if let Some(failing) = &failing {
            watch.failing(failing);
        }
        any_ok || failing.is_some()
    }

    fn record(&mut self, windows: &[ClosedWindow], watch: &mut dyn Watch) -> Result<(), SoakError> {
        for window in windows {
            let cpu_ns = process_cpu_ns();
            let resources = ResourceRecord {
                generator_cpu_s: seconds(cpu_ns.saturating_sub(self.cpu_ns)),
            };
            self.cpu_ns = cpu_ns;
            let record = self.log.append(window, resources)?;
            self.total.add(&window.tally);
            self.windows += 1;
            watch.window(&record);
        }
        Ok(())
    }

    /// A run that was stopped is judged on the windows it has; an aborted one misses the rest.
    fn windows_planned(&self, scenario: &Scenario, end: End) -> u64 {
        let planned = nanoseconds(scenario.duration).div_ceil(nanoseconds(scenario.window));
        if end == End::Stopped {
            self.windows
        } else {
            planned
        }
    }

    fn measured_ns(&self, scenario: &Scenario, end: End) -> u64 {
        let planned_ns = nanoseconds(scenario.duration);
        if end == End::Planned {
            return planned_ns;
        }
        planned_ns.min(self.windows * nanoseconds(scenario.window))
    }
}

/// What the clocks say at one moment.
struct Clocks {
    wall: SystemTime,
    monotonic_ns: u64,
    boottime_ns: u64,
    cpu_ns: u64,
}

impl Clocks {
    fn read(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.wall(),
            monotonic_ns: monotonic_ns(),
            boottime_ns: boottime_ns(),
            cpu_ns: process_cpu_ns(),
        }
    }

    fn suspended_until(&self, later: &Self) -> Duration {
        let boottime_ns = later.boottime_ns.saturating_sub(self.boottime_ns);
        let monotonic_ns = later.monotonic_ns.saturating_sub(self.monotonic_ns);
        Duration::from_nanos(boottime_ns.saturating_sub(monotonic_ns))
    }

    /// How far the wall clock went beyond boot time, which no suspend stops.
    fn wall_step_ms(&self, later: &Self) -> i64 {
        let passed = i128::from(later.boottime_ns.saturating_sub(self.boottime_ns)) / 1_000_000;
        let wall = match later.wall.duration_since(self.wall) {
            Ok(ahead) => i128::try_from(ahead.as_millis()).unwrap_or(i128::MAX),
            Err(back) => -i128::try_from(back.duration().as_millis()).unwrap_or(i128::MAX),
        };
        i64::try_from(wall.saturating_sub(passed)).unwrap_or(0)
    }
}

fn run_record(
    scenario: &Scenario,
    id: String,
    query_count: u64,
    measured_from: SystemTime,
) -> RunRecord {
    let warmup_ns = nanoseconds(scenario.warmup);
    RunRecord {
        format: FORMAT,
        id,
        name: scenario.name.clone(),
        target: scenario.target.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: scenario.record(query_count),
        host: host(),
        start: StartRecord {
            wall: OffsetDateTime::from(measured_from)
                .format(&Rfc3339)
                .unwrap_or_default(),
            monotonic_ns: monotonic_ns() + warmup_ns,
            boottime_ns: boottime_ns() + warmup_ns,
        },
    }
}

fn folder_name(run: &RunRecord, measured_from: SystemTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let start = OffsetDateTime::from(measured_from)
        .format(format)
        .unwrap_or_default();
    format!("{start}-{}-{}", run.name, run.id)
}

fn host() -> HostRecord {
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
