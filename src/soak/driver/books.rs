//! What happened since the ledger was last locked, so that it is locked once for many requests.

use super::flights::Flight;
use crate::soak::ledger::{Grade, Ledger, Ticket};
use crate::soak::tally::Outcome;

/// Entries for the ledger. It is emptied in every round of the loop, so it holds no more than a round
/// makes: at most three for each request in flight.
#[derive(Default)]
pub(super) struct Books {
    sent: Vec<(Ticket, u64)>,
    /// Answers that are to be graded; whether somebody does.
    gradable: Vec<(Ticket, bool)>,
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

    /// The answer to a request that ends is to be graded: `is_taken` is whether that will happen.
    pub(super) fn gradable(&mut self, ticket: Ticket, is_taken: bool) {
        self.gradable.push((ticket, is_taken));
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
        // Before the request ends: its window could close.
        for (ticket, is_taken) in self.gradable.drain(..) {
            ledger.expect_grade(ticket);
            if !is_taken {
                ledger.graded(ticket, Grade::Unread);
            }
        }
        for ended in self.ended.drain(..) {
            let Flight {
                ticket, sent_ns, ..
            } = ended.flight;
            ledger.ended(ticket, sent_ns, ended.at_ns, ended.outcome);
        }
    }
}
