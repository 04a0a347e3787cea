//! Makes the requests: a thread that keeps time and talks HTTP, and one that opens connections.
//!
//! The engine ([`engine`]) sleeps to the next due time or until an answer comes, enters each due
//! request into the [`Ledger`] and writes it out, at most `max_in_flight` at a time. It never blocks, so
//! a target that stops answering delays no request that is due later. Connections come from the
//! opener ([`opener`]); where it is known which answers are right, the grader ([`grader`]) looks at
//! them. The caller's thread watches with [`Driver`] and writes.

mod asking;
mod books;
mod engine;
mod flights;
mod grader;
mod judge;
mod link;
mod links;
mod opener;
mod pace;
mod poll;

use super::ledger::{ClosedWindow, Ledger, Plan, Start};
use super::monotonic::monotonic_ns;
use super::queries::Requests;
use super::scenario::Scenario;
use super::tally::Tally;
use super::units::{nanoseconds, signed};
use crate::client::{ClientError, Connector};
use asking::Asking;
use engine::{Engine, Limits, Work};
use grader::Grader;
use judge::Judge;
use opener::Opener;
use pace::Pace;
use poll::{Poll, Waker};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A run in progress. Dropping it stops it.
pub struct Driver {
    shared: Arc<Shared>,
    plan: Plan,
    grace_ns: u64,
    threads: Vec<JoinHandle<()>>,
    waker: Waker,
}

/// What the threads share.
struct Shared {
    /// `CLOCK_MONOTONIC` at the start of the warm-up; below 0 when the machine was started since.
    origin_ns: i64,
    /// Nothing due from here on is sent, from the origin.
    end_ns: AtomicU64,
    /// Nothing more will be sent.
    all_sent: AtomicBool,
    /// The engine is to end at once.
    stop: AtomicBool,
    /// What signals asked for so far.
    interrupt: Mutex<Option<Interrupt>>,
    ledger: Mutex<Ledger>,
}

/// What a signal asks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// To end with this window and judge: the first SIGINT.
    Stop,
    /// To end at once, without a verdict: this signal.
    Abort(&'static str),
}

impl Shared {
    fn interrupt(&self) -> MutexGuard<'_, Option<Interrupt>> {
        self.interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        let since_ns = signed(monotonic_ns()).saturating_sub(self.origin_ns);
        u64::try_from(since_ns).unwrap_or(0)
    }

    fn monotonic_of(&self, ns: u64) -> u64 {
        u64::try_from(self.origin_ns.saturating_add(signed(ns))).unwrap_or(0)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the measured part.
    WarmingUp,
    /// Requests are due.
    Measuring,
    /// All are sent; some are still in flight.
    Draining,
    /// Nothing is left to wait for.
    Over,
}

/// Where on a run's own time line requests begin to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// `CLOCK_MONOTONIC` at the start of the warm-up; below 0 when the machine was started since.
    pub origin_ns: i64,
    /// What is due before this is not sent, from the origin.
    pub from_ns: u64,
}

impl Begin {
    /// A run that begins now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            origin_ns: signed(monotonic_ns()),
            from_ns: 0,
        }
    }
}

impl Driver {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(scenario: &Scenario, requests: Requests, begin: Begin) -> io::Result<Self> {
        raise_descriptor_limit();
        let plan = Plan {
            measured_from_ns: nanoseconds(scenario.load.warmup),
            measured_ns: nanoseconds(scenario.load.duration),
            counted_from_ns: begin
                .from_ns
                .saturating_sub(nanoseconds(scenario.load.warmup)),
            window_ns: nanoseconds(scenario.window),
            timeout_ns: nanoseconds(scenario.timeout),
            max_in_flight: scenario.max_in_flight,
        };
        let shared = Arc::new(Shared {
            origin_ns: begin.origin_ns,
            end_ns: AtomicU64::new(plan.measured_from_ns + plan.measured_ns),
            all_sent: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            interrupt: Mutex::default(),
            ledger: Mutex::new(Ledger::new(plan, due_before(scenario, begin.from_ns))),
        });
        let poll = Poll::new()?;
        let waker = poll.waker();
        let connector = connector(scenario)?;
        let grading = requests
            .relevant()
            .map(|relevant| Grader::start(Arc::clone(relevant), Arc::clone(&shared)))
            .transpose()?;
        let (grader, grading) = grading.unzip();
        let asking = Asking::new(scenario, requests)?;
        let (opener, opening) = Opener::start(
            connector,
            scenario.timeout,
            waker.clone(),
            Arc::clone(&shared),
        )?;
        let engine = Engine {
            shared: Arc::clone(&shared),
            pace: Pace::new(scenario, begin.from_ns),
            poll,
            opener,
            asking,
            judge: Judge::new(scenario),
            grader,
            limits: Limits::of(scenario),
            work: Work::default(),
        };
        Ok(Self {
            shared,
            plan,
            grace_ns: nanoseconds(scenario.grace),
            // The others end after the engine, which holds the other ends of their queues.
            threads: [engine.spawn()?, opening]
                .into_iter()
                .chain(grading)
                .collect(),
            waker,
        })
    }

    /// Nanoseconds from the end of the warm-up; `None` before.
    #[must_use]
    pub fn measured_ns(&self) -> Option<u64> {
        self.shared.now_ns().checked_sub(self.plan.measured_from_ns)
    }

    /// The plan as it is now: shorter after [`Driver::stop_after_this_window`].
    #[must_use]
    pub fn plan(&self) -> Plan {
        *self.shared.ledger().plan()
    }

    /// What signals asked for so far.
    #[must_use]
    pub fn interrupt(&self) -> Option<Interrupt> {
        *self.shared.interrupt()
    }

    /// Where the run is. It is over when everything ended, or the grace after the last due time.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let now_ns = self.shared.now_ns();
        let end_ns = self.shared.end_ns.load(Ordering::Relaxed);
        if now_ns < end_ns {
            return if now_ns < self.plan.measured_from_ns {
                Phase::WarmingUp
            } else {
                Phase::Measuring
            };
        }
        let ended = self.threads.first().is_none_or(JoinHandle::is_finished);
        let handed_over = ended || self.shared.all_sent.load(Ordering::Relaxed);
        let waited_ns = now_ns - end_ns;
        let idle = handed_over && self.in_flight() == 0;
        if idle || (handed_over && waited_ns >= self.grace_ns) {
            return Phase::Over;
        }
        Phase::Draining
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.ledger().in_flight()
    }

    /// How requests have ended so far, those of the warm-up included.
    #[must_use]
    pub fn start_so_far(&self) -> Start {
        self.shared.ledger().start().clone()
    }

    /// How long has passed since the start of the warm-up.
    #[must_use]
    pub fn running_ns(&self) -> u64 {
        self.shared.now_ns()
    }

    /// How long the oldest request in flight has been due.
    #[must_use]
    pub fn oldest_age_ns(&self) -> Option<u64> {
        let now_ns = self.shared.now_ns();
        let due_ns = self.shared.ledger().oldest_due_ns()?;
        Some(now_ns.saturating_sub(due_ns))
    }

    /// The run ends with the window it is in; at once, when it is still warming up.
    pub fn stop_after_this_window(&self) {
        let now_ns = self.shared.now_ns();
        let mut ledger = self.shared.ledger();
        let end_ns = if ledger.stop_after_this_window(now_ns) {
            self.plan.measured_from_ns + ledger.plan().measured_ns
        } else {
            0
        };
        self.shared.end_ns.store(end_ns, Ordering::Relaxed);
    }

    /// Whether the oldest window that is open is over for longer than the request timeout and
    /// `slack_ns`: nothing of it can still be in flight, so somebody has stopped working.
    #[must_use]
    pub fn is_overdue(&self, slack_ns: u64) -> bool {
        let now_ns = self.shared.now_ns();
        let closes_by_ns = self.shared.ledger().next_closes_by_ns();
        closes_by_ns.is_some_and(|by_ns| now_ns > by_ns.saturating_add(slack_ns))
    }

    /// Whether [`Driver::stop_after_this_window`] took anything away.
    #[must_use]
    pub fn was_shortened(&self) -> bool {
        let planned_ns = self.plan.measured_from_ns + self.plan.measured_ns;
        self.shared.end_ns.load(Ordering::Relaxed) < planned_ns
    }

    /// Windows whose account is complete since the last call.
    #[must_use]
    pub fn take_closed(&self) -> Vec<ClosedWindow> {
        let now_ns = self.shared.now_ns();
        self.shared.ledger().take_closed(now_ns)
    }

    /// The account so far of windows that are still open.
    #[must_use]
    pub fn open_tally(&self) -> Tally {
        let mut open = Tally::default();
        for tally in self.shared.ledger().open_tallies() {
            open.add(tally);
        }
        open
    }

    /// Ends the run now: nothing more is sent, what is in flight is unfinished. Returns the windows
    /// that this closes; after an abort only those that were complete or had begun.
    #[must_use]
    pub fn finish(mut self) -> Vec<ClosedWindow> {
        let now_ns = self.shared.now_ns();
        self.halt();
        let mut ledger = self.shared.ledger();
        ledger.abandon(now_ns);
        let last_moment_ns = last_moment(ledger.plan());
        let begun = ledger.stop_after_this_window(now_ns.min(last_moment_ns));
        if !begun {
            return Vec::new();
        }
        ledger.handed_over(u64::MAX);
        ledger.take_closed(u64::MAX)
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
        for thread in self.threads.drain(..) {
            // A panic there has been reported on stderr; the books say what was lost.
            let _ = thread.join();
        }
    }
}

fn connector(scenario: &Scenario) -> io::Result<Connector> {
    Connector::new(scenario.target.endpoint.clone(), &scenario.trust).map_err(
        |error: ClientError| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
    )
}

/// How many requests are due before `from_ns`, those of the warm-up included.
fn due_before(scenario: &Scenario, from_ns: u64) -> u64 {
    let warmup = scenario.load.warmup_schedule();
    match from_ns.checked_sub(nanoseconds(scenario.load.warmup)) {
        None => warmup.cursor().first_from(from_ns),
        Some(measured_ns) => {
            warmup.count() + scenario.load.schedule().cursor().first_from(measured_ns)
        }
    }
}

fn last_moment(plan: &Plan) -> u64 {
    (plan.measured_from_ns + plan.measured_ns).saturating_sub(1)
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Every request in flight may need a connection: allow as many descriptors as the system lets us.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
