//! PURE: requests in flight, oldest first, so that the first to time out is always in front: all have
//! the same timeout.

use crate::soak::ledger::Ticket;
use std::collections::VecDeque;

/// Where a request in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for a connection.
    Waiting,
    /// A connection is opened for it.
    Opening,
    /// On the connection in this slot.
    On(usize),
    /// It ended.
    Ended,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) ticket: Ticket,
    pub(super) sent_ns: u64,
    pub(super) stage: Stage,
}

/// Requests in flight, at most as many as the in-flight cap beside those that ended after the oldest
/// began: as long as the timeout.
#[derive(Debug, Default)]
pub(super) struct Flights {
    first: u64,
    flights: VecDeque<Flight>,
}

impl Flights {
    /// A request begins. Numbers and times must not go back, and numbers must leave none out.
    pub(super) fn begin(&mut self, flight: Flight) {
        if self.flights.is_empty() {
            self.first = flight.ticket.number();
        }
        self.flights.push_back(flight);
    }

    /// The request with this number, while it is in flight.
    pub(super) fn get(&mut self, number: u64) -> Option<&mut Flight> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let flight = self.flights.get_mut(place)?;
        (flight.stage != Stage::Ended).then_some(flight)
    }

    /// The request ends: what it was; `None` when it had ended before.
    pub(super) fn end(&mut self, number: u64) -> Option<Flight> {
        let flight = self.get(number)?;
        let ended = *flight;
        flight.stage = Stage::Ended;
        while self
            .flights
            .front()
            .is_some_and(|oldest| oldest.stage == Stage::Ended)
        {
            self.flights.pop_front();
            self.first += 1;
        }
        Some(ended)
    }

    /// The one that began first.
    pub(super) fn oldest(&self) -> Option<&Flight> {
        self.flights.front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::ledger::{Ledger, Plan};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ledger() -> Ledger {
        let plan = Plan {
            measured_from_ns: 0,
            measured_ns: 1_000_000,
            counted_from_ns: 0,
            window_ns: 1_000_000,
            timeout_ns: 1_000,
            max_in_flight: 1_000,
        };
        Ledger::new(plan, 40)
    }

    proptest! {
        #[test]
        fn the_oldest_is_always_in_front(ends in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..200)) {
            let mut ledger = ledger();
            let mut flights = Flights::default();
            let mut there = BTreeSet::new();
            for (now_ns, (what, which)) in (0_u64..).zip(ends) {
                if what > 0 {
                    let ticket = ledger.admit(now_ns).unwrap();
                    there.insert(ticket.number());
                    let stage = Stage::Waiting;
                    flights.begin(Flight { ticket, sent_ns: now_ns, stage });
                } else if !there.is_empty() {
                    let number = *there.iter().nth(which.index(there.len())).unwrap();
                    there.remove(&number);
                    let ended = flights.end(number).unwrap();
                    prop_assert_eq!(ended.ticket.number(), number);
                    prop_assert!(flights.end(number).is_none(), "it ended once");
                }
                let oldest = flights.oldest().map(|flight| flight.ticket.number());
                prop_assert_eq!(oldest, there.first().copied());
                for number in 40..300 {
                    prop_assert_eq!(flights.get(number).is_some(), there.contains(&number));
                }
            }
        }
    }
}
