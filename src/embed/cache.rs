//! Vectors of queries that were asked before.
//!
//! Embedding is most of a query's time, and people ask the same things. A vector is kept under the
//! BLAKE3 hash of the model's name and the normalised text: trimmed, Unicode NFC, inner white space
//! collapsed. It is looked for in memory, then in a cache that several daemons share
//! ([`super::shared`]), where there is one, and only then made. Callers that ask for the same text at
//! the same time share all of this ([`super::flight`]), and different ones a call to the provider
//! ([`super::gather`]). What failed is not kept.

use super::flight::{Flights, Landed};
use super::gather::{Gatherer, single};
use super::shared::{SharedStats, SharedStore, SharedTier};
use super::{EmbedError, Embedder};
use crate::clock::Deadline;
use crate::domain::Embedding;
use crate::telemetry::metrics::{CacheMetrics, Tier};
use moka::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// An embedder of queries with bounded caches in front.
pub struct CachedEmbedder {
    embedder: Arc<dyn Embedder>,
    entries: Cache<Key, Entry>,
    flights: Flights<Key, Found>,
    shared: Option<SharedTier>,
    gatherer: Option<Gatherer>,
    memory_hits: AtomicU64,
    memory_misses: AtomicU64,
    metrics: CacheMetrics,
}

type Key = [u8; blake3::OUT_LEN];

#[derive(Clone)]
struct Entry {
    embedding: Arc<Embedding>,
    tokens: u64,
}

/// A vector, and whether it was there already.
#[derive(Clone)]
struct Found {
    entry: Entry,
    from: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Shared,
    Model,
}

/// The vector of one query, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryEmbedding {
    /// The vector.
    pub embedding: Arc<Embedding>,
    /// Tokens of the text as the model counts them, special tokens included, cached or not.
    pub tokens: u64,
    /// Whether no run of the model was needed for this call.
    pub cached: bool,
}

impl CachedEmbedder {
    /// Keeps at most `max_entries` vectors in memory (0 keeps none), some 2 KB each at 384
    /// dimensions.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>, max_entries: u64) -> Self {
        Self {
            embedder,
            entries: Cache::new(max_entries),
            flights: Flights::new(),
            shared: None,
            gatherer: None,
            memory_hits: AtomicU64::new(0),
            memory_misses: AtomicU64::new(0),
            metrics: CacheMetrics::default(),
        }
    }

    /// Counts looks in `metrics` too, for both caches.
    #[must_use]
    pub fn counting(self, metrics: CacheMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Looks in `store` too for what is not in memory, and puts there what was made.
    #[must_use]
    pub fn with_shared(self, store: Box<dyn SharedStore>) -> Self {
        Self {
            shared: Some(SharedTier::new(store)),
            ..self
        }
    }

    /// Has queries that are in no cache embedded by `gatherer`, together where that helps: for
    /// embedders that are asked over a network.
    #[must_use]
    pub fn gathering(self, gatherer: Gatherer) -> Self {
        Self {
            gatherer: Some(gatherer),
            ..self
        }
    }

    /// The embedder behind the cache.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// Calls that were answered without a run of the model of their own: from memory, by the run of
    /// another call, or from the shared cache.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.memory_hits() + self.shared().map_or(0, |shared| shared.hits)
    }

    /// Calls that needed a run of the model, whether it succeeded or not.
    #[must_use]
    pub fn misses(&self) -> u64 {
        let found = self.shared().map_or(0, |shared| shared.hits);
        self.memory_misses().saturating_sub(found)
    }

    /// Calls that were answered from memory, or together with another.
    #[must_use]
    pub fn memory_hits(&self) -> u64 {
        self.memory_hits.load(Ordering::Relaxed)
    }

    /// Calls that were not; where there is a shared cache, they looked there.
    #[must_use]
    pub fn memory_misses(&self) -> u64 {
        self.memory_misses.load(Ordering::Relaxed)
    }

    /// What has happened with the shared cache, where there is one.
    #[must_use]
    pub fn shared(&self) -> Option<SharedStats> {
        self.shared.as_ref().map(SharedTier::stats)
    }

    /// Vectors that are kept in memory now; follows changes with a short delay.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    /// The vector of `text`; blocks while the model runs, and while it waits for others not beyond
    /// `deadline`.
    ///
    /// # Errors
    /// As [`Embedder::embed_within`]. Callers that waited for the same run get the same error, but
    /// for [`EmbedError::TimedOut`], which is each caller's own.
    pub fn embed_query(
        &self,
        text: &str,
        deadline: Deadline,
    ) -> Result<QueryEmbedding, EmbedError> {
        let text = normalise(text);
        let key = self.key(&text);
        let (found, is_shared) = match self.entries.get(&key) {
            Some(entry) => (Ok(Found::in_memory(entry)), false),
            None => match self
                .flights
                .run(key, deadline, || self.find_or_embed(&key, &text, deadline))
            {
                Landed::Own(found) => (found, false),
                Landed::Shared(found) => (found, true),
                Landed::Expired => (Err(self.late()), true),
            },
        };
        self.looked(match &found {
            Ok(found) => is_shared || found.from == Place::Memory,
            Err(_) => false,
        });
        let Found { entry, from } = found?;
        Ok(QueryEmbedding {
            embedding: entry.embedding,
            tokens: entry.tokens,
            cached: is_shared || from != Place::Model,
        })
    }

    /// The vector of `text` if it is in memory; does not block. Where it is not, nothing is counted.
    #[must_use]
    pub fn remembered(&self, text: &str) -> Option<QueryEmbedding> {
        let entry = self.entries.get(&self.key(&normalise(text)))?;
        self.looked(true);
        Some(QueryEmbedding {
            embedding: entry.embedding,
            tokens: entry.tokens,
            cached: true,
        })
    }

    fn looked(&self, is_memory_hit: bool) {
        let counter = if is_memory_hit {
            &self.memory_hits
        } else {
            &self.memory_misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.metrics.looked(Tier::Memory, is_memory_hit);
    }

    fn key(&self, text: &str) -> Key {
        let model = self.embedder.model();
        let mut hasher = blake3::Hasher::new();
        hasher.update(model.name.as_bytes());
        hasher.update(&[0]);
        hasher.update(&model.dimensions.to_le_bytes());
        hasher.update(text.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// What one caller does for all who ask for `text` now.
    fn find_or_embed(
        &self,
        key: &Key,
        text: &str,
        deadline: Deadline,
    ) -> Result<Found, EmbedError> {
        // Somebody may have ended just before.
        if let Some(entry) = self.entries.get(key) {
            return Ok(Found::in_memory(entry));
        }
        let model = self.embedder.model();
        let shared = self.shared.as_ref();
        let metrics = &self.metrics;
        let found = shared.and_then(|shared| shared.find(model, text, deadline, metrics));
        let (from, (vector, tokens)) = match found {
            Some(found) => (Place::Shared, found),
            None => (Place::Model, self.embed(text, deadline)?),
        };
        if let (Some(shared), Place::Model) = (shared, from) {
            shared.keep(model, text, &vector, tokens);
        }
        let entry = Entry {
            embedding: Arc::new(vector),
            tokens,
        };
        self.entries.insert(*key, entry.clone());
        Ok(Found { entry, from })
    }

    fn embed(&self, text: &str, deadline: Deadline) -> Result<(Embedding, u64), EmbedError> {
        match &self.gatherer {
            Some(gatherer) => gatherer.embed(text, deadline),
            None => single(&*self.embedder, text, deadline),
        }
    }

    fn late(&self) -> EmbedError {
        EmbedError::TimedOut {
            provider: self.embedder.provider().to_owned(),
            problem: "the same query, which was asked before".to_owned(),
        }
    }
}

impl Found {
    fn in_memory(entry: Entry) -> Self {
        Self {
            entry,
            from: Place::Memory,
        }
    }
}

/// Trimmed, NFC, every run of white space one space.
fn normalise(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    if is_nfc_quick(collapsed.chars()) == IsNormalized::Yes {
        return collapsed;
    }
    collapsed.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ModelId;
    use crate::embed::Embedded;
    use std::sync::Barrier;

    /// Counts its calls; fails on the text `fail`; waits at `gate`, if there is one, on each call.
    struct Counting {
        id: ModelId,
        calls: AtomicU64,
        gate: Option<Barrier>,
    }

    impl Counting {
        fn new(gate: Option<Barrier>) -> Arc<Self> {
            Arc::new(Self {
                id: ModelId {
                    name: "counting".to_owned(),
                    dimensions: 2,
                },
                calls: AtomicU64::new(0),
                gate,
            })
        }

        fn calls(&self) -> u64 {
            self.calls.load(Ordering::SeqCst)
        }
    }

    impl Embedder for Counting {
        fn model(&self) -> &ModelId {
            &self.id
        }

        fn max_tokens(&self) -> usize {
            254
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }

        fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.wait();
            }
            if texts == ["fail"] {
                return Err(EmbedError::Inference {
                    model: "counting".to_owned(),
                    texts: 1,
                    problem: "asked to".to_owned(),
                });
            }
            let vector = |text: &&str| {
                let length = u16::try_from(text.len()).unwrap();
                Embedding::normalised(vec![1.0, f32::from(length)])
            };
            Ok(Embedded {
                vectors: texts.iter().map(vector).collect::<Result<_, _>>().unwrap(),
                tokens: 7,
            })
        }
    }

    #[test]
    fn the_same_text_is_embedded_once_however_it_is_spaced() {
        let model = Counting::new(None);
        let cache = CachedEmbedder::new(model.clone(), 10);
        let first = cache
            .embed_query("caf\u{e9}  au lait", Deadline::NONE)
            .unwrap();
        let again = cache
            .embed_query(" cafe\u{301} au\n\tlait ", Deadline::NONE)
            .unwrap();
        assert!(!first.cached && again.cached);
        assert_eq!((again.tokens, &again.embedding), (7, &first.embedding));
        assert_eq!((model.calls(), cache.hits(), cache.misses()), (1, 1, 1));
        assert!(
            !cache
                .embed_query("cafe au lait", Deadline::NONE)
                .unwrap()
                .cached
        );
    }

    #[test]
    fn what_failed_is_tried_again() {
        let model = Counting::new(None);
        let cache = CachedEmbedder::new(model.clone(), 10);
        assert!(cache.embed_query("fail", Deadline::NONE).is_err());
        assert!(cache.embed_query("fail", Deadline::NONE).is_err());
        assert_eq!((model.calls(), cache.hits(), cache.misses()), (2, 0, 2));
    }

    #[test]
    fn concurrent_callers_share_one_run() {
        const CALLERS: u64 = 8;
        let model = Counting::new(Some(Barrier::new(2)));
        let cache = CachedEmbedder::new(model.clone(), 10);
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| scope.spawn(|| cache.embed_query("same", Deadline::NONE).unwrap().cached))
                .collect();
            model.gate.as_ref().unwrap().wait();
            let cached = callers.into_iter().filter_map(|caller| {
                let cached = caller.join().unwrap();
                cached.then_some(())
            });
            assert_eq!(cached.count() as u64, CALLERS - 1);
        });
        assert_eq!(model.calls(), 1);
        assert_eq!((cache.hits(), cache.misses()), (CALLERS - 1, 1));
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let model = Counting::new(None);
        let cache = CachedEmbedder::new(model.clone(), 16);
        for number in 0..500 {
            cache
                .embed_query(&format!("query {number}"), Deadline::NONE)
                .unwrap();
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries() <= 16, "{}", cache.entries());
    }

    #[test]
    fn without_entries_nothing_is_kept() {
        let model = Counting::new(None);
        let cache = CachedEmbedder::new(model.clone(), 0);
        for _ in 0..3 {
            assert!(!cache.embed_query("same", Deadline::NONE).unwrap().cached);
            cache.entries.run_pending_tasks();
        }
        assert_eq!(model.calls(), 3);
    }
}
