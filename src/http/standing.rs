//! Tells a queue that stands from a burst, and how long it may then be.
//!
//! A burst is over soon, and all of it may wait. Where more comes than can be done, waiting helps
//! nobody: everyone is served as late as the queue is long, and as many are refused. So the queue is
//! then kept as short as what is done in a fraction of the longest wait, and the others are refused
//! at once. As in CoDel, it is the wait of those who are served that tells the one from the other,
//! not how many wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What was seen of those who were served.
#[derive(Debug)]
pub(super) struct Standing {
    /// Whoever waits no longer than this on average is no reason for anything.
    target: Duration,
    /// Over how long it is looked at.
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    served: u32,
    waited: Duration,
    /// The queue stands, and so many are served a second.
    rate: Option<f64>,
}

impl Standing {
    /// For a queue in which nobody waits longer than `longest`.
    pub(super) fn of(longest: Duration, now: Instant) -> Self {
        Self {
            target: longest / 10,
            window: longest / 4,
            state: Mutex::new(State {
                since: now,
                served: 0,
                waited: Duration::ZERO,
                rate: None,
            }),
        }
    }

    /// One is served that has waited for so long.
    pub(super) fn served(&self, now: Instant, waited: Duration) {
        let mut state = self.lock();
        self.roll(&mut state, now);
        state.served += 1;
        state.waited += waited;
    }

    /// How many may wait now; `None`: as many as otherwise.
    pub(super) fn room(&self, now: Instant) -> Option<usize> {
        let mut state = self.lock();
        self.roll(&mut state, now);
        let within = state.rate? * self.target.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and far below 2^32"
        )]
        let room = within as usize;
        Some(room.max(1))
    }

    /// Closes the window when it is over.
    fn roll(&self, state: &mut State, now: Instant) {
        let lasted = now.saturating_duration_since(state.since);
        if lasted < self.window || lasted.is_zero() {
            return;
        }
        // Once it stands it is kept short, and the wait with it: so it takes less to call it one.
        let limit = match state.rate {
            None => self.target,
            Some(_) => self.target / 4,
        };
        let stands = state.served > 0 && state.waited / state.served > limit;
        let rate = f64::from(state.served) / lasted.as_secs_f64();
        state.rate = stands.then(|| {
            state
                .rate
                .map_or(rate, |before| f64::midpoint(before, rate))
        });
        state.since = now;
        state.served = 0;
        state.waited = Duration::ZERO;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Serves one each 10 ms for so long, each of which has waited.
    fn serve(standing: &Standing, from: Instant, lasts: Duration, waited: Duration) -> Instant {
        let mut now = from;
        while now < from + lasts {
            now += 10 * MS;
            standing.served(now, waited);
        }
        now
    }

    #[test]
    fn a_queue_that_stands_is_kept_as_short_as_a_tenth_of_the_longest_wait() {
        let start = Instant::now();
        let standing = Standing::of(1_000 * MS, start);
        let now = serve(&standing, start, 2_000 * MS, 20 * MS);
        assert_eq!(standing.room(now), None, "all is well");
        let now = serve(&standing, now, 200 * MS, 150 * MS);
        assert_eq!(standing.room(now), None, "it may be a burst");
        let now = serve(&standing, now, 500 * MS, 150 * MS);
        let room = standing.room(now).unwrap();
        assert!((9..=11).contains(&room), "100 a second are served: {room}");
        let now = serve(&standing, now, 2_000 * MS, 90 * MS);
        assert!(
            standing.room(now).is_some(),
            "it is short because it is kept so"
        );
        let now = serve(&standing, now, 600 * MS, 5 * MS);
        assert_eq!(standing.room(now), None, "it is over");
    }

    #[test]
    fn where_nobody_is_served_nothing_is_concluded() {
        let start = Instant::now();
        let standing = Standing::of(1_000 * MS, start);
        let now = serve(&standing, start, 600 * MS, 500 * MS);
        assert!(standing.room(now).is_some());
        assert_eq!(
            standing.room(now + 300 * MS),
            Some(6),
            "the last window counts half"
        );
        assert_eq!(standing.room(now + 600 * MS), None);
    }
}
