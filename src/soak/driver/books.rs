//! What happened since the ledger was last locked, so that it is locked once for many requests.

use super::flights::Flight;
use crate::soak::ledger::{Ledger, Ticket};
use crate::soak::tally::Outcome;

/// Entries for the ledger. It is emptied in every round of the loop, so it holds no more than a round
/// makes: at most two for each request in flight.
#[derive(Default)]
pub(super) struct Books {
    sent: Vec<(Ticket, u64)>,
    ended: Vec<Ended>,
}

struct Ended {
    flight: Flight,
    at_ns: u64,
    outcome: Outcome,
}

impl Books {
    pub(super) fn sent(&mut self, ticket: Ticket, sent_ns: u64) {
        self.sent.push((ticket, sent_ns));
    }

    pub(super) fn ended(&mut self, flight: Flight, at_ns: u64, outcome: Outcome) {
        self.ended.push(Ended {
            flight,
            at_ns,
            outcome,
        });
    }

    /// Moves everything into `ledger`.
    pub(super) fn enter(&mut self, ledger: &mut Ledger) {
        for (ticket, sent_ns) in self.sent.drain(..) {
            ledger.sent(ticket, sent_ns);
        }
        for ended in self.ended.drain(..) {
            let Flight {
                ticket, sent_ns, ..
            } = ended.flight;
            ledger.ended(ticket, sent_ns, ended.at_ns, ended.outcome);
        }
    }
}
