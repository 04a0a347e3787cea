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
            let more = move || notifier.extend(MORE);
            let _ = thread.spawn(move || extend(LOOK_EVERY, &over, processor_time, more));
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

/// Until `over`, asks for `more` time after each interval in which `worked` has grown.
fn extend(look_every: Duration, over: &AtomicBool, worked: impl Fn() -> Duration, more: impl Fn()) {
    let mut before = worked();
    loop {
        let look = SystemClock.monotonic() + look_every;
        while SystemClock.monotonic() < look {
            SystemClock.sleep(STEP);
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
        let now = worked();
        if now.saturating_sub(before) >= LEAST_WORK {
            more();
        }
        before = now;
    }
}

/// What all threads of this process have computed so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// How often more time is asked for in four looks, after which the start is over.
    fn asked(work: Duration) -> usize {
        let (looks, asked) = (Cell::new(0_u32), Cell::new(0));
        let over = AtomicBool::new(false);
        let worked = || {
            looks.set(looks.get() + 1);
            over.store(looks.get() > 4, Ordering::Relaxed);
            work * looks.get()
        };
        extend(STEP, &over, worked, || asked.set(asked.get() + 1));
        asked.get()
    }

    #[test]
    fn a_start_that_computes_gets_more_time_and_one_that_hangs_does_not() {
        assert_eq!(asked(LEAST_WORK), 4);
        assert_eq!(asked(LEAST_WORK / 2), 0);
    }
}
