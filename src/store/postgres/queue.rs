//! Places that are given in the order of asking.
//!
//! A pool that lets newcomers take what was just given back lets others wait for long. Here a place
//! goes to who has waited longest.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long those who wait do not hear that waiting is of no use.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// A number of places, and who waits for one.
pub(super) struct Queue {
    places: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Longest first; some may have given up.
    waiting: VecDeque<Arc<Turn>>,
}

struct Turn {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The place is this one's.
    Granted,
    GivenUp,
}

/// Where one stands who has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Behind those who wait already.
    Last,
    /// Before them: for who has waited once.
    First,
}

/// A place, until it is dropped.
pub(super) struct Place<'a>(&'a Queue);

impl Queue {
    pub(super) fn new(places: usize) -> Self {
        let places = places.max(1);
        Self {
            places,
            state: Mutex::new(State {
                free: places,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// How many there are.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// How many wait, those included who gave up since the last place was given.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// A place within `timeout`, unless `is_futile` says before that waiting is of no use.
    pub(super) fn enter(
        &self,
        timeout: Duration,
        standing: Standing,
        is_futile: impl Fn() -> bool,
    ) -> Option<Place<'_>> {
        let turn = {
            let mut state = lock(&self.state);
            if state.free > 0 {
                state.free -= 1;
                return Some(Place(self));
            }
            let turn = Arc::new(Turn {
                stage: Mutex::new(Stage::Waiting),
                changed: Condvar::new(),
            });
            match standing {
                Standing::Last => state.waiting.push_back(Arc::clone(&turn)),
                Standing::First => state.waiting.push_front(Arc::clone(&turn)),
            }
            turn
        };
        turn.wait(timeout, is_futile).then(|| Place(self))
    }
}

impl Turn {
    /// Whether the place was granted; it is not, once this returns.
    fn wait(&self, timeout: Duration, is_futile: impl Fn() -> bool) -> bool {
        let mut left = timeout;
        let mut stage = lock(&self.stage);
        while *stage == Stage::Waiting && !left.is_zero() && !is_futile() {
            let slice = left.min(SLICE);
            let (guard, outcome) = self
                .changed
                .wait_timeout(stage, slice)
                .unwrap_or_else(PoisonError::into_inner);
            stage = guard;
            if outcome.timed_out() {
                left -= slice;
            }
        }
        std::mem::replace(&mut *stage, Stage::GivenUp) == Stage::Granted
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        while let Some(turn) = state.waiting.pop_front() {
            let mut reached = lock(&turn.stage);
            if *reached == Stage::Waiting {
                *reached = Stage::Granted;
                drop(reached);
                drop(state);
                turn.changed.notify_one();
                return;
            }
        }
        state.free += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
