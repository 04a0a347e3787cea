//! Searches by vector, and how they share a statement.
//!
//! As many threads ask the database as reads may run at once. Who searches leaves the question with
//! them, and what is to be done with the hits; no other thread waits. A thread that comes by a
//! connection takes along those who came in the meantime, and asks for all in one statement: one
//! round trip, one transaction, one change of settings. Who comes when a thread is idle waits for
//! nobody, and is asked for by the statement of a single search.
//!
//! What holds for each holds here too. A statement takes [`MOST`] questions, and only as many as
//! recent searches say can be answered within [`BUDGET`]: searches that take long gain nothing
//! together, and would keep each other waiting. Who was not answered (the statement failed, the
//! collection is unknown, the index found too little) is asked for once more alone, before those who
//! wait; so each error is of the search that caused it. Nobody waits longer than `pool_timeout` for a
//! connection, or than it takes to find that the server is down.

use super::asked::{Asked, Inbox};
use super::fault::{Damage, Fault};
use super::pools::Pools;
use super::queue::SLICE;
use super::search::{self, Question};
use super::session::Session;
use super::shared::Shared;
use crate::clock::{Clock, SystemClock};
use crate::domain::Mode;
use crate::store::{Hit, SearchRequest, StoreError, Then};
use postgres::Row;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

/// Most questions of one statement.
const MOST: u64 = 8;
/// How long a shared statement should take at most.
const BUDGET: Duration = Duration::from_millis(5);
/// Of how many searches the time of one is the average, about.
const REMEMBERED: u64 = 8;

const ACTION: &str = "searching";

type Found = Result<Vec<Hit>, StoreError>;

/// The threads that search by vector; they end when this is dropped.
pub(super) struct Searches {
    desk: Arc<Desk>,
    /// How many threads there are, once they were asked for.
    threads: OnceLock<usize>,
}

/// What the threads share.
struct Desk {
    shared: Arc<Shared>,
    inbox: Inbox,
    sharing: Sharing,
}

impl Searches {
    /// Without threads yet.
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self {
            desk: Arc::new(Desk {
                shared: Arc::clone(shared),
                inbox: Inbox::default(),
                sharing: Sharing::new(),
            }),
            threads: OnceLock::new(),
        }
    }

    /// Whether [`Searches::ask`] is of use now.
    pub(super) fn are_served(&self) -> bool {
        let shared = &self.desk.shared;
        shared.check_prepared().is_ok() && shared.active().has_index && self.threads() > 0
    }

    /// Has `then` called with the hits, once, on one of the threads; drops it where that was to no
    /// avail. `false`: this is no search by vector alone, or nobody serves.
    pub(super) fn ask(&self, request: &SearchRequest<'_>, then: Then) -> bool {
        let shared = &self.desk.shared;
        let vector = request.embedding.filter(|vector| {
            request.mode == Mode::Vector && shared.has_index_for(vector.dimensions())
        });
        let Some(vector) = vector.filter(|_| self.are_served()) else {
            return false;
        };
        let question = Question::of(request, vector);
        self.desk.inbox.put(Asked::new(question, then));
        true
    }

    /// The hits; blocks.
    pub(super) fn search(&self, request: &SearchRequest<'_>) -> Found {
        let shared = &self.desk.shared;
        let alone = |session: &mut Session| search::search(shared, session, request);
        let (tell, told) = mpsc::sync_channel(1);
        let then = move |found| {
            // Whoever asked waits.
            let _ = tell.send(found);
        };
        if !self.ask(request, Box::new(then)) {
            return shared.read(ACTION, alone);
        }
        match told.recv() {
            Ok(found) => found,
            Err(mpsc::RecvError) => shared.read_again(ACTION, alone),
        }
    }

    fn threads(&self) -> usize {
        *self.threads.get_or_init(|| {
            let desk = &self.desk;
            let start = |name: String, work: fn(&Desk)| {
                let desk = Arc::clone(desk);
                let thread = std::thread::Builder::new().name(name);
                thread.spawn(move || work(&desk)).is_ok()
            };
            // Whoever waits has to be looked after.
            if !start("pg-search-watch".to_owned(), Desk::watch) {
                return 0;
            }
            (0..desk.shared.pools.most_reads())
                .filter(|number| start(format!("pg-search-{number}"), Desk::serve))
                .count()
        })
    }
}

impl Drop for Searches {
    fn drop(&mut self) {
        self.desk.inbox.close();
    }
}

/// Work on those who were taken in, which outlives what it panics with.
fn carefully(work: impl FnOnce()) {
    // The hook has told of the panic, and who waited is sent away by the unwinding.
    let _ = catch_unwind(AssertUnwindSafe(work));
}

fn tell(asked: Asked, found: Found) {
    carefully(|| (asked.then)(found));
}

impl Desk {
    fn pools(&self) -> &Pools {
        &self.shared.pools
    }

    /// A thread that asks.
    fn serve(&self) {
        while self.inbox.wait() {
            carefully(|| self.round());
        }
    }

    /// The thread that looks for those who wait for too long.
    fn watch(&self) {
        while self.inbox.watch(SLICE) {
            carefully(|| self.send_away());
        }
    }

    /// Tells those who would wait in vain.
    fn send_away(&self) {
        let now = SystemClock.monotonic();
        let why = |one: &Asked| {
            let overdue = self.pools().overdue(one.since, now);
            overdue.or_else(|| self.shared.check_prepared().err())
        };
        for (asked, why) in self.inbox.leave(why) {
            tell(asked, Err(why));
        }
    }

    /// Answers those who are next.
    fn round(&self) {
        // One that lost its connection is tried again, but not with others.
        let mut pending = None;
        let outcome = self.shared.read_for_others(ACTION, |session| {
            let mut taken = match pending.take() {
                Some(one) => vec![one],
                None => self.take(),
            };
            if taken.len() > 1 {
                return self.together(session, taken);
            }
            let Some(one) = taken.pop() else {
                return Ok(Vec::new());
            };
            let began = SystemClock.monotonic();
            match search::nearest(&self.shared, session, &one.question) {
                Ok(hits) => {
                    self.sharing.took(began.elapsed(), 1);
                    Ok(vec![(one, Ok(hits))])
                }
                Err(fault) => {
                    pending = Some(one);
                    Err(fault)
                }
            }
        });
        match (outcome, pending) {
            (Ok(answers), _) => {
                for (asked, found) in answers {
                    tell(asked, found);
                }
            }
            (Err(error), Some(one)) => tell(one, Err(error)),
            // There was no connection.
            (Err(_), None) => self.send_away(),
        }
    }

    /// Those who are next.
    fn take(&self) -> Vec<Asked> {
        let taken = self
            .inbox
            .take(self.sharing.most(), self.pools().most_reads());
        for one in &taken {
            self.pools().served(one.since);
        }
        taken
    }

    /// Answers several with one statement; who has to be asked for alone is put back.
    fn together(
        &self,
        session: &mut Session,
        taken: Vec<Asked>,
    ) -> Result<Vec<(Asked, Found)>, Fault> {
        let shared = &self.shared;
        let began = SystemClock.monotonic();
        let questions: Vec<&Question> = taken.iter().map(|asked| &asked.question).collect();
        let found = match search::nearest_of_many(shared, session, &questions) {
            Ok(found) => found,
            Err(fault) => {
                self.sharing.failed();
                self.inbox.put_back(taken);
                if fault.damage() != Damage::None {
                    return Err(fault);
                }
                shared.note(session, &fault);
                return Ok(Vec::new());
            }
        };
        self.sharing.took(began.elapsed(), taken.len());
        let mut answers = Vec::with_capacity(taken.len());
        let mut unanswered = Vec::new();
        for (asked, rows) in taken.into_iter().zip(found) {
            match rows {
                Some(rows) => answers.push((asked, self.hits(&rows))),
                None => unanswered.push(asked),
            }
        }
        self.inbox.put_back(unanswered);
        Ok(answers)
    }

    fn hits(&self, rows: &[Row]) -> Found {
        search::hits(rows).map_err(|fault| fault.into_store(self.shared.location(), ACTION))
    }
}

/// How long searches take, and so how many may share a statement.
struct Sharing {
    search_us: AtomicU64,
}

impl Sharing {
    /// At first none.
    fn new() -> Self {
        Self {
            search_us: AtomicU64::new(micros(BUDGET)),
        }
    }

    /// Questions of one statement, 1 to [`MOST`].
    fn most(&self) -> usize {
        let search_us = self.search_us.load(Ordering::Relaxed).max(1);
        let most = (micros(BUDGET) / search_us).clamp(1, MOST);
        usize::try_from(most).unwrap_or(1)
    }

    /// A statement answered so many questions.
    fn took(&self, elapsed: Duration, questions: usize) {
        let each = micros(elapsed) / u64::try_from(questions).unwrap_or(1).max(1);
        let before = self.search_us.load(Ordering::Relaxed);
        let average = (before * (REMEMBERED - 1) + each) / REMEMBERED;
        // That another one's figure may be lost does not matter.
        self.search_us.store(average, Ordering::Relaxed);
    }

    /// A shared statement failed: for some searches there is none.
    fn failed(&self) {
        self.search_us.store(micros(BUDGET), Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "together_tests.rs"]
mod tests;

#[cfg(test)]
mod sharing_tests {
    use super::*;

    #[test]
    fn as_many_share_as_can_be_answered_in_time() {
        let sharing = Sharing::new();
        assert_eq!(sharing.most(), 1, "at first none");
        for _ in 0..100 {
            sharing.took(Duration::from_millis(2), 8);
        }
        assert_eq!(sharing.most(), 8);
        for _ in 0..100 {
            sharing.took(Duration::from_millis(2), 1);
        }
        assert_eq!(sharing.most(), 2);
        sharing.took(Duration::from_secs(5), 1);
        assert_eq!(sharing.most(), 1);
        for _ in 0..100 {
            sharing.took(Duration::from_micros(300), 1);
        }
        assert_eq!(sharing.most(), 8);
        sharing.failed();
        assert_eq!(sharing.most(), 1);
    }
}
