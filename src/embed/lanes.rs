//! A fixed number of single-threaded places to run the model in.
//!
//! One thread a run wastes none of a core on hand-overs between operators, and many runs side by
//! side fill all cores. A caller that finds every lane taken waits: the number of lanes bounds both
//! the cores and the memory that the model uses at a time.

use crossbeam_channel::{Receiver, Sender, bounded};
use rten::ThreadPool;
use std::sync::Arc;

pub(super) struct Lanes {
    free: Receiver<Arc<ThreadPool>>,
    back: Sender<Arc<ThreadPool>>,
    count: usize,
}

impl Lanes {
    /// `count` lanes, at least one.
    pub(super) fn new(count: usize) -> Self {
        let count = count.max(1);
        let (back, free) = bounded(count);
        for _ in 0..count {
            // There is room for all of them, and the receiver lives on in `self`.
            let _ = back.send(Arc::new(ThreadPool::with_num_threads(1)));
        }
        Self { free, back, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Waits for a lane; it is given back when the result is dropped, on a panic too.
    pub(super) fn take(&self) -> Lane<'_> {
        let pool = self
            .free
            .recv()
            .unwrap_or_else(|_| Arc::new(ThreadPool::with_num_threads(1)));
        Lane { pool, lanes: self }
    }
}

/// A lane while it is taken.
pub(super) struct Lane<'a> {
    pool: Arc<ThreadPool>,
    lanes: &'a Lanes,
}

impl Lane<'_> {
    pub(super) fn pool(&self) -> Arc<ThreadPool> {
        Arc::clone(&self.pool)
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let _ = self.lanes.back.try_send(Arc::clone(&self.pool));
    }
}
