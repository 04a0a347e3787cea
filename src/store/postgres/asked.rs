//! Searches that were asked for and wait for a statement.

use super::search::Question;
use crate::clock::{Clock, SystemClock};
use crate::store::Then;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One search, and who is to hear of it.
pub(super) struct Asked {
    pub(super) question: Question,
    /// Dropped uncalled: who asked is to go another way.
    pub(super) then: Then,
    /// When it began to wait: when it came, or was put back.
    pub(super) since: Instant,
    /// It was in a shared statement, to no avail.
    pub(super) is_alone: bool,
}

impl Asked {
    pub(super) fn new(question: Question, then: Then) -> Self {
        Self {
            question,
            then,
            since: SystemClock.monotonic(),
            is_alone: false,
        }
    }
}

/// The searches that wait, longest first, and the threads that wait for them.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    came: Condvar,
    /// For who looks whether somebody waits for too long.
    began: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Asked>,
    /// Threads that sleep until something comes, and were not woken yet.
    idle: usize,
    /// Nobody looks after those who wait: nobody did.
    is_unwatched: bool,
    is_closed: bool,
}

impl Inbox {
    /// Takes one in; drops it where nobody serves any more.
    pub(super) fn put(&self, asked: Asked) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            return;
        }
        state.waiting.push_back(asked);
        let wakes = state.idle > 0;
        state.idle = state.idle.saturating_sub(1);
        let is_first = std::mem::take(&mut state.is_unwatched);
        drop(state);
        if wakes {
            self.came.notify_one();
        }
        if is_first {
            self.began.notify_one();
        }
    }

    /// Back to the head, in their order: each is to be asked alone, and waits anew for that.
    pub(super) fn put_back(&self, asked: impl DoubleEndedIterator<Item = Asked>) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            drop(asked.collect::<Vec<_>>());
            return;
        }
        let since = SystemClock.monotonic();
        for one in asked.rev() {
            state.waiting.push_front(Asked {
                is_alone: true,
                since,
                ..one
            });
        }
        let is_first = !state.waiting.is_empty() && std::mem::take(&mut state.is_unwatched);
        // Who puts back serves the first of them itself.
        let wakes = state.idle > 0 && state.waiting.len() > 1;
        if wakes {
            state.idle = 0;
        }
        drop(state);
        if wakes {
            self.came.notify_all();
        }
        if is_first {
            self.began.notify_one();
        }
    }

    /// Blocks until somebody waits; `false` once it is closed.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.is_closed {
            state.idle += 1;
            state = wait(&self.came, state);
        }
        !state.is_closed
    }

    /// Those to be asked for in one statement: who has waited longest, and who came next; `most` at
    /// most, and of those who wait behind the first no more than the share of one of `servers`.
    pub(super) fn take(&self, most: usize, servers: usize) -> Vec<Asked> {
        let mut state = self.lock();
        let behind = state.waiting.len().saturating_sub(1);
        let share = behind.div_ceil(servers.max(1));
        let most = most.min(share + 1);
        let mut taken: Vec<Asked> = Vec::with_capacity(most);
        while taken.len() < most.max(1)
            && let Some(next) = state.waiting.pop_front()
        {
            if next.is_alone && !taken.is_empty() {
                state.waiting.push_front(next);
                break;
            }
            let is_alone = next.is_alone;
            taken.push(next);
            if is_alone {
                break;
            }
        }
        taken
    }

    /// Blocks until somebody waits, and then for `pause`; `false` once it is closed.
    pub(super) fn watch(&self, pause: Duration) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.is_closed {
            state.is_unwatched = true;
            state = wait(&self.began, state);
        }
        if !state.is_closed {
            let slept = self.began.wait_timeout(state, pause);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.is_closed
    }

    /// Takes out those for whom `why` has something to say.
    pub(super) fn leave<E>(&self, why: impl Fn(&Asked) -> Option<E>) -> Vec<(Asked, E)> {
        let mut state = self.lock();
        let mut left = Vec::new();
        for one in std::mem::take(&mut state.waiting) {
            match why(&one) {
                Some(reason) => left.push((one, reason)),
                None => state.waiting.push_back(one),
            }
        }
        left
    }

    /// Sends everybody away, and lets the threads end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.came.notify_all();
        self.began.notify_all();
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
