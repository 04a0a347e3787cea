//! Searches by vector that wait for their turn share a statement.
//!
//! With as many turns as the database has cores, searches wait where more come. Who gets a turn takes
//! along those who wait behind it ([`Place::companions`](super::queue::Place::companions)) and asks
//! for all in one statement: one round trip, one transaction, one change of settings. Who comes when
//! there is a turn waits for nobody, and uses the statement of a single search.
//!
//! What holds for each holds here too. A statement takes [`MOST`] questions, and only as many as
//! recent searches say can be answered within [`BUDGET`]: searches that take long gain nothing
//! together, and would keep each other waiting. Who was not answered (the statement failed, the
//! collection is unknown, the index found too little) asks once more alone, before those who wait;
//! so each error is of the search that caused it.

use super::fault::{Damage, Fault};
use super::lane::CheckedOut;
use super::pools::Together;
use super::queue::Companion;
use super::search::{self, Question};
use super::session::Session;
use super::shared::Shared;
use crate::clock::{Clock, SystemClock};
use crate::domain::Mode;
use crate::store::{Hit, SearchRequest, StoreError};
use postgres::Row;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most questions of one statement.
const MOST: u64 = 8;
/// How long a shared statement should take at most.
const BUDGET: Duration = Duration::from_millis(5);
/// Of how many searches the time of one is the average, about.
const REMEMBERED: u64 = 8;

/// The rows that answer one question.
pub(super) type Found = Vec<Row>;

const ACTION: &str = "searching";

/// The hits of a search, by a statement that it may share.
pub(super) fn search(shared: &Shared, request: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError> {
    let alone = |session: &mut Session| search::search(shared, session, request);
    let vector = request
        .embedding
        .filter(|vector| request.mode == Mode::Vector && shared.has_index_for(vector.dimensions()));
    let Some(vector) = vector else {
        return shared.read(ACTION, alone);
    };
    let question = Arc::new(Question::of(request, vector));
    // One that lost its connection is tried again, but not with others.
    let mut may_share = true;
    let outcome = shared.read_together(ACTION, &question, |place| {
        lead(shared, &question, place, std::mem::take(&mut may_share))
    })?;
    match outcome {
        Together::Done(hits) => Ok(hits),
        Together::Joined(Some(rows)) => {
            search::hits(&rows).map_err(|fault| fault.into_store(shared.location(), ACTION))
        }
        Together::Joined(None) => shared.read_again(ACTION, alone),
    }
}

/// Answers `question`, and with it those of who wait behind it.
fn lead(
    shared: &Shared,
    question: &Question,
    place: &mut CheckedOut<'_>,
    may_share: bool,
) -> Result<Vec<Hit>, Fault> {
    let sharing = &shared.sharing;
    let session = &mut place.link.client;
    let began = SystemClock.monotonic();
    let most = if may_share { sharing.most() - 1 } else { 0 };
    let turn = place.turn.as_ref();
    let companions = turn.map_or_else(Vec::new, |turn| turn.companions(most));
    if !companions.is_empty() {
        let count = companions.len() + 1;
        match answer_all(shared, session, question, companions) {
            Ok(own) => {
                sharing.took(began.elapsed(), count);
                if let Some(rows) = own {
                    return search::hits(&rows);
                }
            }
            Err(fault) => {
                sharing.failed();
                shared.note(session, &fault);
                if fault.damage() != Damage::None {
                    return Err(fault);
                }
            }
        }
        return search::nearest(shared, session, question);
    }
    let hits = search::nearest(shared, session, question);
    sharing.took(began.elapsed(), 1);
    hits
}

/// Hands each companion its rows; the rows of `question`, unless it has to be asked alone. When this
/// fails, every companion asks alone.
fn answer_all(
    shared: &Shared,
    session: &mut Session,
    question: &Question,
    companions: Vec<Companion<Arc<Question>, Found>>,
) -> Result<Option<Found>, Fault> {
    let others = companions.iter().filter_map(Companion::question);
    let questions: Vec<&Question> = std::iter::once(question)
        .chain(others.map(AsRef::as_ref))
        .collect();
    let mut found = search::nearest_of_many(shared, session, &questions)?.into_iter();
    let own = found.next().flatten();
    for (companion, rows) in companions.into_iter().zip(found) {
        if let Some(rows) = rows {
            companion.answer(rows);
        }
    }
    Ok(own)
}

/// How long searches take, and so how many may share a statement.
pub(super) struct Sharing {
    search_us: AtomicU64,
}

impl Sharing {
    /// At first none.
    pub(super) fn new() -> Self {
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
