//! One run for all who ask for the same at the same time.
//!
//! Who comes first does the work, the others wait for it, each no longer than its own deadline. A
//! run that ended because its owner had no more time, or crashed, says nothing about the others:
//! they try again, one of them as the next owner.

use super::EmbedError;
use crate::clock::{Deadline, SystemClock};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The runs that go on now, by what they are for; as many as there are callers at most.
pub(super) struct Flights<K, V>(Mutex<HashMap<K, Arc<Flight<V>>>>);

/// How a caller came by its result.
#[derive(Debug)]
pub(super) enum Landed<V> {
    /// By its own work.
    Own(Result<V, EmbedError>),
    /// By that of another.
    Shared(Result<V, EmbedError>),
    /// Not at all: its time was over while it waited for another.
    Expired,
}

struct Flight<V> {
    outcome: Mutex<Outcome<V>>,
    ended: Condvar,
}

enum Outcome<V> {
    Running,
    Done(Result<V, EmbedError>),
    Crashed,
}

impl<K: Hash + Eq + Copy, V: Clone> Flights<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Does `work`, or waits for the same work that is under way.
    pub(super) fn run(
        &self,
        key: K,
        deadline: Deadline,
        work: impl Fn() -> Result<V, EmbedError>,
    ) -> Landed<V> {
        loop {
            let flight = {
                let mut running = lock(&self.0);
                if let Some(flight) = running.get(&key) {
                    Arc::clone(flight)
                } else {
                    let flight = Arc::new(Flight {
                        outcome: Mutex::new(Outcome::Running),
                        ended: Condvar::new(),
                    });
                    running.insert(key, Arc::clone(&flight));
                    drop(running);
                    let owner = Owner {
                        flights: self,
                        key,
                        flight,
                    };
                    return Landed::Own(owner.end(work()));
                }
            };
            match flight.wait(deadline) {
                Some(Outcome::Done(Err(EmbedError::TimedOut { .. })) | Outcome::Crashed) => {
                    if deadline.remaining(&SystemClock) == Some(Duration::ZERO) {
                        return Landed::Expired;
                    }
                }
                Some(Outcome::Done(result)) => return Landed::Shared(result),
                Some(Outcome::Running) | None => return Landed::Expired,
            }
        }
    }
}

impl<V: Clone> Flight<V> {
    /// The outcome; `None` when the deadline is over first.
    fn wait(&self, deadline: Deadline) -> Option<Outcome<V>> {
        let mut outcome = lock(&self.outcome);
        loop {
            match &*outcome {
                Outcome::Done(result) => return Some(Outcome::Done(result.clone())),
                Outcome::Crashed => return Some(Outcome::Crashed),
                Outcome::Running => {}
            }
            outcome = match deadline.remaining(&SystemClock) {
                Some(Duration::ZERO) => return None,
                Some(left) => self
                    .ended
                    .wait_timeout(outcome, left)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(outcome, _)| outcome),
                None => self
                    .ended
                    .wait(outcome)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Who does the work. Dropped without a result, on a panic, it lets the others go.
struct Owner<'a, K: Hash + Eq, V> {
    flights: &'a Flights<K, V>,
    key: K,
    flight: Arc<Flight<V>>,
}

impl<K: Hash + Eq, V: Clone> Owner<'_, K, V> {
    fn end(self, result: Result<V, EmbedError>) -> Result<V, EmbedError> {
        *lock(&self.flight.outcome) = Outcome::Done(result.clone());
        result
    }
}

impl<K: Hash + Eq, V> Drop for Owner<'_, K, V> {
    fn drop(&mut self) {
        // First out of the map: who comes now must not find what has ended.
        lock(&self.flights.0).remove(&self.key);
        let mut outcome = lock(&self.flight.outcome);
        if matches!(*outcome, Outcome::Running) {
            *outcome = Outcome::Crashed;
        }
        drop(outcome);
        self.flight.ended.notify_all();
    }
}

/// A panic elsewhere leaves nothing half done under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock as _;
    use crossbeam_channel::bounded;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn timed_out() -> EmbedError {
        EmbedError::TimedOut {
            provider: "test".to_owned(),
            problem: "asked to".to_owned(),
        }
    }

    fn within(milliseconds: u64) -> Deadline {
        Deadline::after(&SystemClock, Duration::from_millis(milliseconds))
    }

    /// An owner whose work ends as `ends` says once it is let go, and one who comes meanwhile; in
    /// the order in which they end when `follower` has a deadline.
    fn together(
        ends: fn() -> Result<u32, EmbedError>,
        follower: Deadline,
    ) -> (Option<Landed<u32>>, Landed<u32>) {
        let flights = Flights::<u8, u32>::new();
        let (started, is_started) = bounded(1);
        let (finish, finished) = bounded::<()>(0);
        std::thread::scope(|scope| {
            let owner = scope.spawn(|| {
                flights.run(1, Deadline::NONE, || {
                    started.send(()).unwrap();
                    assert!(finished.recv_timeout(PATIENCE).is_err(), "let go");
                    ends()
                })
            });
            is_started.recv_timeout(PATIENCE).unwrap();
            let second = scope.spawn(|| flights.run(1, follower, || Ok(100)));
            let end = SystemClock.monotonic() + PATIENCE;
            // The map's, the owner's, and that of who waits.
            let is_waited_for = || {
                let running = lock(&flights.0);
                running
                    .get(&1)
                    .is_some_and(|flight| Arc::strong_count(flight) >= 3)
            };
            while !is_waited_for() && !second.is_finished() && SystemClock.monotonic() < end {
                std::thread::yield_now();
            }
            if follower == Deadline::NONE {
                drop(finish);
                let owner = owner.join().ok();
                return (owner, second.join().unwrap());
            }
            let second = second.join().unwrap();
            assert!(!owner.is_finished());
            drop(finish);
            (owner.join().ok(), second)
        })
    }

    #[test]
    fn who_comes_meanwhile_gets_the_same() {
        let (owner, second) = together(|| Ok(7), Deadline::NONE);
        assert!(matches!(owner, Some(Landed::Own(Ok(7)))), "{owner:?}");
        assert!(matches!(second, Landed::Shared(Ok(7))), "{second:?}");
    }

    #[test]
    fn who_comes_meanwhile_gets_the_same_error() {
        let failed = || {
            Err(EmbedError::Provider {
                provider: "test".to_owned(),
                problem: "refused".to_owned(),
                hint: None,
            })
        };
        let (_, second) = together(failed, Deadline::NONE);
        let shared = matches!(second, Landed::Shared(Err(EmbedError::Provider { .. })));
        assert!(shared, "{second:?}");
    }

    #[test]
    fn one_without_time_left_fails_nobody_else() {
        let (owner, second) = together(|| Err(timed_out()), Deadline::NONE);
        let is_late = matches!(owner, Some(Landed::Own(Err(EmbedError::TimedOut { .. }))));
        assert!(is_late, "{owner:?}");
        assert!(matches!(second, Landed::Own(Ok(100))), "{second:?}");
    }

    #[test]
    fn nobody_waits_for_another_beyond_its_own_deadline() {
        let (owner, second) = together(|| Ok(7), within(30));
        assert!(matches!(second, Landed::Expired), "{second:?}");
        assert!(matches!(owner, Some(Landed::Own(Ok(7)))), "{owner:?}");
    }

    #[test]
    fn one_that_crashes_takes_nobody_with_it() {
        let (owner, second) = together(|| panic!("as asked"), Deadline::NONE);
        assert!(owner.is_none(), "{owner:?}");
        assert!(matches!(second, Landed::Own(Ok(100))), "{second:?}");
    }

    #[test]
    fn what_has_ended_is_not_joined() {
        let flights = Flights::<u8, u32>::new();
        for round in 0..3 {
            let landed = flights.run(1, Deadline::NONE, || Ok(round));
            assert!(matches!(landed, Landed::Own(Ok(own)) if own == round));
        }
        assert!(lock(&flights.0).is_empty());
    }
}
