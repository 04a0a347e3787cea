//! Places that are given in the order of asking, and that may be shared.
//!
//! A pool that lets newcomers take what was just given back lets others wait for long. Here a place
//! goes to who has waited longest.
//!
//! Who waits may bring a question `Q`. The holder of a place may then take along those who wait at
//! the head of the queue, answer their questions with its own, and hand each an answer `A`
//! ([`Place::companions`]). Nobody is overtaken: the first who brought no question ends it. Who was
//! taken along waits for the holder, who always ends: with an answer, or with none, when each goes
//! its own way.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long those who wait do not hear that waiting is of no use.
const SLICE: Duration = Duration::from_millis(50);

/// A number of places, and who waits for one.
pub(super) struct Queue<Q = (), A = ()> {
    places: usize,
    state: Mutex<State<Q, A>>,
}

struct State<Q, A> {
    free: usize,
    /// Longest first; some may have given up.
    waiting: VecDeque<Arc<Turn<Q, A>>>,
}

struct Turn<Q, A> {
    question: Option<Q>,
    stage: Mutex<Stage<A>>,
    changed: Condvar,
}

enum Stage<A> {
    Waiting,
    /// The place is this one's.
    Granted,
    /// Another who has a place answers it.
    Taken,
    Answered(A),
    /// Taken along and not answered.
    Returned,
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

/// How waiting with a question ended.
pub(super) enum Entry<'a, Q, A> {
    /// With a place.
    Place(Place<'a, Q, A>),
    /// With the answer of another who had one.
    Answered(A),
    /// Another had taken the question, and has no answer.
    Returned,
}

/// A place, until it is dropped.
pub(super) struct Place<'a, Q = (), A = ()>(&'a Queue<Q, A>);

impl<Q, A> Queue<Q, A> {
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
    ) -> Option<Place<'_, Q, A>> {
        let turn = match self.place_or_turn(standing, None) {
            Ok(place) => return Some(place),
            Err(turn) => turn,
        };
        let is_granted = matches!(turn.wait(timeout, is_futile), Stage::Granted);
        is_granted.then_some(Place(self))
    }

    /// The same; in the meantime another may answer `question`.
    pub(super) fn enter_with(
        &self,
        timeout: Duration,
        question: Q,
        is_futile: impl Fn() -> bool,
    ) -> Option<Entry<'_, Q, A>> {
        let turn = match self.place_or_turn(Standing::Last, Some(question)) {
            Ok(place) => return Some(Entry::Place(place)),
            Err(turn) => turn,
        };
        match turn.wait(timeout, is_futile) {
            Stage::Granted => Some(Entry::Place(Place(self))),
            Stage::Answered(answer) => Some(Entry::Answered(answer)),
            Stage::Returned => Some(Entry::Returned),
            Stage::Waiting | Stage::Taken | Stage::GivenUp => None,
        }
    }

    /// A place that is free, or else a turn to wait for one.
    fn place_or_turn(
        &self,
        standing: Standing,
        question: Option<Q>,
    ) -> Result<Place<'_, Q, A>, Arc<Turn<Q, A>>> {
        let mut state = lock(&self.state);
        if state.free > 0 {
            state.free -= 1;
            return Ok(Place(self));
        }
        let turn = Arc::new(Turn {
            question,
            stage: Mutex::new(Stage::Waiting),
            changed: Condvar::new(),
        });
        match standing {
            Standing::Last => state.waiting.push_back(Arc::clone(&turn)),
            Standing::First => state.waiting.push_front(Arc::clone(&turn)),
        }
        Err(turn)
    }
}

impl<Q, A> Turn<Q, A> {
    /// The stage in which waiting ended; nothing comes after it.
    fn wait(&self, timeout: Duration, is_futile: impl Fn() -> bool) -> Stage<A> {
        let mut left = timeout;
        let mut stage = lock(&self.stage);
        while matches!(*stage, Stage::Waiting) && !left.is_zero() && !is_futile() {
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
        while matches!(*stage, Stage::Taken) {
            stage = self
                .changed
                .wait(stage)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::replace(&mut *stage, Stage::GivenUp)
    }

    /// Goes from `Taken` to `end`.
    fn end(&self, end: Stage<A>) {
        *lock(&self.stage) = end;
        self.changed.notify_one();
    }
}

impl<Q, A> Place<'_, Q, A> {
    /// Takes along who waits at the head of the queue and brought a question: `most` at most, and
    /// no more than this place's share of all who wait.
    pub(super) fn companions(&self, most: usize) -> Vec<Companion<Q, A>> {
        let mut taken = Vec::new();
        if most == 0 {
            return taken;
        }
        let mut state = lock(&self.0.state);
        let most = most.min(state.waiting.len().div_ceil(self.0.places));
        while taken.len() < most
            && let Some(turn) = state.waiting.front()
        {
            let mut reached = lock(&turn.stage);
            if matches!(*reached, Stage::Waiting) {
                if turn.question.is_none() {
                    break;
                }
                *reached = Stage::Taken;
                taken.push(Companion(Arc::clone(turn)));
            }
            drop(reached);
            state.waiting.pop_front();
        }
        taken
    }
}

impl<Q, A> Drop for Place<'_, Q, A> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        while let Some(turn) = state.waiting.pop_front() {
            let mut reached = lock(&turn.stage);
            if matches!(*reached, Stage::Waiting) {
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

/// One who was taken along; dropped without an answer, it goes its own way.
pub(super) struct Companion<Q, A>(Arc<Turn<Q, A>>);

impl<Q, A> Companion<Q, A> {
    /// What it asks.
    pub(super) fn question(&self) -> Option<&Q> {
        self.0.question.as_ref()
    }

    /// Hands it the answer.
    pub(super) fn answer(self, answer: A) {
        self.0.end(Stage::Answered(answer));
    }
}

impl<Q, A> Drop for Companion<Q, A> {
    fn drop(&mut self) {
        if matches!(*lock(&self.0.stage), Stage::Taken) {
            self.0.end(Stage::Returned);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
