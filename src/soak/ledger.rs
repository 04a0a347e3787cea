//! PURE: the books of a run: which requests are in flight, and which window each belongs to.
//!
//! A request belongs to the window in which it was **due**, however late it ends, so a freeze shows
//! in the window that caused it. A window closes, in order, when its time is over, everything due
//! in it was handed over, and nothing of it is in flight or being graded; since every request ends by its
//! timeout, and grading takes milliseconds, windows stay open no longer than that past their end, and
//! memory is bounded.
//!
//! Times are nanoseconds from the start of the run, warm-up included. Requests due in the warm-up
//! are tracked and not counted.

use super::causes::Cause;
use super::tally::{Outcome, Tally, Times};
use std::collections::VecDeque;

/// What the books are kept by.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where the warm-up ends.
    pub measured_from_ns: u64,
    /// How long is measured.
    pub measured_ns: u64,
    /// Where counting begins, from the end of the warm-up: above 0 in a run that is resumed, and then
    /// its first window may be shorter.
    pub counted_from_ns: u64,
    /// The length of a window; the last may be shorter.
    pub window_ns: u64,
    /// What a request that does not end ok counts as at least.
    pub timeout_ns: u64,
    /// Beyond so many in flight a due request is shed.
    pub max_in_flight: usize,
}

impl Plan {
    /// How many windows there are.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.measured_ns.div_ceil(self.window_ns)
    }

    /// The window of a request due at `due_ns`; `None` in the warm-up.
    #[must_use]
    pub fn window_of(&self, due_ns: u64) -> Option<u64> {
        let measured = due_ns.checked_sub(self.measured_from_ns)?;
        Some(measured / self.window_ns)
    }

    /// Where the window begins, from the end of the warm-up.
    #[must_use]
    pub fn start_of(&self, window: u64) -> u64 {
        window
            .saturating_mul(self.window_ns)
            .max(self.counted_from_ns)
    }

    /// Where the window ends, from the start of the run.
    #[must_use]
    pub fn end_of(&self, window: u64) -> u64 {
        let end = (window + 1).saturating_mul(self.window_ns);
        self.measured_from_ns + end.min(self.measured_ns)
    }
}

/// Names a request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    due_ns: u64,
}

impl Ticket {
    /// Its number among all that were admitted, from 0.
    #[must_use]
    pub fn number(self) -> u64 {
        self.number
    }
}

/// What became of an answer that was to be graded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// It was looked at.
    Read {
        /// Whether it cites a relevant source early enough.
        is_hit: bool,
    },
    /// It was not: too large, or too many waited.
    Unread,
}

/// A window whose account is complete.
#[derive(Debug)]
pub struct ClosedWindow {
    /// 0-based.
    pub index: u64,
    /// From the end of the warm-up.
    pub start_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// Its account.
    pub tally: Tally,
}

/// The books.
#[derive(Debug)]
pub struct Ledger {
    plan: Plan,
    /// Nothing due before this is still to be handed over.
    handed_over_until_ns: u64,
    /// Due time of every ticket from `first_ticket` on; [`ENDED`] for those that ended.
    due_ns: VecDeque<u64>,
    first_ticket: u64,
    in_flight: usize,
    start: Start,
    open: VecDeque<OpenWindow>,
    first_open: u64,
}

/// How requests have ended so far, those of the warm-up included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// One ended well.
    pub any_ok: bool,
    /// So many did not.
    pub failed: u64,
    /// Why the first of them did not.
    pub first_cause: Option<Cause>,
}

#[derive(Debug, Default)]
struct OpenWindow {
    tally: Tally,
    in_flight: usize,
    /// Answers that are being graded, those announced less those that came; below 0 for a moment, when
    /// a grade is quicker than the round of the loop that announces it.
    grading: i64,
}

impl OpenWindow {
    fn is_complete(&self) -> bool {
        self.in_flight == 0 && self.grading == 0
    }
}

const ENDED: u64 = u64::MAX;

impl Ledger {
    /// Empty books; `first_ticket` requests were due before them.
    #[must_use]
    pub fn new(plan: Plan, first_ticket: u64) -> Self {
        Self {
            plan,
            handed_over_until_ns: 0,
            due_ns: VecDeque::new(),
            first_ticket,
            in_flight: 0,
            start: Start::default(),
            open: VecDeque::new(),
            first_open: plan.counted_from_ns / plan.window_ns,
        }
    }

    /// The plan as it is now.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How requests have ended so far.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// When the oldest request in flight was due.
    #[must_use]
    pub fn oldest_due_ns(&self) -> Option<u64> {
        self.due_ns.front().copied()
    }

    /// The time of a request has come: a ticket to send it, or `None` when it is shed. Due times
    /// must not go back.
    pub fn admit(&mut self, due_ns: u64) -> Option<Ticket> {
        self.handed_over_until_ns = due_ns;
        let shed = self.in_flight >= self.plan.max_in_flight;
        let timeout_ns = self.plan.timeout_ns;
        if let Some(window) = self.window(due_ns) {
            window.tally.due();
            if shed {
                window.tally.shed(timeout_ns);
            } else {
                window.in_flight += 1;
            }
        }
        if shed {
            return None;
        }
        let number = self.first_ticket + self.due_ns.len() as u64;
        self.due_ns.push_back(due_ns);
        self.in_flight += 1;
        Some(Ticket { number, due_ns })
    }

    /// Everything due before `until_ns` has been admitted.
    pub fn handed_over(&mut self, until_ns: u64) {
        self.handed_over_until_ns = self.handed_over_until_ns.max(until_ns);
    }

    /// A request goes out now.
    pub fn sent(&mut self, ticket: Ticket, now_ns: u64) {
        if let Some(due_ns) = self.due_of(ticket.number)
            && let Some(window) = self.window(due_ns)
        {
            window.tally.sent(now_ns.saturating_sub(due_ns));
        }
    }

    /// A request that went out at `sent_ns` ended now. Ignored when it was abandoned before.
    pub fn ended(&mut self, ticket: Ticket, sent_ns: u64, now_ns: u64, outcome: Outcome) {
        let Some(due_ns) = self.retire(ticket.number) else {
            return;
        };
        match &outcome {
            Outcome::Ok { .. } => self.start.any_ok = true,
            Outcome::Error(_, cause) => {
                self.start.failed += 1;
                self.start.first_cause.get_or_insert_with(|| cause.clone());
            }
        }
        let times = Times {
            age_ns: now_ns.saturating_sub(due_ns),
            service_ns: now_ns.saturating_sub(sent_ns),
            timeout_ns: self.plan.timeout_ns,
        };
        if let Some(window) = self.window(due_ns) {
            window.in_flight -= 1;
            window.tally.ended(times, outcome);
        }
    }

    /// The answer to a request that is about to end is being graded, and its window waits for that.
    pub fn expect_grade(&mut self, ticket: Ticket) {
        if let Some(window) = self.window(ticket.due_ns) {
            window.grading += 1;
        }
    }

    /// The answer to a request was graded.
    pub fn graded(&mut self, ticket: Ticket, grade: Grade) {
        if let Some(window) = self.window(ticket.due_ns) {
            let relevance = &mut window.tally.relevance;
            match grade {
                Grade::Read { is_hit } => relevance.graded(is_hit),
                Grade::Unread => relevance.unread += 1,
            }
            window.grading -= 1;
        }
    }

    /// The run is over: what is in flight is counted as unfinished, with its age; what is still being
    /// graded stays unread.
    pub fn abandon(&mut self, now_ns: u64) {
        let timeout_ns = self.plan.timeout_ns;
        let tickets = self.first_ticket..self.first_ticket + self.due_ns.len() as u64;
        for ticket in tickets {
            let Some(due_ns) = self.retire(ticket) else {
                continue;
            };
            if let Some(window) = self.window(due_ns) {
                window.in_flight -= 1;
                window
                    .tally
                    .unfinished(now_ns.saturating_sub(due_ns), timeout_ns);
            }
        }
        for window in &mut self.open {
            let left = u64::try_from(window.grading).unwrap_or(0);
            window.tally.relevance.unread += left;
            window.grading = 0;
        }
    }

    /// The run ends with the window that `now_ns` is in; `false` when it is still warming up.
    pub fn stop_after_this_window(&mut self, now_ns: u64) -> bool {
        let Some(window) = self.plan.window_of(now_ns) else {
            return false;
        };
        self.plan.measured_ns = self.plan.end_of(window) - self.plan.measured_from_ns;
        true
    }

    /// Takes out the windows whose account is complete by now, oldest first.
    pub fn take_closed(&mut self, now_ns: u64) -> Vec<ClosedWindow> {
        let over_ns = now_ns.min(self.handed_over_until_ns);
        let mut closed = Vec::new();
        while self.first_open < self.plan.windows()
            && self.plan.end_of(self.first_open) <= over_ns
            && self.open.front().is_none_or(OpenWindow::is_complete)
        {
            let index = self.first_open;
            let start_ns = self.plan.start_of(index);
            closed.push(ClosedWindow {
                index,
                start_ns,
                length_ns: self.plan.end_of(index) - self.plan.measured_from_ns - start_ns,
                tally: self.open.pop_front().unwrap_or_default().tally,
            });
            self.first_open += 1;
        }
        closed
    }

    /// When the oldest open window has to be complete: its end, and the request timeout after it.
    /// `None` when none is left.
    #[must_use]
    pub fn next_closes_by_ns(&self) -> Option<u64> {
        let end_ns = self.plan.end_of(self.first_open);
        (self.first_open < self.plan.windows()).then(|| end_ns.saturating_add(self.plan.timeout_ns))
    }

    /// The accounts of windows that are still open, oldest first, for showing.
    pub fn open_tallies(&self) -> impl Iterator<Item = &Tally> {
        self.open.iter().map(|window| &window.tally)
    }

    fn window(&mut self, due_ns: u64) -> Option<&mut OpenWindow> {
        let index = self.plan.window_of(due_ns)?.checked_sub(self.first_open)?;
        let place = usize::try_from(index).ok()?;
        while self.open.len() <= place {
            self.open.push_back(OpenWindow::default());
        }
        self.open.get_mut(place)
    }

    fn due_of(&self, number: u64) -> Option<u64> {
        let place = usize::try_from(number.checked_sub(self.first_ticket)?).ok()?;
        self.due_ns.get(place).copied().filter(|due| *due != ENDED)
    }

    fn retire(&mut self, number: u64) -> Option<u64> {
        let due_ns = self.due_of(number)?;
        let place = usize::try_from(number - self.first_ticket).ok()?;
        self.due_ns[place] = ENDED;
        self.in_flight -= 1;
        while self.due_ns.front() == Some(&ENDED) {
            self.due_ns.pop_front();
            self.first_ticket += 1;
        }
        Some(due_ns)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
