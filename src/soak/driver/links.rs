//! The connections that are there, by slot; the idle ones, the most recently used last.

use super::link::Link;

/// Names a connection for as long as it is there: a later one in its slot has another key.
pub(super) type Key = u64;

/// No more than the limit of connections; slots are used again.
#[derive(Default)]
pub(super) struct Links {
    slots: Vec<Slot>,
    free: Vec<usize>,
    idle: Vec<usize>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    link: Option<Link>,
}

impl Links {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The key that the next connection will have.
    pub(super) fn next_key(&self) -> Key {
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let generation = self.slots.get(slot).map_or(0, |slot| slot.generation);
        key(slot, generation)
    }

    /// Adds one that is not idle: its slot.
    pub(super) fn add(&mut self, link: Link) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[slot].link = Some(link);
        slot
    }

    /// Closes one.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(place) = self.slots.get_mut(slot) else {
            return;
        };
        let Some(link) = place.link.take() else {
            return;
        };
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        if link.busy_with.is_none() {
            self.idle.retain(|idle| *idle != slot);
        }
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Link> {
        self.slots.get_mut(slot)?.link.as_mut()
    }

    pub(super) fn key_of(&self, slot: usize) -> Key {
        let generation = self.slots.get(slot).map_or(0, |slot| slot.generation);
        key(slot, generation)
    }

    /// The slot of the connection with this key, when it is still there.
    pub(super) fn slot_of(&self, key: Key) -> Option<usize> {
        let slot = usize::try_from(key & u64::from(u32::MAX)).ok()?;
        let place = self.slots.get(slot)?;
        let is_there = place.link.is_some() && self.key_of(slot) == key;
        is_there.then_some(slot)
    }

    /// Its request ended, and it may take another.
    pub(super) fn rest(&mut self, slot: usize) {
        if let Some(link) = self.get(slot)
            && link.busy_with.take().is_some()
        {
            self.idle.push(slot);
        }
    }

    /// An idle one, to be used at once.
    pub(super) fn take_idle(&mut self) -> Option<usize> {
        self.idle.pop()
    }
}

fn key(slot: usize, generation: u32) -> Key {
    (u64::from(generation) << 32) | (slot as u64 & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Answer, BodyLimits, Connector, Endpoint, Trust};

    /// A connection to a listener of this test.
    fn link() -> Link {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::Tcp {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connector = Connector::new(endpoint, &Trust::System).unwrap();
        let socket = runtime
            .block_on(async { connector.open().await.unwrap().into_socket() })
            .unwrap();
        let limits = BodyLimits {
            max_bytes: 1,
            keep_bytes: 0,
        };
        Link::new(socket, Answer::new(&http::Method::GET, limits))
    }

    fn busy(number: u64) -> Link {
        let mut link = link();
        link.busy_with = Some(number);
        link
    }

    #[test]
    fn a_slot_that_is_used_again_has_another_key() {
        let mut links = Links::default();
        let expected = links.next_key();
        let slot = links.add(busy(1));
        assert_eq!(links.key_of(slot), expected);
        assert_eq!(links.slot_of(expected), Some(slot));
        links.remove(slot);
        assert_eq!((links.slot_of(expected), links.len()), (None, 0));
        let later = links.next_key();
        assert_eq!(links.add(busy(2)), slot);
        assert_ne!(later, expected);
        assert_eq!(links.slot_of(expected), None, "an event that came too late");
    }

    #[test]
    fn the_last_one_used_is_taken_first_and_a_closed_one_never() {
        let mut links = Links::default();
        let slots = [1, 2, 3].map(|number| links.add(busy(number)));
        assert_eq!(links.take_idle(), None);
        for slot in slots {
            links.rest(slot);
            links.rest(slot);
        }
        links.remove(slots[1]);
        assert_eq!(links.take_idle(), Some(slots[2]));
        assert_eq!(links.take_idle(), Some(slots[0]));
        assert_eq!((links.take_idle(), links.len()), (None, 2));
    }
}
