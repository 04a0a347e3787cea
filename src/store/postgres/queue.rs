//! Places that are given in the order of asking.
//!
//! A pool that lets newcomers take what was just given back lets others wait for long. Here a place
//! goes to who has waited longest.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long those who wait do not hear that waiting is of no use.
const SLICE: Duration = Duration::from_millis(50);

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

#[derive(Default)]
struct Turn {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Waiting,
    Granted,
    GivenUp,
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

    /// A place within `timeout`, unless `is_futile` says so before.
    pub(super) fn enter(
        &self,
        timeout: Duration,
        is_futile: impl Fn() -> bool,
    ) -> Option<Place<'_>> {
        let mut state = lock(&self.state);
        if state.free > 0 {
            state.free -= 1;
            return Some(Place(self));
        }
        let turn = Arc::<Turn>::default();
        state.waiting.push_back(Arc::clone(&turn));
        drop(state);
        let mut left = timeout;
        let mut reached = lock(&turn.stage);
        while *reached == Stage::Waiting && !left.is_zero() && !is_futile() {
            let slice = left.min(SLICE);
            let (guard, outcome) = turn
                .changed
                .wait_timeout(reached, slice)
                .unwrap_or_else(PoisonError::into_inner);
            reached = guard;
            if outcome.timed_out() {
                left -= slice;
            }
        }
        if *reached == Stage::Granted {
            return Some(Place(self));
        }
        *reached = Stage::GivenUp;
        None
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        while let Some(turn) = state.waiting.pop_front() {
            let mut reached = lock(&turn.stage);
            if *reached == Stage::Waiting {
                *reached = Stage::Granted;
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
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const LONG: Duration = Duration::from_secs(20);

    fn waiting(queue: &Queue) -> usize {
        lock(&queue.state).waiting.len()
    }

    fn until(done: impl Fn() -> bool) {
        let start = SystemClock.monotonic();
        while !done() {
            assert!(start.elapsed() < LONG);
            SystemClock.sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn places_go_to_who_waited_longest() {
        let queue = Queue::new(1);
        let order = Mutex::new(Vec::new());
        let place = queue.enter(LONG, || false).unwrap();
        std::thread::scope(|scope| {
            for caller in 0..5 {
                let (queue, order) = (&queue, &order);
                scope.spawn(move || {
                    let _place = queue.enter(LONG, || false).unwrap();
                    lock(order).push(caller);
                });
                until(|| waiting(queue) == caller + 1);
            }
            drop(place);
        });
        assert_eq!(*lock(&order), [0, 1, 2, 3, 4]);
        assert_eq!(lock(&queue.state).free, 1);
    }

    #[test]
    fn who_gave_up_costs_nobody_a_place() {
        let queue = Queue::new(2);
        let places = [(); 2].map(|()| queue.enter(LONG, || false).unwrap());
        assert!(queue.enter(Duration::from_millis(20), || false).is_none());
        assert!(queue.enter(LONG, || true).is_none(), "waiting is of no use");
        assert_eq!(waiting(&queue), 2);
        drop(places);
        let state = lock(&queue.state);
        assert_eq!((state.free, state.waiting.len()), (2, 0));
    }
}
