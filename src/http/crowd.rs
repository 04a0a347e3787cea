//! Open connections, and which of them makes room when all places are taken.
//!
//! Who has said nothing yet goes first, then whose last reply is longest ago; a connection whose request is
//! being answered stays, and so does for [`GRACE`] who has just come: the request may be on its way. So
//! connections that are held open for nothing, or dripped on, keep nobody out, and a flood of them cuts off
//! nobody who asks.

use super::wire::gate::Signals;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long who has come and said nothing is not told to go.
const GRACE: Duration = Duration::from_millis(100);

/// Connections in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Guest>>,
}

#[derive(Debug)]
struct Guest {
    signals: Arc<Signals>,
    came: Instant,
}

/// What came of asking for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// One was told to go.
    Made,
    /// One will have to before long.
    Soon,
    /// All are being answered, or on their way out.
    None,
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
        let guest = Guest {
            signals: Arc::clone(signals),
            came: Instant::now(),
        };
        self.open().insert(number, guest);
        Member {
            crowd: Arc::clone(self),
            number,
        }
    }

    /// Tells the connection that is missed least to go. Reads through all of them, some microseconds a
    /// thousand.
    pub(super) fn make_room(&self, now: Instant) -> Room {
        let open = self.open();
        let idle = open.iter().filter(|(_, guest)| guest.signals.is_idle());
        let least = idle.min_by_key(|(number, guest)| (guest.signals.last_answered(), **number));
        let Some((_, guest)) = least else {
            return Room::None;
        };
        let age = now.saturating_duration_since(guest.came);
        if guest.signals.last_answered() == 0 && age < GRACE {
            return Room::Soon;
        }
        guest.signals.leave();
        Room::Made
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Guest>> {
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
        let now = Instant::now() + GRACE;
        for leaves in [2, 1, 0] {
            assert_eq!(crowd.make_room(now), Room::Made);
            let told: Vec<usize> = (0..4).filter(|n| signals[*n].is_leaving()).collect();
            assert!(told.contains(&leaves), "{leaves} in {told:?}");
        }
        let told = crowd.make_room(now);
        assert_eq!(told, Room::None, "the last one is being answered");
        drop(members);
        assert!(crowd.open().is_empty());
    }

    #[test]
    fn who_has_just_come_stays_a_while() {
        let crowd = Arc::new(Crowd::default());
        let signals: Vec<Arc<Signals>> = (0..2).map(|_| Arc::default()).collect();
        let members: Vec<Member> = signals.iter().map(|one| crowd.enter(one)).collect();
        let now = Instant::now();
        assert_eq!(crowd.make_room(now), Room::Soon);
        signals[1].answered(1);
        let told = crowd.make_room(now);
        assert_eq!(told, Room::Soon, "nor does one go that was served");
        assert_eq!(crowd.make_room(now + GRACE), Room::Made);
        assert!(signals[0].is_leaving());
        assert_eq!(crowd.make_room(now), Room::Made);
        assert!(signals[1].is_leaving(), "no other is left");
        drop(members);
    }
}
