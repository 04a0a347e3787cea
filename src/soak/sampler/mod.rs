//! What is sampled beside the windows: the unit or process under test, the machine, chosen metrics.
//!
//! A thread of its own, at a low priority, takes a reading shortly before the end of each window, so
//! that it is at hand when the window closes. Nothing waits for it: a window whose sample is late is
//! written without. What cannot be sampled is said once and left out.

pub(super) mod journal;
pub mod machine;
pub(super) mod metrics;
pub(super) mod process;
mod reader;
pub mod record;
pub(super) mod unit;

use super::event::Event;
use super::monotonic::monotonic_ns;
use super::record::SampleRecord;
use super::settings::{ScenarioError, Settings};
pub(super) use super::units::float;
use super::units::signed;
use crate::client::Target;
use reader::Reader;
use record::{HostSample, UnitSample};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A reading begins so long before the end of a window: asking systemd, the journal and the target
/// takes some tens of milliseconds.
const AHEAD_NS: u64 = 250_000_000;
/// In a short window it begins a quarter of it ahead.
const AHEAD_SHARE: u64 = 4;
/// Samples that wait for their window: one stays open as long as a request of it is in flight, at
/// most 100 windows.
const MAX_WAITING: usize = 256;
/// Lower than the rest of the process.
const NICE: i32 = 10;

/// What to sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// The unit under test.
    pub unit: Option<String>,
    /// Else the process under test.
    pub pid: Option<u32>,
    /// Where its metrics are.
    pub metrics: Option<Target>,
    /// Whether somebody said so: else it is no trouble when there are none.
    pub metrics_were_named: bool,
    /// Which of them are kept.
    pub metrics_series: Vec<String>,
}

impl Sampling {
    /// From what was said. Metrics are asked for where a unit or process is sampled, or where they
    /// are named: else a target gets the requests of the schedule and no others.
    ///
    /// # Errors
    /// When both a unit and a process are named, or the unit's name is none.
    pub fn resolve(settings: &Settings, target: &Target) -> Result<Self, ScenarioError> {
        if settings.unit.is_some() && settings.pid.is_some() {
            let both = "a unit and a pid cannot both be sampled".to_owned();
            return Err(ScenarioError::Value(both));
        }
        let unit = settings.unit.as_deref().map(unit_name).transpose()?;
        if settings.pid == Some(0) {
            return Err(ScenarioError::Value("a pid must be above 0".to_owned()));
        }
        let is_sampled = unit.is_some() || settings.pid.is_some();
        let own = || is_sampled.then(|| target.endpoint.at("/metrics"));
        let default_series = || metrics::DEFAULT_SERIES.map(str::to_owned).to_vec();
        Ok(Self {
            unit,
            pid: settings.pid,
            metrics: settings.metrics.clone().or_else(own),
            metrics_were_named: settings.metrics.is_some(),
            metrics_series: settings
                .metrics_series
                .clone()
                .unwrap_or_else(default_series),
        })
    }

    /// What is to be sampled and is not there, in words; a unit that is known and does not run is.
    #[must_use]
    pub fn absent(&self) -> Option<String> {
        if let Some(pid) = self.pid {
            let is_there = Path::new("/proc").join(pid.to_string()).exists();
            return (!is_there).then(|| format!("there is no process {pid}"));
        }
        let unit = self.unit.as_ref()?;
        unit::UnitState::is_unknown(unit).then(|| format!("systemd knows no unit {unit}"))
    }

    /// As it goes into `run.json`.
    #[must_use]
    pub fn record(&self) -> SampleRecord {
        SampleRecord {
            unit: self.unit.clone(),
            pid: self.pid,
            metrics: self.metrics.as_ref().map(ToString::to_string),
            metrics_series: self.metrics_series.clone(),
        }
    }
}

/// `alfred` is `alfred.service`, as for systemctl.
fn unit_name(text: &str) -> Result<String, ScenarioError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || text.len() > 255 || text.starts_with('-') || !text.chars().all(is_name) {
        return Err(ScenarioError::Value(format!(
            "{text:?} is not the name of a unit"
        )));
    }
    Ok(if text.contains('.') {
        text.to_owned()
    } else {
        format!("{text}.service")
    })
}

/// When the windows of a run end.
#[derive(Clone, Copy, Debug)]
pub struct TimeLine {
    /// `CLOCK_MONOTONIC` at the end of the warm-up.
    pub measured_from_ns: i64,
    /// Where counting begins, from there.
    pub from_ns: u64,
    /// The length of a window.
    pub window_ns: u64,
    /// Where the run ends, from there.
    pub until_ns: u64,
}

impl TimeLine {
    /// `CLOCK_MONOTONIC` at which the reading for `window` begins.
    fn reading_at(&self, window: u64) -> i64 {
        let end_ns = (window + 1)
            .saturating_mul(self.window_ns)
            .min(self.until_ns);
        let ahead_ns = AHEAD_NS.min(self.window_ns / AHEAD_SHARE);
        self.measured_from_ns
            .saturating_add(signed(end_ns - ahead_ns.min(end_ns)))
    }

    fn windows(&self) -> std::ops::Range<u64> {
        let window_ns = self.window_ns.max(1);
        self.from_ns / window_ns..self.until_ns.div_ceil(window_ns)
    }
}

/// What was sampled of one window.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The unit or process under test.
    pub unit: Option<UnitSample>,
    /// The machine.
    pub host: Option<HostSample>,
    /// Series by name and labels.
    pub metrics: BTreeMap<String, f64>,
}

/// The thread that samples; dropping it ends it.
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    ready: BTreeMap<u64, Sample>,
    events: Vec<Event>,
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `CLOCK_MONOTONIC` is at `until_ns`; `false` when the run is over before.
    fn wait(&self, until_ns: i64) -> bool {
        let mut state = self.state();
        loop {
            if state.is_over {
                return false;
            }
            let left_ns = until_ns.saturating_sub(signed(monotonic_ns()));
            let Ok(left_ns @ 1..) = u64::try_from(left_ns) else {
                return true;
            };
            let waited = self
                .stopped
                .wait_timeout(state, Duration::from_nanos(left_ns));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Sampler {
    /// Starts to sample. Where no thread can be made, nothing is sampled, and an event says so.
    pub(super) fn start(sampling: &Sampling, time_line: TimeLine) -> Self {
        let shared = Arc::new(Shared::default());
        let (theirs, sampling) = (Arc::clone(&shared), sampling.clone());
        let spawned = std::thread::Builder::new()
            .name("soak-sampler".to_owned())
            .spawn(move || {
                let own = rustix::thread::gettid();
                let _ = rustix::process::setpriority_process(Some(own), NICE);
                sample_all(&theirs, sampling, time_line);
            });
        if let Err(error) = &spawned {
            let problem = format!("anything: no thread can be made: {error}");
            shared
                .state()
                .events
                .push(Event::SamplerTrouble { problem });
        }
        Self {
            shared,
            thread: spawned.ok(),
        }
    }

    /// Whether the sample of a window is at hand.
    pub(super) fn is_ready(&self, window: u64) -> bool {
        self.shared.state().ready.contains_key(&window)
    }

    /// The sample of a window; of one that is late an empty one.
    pub(super) fn take(&self, window: u64) -> Sample {
        let mut state = self.shared.state();
        let sample = state.ready.remove(&window).unwrap_or_default();
        // Nobody will ask for what is before it.
        state.ready.retain(|ready, _| *ready > window);
        sample
    }

    /// What was seen since the last call.
    pub(super) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.shared.state().events)
    }
}

impl Drop for Sampler {
    /// Does not wait for a command that hangs: its thread ends by itself within its patience.
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.stopped.notify_all();
        drop(self.thread.take());
    }
}

fn sample_all(shared: &Shared, sampling: Sampling, time_line: TimeLine) {
    let mut reader = Reader::new(sampling);
    reader.begin();
    // What was used in the warm-up is not of the first window.
    let from_ns = time_line
        .measured_from_ns
        .saturating_add(signed(time_line.from_ns));
    if from_ns > signed(monotonic_ns()) {
        if !shared.wait(from_ns) {
            return;
        }
        reader.begin();
    }
    for window in time_line.windows() {
        // A reading that took long makes the next ones late: those in the past are left out.
        let late_ns = signed(monotonic_ns()).saturating_sub(time_line.reading_at(window + 1));
        if late_ns > 0 && window + 1 < time_line.windows().end {
            continue;
        }
        if !shared.wait(time_line.reading_at(window)) {
            return;
        }
        let (sample, events) = reader.sample();
        let mut state = shared.state();
        state.events.extend(events);
        state.ready.insert(window, sample);
        while state.ready.len() > MAX_WAITING {
            state.ready.pop_first();
        }
    }
}

/// Clock ticks of the kernel in seconds.
fn ticks_s(ticks: u64) -> f64 {
    round(float(ticks) / float(procfs::ticks_per_second().max(1)))
}

/// Microseconds are enough.
fn round(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_names_are_checked() {
        assert_eq!(unit_name("alfred").unwrap(), "alfred.service");
        assert_eq!(
            unit_name("alfred-soak@x.service").unwrap(),
            "alfred-soak@x.service"
        );
        for wrong in ["", "-p", "a b", "a/b", "a;b"] {
            assert!(unit_name(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn metrics_are_asked_for_only_where_something_is_sampled() {
        let target: Target = "http://127.0.0.1:8080/v1/query".parse().unwrap();
        let plain = Sampling::resolve(&Settings::default(), &target).unwrap();
        assert_eq!(plain.metrics, None);
        let settings = Settings {
            unit: Some("alfred".to_owned()),
            ..Settings::default()
        };
        let of_unit = Sampling::resolve(&settings, &target).unwrap();
        let url = of_unit.metrics.unwrap().to_string();
        assert_eq!(url, "http://127.0.0.1:8080/metrics");
        let both = Settings {
            pid: Some(1),
            ..settings
        };
        assert!(Sampling::resolve(&both, &target).is_err());
    }

    #[test]
    fn readings_are_shortly_before_the_end_of_windows() {
        let time_line = TimeLine {
            measured_from_ns: -5_000_000_000,
            from_ns: 12_000_000_000,
            window_ns: 10_000_000_000,
            until_ns: 25_000_000_000,
        };
        assert_eq!(time_line.windows(), 1..3);
        assert_eq!(time_line.reading_at(1), 14_750_000_000);
        assert_eq!(time_line.reading_at(2), 19_750_000_000);
    }
}
