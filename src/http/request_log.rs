//! Requests that failed or were slow, in the log: the first few of a burst whole, the rest as sums.
//!
//! Nothing is done for a request that is neither, and nothing here waits: lines go into the bounded
//! queue of the log.

use crate::telemetry::burst::{Bursts, Kind, Seen, Sum};
use crate::telemetry::events::{self, Gravity, RequestEvent};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::time::sleep_until;

/// Says what is to be said of requests.
#[derive(Debug, Default)]
pub(super) struct RequestLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bursts: Bursts<Gravity>,
    /// Whether a task waits for the end of a window.
    is_watched: bool,
}

impl RequestLog {
    /// A request of this kind ended then. Sums come by themselves where this is called on a runtime,
    /// else with the next request of the kind.
    pub(super) fn take(
        self: &Arc<Self>,
        word: &'static str,
        at: Instant,
        event: &RequestEvent<'_>,
    ) {
        let seen = Seen {
            kind: Kind {
                route: event.route,
                word,
            },
            at,
            id: event.request_id,
            took: event.duration,
            gravity: event.gravity,
        };
        let (is_whole, over, is_new) = {
            let mut state = self.lock();
            let (is_whole, over) = state.bursts.take(&seen);
            let is_new = !is_whole && !state.is_watched;
            state.is_watched |= is_new;
            (is_whole, over, is_new)
        };
        say(over);
        if is_whole {
            events::request(event);
        }
        if is_new {
            self.watch();
        }
    }

    /// All sums, at the end of the server.
    pub(super) fn end(&self) {
        // Apart from the loop, which would hold the lock to its end.
        let sums = self.lock().bursts.end();
        say(sums);
    }

    fn watch(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.lock().is_watched = false;
            return;
        };
        let myself = Arc::clone(self);
        runtime.spawn(async move {
            while let Some(next) = myself.look(tokio::time::Instant::now().into_std()) {
                sleep_until(next.into()).await;
            }
        });
    }

    /// Says what is due, and when the next is.
    fn look(&self, now: Instant) -> Option<Instant> {
        let (sums, next) = {
            let mut state = self.lock();
            let (sums, next) = state.bursts.due(now);
            state.is_watched = next.is_some();
            (sums, next)
        };
        say(sums);
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn say(sums: impl IntoIterator<Item = Sum<Gravity>>) {
    for sum in sums {
        events::requests_summed(&sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::telemetry::events::{REQUEST_FAILED, REQUESTS_SUMMED};
    use crate::telemetry::testing::{Fields, events_of};
    use crate::telemetry::trace::Stages;
    use std::time::Duration;

    fn fail(log: &Arc<RequestLog>, word: &'static str, number: u64) {
        let event = RequestEvent {
            request_id: &number.to_string(),
            trace_id: None,
            peer: &"here",
            client: None,
            key: None,
            route: "/v1/query",
            method: "POST",
            status: 503,
            kind: word,
            duration: Duration::from_millis(number),
            stages: Stages::default(),
            question: None,
            cause: Some("x"),
            gravity: Gravity::Warning,
        };
        log.take(word, SystemClock.monotonic(), &event);
    }

    fn of<'a>(said: &'a [Fields], id: &str) -> Vec<&'a Fields> {
        let of_id = |event: &&Fields| event["message_id"] == id;
        said.iter().filter(of_id).collect()
    }

    fn summed(sums: &[&Fields]) -> u64 {
        sums.iter()
            .map(|sum| sum["requests"].parse::<u64>().unwrap())
            .sum()
    }

    #[test]
    fn ten_thousand_failures_are_a_few_lines_that_add_up() {
        let log = Arc::<RequestLog>::default();
        let said = events_of(|| {
            for number in 0..5_000 {
                fail(&log, "search_error", number);
                fail(&log, "timeout", number);
            }
            log.end();
        });
        let (whole, sums) = (of(&said, REQUEST_FAILED), of(&said, REQUESTS_SUMMED));
        // A machine that stands still for 10 s makes another window of each.
        assert!(whole.len() >= 10 && whole.len() <= 14, "{whole:?}");
        assert!(sums.len() >= 2 && sums.len() <= 6, "{sums:?}");
        assert_eq!(whole.len() as u64 + summed(&sums), 10_000);
        assert_eq!(sums[0]["first_request_id"], "5");
        assert_eq!(sums[sums.len() - 1]["last_request_id"], "4999");
        assert_eq!(sums[sums.len() - 1]["slowest_ms"], "4999.0");
    }

    #[test]
    fn a_sum_comes_though_nothing_else_does() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let log = Arc::<RequestLog>::default();
        log.lock().bursts = Bursts::with_windows(Duration::from_millis(400));
        let said = events_of(|| {
            runtime.block_on(async {
                for number in 0..100 {
                    fail(&log, "timeout", number);
                }
                while log.lock().is_watched {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        });
        let (whole, sums) = (of(&said, REQUEST_FAILED), of(&said, REQUESTS_SUMMED));
        // More than one sum where the machine stood still for so long.
        assert!(whole.len() < 10 && !sums.is_empty(), "{said:?}");
        assert_eq!(whole.len() as u64 + summed(&sums), 100);
    }
}
