//! The thread that sends: one loop that sleeps to the next due time, or until an answer comes.
//!
//! Time and I/O share a thread on purpose: there is nothing to hand over, and between two answers
//! the loop looks whether a request is due. It never waits for a connection, an answer or the disk. What
//! it cannot do in time shows as lag: `sent` is taken right before a request is written, `ended` right
//! after its last byte was read.

use super::Shared;
use super::asking::Asking;
use super::books::Books;
use super::flights::{Flight, Flights, Stage};
use super::grader::{Grader, MAX_BYTES};
use super::judge::{self, Judge};
use super::link::{Link, Step};
use super::links::Links;
use super::opener::{Opened, Opener};
use super::pace::Pace;
use super::poll::{Found, Poll, Ready};
use crate::client::{Answer, BodyLimits, ClientError};
use crate::soak::ledger::Ticket;
use crate::soak::scenario::Scenario;
use crate::soak::tally::{ErrorKind, Outcome};
use crate::soak::units::{nanoseconds, show_duration};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// So many requests are sent before answers are looked at again.
const BATCH: usize = 16;
/// Longest sleep: how soon an interrupt is seen, and how soon idle windows close.
const MAX_SLEEP_NS: u64 = 50_000_000;
/// So much is read at a time.
const READ_BYTES: usize = 64 * 1024;

pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) pace: Pace,
    pub(super) poll: Poll,
    pub(super) opener: Opener,
    pub(super) asking: Asking,
    pub(super) judge: Judge,
    /// Where answers are to be graded.
    pub(super) grader: Option<Grader>,
    pub(super) limits: Limits,
    pub(super) work: Work,
}

/// What a scenario allows.
pub(super) struct Limits {
    connections: usize,
    timeout_ns: u64,
    timed_out: String,
}

impl Limits {
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self {
            connections: scenario.connections.unwrap_or(scenario.max_in_flight),
            timeout_ns: nanoseconds(scenario.timeout),
            timed_out: format!("no answer within {}", show_duration(scenario.timeout)),
        }
    }
}

/// What goes on at the moment.
#[derive(Default)]
pub(super) struct Work {
    flights: Flights,
    links: Links,
    /// Requests that wait for a connection, oldest first; some may have ended.
    waiting: VecDeque<u64>,
    /// Connections that are being opened.
    opening: usize,
    books: Books,
    due: Vec<Ticket>,
    /// The request that is about to be written.
    request: Vec<u8>,
    scratch: Vec<u8>,
}

impl Engine {
    pub(super) fn spawn(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("soak-engine".to_owned())
            .spawn(move || self.run())
    }

    fn run(mut self) {
        self.work.scratch = vec![0; READ_BYTES];
        let mut found = Found::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            while let Some(opened) = self.opener.opened() {
                self.opened(opened);
            }
            let now_ns = self.shared.now_ns();
            self.expire(now_ns);
            self.send_due(now_ns);
            let until_ns = self.wait_until_ns();
            self.poll.wait(until_ns, &mut found);
            if until_ns != 0 && found.ready.is_empty() {
                self.pace.woke(self.shared.now_ns());
            }
            for ready in found.ready.drain(..) {
                if let Some(now_ns) = self.heed(ready)
                    && self.pace.next_ns().is_some_and(|due_ns| due_ns <= now_ns)
                {
                    self.send_due(now_ns);
                }
            }
        }
        self.work.books.enter(&mut self.shared.ledger());
    }

    /// How long there is nothing to do, by `CLOCK_MONOTONIC`; 0 when there is something already.
    fn wait_until_ns(&mut self) -> u64 {
        let now_ns = self.shared.now_ns();
        let end_ns = self.shared.end_ns.load(Ordering::Relaxed);
        let mut until_ns = now_ns + MAX_SLEEP_NS;
        if now_ns < end_ns {
            // Past the end, whatever else is due is not sent.
            let due_ns = self.pace.wake_ns(now_ns).unwrap_or(u64::MAX);
            until_ns = until_ns.min(end_ns).min(due_ns);
        }
        if let Some(oldest) = self.work.flights.oldest() {
            until_ns = until_ns.min(oldest.sent_ns + self.limits.timeout_ns);
        }
        if until_ns <= now_ns {
            return 0;
        }
        self.shared.monotonic_of(until_ns)
    }

    /// Sends what is due by now, a batch at most.
    fn send_due(&mut self, now_ns: u64) {
        self.admit(now_ns);
        let mut due = std::mem::take(&mut self.work.due);
        for ticket in due.drain(..) {
            self.begin(ticket);
        }
        self.work.due = due;
    }

    /// Enters what happened into the books, and takes a ticket for each request that is due.
    fn admit(&mut self, now_ns: u64) {
        let end_ns = self.shared.end_ns.load(Ordering::Relaxed);
        let mut ledger = self.shared.ledger();
        self.work.books.enter(&mut ledger);
        for _ in 0..BATCH {
            let next_ns = self.pace.next_ns().filter(|due_ns| *due_ns < end_ns);
            let Some(due_ns) = next_ns else {
                let is_over = now_ns >= end_ns;
                ledger.handed_over(if is_over { u64::MAX } else { now_ns });
                if is_over {
                    self.shared.all_sent.store(true, Ordering::Relaxed);
                }
                return;
            };
            if due_ns > now_ns {
                ledger.handed_over(now_ns);
                return;
            }
            self.pace.advance();
            self.work.due.extend(ledger.admit(due_ns));
        }
    }

    /// A request goes out, or waits for a connection.
    fn begin(&mut self, ticket: Ticket) {
        self.asking.write(ticket.number(), &mut self.work.request);
        let sent_ns = self.shared.now_ns();
        self.work.flights.begin(Flight {
            ticket,
            sent_ns,
            stage: Stage::Waiting,
        });
        self.work.books.sent(ticket, sent_ns);
        self.place(ticket.number());
    }

    /// Puts the request that is written down on an idle connection, or sees to one. A connection that
    /// turns out to be closed before a byte was written is replaced; nothing is ever sent twice.
    fn place(&mut self, number: u64) {
        let limits = self.limits_of(number);
        while let Some(slot) = self.work.links.take_idle() {
            let Some(link) = self.work.links.get(slot) else {
                continue;
            };
            let step = link.begin(number, &self.work.request, limits);
            if matches!(step, Step::NotSent) {
                self.work.links.remove(slot);
                continue;
            }
            self.put(number, Stage::On(slot));
            self.follow(slot, step);
            return;
        }
        self.seek(number);
    }

    /// How much of the answer to request `number` is read and kept.
    fn limits_of(&self, number: u64) -> BodyLimits {
        let is_graded = self.grader.as_ref().is_some_and(|grader| {
            let place = self.asking.requests().place_of(number);
            grader.wants(place)
        });
        self.judge.limits(if is_graded { MAX_BYTES } else { 0 })
    }

    /// A good answer came: it is handed over to be graded, where its query has a judgment.
    fn hand_over(&mut self, slot: usize, number: u64) {
        let Some(grader) = &self.grader else {
            return;
        };
        let place = self.asking.requests().place_of(number);
        if !grader.wants(place) {
            return;
        }
        let ticket = self.work.flights.get(number).map(|flight| flight.ticket);
        let link = self.work.links.get(slot);
        if let (Some(ticket), Some(link)) = (ticket, link) {
            let is_taken = grader.take(ticket, place, link.answer().body());
            self.work.books.gradable(ticket, is_taken);
        }
    }

    /// A request needs a connection, and none is idle.
    fn seek(&mut self, number: u64) {
        if self.work.links.len() + self.work.opening < self.limits.connections {
            self.work.opening += 1;
            self.put(number, Stage::Opening);
            self.opener.open(number);
        } else {
            self.put(number, Stage::Waiting);
            self.work.waiting.push_back(number);
        }
    }

    fn put(&mut self, number: u64, stage: Stage) {
        if let Some(flight) = self.work.flights.get(number) {
            flight.stage = stage;
        }
    }

    /// A connection was opened for a request, which may have timed out meanwhile.
    fn opened(&mut self, opened: Opened) {
        self.work.opening -= 1;
        let number = opened.number;
        let is_wanted = self.work.flights.get(number).is_some();
        match opened.socket {
            _ if !is_wanted => self.serve_waiting(),
            Err(error) => {
                self.end(number, judge::failed(&error));
                self.serve_waiting();
            }
            Ok(socket) => {
                let limits = self.limits_of(number);
                let key = self.work.links.next_key();
                if let Err(source) = self.poll.add(&socket, key) {
                    self.end(number, judge::failed(&ClientError::Local { source }));
                    return self.serve_waiting();
                }
                let mut link = Link::new(socket, Answer::new(self.asking.method(), limits));
                self.asking.write(number, &mut self.work.request);
                let step = match link.begin(number, &self.work.request, limits) {
                    Step::NotSent => Step::Failed(ClientError::Reset { source: None }),
                    step => step,
                };
                let slot = self.work.links.add(link);
                self.put(number, Stage::On(slot));
                self.follow(slot, step);
            }
        }
    }

    /// The oldest request that waits for a connection gets one, if there may be another.
    fn serve_waiting(&mut self) {
        while let Some(number) = self.work.waiting.pop_front() {
            if self.work.flights.get(number).is_some() {
                self.asking.write(number, &mut self.work.request);
                return self.place(number);
            }
        }
    }

    /// Something is to be read or can be written. Returns the time, when a request ended.
    fn heed(&mut self, ready: Ready) -> Option<u64> {
        let slot = self.work.links.slot_of(ready.key)?;
        let link = self.work.links.get(slot)?;
        if link.busy_with.is_none() {
            if link.is_spent(&mut self.work.scratch) {
                self.work.links.remove(slot);
            }
            return None;
        }
        if ready.writable {
            let step = link.writable();
            self.follow(slot, step);
        }
        if !ready.readable || self.work.links.slot_of(ready.key).is_none() {
            return None;
        }
        let step = self.work.links.get(slot)?.readable(&mut self.work.scratch);
        self.follow(slot, step)
    }

    /// What comes after `step` of the exchange in `slot`. Returns the time, when that ended it.
    fn follow(&mut self, slot: usize, step: Step) -> Option<u64> {
        let link = self.work.links.get(slot)?;
        let number = link.busy_with?;
        match step {
            Step::Going => {
                let is_writing = link.is_writing();
                if link.watches_writing != is_writing {
                    link.watches_writing = is_writing;
                    let key = self.work.links.key_of(slot);
                    let socket = self.work.links.get(slot)?.socket();
                    // It is watched already, so this does not fail; if it did, it would time out.
                    let _ = self.poll.watch_writing(socket, key, is_writing);
                }
                None
            }
            Step::Answered => {
                let ended_ns = self.shared.now_ns();
                let outcome = self.judge.outcome(link.answer());
                let may_stay = link.may_stay();
                if matches!(outcome, Outcome::Ok { .. }) {
                    self.hand_over(slot, number);
                }
                self.end_at(number, ended_ns, outcome);
                if may_stay {
                    self.work.links.rest(slot);
                } else {
                    self.work.links.remove(slot);
                }
                self.serve_waiting();
                Some(ended_ns)
            }
            Step::NotSent => {
                self.work.links.remove(slot);
                self.asking.write(number, &mut self.work.request);
                self.place(number);
                None
            }
            Step::Failed(error) => {
                let ended_ns = self.end(number, judge::failed(&error));
                self.work.links.remove(slot);
                self.serve_waiting();
                Some(ended_ns)
            }
        }
    }

    /// Ends requests whose time is over.
    fn expire(&mut self, now_ns: u64) {
        while let Some(oldest) = self.work.flights.oldest() {
            if oldest.sent_ns + self.limits.timeout_ns > now_ns {
                return;
            }
            let (number, stage) = (oldest.ticket.number(), oldest.stage);
            let cause = self.limits.timed_out.clone();
            self.end(number, Outcome::Error(ErrorKind::Timeout, cause.into()));
            if let Stage::On(slot) = stage {
                self.work.links.remove(slot);
                self.serve_waiting();
            }
        }
    }

    fn end(&mut self, number: u64, outcome: Outcome) -> u64 {
        let ended_ns = self.shared.now_ns();
        self.end_at(number, ended_ns, outcome);
        ended_ns
    }

    fn end_at(&mut self, number: u64, ended_ns: u64, outcome: Outcome) {
        if let Some(flight) = self.work.flights.end(number) {
            self.work.books.ended(flight, ended_ns, outcome);
        }
    }
}
