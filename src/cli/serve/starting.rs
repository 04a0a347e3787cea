//! A start that takes long: what it does, told to systemd, and more time for as long as it gets on.

use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::systemd::Notifier;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is looked whether the start gets on.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How much time one that does gets from then on.
const MORE: Duration = Duration::from_mins(1);
/// Least processor time between two looks that counts as getting on: a start that waits for a lock
/// has none.
const LEAST_WORK: Duration = Duration::from_millis(50);
/// How often the thread looks whether it is wanted any more.
const STEP: Duration = Duration::from_millis(50);

/// The start, until it is dropped.
pub(super) struct Starting {
    notifier: Arc<Notifier>,
    over: Arc<AtomicBool>,
}

impl Starting {
    pub(super) fn begin(notifier: &Arc<Notifier>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        if Notifier::is_heard() {
            let (notifier, over) = (Arc::clone(notifier), Arc::clone(&over));
            let thread = std::thread::Builder::new().name("alfred-start".to_owned());
            // Without it the start has the time that the unit gives.
            let _ = thread.spawn(move || extend(&notifier, &over));
        }
        Self {
            notifier: Arc::clone(notifier),
            over,
        }
    }

    /// What is being done now.
    pub(super) fn step(&self, what: &str) {
        tracing::debug!("starting: {what}");
        self.notifier.status(&format!("starting: {what}"));
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn extend(notifier: &Notifier, over: &AtomicBool) {
    let mut worked = processor_time();
    loop {
        let mut waited = Duration::ZERO;
        while waited < LOOK_EVERY {
            SystemClock.sleep(STEP);
            waited += STEP;
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
        let now = processor_time();
        if now.saturating_sub(worked) >= LEAST_WORK {
            notifier.extend(MORE);
        }
        worked = now;
    }
}

/// What all threads of this process have computed so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
