//! Open connections, and which of them makes room when all places are taken.
//!
//! Who has said nothing yet goes first, then whose last reply is longest ago; a connection whose request is
//! being answered stays. So connections that are held open for nothing, or dripped on, keep nobody out.

use super::wire::gate::Signals;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Signals>>>,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    /// Another connection.
    pub(super) fn enter(self: &Arc<Self>, signals: &Arc<Signals>) -> Member {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(number, Arc::clone(signals));
        Member {
            crowd: Arc::clone(self),
            number,
        }
    }

    /// Tells the connection that is missed least to go; whether there is one. Reads through all of them,
    /// some microseconds a thousand.
    pub(super) fn make_room(&self) -> bool {
        let open = self.open();
        let idle = open.iter().filter(|(_, signals)| signals.is_idle());
        let least = idle.min_by_key(|(number, signals)| (signals.last_answered(), **number));
        let Some((_, signals)) = least else {
            return false;
        };
        signals.leave();
        true
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Signals>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.open().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silent_go_first_then_who_was_answered_longest_ago() {
        let crowd = Arc::new(Crowd::default());
        let signals: Vec<Arc<Signals>> = (0..4).map(|_| Arc::default()).collect();
        let members: Vec<Member> = signals.iter().map(|one| crowd.enter(one)).collect();
        signals[0].answered(2);
        signals[1].answered(1);
        signals[3].busy.store(true, Ordering::Relaxed);
        for leaves in [2, 1, 0] {
            assert!(crowd.make_room());
            let told: Vec<usize> = (0..4).filter(|n| signals[*n].is_leaving()).collect();
            assert!(told.contains(&leaves), "{leaves} in {told:?}");
        }
        assert!(!crowd.make_room(), "the last one is being answered");
        drop(members);
        assert!(crowd.open().is_empty());
    }
}
