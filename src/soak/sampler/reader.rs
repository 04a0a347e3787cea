//! Takes one reading after the other and says what changed between them.

use super::journal::Journal;
use super::machine::{HostReading, since};
use super::metrics;
use super::process::{ProcessReading, family};
use super::record::UnitSample;
use super::unit::{GroupReading, Groups, UnitState, processes};
use super::{Sample, Sampling, float, round};
use crate::soak::event::Event;
use crate::soak::monotonic::monotonic_ns;

/// systemd, the journal and the target are not asked more often than this, however short windows are;
/// less than a second, so that windows of a second have each their own answers.
const ASK_EVERY_NS: u64 = 900_000_000;
/// After so many failures in a row a source that never answered is given up.
const GIVE_UP_AFTER: u32 = 3;

pub(super) struct Reader {
    sampling: Sampling,
    groups: Groups,
    host: HostReading,
    processes: ProcessReading,
    group: GroupReading,
    state: Option<UnitState>,
    journal: Option<Journal>,
    asked_ns: Option<u64>,
    is_gone: bool,
    trouble: [Trouble; 3],
    events: Vec<Event>,
}

/// The sources that may fail.
#[derive(Clone, Copy)]
enum Source {
    Unit,
    Journal,
    Metrics,
}

/// What went wrong with one of them, told once.
#[derive(Clone, Copy, Default)]
struct Trouble {
    in_a_row: u32,
    is_told: bool,
    has_worked: bool,
}

impl Reader {
    pub(super) fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            groups: Groups::default(),
            host: HostReading::default(),
            processes: ProcessReading::default(),
            group: GroupReading::default(),
            state: None,
            journal: None,
            asked_ns: None,
            is_gone: false,
            trouble: [Trouble::default(); 3],
            events: Vec::new(),
        }
    }

    /// What the first sample is compared with.
    pub(super) fn begin(&mut self) {
        self.ask_unit();
        if let (Some(unit), None) = (&self.sampling.unit, &self.journal) {
            let opened = Journal::from_now(unit);
            self.journal = self.heard(Source::Journal, opened);
        } else if let Some(journal) = &mut self.journal {
            // What was logged in the warm-up is not counted.
            let _ = journal.count();
        }
        self.host = HostReading::take();
        self.processes = self.read_processes();
        self.group = self.read_group();
    }

    pub(super) fn sample(&mut self) -> (Sample, Vec<Event>) {
        let now_ns = monotonic_ns();
        let ask = self
            .asked_ns
            .is_none_or(|asked_ns| now_ns.saturating_sub(asked_ns) >= ASK_EVERY_NS);
        if ask {
            self.asked_ns = Some(now_ns);
            self.ask_unit();
        }
        let host = HostReading::take();
        let mut sample = Sample {
            host: Some(host.since(&self.host)),
            ..Sample::default()
        };
        self.host = host;
        sample.unit = self.sample_unit(ask);
        if ask {
            sample.metrics = self.sample_metrics();
            if let Some(unit) = &mut sample.unit {
                metrics::fill_in(unit, &sample.metrics);
            }
        }
        (sample, std::mem::take(&mut self.events))
    }

    fn sample_unit(&mut self, ask: bool) -> Option<UnitSample> {
        if self.sampling.unit.is_none() && self.sampling.pid.is_none() {
            return None;
        }
        if self.sampling.unit.is_some() && self.state.is_none() {
            return None;
        }
        let processes = self.read_processes();
        let mut sample = processes.since(&self.processes);
        if let Some(pid) = self.sampling.pid.filter(|_| processes.is_empty()) {
            if !std::mem::replace(&mut self.is_gone, true) {
                self.events.push(Event::ProcessGone { pid });
            }
            return None;
        }
        self.processes = processes;
        let group = self.read_group();
        sample.cgroup_memory_bytes = group.memory_bytes;
        sample.cgroup_anon_bytes = group.anon_bytes;
        let cpu_us = since(group.cpu_us, self.group.cpu_us);
        sample.cgroup_cpu_s = cpu_us.map(|us| round(float(us) / 1e6));
        self.group = group;
        sample.restarts = self.state.as_ref().map(|state| state.restarts);
        if ask && let Some(mut journal) = self.journal.take() {
            let logged = journal.count();
            self.journal = Some(journal);
            if let Some(logged) = self.heard(Source::Journal, logged) {
                sample.journal_errors = Some(logged.errors);
                sample.journal_warnings = Some(logged.warnings);
            }
        }
        Some(sample)
    }

    fn sample_metrics(&mut self) -> std::collections::BTreeMap<String, f64> {
        let Some(target) = self.sampling.metrics.clone() else {
            return std::collections::BTreeMap::new();
        };
        let fetched = metrics::fetch(&target, &self.sampling.metrics_series);
        let metrics = self.heard(Source::Metrics, fetched);
        metrics.unwrap_or_default()
    }

    fn ask_unit(&mut self) {
        let Some(unit) = self.sampling.unit.clone() else {
            return;
        };
        let asked = UnitState::ask(&unit);
        let Some(state) = self.heard(Source::Unit, asked) else {
            return;
        };
        if let Some(before) = &self.state {
            let another_process = state.main_pid != before.main_pid && state.main_pid != 0;
            // The main process is 0 for a moment between two.
            if another_process || state.restarts > before.restarts {
                self.events.push(Event::UnitRestarted {
                    unit,
                    restarts: state.restarts,
                    pid: state.main_pid,
                });
            }
        }
        self.state = Some(state);
    }

    fn read_processes(&self) -> ProcessReading {
        match (&self.state, self.sampling.pid) {
            (Some(state), _) => processes(&self.groups, state),
            (None, Some(pid)) => ProcessReading::take(family(pid.cast_signed())),
            (None, None) => ProcessReading::default(),
        }
    }

    fn read_group(&self) -> GroupReading {
        let group = self.state.as_ref().map(|state| &state.control_group);
        group.map_or_else(GroupReading::default, |group| self.groups.read(group))
    }

    /// What a source said; its first failure is told, and after a few it is asked no more.
    fn heard<T>(&mut self, source: Source, said: Result<T, String>) -> Option<T> {
        let trouble = &mut self.trouble[source as usize];
        let problem = match said {
            Ok(value) => {
                trouble.in_a_row = 0;
                trouble.has_worked = true;
                return Some(value);
            }
            Err(problem) => problem,
        };
        trouble.in_a_row += 1;
        let is_given_up = !trouble.has_worked && trouble.in_a_row >= GIVE_UP_AFTER;
        let is_guess = matches!(source, Source::Metrics) && !self.sampling.metrics_were_named;
        if !is_guess && !std::mem::replace(&mut trouble.is_told, true) {
            self.events.push(Event::SamplerTrouble { problem });
        }
        if is_given_up {
            match source {
                // A unit may come back, and asking for it is cheap.
                Source::Unit => {}
                Source::Journal => self.journal = None,
                Source::Metrics => self.sampling.metrics = None,
            }
        }
        None
    }
}
