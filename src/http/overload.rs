//! Says when requests of one kind began to be refused, and when that ended: one line each however
//! many were refused.

use crate::telemetry::events;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// An overload is over when none was refused for so long. Shorter, and a load at the limit would
/// be a line every few seconds.
const QUIET: Duration = Duration::from_secs(10);

/// The overload of one kind of work, if there is one.
#[derive(Debug)]
pub(crate) struct Overload {
    lane: &'static str,
    quiet: Duration,
    burst: Mutex<Option<Burst>>,
}

/// An overload that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burst {
    first: Instant,
    last: Instant,
    refused: u64,
}

/// What to do about a burst.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// Look again then.
    Wait(Instant),
    /// It is over.
    Ended(Burst),
}

impl Overload {
    /// None so far; `lane` is what is refused, as `queries`.
    pub(crate) fn of(lane: &'static str) -> Self {
        Self {
            lane,
            quiet: QUIET,
            burst: Mutex::default(),
        }
    }

    /// A request was refused, with so many running and waiting. To be called on the runtime.
    pub(crate) fn refused(self: &Arc<Self>, places: usize, waiting: usize) {
        if self.began(Instant::now()) {
            events::overload_began(self.lane, places, waiting);
            tokio::spawn(Arc::clone(self).watch());
        }
    }

    async fn watch(self: Arc<Self>) {
        loop {
            match self.look(Instant::now()) {
                Some(Now::Wait(until)) => sleep_until(until).await,
                Some(Now::Ended(burst)) => {
                    let lasted = burst.last - burst.first;
                    return events::overload_ended(self.lane, burst.refused, lasted);
                }
                None => return,
            }
        }
    }

    /// Counts a refusal; whether it is the first.
    fn began(&self, now: Instant) -> bool {
        let mut burst = self.lock();
        let is_first = burst.is_none();
        let burst = burst.get_or_insert(Burst {
            first: now,
            last: now,
            refused: 0,
        });
        burst.last = now;
        burst.refused += 1;
        is_first
    }

    fn look(&self, now: Instant) -> Option<Now> {
        let mut burst = self.lock();
        let end = (*burst)?.last + self.quiet;
        if now < end {
            return Some(Now::Wait(end));
        }
        burst.take().map(Now::Ended)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Burst>> {
        self.burst.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::events_of;

    #[test]
    fn a_burst_begins_once_and_ends_after_quiet() {
        let overload = Overload::of("queries");
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(overload.look(start), None);
        assert!(overload.began(start));
        for second in 1..=30 {
            assert!(!overload.began(at(second)), "still the same");
            assert!(matches!(overload.look(at(second)), Some(Now::Wait(_))));
        }
        assert_eq!(overload.look(at(39)), Some(Now::Wait(at(40))));
        let ended = Burst {
            first: start,
            last: at(30),
            refused: 31,
        };
        assert_eq!(overload.look(at(40)), Some(Now::Ended(ended)));
        assert_eq!(overload.look(at(41)), None);
        assert!(overload.began(at(42)), "a new one");
    }

    #[test]
    fn ten_thousand_refusals_are_two_lines() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let said = events_of(|| {
            runtime.block_on(async {
                let overload = Arc::new(Overload {
                    quiet: Duration::from_millis(20),
                    ..Overload::of("queries")
                });
                for _ in 0..10_000 {
                    overload.refused(1, 0);
                }
                while overload.lock().is_some() {
                    tokio::task::yield_now().await;
                }
            });
        });
        let ids: Vec<&String> = said.iter().map(|event| &event["message_id"]).collect();
        assert_eq!(ids, [events::OVERLOAD_BEGAN, events::OVERLOAD_ENDED]);
        assert_eq!(said[1]["refused"], "10000");
        assert_eq!(said[1]["lane"], "queries");
    }
}
