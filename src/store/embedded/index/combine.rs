//! Sign scans that are asked for at the same time, done in one pass over the codes.
//!
//! A scan reads every code of a collection, and reading them takes longer than comparing them: a
//! block that is in the cache for one question serves others at a fraction of the cost. Who comes
//! while a scan can start scans at once, alone or with those who wait; who comes while all places
//! are taken waits for the next one. Nobody waits longer than the scan before takes.

use super::CollectionIndex;
use super::scan::Nearest;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The rows whose codes are nearest, as [`Nearest::into_found`] gives them.
pub(crate) type FoundRows = (Vec<(u32, u32)>, Option<u32>);

/// Brings scans together.
pub(crate) struct Combiner {
    /// Scans that may run at the same time: one a core.
    places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: Vec<Job>,
}

struct Job {
    index: Arc<CollectionIndex>,
    code: Vec<u64>,
    capacity: usize,
    slot: Arc<Slot>,
}

/// Where a caller waits.
#[derive(Default)]
struct Slot {
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
enum Turn {
    #[default]
    Wait,
    /// This caller scans next, for itself and those who waited.
    Lead(Vec<Job>),
    Done(FoundRows),
    /// Whoever scanned for this caller failed; it scans for itself.
    Alone,
}

impl Slot {
    fn set(&self, turn: Turn) {
        *lock(&self.turn) = turn;
        self.changed.notify_one();
    }

    fn wait(&self) -> Turn {
        let mut turn = lock(&self.turn);
        loop {
            match std::mem::take(&mut *turn) {
                Turn::Wait => {
                    turn = self
                        .changed
                        .wait(turn)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                other => return other,
            }
        }
    }
}

/// Scans whose callers have not heard yet; those left over when this goes away scan alone.
struct Batch<'a> {
    combiner: &'a Combiner,
    jobs: Vec<Job>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for job in self.jobs.drain(..) {
            job.slot.set(Turn::Alone);
        }
        self.combiner.pass_on();
    }
}

impl Combiner {
    /// One that runs `places` scans at the same time, at least 1.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            state: Mutex::default(),
        }
    }

    /// The `capacity` live rows whose codes are nearest to `code`; blocks.
    pub(crate) fn scan(
        &self,
        index: &Arc<CollectionIndex>,
        code: &[u64],
        capacity: usize,
    ) -> FoundRows {
        let slot = Arc::new(Slot::default());
        let job = Job {
            index: Arc::clone(index),
            code: code.to_vec(),
            capacity,
            slot: Arc::clone(&slot),
        };
        let jobs = {
            let mut state = lock(&self.state);
            state.waiting.push(job);
            let is_free = state.running < self.places;
            state.running += usize::from(is_free);
            is_free.then(|| std::mem::take(&mut state.waiting))
        };
        if let Some(jobs) = jobs {
            self.lead(jobs);
        }
        loop {
            match slot.wait() {
                Turn::Done(found) => return found,
                Turn::Lead(jobs) => self.lead(jobs),
                Turn::Wait | Turn::Alone => return scan_one(index, code, capacity),
            }
        }
    }

    /// Scans for these, the caller among them.
    fn lead(&self, jobs: Vec<Job>) {
        let mut batch = Batch {
            combiner: self,
            jobs,
        };
        while let Some(first) = batch.jobs.first().map(|job| Arc::clone(&job.index)) {
            let same = batch
                .jobs
                .iter()
                .filter(|job| Arc::ptr_eq(&job.index, &first));
            let mut scans: Vec<(Nearest, &[u64])> = same
                .map(|job| (Nearest::new(job.capacity, job.code.len()), &*job.code))
                .collect();
            Nearest::scan_together(&mut scans, || first.segments(None));
            let found: Vec<FoundRows> = scans
                .into_iter()
                .map(|(nearest, _)| nearest.into_found())
                .collect();
            let mut found = found.into_iter();
            batch.jobs.retain(|job| {
                let is_done = Arc::ptr_eq(&job.index, &first);
                if is_done && let Some(found) = found.next() {
                    job.slot.set(Turn::Done(found));
                }
                !is_done
            });
        }
    }

    /// Gives this place to one of those who wait, or frees it.
    fn pass_on(&self) {
        let mut state = lock(&self.state);
        match state.waiting.first().map(|job| Arc::clone(&job.slot)) {
            Some(next) => next.set(Turn::Lead(std::mem::take(&mut state.waiting))),
            None => state.running -= 1,
        }
    }
}

fn scan_one(index: &CollectionIndex, code: &[u64], capacity: usize) -> FoundRows {
    let mut scans = [(Nearest::new(capacity, code.len()), code)];
    Nearest::scan_together(&mut scans, || index.segments(None));
    let [(nearest, _)] = scans;
    nearest.into_found()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::vector;
    use crate::store::embedded::index::block::RowIds;
    use crate::store::embedded::index::quantise::sign_code;

    const DIMENSIONS: usize = 384;

    fn index_of(id: i64, rows: i64) -> Arc<CollectionIndex> {
        let mut index = CollectionIndex::new(id, DIMENSIONS);
        for row in 0..rows {
            let embedding = vector(u64::try_from(row + id * 100_000).unwrap(), DIMENSIONS);
            index.append(
                RowIds {
                    chunk: row,
                    document: row,
                },
                embedding.as_slice(),
            );
        }
        Arc::new(index)
    }

    fn code(index: &CollectionIndex, seed: u64) -> Vec<u64> {
        let centre = index.centre.as_deref().unwrap();
        sign_code(vector(seed, DIMENSIONS).as_slice(), centre).collect()
    }

    /// More callers than places, over two collections: each gets what it would have found alone.
    #[test]
    fn callers_at_the_same_time_get_what_each_would_alone() {
        let indexes = [index_of(1, 3_000), index_of(2, 1_500)];
        let combiner = Combiner::new(2);
        let ask = &|caller: u64, round: u64| {
            let index = &indexes[usize::try_from((caller + round) % 3 / 2).unwrap()];
            let code = code(index, caller * 1_000 + round);
            let found = combiner.scan(index, &code, 40);
            assert_eq!(found, scan_one(index, &code, 40));
        };
        std::thread::scope(|scope| {
            for caller in 0..16 {
                scope.spawn(move || (0..50).for_each(|round| ask(caller, round)));
            }
        });
        assert_eq!(
            lock(&combiner.state).running,
            0,
            "every place was given back"
        );
    }

    /// A scan that fails takes nobody with it.
    #[test]
    fn who_waited_for_a_scan_that_failed_scans_alone() {
        let index = index_of(1, 2_000);
        let combiner = Combiner::new(1);
        lock(&combiner.state).running = 1;
        let code = code(&index, 7);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| combiner.scan(&index, &code, 20));
            let jobs = loop {
                let mut state = lock(&combiner.state);
                if !state.waiting.is_empty() {
                    break std::mem::take(&mut state.waiting);
                }
            };
            // The scan that held the place unwinds before it has told anybody.
            drop(Batch {
                combiner: &combiner,
                jobs,
            });
            assert_eq!(waiting.join().unwrap(), scan_one(&index, &code, 20));
        });
        assert_eq!(lock(&combiner.state).running, 0);
    }
}
