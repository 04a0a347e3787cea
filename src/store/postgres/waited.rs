//! How long calls waited for a connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets; one more holds what took longer.
pub(super) const WAIT_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 50, 100, 250, 500, 1000, 2500];

/// A histogram that grows.
#[derive(Debug, Default)]
pub(super) struct Waited {
    buckets: [AtomicU64; WAIT_BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram as it was at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WaitHistogram {
    /// Calls by how long they waited: at most 1, 2, 5, 10, 50, 100, 250, 500, 1,000 and 2,500 ms, and longer.
    pub buckets: [u64; WAIT_BOUNDS_MS.len() + 1],
    /// All waits together, in microseconds.
    pub sum_us: u64,
}

impl Waited {
    pub(super) fn record(&self, wait: Duration) {
        let bucket = WAIT_BOUNDS_MS
            .iter()
            .position(|bound_ms| wait <= Duration::from_millis(*bound_ms))
            .unwrap_or(WAIT_BOUNDS_MS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(wait_us, Ordering::Relaxed);
    }

    /// Adds itself to `sum`.
    pub(super) fn add_to(&self, sum: &mut WaitHistogram) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Ordering::Relaxed);
        }
        sum.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}
