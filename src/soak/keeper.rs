//! Watches a run and writes it down: windows as they close, events as they are seen.

use super::clocks::{ClockWatch, Reading};
use super::driver::{Begin, Driver, Interrupt, Phase};
use super::event::{Event, EventRecord};
use super::findings::{Asked, Findings};
use super::ledger::ClosedWindow;
use super::monotonic::{monotonic_ns, process_cpu_ns};
use super::record::{ResourceRecord, VerdictRecord};
use super::recorder::{Facts, Now, Recorder};
use super::run::{Failing, Progress, SoakError, Watch};
use super::run_log::{RunLog, RunLogError};
use super::sampler::{Sampler, TimeLine, machine};
use super::scenario::Scenario;
use super::server::{self, Client, Question, ServerRecord};
use super::tally::Tally;
use super::units::{nanoseconds, seconds, signed};
use super::verdict::{End, Evidence};
use crate::clock::Clock;
use std::collections::VecDeque;
use std::time::Duration;

/// How often windows are looked for and the watcher is told.
const TICK: Duration = Duration::from_millis(50);
/// How often the clocks are compared.
const CLOCKS_EVERY_NS: u64 = 1_000_000_000;
/// How often a folder that could not be written is tried again.
const RETRY_NS: u64 = 1_000_000_000;
/// So long a closed window waits for what was sampled in it.
const SAMPLE_PATIENCE_NS: u64 = 300_000_000;
/// So long the end of a run waits for room on the disk.
const ROOM_PATIENCE_NS: u64 = 30_000_000_000;

/// What was recorded before this process went on with a run.
pub(super) struct Past {
    pub(super) target: String,
    pub(super) tally: Tally,
    pub(super) recorded_ns: u64,
    pub(super) recorded_until_ns: u64,
    pub(super) generator_cpu_s: f64,
    pub(super) windows: Vec<Facts>,
    pub(super) clocks: ClockWatch,
}

impl Past {
    /// Of a run that begins.
    pub(super) fn none(target: String, now: Reading) -> Self {
        Self {
            target,
            tally: Tally::default(),
            recorded_ns: 0,
            recorded_until_ns: 0,
            generator_cpu_s: 0.0,
            windows: Vec::new(),
            clocks: ClockWatch::new(now, 0, 0),
        }
    }
}

/// How many queries a run asks.
#[derive(Clone, Copy)]
pub(super) struct Queries {
    pub(super) count: u64,
    /// Those with judgments; `None` without any.
    pub(super) judged: Option<u64>,
}

/// How a run came to its end, or did not.
pub(super) enum Kept {
    /// It is to be judged.
    Ended(End),
    /// The machine is going down: it is left as it is, to be resumed.
    Left,
}

pub(super) struct Keeper<'a> {
    scenario: &'a Scenario,
    begin: Begin,
    clock: &'a dyn Clock,
    log: RunLog,
    past: Past,
    sampler: Sampler,
    recorder: Recorder,
    /// Closed windows that wait for their samples, with when they closed.
    waiting: VecDeque<(ClosedWindow, u64)>,
    cpu_at_start_ns: u64,
    cpu_ns: u64,
    looked_ns: u64,
    tried_ns: u64,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        log: RunLog,
        begin: Begin,
        clock: &'a dyn Clock,
        past: Past,
    ) -> Self {
        let time_line = TimeLine {
            measured_from_ns: begin.origin_ns + signed(nanoseconds(scenario.load.warmup)),
            from_ns: begin
                .from_ns
                .saturating_sub(nanoseconds(scenario.load.warmup)),
            window_ns: nanoseconds(scenario.window),
            until_ns: nanoseconds(scenario.load.duration),
        };
        let cpu_ns = process_cpu_ns();
        let recorder = Recorder::start(scenario, log.folder(), &past.windows);
        Self {
            scenario,
            begin,
            clock,
            log,
            past,
            recorder,
            sampler: Sampler::start(&scenario.sampling, time_line),
            waiting: VecDeque::new(),
            cpu_at_start_ns: cpu_ns,
            cpu_ns,
            looked_ns: 0,
            tried_ns: 0,
        }
    }

    pub(super) fn begin(&self) -> Begin {
        self.begin
    }

    pub(super) fn scenario(&self) -> &'a Scenario {
        self.scenario
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_past_its_end(&self) -> bool {
        let planned = self.scenario.load.warmup + self.scenario.load.duration;
        self.begin.from_ns >= nanoseconds(planned)
    }

    pub(super) fn keep(
        &mut self,
        driver: &Driver,
        watch: &mut dyn Watch,
    ) -> Result<Kept, SoakError> {
        let (mut seen, mut started) = (None, false);
        loop {
            let over = driver.phase() == Phase::Over;
            self.take(driver.take_closed());
            self.record(false, watch)?;
            self.look(watch);
            self.recorder.oldest(driver.oldest_age_ns(), self.now());
            for event in self.recorder.news() {
                self.happened(event, watch);
            }
            if !started {
                started = self.has_started(driver, watch);
            }
            let asked = driver.interrupt();
            if let Some(interrupt) = asked.filter(|_| asked != seen) {
                if seen.is_none() && machine::is_going_down() {
                    self.record(true, watch)?;
                    return Ok(Kept::Left);
                }
                watch.interrupted(interrupt);
                if interrupt == Interrupt::Stop {
                    driver.stop_after_this_window();
                }
                seen = asked;
            }
            match (seen, over) {
                (Some(Interrupt::Abort(signal)), _) => {
                    return Ok(Kept::Ended(End::Aborted(signal)));
                }
                (_, true) if driver.was_shortened() => return Ok(Kept::Ended(End::Stopped)),
                (_, true) => return Ok(Kept::Ended(End::Planned)),
                (_, false) => {}
            }
            watch.tick(&Progress::new(driver, &self.past.tally));
            self.clock.sleep(TICK);
        }
    }

    /// Whether it is known how the start went; one at which all failed is told.
    fn has_started(&self, driver: &Driver, watch: &mut dyn Watch) -> bool {
        let start = driver.start_so_far();
        let any_ok = start.any_ok;
        let running_ns = driver.running_ns().saturating_sub(self.begin.from_ns);
        let failing = Failing::of(start, running_ns, &self.past.target);
        if let Some(failing) = &failing {
            watch.failing(failing);
        }
        any_ok || failing.is_some()
    }

    /// Takes in windows that closed.
    pub(super) fn take(&mut self, windows: Vec<ClosedWindow>) {
        let now_ns = monotonic_ns();
        self.waiting
            .extend(windows.into_iter().map(|window| (window, now_ns)));
    }

    /// Writes windows whose samples are there or late; `all` of them at the end.
    pub(super) fn record(&mut self, all: bool, watch: &mut dyn Watch) -> Result<(), SoakError> {
        for event in self.sampler.events() {
            self.happened(event, watch);
        }
        let now_ns = monotonic_ns();
        while let Some((window, closed_ns)) = self.waiting.front() {
            let is_late = now_ns.saturating_sub(*closed_ns) >= SAMPLE_PATIENCE_NS;
            if !(all || is_late || self.sampler.is_ready(window.index)) {
                break;
            }
            if let Some((window, _)) = self.waiting.pop_front() {
                self.write(&window, watch)?;
            }
        }
        let patient = self.log.is_in_trouble() && now_ns.saturating_sub(self.tried_ns) < RETRY_NS;
        if self.log.is_behind() && !patient {
            self.tried_ns = now_ns;
            if let Some(event) = self.log.write_out() {
                self.happened(event, watch);
            }
        }
        Ok(())
    }

    fn write(&mut self, window: &ClosedWindow, watch: &mut dyn Watch) -> Result<(), SoakError> {
        let cpu_ns = process_cpu_ns();
        let resources = ResourceRecord {
            generator_cpu_s: seconds(cpu_ns.saturating_sub(self.cpu_ns)),
            generator_rss_bytes: machine::own_rss_bytes(),
        };
        self.cpu_ns = cpu_ns;
        let sample = self.sampler.take(window.index);
        let Some(record) = self.log.append(window, resources, sample)? else {
            let window = window.index;
            self.happened(Event::WindowDropped { window }, watch);
            return Ok(());
        };
        if !self.log.is_in_trouble()
            && let Some(event) = self.log.write_out()
        {
            self.happened(event, watch);
        }
        self.past.tally.add(&window.tally);
        self.past.recorded_ns += window.length_ns;
        self.past.recorded_until_ns = window.start_ns + window.length_ns;
        watch.window(&record);
        let now = self.now();
        self.recorder.window(window, &record, now);
        Ok(())
    }

    /// No evidence is taken from here on.
    pub(super) fn close_recorder(&mut self) {
        self.recorder.close();
    }

    /// Waits for evidence that is being taken, unless the run was aborted.
    pub(super) fn finish_recorder(&mut self, end: End, watch: &mut dyn Watch) {
        let recorder = std::mem::take(&mut self.recorder);
        if !matches!(end, End::Aborted(_)) {
            for event in recorder.finish() {
                self.happened(event, watch);
            }
        }
    }

    fn now(&self) -> Now {
        let warmup_ns = signed(nanoseconds(self.scenario.load.warmup));
        Now {
            at_ns: signed(monotonic_ns()) - self.begin.origin_ns - warmup_ns,
            wall: self.clock.wall(),
        }
    }

    /// Compares the clocks, now and then.
    fn look(&mut self, watch: &mut dyn Watch) {
        let now_ns = monotonic_ns();
        if now_ns.saturating_sub(self.looked_ns) >= CLOCKS_EVERY_NS {
            self.looked_ns = now_ns;
            self.look_now(watch);
        }
    }

    fn look_now(&mut self, watch: &mut dyn Watch) {
        for event in self.past.clocks.look(Reading::take(self.clock)) {
            self.happened(event, watch);
        }
    }

    /// Notes an event and tells it.
    pub(super) fn happened(&mut self, event: Event, watch: &mut dyn Watch) {
        let now = self.now();
        self.recorder.event(&event, now);
        let distance_s = seconds(now.at_ns.unsigned_abs());
        let seen_s = if now.at_ns < 0 {
            -distance_s
        } else {
            distance_s
        };
        let record = EventRecord::now(event, seen_s, self.clock);
        self.log.event(&record);
        watch.event(&record);
    }

    /// The length of the plan, as shortened by an interrupt.
    fn planned_ns(&self, end: End) -> u64 {
        match end {
            // A run that was stopped is judged on what it had by then; an aborted one misses the rest.
            End::Stopped => self.past.recorded_until_ns,
            End::Planned | End::Aborted(_) => nanoseconds(self.scenario.load.duration),
        }
    }

    /// What the windows are held against.
    pub(super) fn asked(&self, end: End) -> Asked<'a> {
        Asked {
            thresholds: &self.scenario.thresholds,
            drift: &self.scenario.drift,
            steps: &self.scenario.steps,
            window_s: self.scenario.window.as_secs_f64(),
            measured_s: seconds(self.planned_ns(end)),
        }
    }

    /// What the verdict rests on; `shown` is what the windows show, and what they are too few for.
    pub(super) fn evidence<'b>(
        &'b mut self,
        end: End,
        asked: Queries,
        shown: &'b (Findings, Vec<String>),
        watch: &mut dyn Watch,
    ) -> Evidence<'b> {
        self.look_now(watch);
        let window_ns = nanoseconds(self.scenario.window);
        let planned_ns = self.planned_ns(end);
        let windows_planned = planned_ns.div_ceil(window_ns);
        let missing_ns = planned_ns.saturating_sub(self.past.recorded_ns);
        let generator_cpu_s = seconds(process_cpu_ns().saturating_sub(self.cpu_at_start_ns));
        Evidence {
            tally: &self.past.tally,
            thresholds: &self.scenario.thresholds,
            findings: &shown.0,
            too_short: shown.1.clone(),
            planned_ns,
            measured_ns: self.past.recorded_ns,
            windows_planned,
            // Of those that are missing in part the rest was recorded: a resumed run has a shorter one.
            windows_recorded: windows_planned.saturating_sub(missing_ns / window_ns),
            max_in_flight: self.scenario.max_in_flight,
            end,
            suspended: self.past.clocks.suspended(),
            wall_step_ms: self.past.clocks.wall_step_ms(),
            generator_cpu_s: self.past.generator_cpu_s + generator_cpu_s,
            query_count: asked.count,
            unique: self.scenario.unique,
            judged_queries: asked.judged,
            server: None,
        }
    }

    /// When the last request had ended at the latest, from the end of the warm-up: now, or long ago of a run
    /// whose planned end has passed.
    pub(super) fn over_ns(&self) -> i64 {
        let scenario = self.scenario;
        let latest = scenario.load.duration + scenario.timeout + scenario.grace;
        self.now().at_ns.min(signed(nanoseconds(latest)))
    }

    /// What the target's own histogram says, where a Prometheus is to be asked; of a run that was aborted
    /// nobody is asked.
    pub(super) fn ask_server(
        &mut self,
        end: End,
        over_ns: i64,
        watch: &mut dyn Watch,
    ) -> Option<ServerRecord> {
        let scenario = self.scenario;
        let prometheus = scenario.prometheus.as_ref()?;
        if matches!(end, End::Aborted(_)) {
            return None;
        }
        let warmup_ns = signed(nanoseconds(scenario.load.warmup));
        let question = Question {
            prometheus,
            target: &scenario.target,
            trust: &scenario.trust,
            origin_ns: self.begin.origin_ns.saturating_add(warmup_ns),
            done_s: seconds(u64::try_from(over_ns).unwrap_or(0)),
            client: Client {
                tally: &self.past.tally,
                thresholds: &scenario.thresholds,
                measured_s: seconds(self.past.recorded_ns),
                planned_s: seconds(self.planned_ns(end)),
                warmup_s: scenario.load.warmup.as_secs_f64(),
                expects_server_errors: scenario.expects_server_errors(),
            },
            clock: self.clock,
        };
        Some(server::ask(&question, watch))
    }

    /// Everything that was counted.
    pub(super) fn tally(&self) -> &Tally {
        &self.past.tally
    }

    /// Waits until all windows and events are on disk.
    pub(super) fn settle(&mut self, watch: &mut dyn Watch) -> Result<(), SoakError> {
        self.until_there_is_room(watch, RunLog::settle)
    }

    /// Writes the verdict, once there is room for everything before it.
    pub(super) fn finish(
        &mut self,
        verdict: &VerdictRecord,
        watch: &mut dyn Watch,
    ) -> Result<(), SoakError> {
        self.until_there_is_room(watch, |log| log.finish(verdict))
    }

    fn until_there_is_room(
        &mut self,
        watch: &mut dyn Watch,
        write: impl Fn(&mut RunLog) -> Result<(), RunLogError>,
    ) -> Result<(), SoakError> {
        let from_ns = monotonic_ns();
        loop {
            match write(&mut self.log) {
                Ok(()) => return Ok(()),
                Err(error) if monotonic_ns().saturating_sub(from_ns) >= ROOM_PATIENCE_NS => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
            if let Some(event) = self.log.write_out() {
                self.happened(event, watch);
            }
            self.clock.sleep(Duration::from_nanos(RETRY_NS));
        }
    }
}
