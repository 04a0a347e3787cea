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
    /// Who looks after those who wait sleeps too: nobody did.
    is_unwatched: bool,
    is_closed: bool,
}

impl Inbox {
    /// Takes one in; drops it where nobody serves any more.
    pub(super) fn put(&self, asked: Asked) {
        let mut state = self.lock();
        if state.is_closed {
            // Whoever hears of it may ask here again.
            drop(state);
            return;
        }
        state.waiting.push_back(asked);
        self.rouse(state, 1);
    }

    /// Back to the head, in their order: each is to be asked alone, and waits anew for that.
    pub(super) fn put_back(&self, asked: Vec<Asked>) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            return;
        }
        let since = SystemClock.monotonic();
        for one in asked.into_iter().rev() {
            state.waiting.push_front(Asked {
                is_alone: true,
                since,
                ..one
            });
        }
        // Who puts back serves the first of them itself.
        let others = state.waiting.len().saturating_sub(1);
        self.rouse(state, others);
    }

    /// Wakes as many of the threads that sleep, and who looks after those who wait.
    fn rouse(&self, mut state: MutexGuard<'_, State>, threads: usize) {
        let threads = threads.min(state.idle);
        state.idle -= threads;
        let is_unwatched = std::mem::take(&mut state.is_unwatched);
        drop(state);
        for _ in 0..threads {
            self.came.notify_one();
        }
        if is_unwatched {
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
        let share = 1 + behind.div_ceil(servers.max(1));
        let together = state.waiting.iter().take_while(|one| !one.is_alone);
        let count = together.count().min(most).min(share).max(1);
        let count = count.min(state.waiting.len());
        state.waiting.drain(..count).collect()
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
