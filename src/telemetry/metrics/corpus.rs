//! How much the store holds, as it was last counted: a scrape asks no store.

use super::made;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most collections with series of their own: those with the most chunks. The others are added up
/// under [`OTHER`].
pub const MAX_COLLECTIONS: usize = 100;

/// The label of what has no series of its own.
pub const OTHER: &str = "other";

const DOCUMENTS: (&str, &str) = ("documents_total", "Documents in a collection.");
const CHUNKS: (&str, &str) = ("chunks_total", "Chunks in a collection.");

/// The counts; empty until they were made for the first time.
#[derive(Clone)]
pub struct Corpus {
    shared: Arc<Shared>,
    descs: [Desc; 2],
}

struct Shared {
    families: Mutex<Vec<MetricFamily>>,
    changed: Mutex<bool>,
    told: Condvar,
}

impl Default for Corpus {
    fn default() -> Self {
        let desc = |(name, help): (&str, &str)| {
            let labels = vec!["collection".to_owned()];
            let (name, help) = (name.to_owned(), help.to_owned());
            made(Desc::new(name, help, labels, HashMap::new()))
        };
        Self {
            shared: Arc::new(Shared {
                families: Mutex::default(),
                changed: Mutex::default(),
                told: Condvar::new(),
            }),
            descs: [desc(DOCUMENTS), desc(CHUNKS)],
        }
    }
}

impl Corpus {
    /// What the store holds now: each collection once, with its documents and its chunks.
    pub fn set(&self, collections: &[(&str, u64, u64)]) {
        let mut largest = collections.to_vec();
        largest.sort_by_key(|(name, _, chunks)| (std::cmp::Reverse(*chunks), *name));
        let gauges = |(name, help): (&str, &str)| {
            made(IntGaugeVec::new(Opts::new(name, help), &["collection"]))
        };
        let (documents, chunks) = (gauges(DOCUMENTS), gauges(CHUNKS));
        for (at, (name, of_documents, of_chunks)) in largest.into_iter().enumerate() {
            let label = if at < MAX_COLLECTIONS { name } else { OTHER };
            let whole = |count| i64::try_from(count).unwrap_or(i64::MAX);
            documents
                .with_label_values(&[label])
                .add(whole(of_documents));
            chunks.with_label_values(&[label]).add(whole(of_chunks));
        }
        let families = [documents.collect(), chunks.collect()].concat();
        *lock(&self.shared.families) = families;
    }

    /// Something was stored or deleted, so that the counts are to be made anew; does not wait.
    pub fn changed(&self) {
        *lock(&self.shared.changed) = true;
        self.shared.told.notify_one();
    }

    /// Waits until [`Corpus::changed`] was called since the last wait, `most` at most.
    pub fn wait_for_change(&self, most: Duration) {
        let changed = lock(&self.shared.changed);
        let waited = self
            .shared
            .told
            .wait_timeout_while(changed, most, |changed| !*changed);
        let (mut changed, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *changed = false;
    }
}

impl Collector for Corpus {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        lock(&self.shared.families).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
