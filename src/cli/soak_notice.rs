//! A soak as others see it: the screen or lines on stderr, records in the journal, and what systemd
//! hears: ready when the load begins, alive while windows close in time, its course in the status line.

use super::Context;
use crate::clock::{Clock as _, SystemClock};
use crate::plain;
use crate::report::live::{self, Surroundings};
use crate::soak::driver::{Interrupt, Phase};
use crate::soak::event::EventRecord;
use crate::soak::record::{RunRecord, WindowRecord};
use crate::soak::threshold::Threshold;
use crate::soak::units::{show_count, show_latency_us};
use crate::soak::{Failing, Progress, Watch};
use crate::telemetry::events::{self, SoakWindow};
use crate::telemetry::logging;
use crate::telemetry::systemd::Notifier;
use std::path::Path;
use std::time::{Duration, Instant};

/// A window that is over may take so much longer to close than its requests can: samples are waited
/// for, and a machine under load is slow.
const SLACK: Duration = Duration::from_secs(10);
/// Ticks between two looks at whether windows close in time: 4 a second at 20 ticks.
const TICKS_PER_LOOK: u32 = 5;

/// Where a soak says how it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    /// It goes to the journal, as records; nothing that is said there is said on stderr too.
    pub(super) in_journal: bool,
    surroundings: Surroundings,
}

impl Voice {
    /// Starts logging, where that goes to the journal.
    pub(super) fn start(context: &Context, level: &str, format: &str) -> Self {
        let environment = &context.environment;
        Self {
            in_journal: logging::start_in_journal(level, format),
            surroundings: Surroundings::of(|name| environment.get(name)),
        }
    }

    /// A line for people.
    pub(super) fn say(self, line: &str) {
        if self.in_journal {
            tracing::info!("{line}");
        } else {
            let _ = console::Term::stderr().write_line(&plain::lines(line));
        }
    }

    /// A line for people, of something that is not as it should be.
    pub(super) fn warn(self, line: &str) {
        if self.in_journal {
            tracing::warn!("{line}");
        } else {
            let line = plain::lines(&format!("warning: {line}"));
            let _ = console::Term::stderr().write_line(&line);
        }
    }
}

/// Passes everything on, and tells the journal and systemd.
pub(super) struct Noticed {
    /// `None` where the journal has it all.
    view: Option<Box<dyn Watch>>,
    records: Option<Records>,
    notifier: Notifier,
    windows: u64,
    errors: u64,
    /// How often systemd is told that all is well while no window closes.
    alive_every: Option<Duration>,
    told: Instant,
    ticks: u32,
}

impl Noticed {
    pub(super) fn new(thresholds: Vec<Threshold>, voice: Voice) -> Self {
        let is_shown = !voice.in_journal || live::is_drawn(voice.surroundings);
        Self {
            view: is_shown.then(|| live::view(thresholds, voice.surroundings)),
            records: voice.in_journal.then(Records::default),
            notifier: Notifier::default(),
            windows: 0,
            errors: 0,
            // Half of it, as sd_watchdog_enabled(3) recommends.
            alive_every: Notifier::watchdog_period().map(|period| period / 2),
            told: SystemClock.monotonic(),
            ticks: 0,
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut dyn Watch> {
        let view = self.view.as_mut().map(|view| &mut **view as &mut dyn Watch);
        let records = self
            .records
            .as_mut()
            .map(|records| records as &mut dyn Watch);
        view.into_iter().chain(records)
    }

    fn tell_alive(&mut self) {
        self.told = SystemClock.monotonic();
        self.notifier.alive();
    }
}

impl Watch for Noticed {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        self.each().for_each(|watch| watch.started(folder, run));
        self.windows = run.scenario.windows();
        let status = format!("{}: {} at {}", run.name, run.target, run.scenario.load());
        self.notifier.ready(&status);
    }

    fn window(&mut self, window: &WindowRecord) {
        self.each().for_each(|watch| watch.window(window));
        self.tell_alive();
        self.errors += window.counts.error;
        let p95 = window.response_us.p95;
        self.notifier.status(&format!(
            "window {} of {}, p95 {}, errors {}",
            show_count(window.window + 1),
            show_count(self.windows),
            p95.map_or_else(|| "unknown".to_owned(), show_latency_us),
            show_count(self.errors),
        ));
    }

    /// Windows may be longer than the watchdog's patience, and so may the wait for a slow target. While
    /// none is overdue, all is well.
    fn tick(&mut self, progress: &Progress<'_>) {
        self.each().for_each(|watch| watch.tick(progress));
        self.ticks = self.ticks.wrapping_add(1);
        if !self.ticks.is_multiple_of(TICKS_PER_LOOK) {
            return;
        }
        if progress.phase() == Phase::Draining {
            let in_flight = show_count(progress.in_flight() as u64);
            let status = format!("all requests are sent; {in_flight} are in flight");
            self.notifier.status(&status);
        }
        let since_told = SystemClock.monotonic().saturating_duration_since(self.told);
        let is_time = self.alive_every.is_some_and(|every| since_told >= every);
        if is_time && !progress.is_overdue(SLACK) {
            self.tell_alive();
        }
    }

    fn failing(&mut self, failing: &Failing) {
        self.each().for_each(|watch| watch.failing(failing));
    }

    fn event(&mut self, event: &EventRecord) {
        self.each().for_each(|watch| watch.event(event));
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        self.each().for_each(|watch| watch.interrupted(interrupt));
        self.notifier.stopping("ending with this window");
    }

    fn waiting(&mut self, for_what: &str) {
        self.each().for_each(|watch| watch.waiting(for_what));
        self.notifier.status(for_what);
    }

    /// No window closes any more, and the watchdog is to know that all is well.
    fn alive(&mut self) {
        let since_told = SystemClock.monotonic().saturating_duration_since(self.told);
        if self.alive_every.is_some_and(|every| since_told >= every) {
            self.tell_alive();
        }
    }
}

/// Records in the journal: one a window, and one for whatever else happens.
#[derive(Debug, Default)]
struct Records {
    scenario: String,
    soak_run: String,
    windows: u64,
}

impl Watch for Records {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        self.scenario.clone_from(&run.name);
        self.soak_run = folder.display().to_string();
        self.windows = run.scenario.windows();
        tracing::info!(
            scenario = self.scenario,
            soak_run = self.soak_run,
            "soak {}: {} at {}, recorded in {}",
            run.name,
            run.target,
            run.scenario.load(),
            self.soak_run
        );
    }

    fn window(&mut self, window: &WindowRecord) {
        let latency = window.response_us.in_ms();
        let kinds: Vec<String> = window
            .errors_by_kind
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let unit = window.unit.as_ref();
        events::soak_window(&SoakWindow {
            scenario: &self.scenario,
            soak_run: &self.soak_run,
            window: window.window + 1,
            windows: self.windows,
            due: window.counts.due,
            ok: window.counts.ok,
            errors: window.counts.error,
            shed: window.counts.shed,
            errors_by_kind: &kinds.join(", "),
            p50_ms: latency.p50,
            p95_ms: latency.p95,
            p99_ms: latency.p99,
            max_ms: latency.max,
            rss_bytes: unit.and_then(|unit| unit.rss_bytes),
            cpu_cores: unit
                .and_then(|unit| unit.cpu_s)
                .filter(|_| window.length_s > 0.0)
                .map(|cpu_s| cpu_s / window.length_s),
        });
    }

    fn tick(&mut self, _progress: &Progress<'_>) {}

    fn failing(&mut self, failing: &Failing) {
        let text = live::failing_text(failing);
        let text = text.strip_prefix("warning: ").unwrap_or(&text);
        tracing::warn!(
            scenario = self.scenario,
            soak_run = self.soak_run,
            "soak {}: {text}",
            self.scenario
        );
    }

    fn event(&mut self, event: &EventRecord) {
        tracing::info!(
            scenario = self.scenario,
            soak_run = self.soak_run,
            "{}",
            live::event_text(event)
        );
    }

    fn waiting(&mut self, for_what: &str) {
        tracing::info!(
            scenario = self.scenario,
            soak_run = self.soak_run,
            "soak {}: {for_what}",
            self.scenario
        );
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        tracing::info!(
            scenario = self.scenario,
            soak_run = self.soak_run,
            "soak {}: {}",
            self.scenario,
            live::interrupt_text(interrupt)
        );
    }
}
