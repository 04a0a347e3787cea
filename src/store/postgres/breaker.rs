//! Whether the server is worth trying, and which connections are from before it was gone.
//!
//! While it is known to be down, calls fail at once with what is known; a thread of its own asks
//! for it every [`PROBE_INTERVAL`] and nobody else does. Connections carry the generation they
//! were made in: the first loss of one ends its generation, so that those which died with it are
//! never handed out. A failure to connect alone says nothing while connections of this generation
//! work: then it is remembered, and the breaker stays closed.

use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::events::{Dependency, Outage};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a server that is down is asked for: recovery is to be seen within 2 s, and one
/// attempt in 250 ms is no burden to a server that comes up.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// The state of one way to the server.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Mirrors of what is in `state`, for those who look at every call.
    generation: AtomicU64,
    open: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Connections alive that were made in the current generation.
    live: usize,
    /// Why the server is out of reach; `None` while nothing speaks against it.
    down: Option<String>,
    /// Why the last attempt to connect failed; `None` after one that did not.
    last_failure: Option<String>,
    /// Somebody waited in vain: worth asking whether the server still answers.
    suspect: bool,
    stopped: bool,
    /// What is reached, for the log.
    place: String,
    outage: Outage,
}

impl Default for State {
    fn default() -> Self {
        Self {
            live: 0,
            down: None,
            last_failure: None,
            suspect: false,
            stopped: false,
            place: String::new(),
            outage: Outage::of(Dependency::Database),
        }
    }
}

/// A connection's place in its generation; given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    breaker: Arc<Breaker>,
    generation: u64,
}

impl Ticket {
    /// Whether nothing has been lost since it was given out.
    pub(super) fn is_current(&self) -> bool {
        self.breaker.generation.load(Ordering::Acquire) == self.generation
    }

    /// The connection is over: it and those of its generation are not to be used again.
    pub(super) fn lost(&self) {
        let mut state = self.breaker.lock();
        // Once a generation: a late loss must not end the connections made since.
        if self.is_current() {
            self.breaker
                .generation
                .store(self.generation + 1, Ordering::Release);
            state.live = 0;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.breaker.lock();
        if self.is_current() {
            state.live = state.live.saturating_sub(1);
        }
    }
}

impl Breaker {
    /// Closed; `place` is what is reached, without secrets.
    pub(super) fn of(place: String) -> Self {
        let breaker = Self::default();
        breaker.lock().place = place;
        breaker
    }

    /// The generation that a connection begun now belongs to.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A connection begun in `generation` is there.
    pub(super) fn connected(self: &Arc<Self>, generation: u64) -> Ticket {
        let mut state = self.lock();
        state.last_failure = None;
        if self.generation() == generation {
            state.live += 1;
        }
        Ticket {
            breaker: Arc::clone(self),
            generation,
        }
    }

    /// A connection could not be made. `out_of_reach` where the server is not there at all, rather
    /// than full.
    pub(super) fn failed(&self, problem: &str, out_of_reach: bool) {
        let mut state = self.lock();
        state.last_failure = Some(problem.to_owned());
        if out_of_reach && state.live == 0 {
            self.open_with(&mut state, problem);
        }
    }

    /// The server is out of reach, whatever connections there are.
    pub(super) fn trip(&self, problem: &str) {
        self.open_with(&mut self.lock(), problem);
    }

    /// Why it is not worth trying.
    pub(super) fn problem(&self) -> Option<String> {
        if !self.open.load(Ordering::Acquire) {
            return None;
        }
        self.lock().down.clone()
    }

    /// Why the last attempt to connect failed, if it did.
    pub(super) fn last_failure(&self) -> Option<String> {
        self.lock().last_failure.clone()
    }

    /// Somebody waited in vain for a connection: asks whether the server still answers.
    pub(super) fn suspect(&self) {
        self.lock().suspect = true;
        self.changed.notify_all();
    }

    /// Ends [`Breaker::watch`].
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// While the server is out of reach or suspect, calls `probe` every [`PROBE_INTERVAL`];
    /// returns when stopped.
    pub(super) fn watch(&self, probe: impl Fn() -> Result<(), String>) {
        loop {
            let mut state = self
                .changed
                .wait_while(self.lock(), |state| {
                    !state.stopped && !state.suspect && state.down.is_none()
                })
                .unwrap_or_else(PoisonError::into_inner);
            if state.stopped {
                return;
            }
            state.suspect = false;
            drop(state);
            match probe() {
                Ok(()) => self.close(),
                Err(problem) => self.trip(&problem),
            }
            // Also after an answer: an exhausted pool is suspected without end.
            let _ = self
                .changed
                .wait_timeout_while(self.lock(), PROBE_INTERVAL, |state| !state.stopped)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open_with(&self, state: &mut State, problem: &str) {
        let State { outage, place, .. } = &mut *state;
        outage.is_down(SystemClock.monotonic(), place, problem);
        state.down = Some(problem.to_owned());
        self.open.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    fn close(&self) {
        let mut state = self.lock();
        state.last_failure = None;
        if state.down.take().is_some() {
            let State { outage, place, .. } = &mut *state;
            outage.is_up(place);
        }
        self.open.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::events;
    use crate::telemetry::testing::events_of;

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::default())
    }

    #[test]
    fn a_loss_ends_its_generation_once() {
        let breaker = breaker();
        let old = [(); 3].map(|()| breaker.connected(breaker.generation()));
        old[0].lost();
        let fresh = breaker.connected(breaker.generation());
        // They find out later.
        old[1].lost();
        old[2].lost();
        assert!(old.iter().all(|ticket| !ticket.is_current()));
        assert!(fresh.is_current());
    }

    #[test]
    fn a_failure_to_connect_opens_it_only_when_nothing_works() {
        let breaker = breaker();
        let works = breaker.connected(breaker.generation());
        breaker.failed("refused", true);
        assert_eq!(breaker.problem(), None);
        assert_eq!(breaker.last_failure().as_deref(), Some("refused"));
        drop(works);
        breaker.failed("full", false);
        assert_eq!(breaker.problem(), None);
        breaker.failed("refused", true);
        assert_eq!(breaker.problem().as_deref(), Some("refused"));
    }

    #[test]
    fn a_connection_begun_before_a_loss_is_of_the_generation_that_ended() {
        let breaker = breaker();
        let begun = breaker.generation();
        breaker.connected(begun).lost();
        assert!(!breaker.connected(begun).is_current());
    }

    #[test]
    fn it_closes_when_the_probe_is_answered() {
        let breaker = Breaker::of("postgresql://here/db".to_owned());
        let down = events_of(|| breaker.trip("gone"));
        assert_eq!(down[0]["message_id"], events::DEPENDENCY_DOWN);
        assert_eq!(down[0]["place"], "postgresql://here/db");
        let asked = AtomicU64::new(0);
        let probe = || {
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err("still gone".to_owned());
            }
            breaker.stop();
            Ok(())
        };
        let back = events_of(|| breaker.watch(probe));
        assert_eq!(asked.into_inner(), 2);
        assert_eq!(back.len(), 1, "that it is still gone is not said: {back:?}");
        assert_eq!(back[0]["message_id"], events::DEPENDENCY_BACK);
        assert_eq!(breaker.problem(), None);
    }
}
