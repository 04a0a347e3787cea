//! A cache of query vectors that several daemons share.
//!
//! It is a second place to look, never a condition: whatever happens to it, a query goes on to the
//! model, later by a small, bounded time. What comes back is checked ([`codec`]), and counted.

mod address;
pub(crate) mod codec;
mod redis;
#[cfg(test)]
mod redis_tests;
mod worker;

pub use self::redis::RedisCache;
pub use address::RedisAddress;

use crate::clock::Deadline;
use crate::domain::{Embedding, ModelId};
use crate::telemetry::metrics::{CacheMetrics, Tier};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where values are kept that others may read too.
pub trait SharedStore: Send + Sync {
    /// The first `most_bytes` of the value under `key`; waits a small bounded time, and not beyond
    /// `deadline`.
    fn read(&self, key: &str, most_bytes: usize, deadline: Deadline) -> Found;

    /// Has the value written some time later, or not at all; does not wait.
    fn write(&self, key: String, value: Vec<u8>);

    /// How it is.
    fn health(&self) -> StoreHealth;
}

/// What a look into a [`SharedStore`] gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These bytes.
    Value(Vec<u8>),
    /// Something that is no bytes.
    NotBytes,
    /// There is nothing under the key.
    Nothing,
    /// The server refused, or the connection broke.
    Failed,
    /// There was no answer in time.
    TimedOut,
    /// It was not asked, since it is known to be away or busy.
    Skipped,
}

/// How a [`SharedStore`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether it is asked at present.
    pub state: SharedState,
    /// Values that were written.
    pub writes: u64,
    /// Values that the server refused, for want of memory for example.
    pub refused_writes: u64,
    /// Values that were given up, since the server is away or too slow to take them.
    pub dropped_writes: u64,
}

/// Whether the shared cache is asked at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedState {
    /// It is connected to for the first time.
    #[default]
    Connecting,
    /// It is.
    Up,
    /// It is not; it is tried again in the background.
    Down,
}

/// What has happened between this process and the shared cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SharedStats {
    /// Whether it is asked at present.
    pub state: SharedState,
    /// Vectors that were found.
    pub hits: u64,
    /// Looks that found nothing, or nothing of use.
    pub misses: u64,
    /// Of the misses: values that were no vector of this model, and are overwritten.
    pub rejected: u64,
    /// Looks that failed.
    pub errors: u64,
    /// Looks that had no answer in time.
    pub timeouts: u64,
    /// Looks that were left out, since it was known to be away or busy.
    pub skipped: u64,
    /// Vectors that were written.
    pub writes: u64,
    /// Vectors that the server refused to take.
    pub refused_writes: u64,
    /// Vectors that were not written, since it was away or too slow to take them.
    pub dropped_writes: u64,
}

/// The vectors of one model in a [`SharedStore`].
pub(super) struct SharedTier {
    store: Box<dyn SharedStore>,
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    errors: AtomicU64,
    timeouts: AtomicU64,
    skipped: AtomicU64,
}

impl SharedTier {
    pub(super) fn new(store: Box<dyn SharedStore>) -> Self {
        Self {
            store,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// The vector of the normalised `text`, and its tokens, if it is there and in time.
    pub(super) fn find(
        &self,
        model: &ModelId,
        text: &str,
        deadline: Deadline,
        metrics: &CacheMetrics,
    ) -> Option<(Embedding, u64)> {
        // One byte more than a value has tells a longer one from it.
        let most_bytes = codec::value_bytes(model.dimensions) + 1;
        let found = self
            .store
            .read(&codec::key(model, text), most_bytes, deadline);
        let was_asked = found != Found::Skipped;
        let rejected = || {
            count(&self.rejected);
            &self.misses
        };
        let (vector, counter) = match found {
            Found::Value(value) => match codec::decode(&value, model.dimensions) {
                Some(vector) => (Some(vector), &self.hits),
                None => (None, rejected()),
            },
            Found::NotBytes => (None, rejected()),
            Found::Nothing => (None, &self.misses),
            Found::Failed => (None, &self.errors),
            Found::TimedOut => (None, &self.timeouts),
            Found::Skipped => (None, &self.skipped),
        };
        count(counter);
        if was_asked {
            metrics.looked(Tier::Redis, vector.is_some());
        }
        vector
    }

    /// Has the vector of the normalised `text` written; does not wait for it.
    pub(super) fn keep(&self, model: &ModelId, text: &str, vector: &Embedding, tokens: u64) {
        self.store
            .write(codec::key(model, text), codec::encode(vector, tokens));
    }

    pub(super) fn stats(&self) -> SharedStats {
        let health = self.store.health();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SharedStats {
            state: health.state,
            hits: read(&self.hits),
            misses: read(&self.misses),
            rejected: read(&self.rejected),
            errors: read(&self.errors),
            timeouts: read(&self.timeouts),
            skipped: read(&self.skipped),
            writes: health.writes,
            refused_writes: health.refused_writes,
            dropped_writes: health.dropped_writes,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
