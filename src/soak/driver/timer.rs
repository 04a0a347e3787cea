//! The thread that keeps time: enters each request into the books when it is due and hands it over.

use super::{Admitted, Shared};
use crate::soak::monotonic::{sleep_until, wake_precisely};
use crate::soak::scenario::Scenario;
use crate::soak::schedule::Cursor;
use crate::soak::units::nanoseconds;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// Shortest sleep: for less it costs more than it gives.
const MIN_SLEEP_NS: u64 = 30_000;
/// Where requests are due closer than that, above 33,000/s, they go out in bunches of so many, up to
/// that much late: waking for each would take the processor from those that send.
const BUNCH: u64 = 8;
/// Longest sleep: how soon an interrupt is seen, and how soon idle windows close.
const MAX_SLEEP_NS: u64 = 50_000_000;

/// Its queue is bounded by the in-flight cap: what is not admitted is not handed over.
pub(super) fn spawn(
    scenario: &Scenario,
    shared: Arc<Shared>,
    from_ns: u64,
    due: UnboundedSender<Admitted>,
) -> io::Result<JoinHandle<()>> {
    let warmup = scenario.load.warmup_schedule().cursor();
    let measured = scenario.load.schedule().cursor();
    let measured_from_ns = nanoseconds(scenario.load.warmup);
    std::thread::Builder::new()
        .name("soak-timer".to_owned())
        .spawn(move || {
            wake_precisely();
            let keeper = Keeper {
                shared,
                from_ns,
                due,
            };
            if keeper.keep(0, warmup) && keeper.keep(measured_from_ns, measured) {
                keeper.rest();
            }
            keeper.shared.ledger().handed_over(u64::MAX);
        })
}

struct Keeper {
    shared: Arc<Shared>,
    /// What was due before is not sent, from the origin.
    from_ns: u64,
    due: UnboundedSender<Admitted>,
}

impl Keeper {
    /// Hands over one phase; `false` when the run is to end before it does.
    fn keep(&self, base_ns: u64, mut cursor: Cursor) -> bool {
        let mut before_ns = 0;
        for index in cursor.first_from(self.from_ns.saturating_sub(base_ns)).. {
            let Some(offset_ns) = cursor.due_ns(index) else {
                break;
            };
            let due_ns = base_ns + offset_ns;
            if !self.wait_until(due_ns, min_sleep_ns(due_ns.saturating_sub(before_ns))) {
                return false;
            }
            before_ns = due_ns;
            let ticket = self.shared.ledger().admit(due_ns);
            if let Some(ticket) = ticket
                && self.due.send(Admitted { ticket }).is_err()
            {
                return false;
            }
        }
        true
    }

    /// Waits for `due_ns`; `false` when the run ends before.
    fn wait_until(&self, due_ns: u64, min_sleep_ns: u64) -> bool {
        loop {
            if due_ns >= self.shared.end_ns.load(Ordering::Relaxed) {
                return false;
            }
            let now_ns = self.shared.now_ns();
            if now_ns >= due_ns {
                return true;
            }
            self.sleep(now_ns, due_ns, min_sleep_ns);
        }
    }

    /// After the last request: waits for the end, so that the last windows close in time.
    fn rest(&self) {
        loop {
            let end_ns = self.shared.end_ns.load(Ordering::Relaxed);
            let now_ns = self.shared.now_ns();
            if now_ns >= end_ns {
                return;
            }
            self.sleep(now_ns, end_ns, MIN_SLEEP_NS);
        }
    }

    fn sleep(&self, now_ns: u64, until_ns: u64, min_sleep_ns: u64) {
        let left_ns = until_ns - now_ns;
        if left_ns > MAX_SLEEP_NS {
            self.shared.ledger().handed_over(now_ns);
        }
        let sleep_ns = left_ns.clamp(min_sleep_ns, MAX_SLEEP_NS);
        sleep_until(self.shared.monotonic_of(now_ns + sleep_ns));
    }
}

/// The shortest sleep where requests are due `gap_ns` apart.
fn min_sleep_ns(gap_ns: u64) -> u64 {
    if gap_ns >= MIN_SLEEP_NS {
        return MIN_SLEEP_NS;
    }
    MIN_SLEEP_NS.max(gap_ns * BUNCH)
}
