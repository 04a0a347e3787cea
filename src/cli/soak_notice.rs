//! A soak as a unit of systemd sees it: ready when the load begins, alive with every window that
//! closes, its course in the status line.

use crate::soak::driver::Interrupt;
use crate::soak::event::EventRecord;
use crate::soak::record::{RunRecord, WindowRecord};
use crate::soak::units::show_latency_us;
use crate::soak::{Failing, Progress, Watch};
use crate::telemetry::systemd::Notifier;
use std::path::Path;

/// Passes everything on, and tells systemd.
pub(super) struct Noticed {
    view: Box<dyn Watch>,
    notifier: Notifier,
    windows: u64,
}

impl Noticed {
    pub(super) fn new(view: Box<dyn Watch>) -> Self {
        Self {
            view,
            notifier: Notifier::default(),
            windows: 0,
        }
    }
}

impl Watch for Noticed {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        self.view.started(folder, run);
        let status = format!("{}: {} at {}", run.name, run.target, run.scenario.load());
        self.notifier.ready(&status);
    }

    fn window(&mut self, window: &WindowRecord) {
        self.view.window(window);
        self.windows += 1;
        self.notifier.alive();
        let (counts, latency) = (&window.counts, &window.response_us);
        self.notifier.status(&format!(
            "window {}: {} of {} ok, p95 {}",
            self.windows,
            counts.ok,
            counts.due,
            latency
                .p95
                .map_or_else(|| "unknown".to_owned(), show_latency_us),
        ));
    }

    fn tick(&mut self, progress: &Progress<'_>) {
        self.view.tick(progress);
    }

    fn failing(&mut self, failing: &Failing) {
        self.view.failing(failing);
    }

    fn event(&mut self, event: &EventRecord) {
        self.view.event(event);
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        self.view.interrupted(interrupt);
        self.notifier.stopping("ending with this window");
    }
}
