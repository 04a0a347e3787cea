//! Vectors of queries that were asked before.
//!
//! Embedding is most of a query's time, and people ask the same things. A vector is kept under the
//! BLAKE3 hash of the model's name and the normalised text: trimmed, Unicode NFC, inner white space
//! collapsed. Callers that ask for the same text at the same time share one run of the model. What
//! failed is not kept.

use super::{EmbedError, Embedder};
use crate::domain::Embedding;
use moka::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// An embedder of queries with a bounded cache in front.
pub struct CachedEmbedder {
    embedder: Arc<dyn Embedder>,
    entries: Cache<Key, Entry>,
    hits: AtomicU64,
    misses: AtomicU64,
}

type Key = [u8; blake3::OUT_LEN];

#[derive(Clone)]
struct Entry {
    embedding: Arc<Embedding>,
    tokens: u64,
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
    /// Keeps at most `max_entries` vectors (0 keeps none), some 2 KB each at 384 dimensions.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>, max_entries: u64) -> Self {
        Self {
            embedder,
            entries: Cache::new(max_entries),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The embedder behind the cache.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// Calls that were answered without a run of the model of their own.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Calls that needed a run of the model, whether it succeeded or not.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Vectors that are kept now; follows changes with a short delay.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    /// The vector of `text`; blocks while the model runs.
    ///
    /// # Errors
    /// As [`Embedder::embed`]. Callers that waited for the same run get the same error.
    pub fn embed_query(&self, text: &str) -> Result<QueryEmbedding, EmbedError> {
        let text = normalise(text);
        let key = self.key(&text);
        let found = match self.entries.get(&key) {
            Some(entry) => Ok((entry, true)),
            None => self
                .entries
                .entry(key)
                .or_try_insert_with(|| self.embed(&text))
                .map(|entry| {
                    let cached = !entry.is_fresh();
                    (entry.into_value(), cached)
                }),
        };
        let counter = match found {
            Ok((_, true)) => &self.hits,
            _ => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let (entry, cached) = found.map_err(|error| EmbedError::clone(&error))?;
        Ok(QueryEmbedding {
            embedding: entry.embedding,
            tokens: entry.tokens,
            cached,
        })
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

    fn embed(&self, text: &str) -> Result<Entry, EmbedError> {
        let embedded = self.embedder.embed(&[text])?;
        let [vector] = <[Embedding; 1]>::try_from(embedded.vectors).map_err(|vectors| {
            EmbedError::Inference {
                model: self.embedder.model().name.clone(),
                texts: 1,
                problem: format!("{} vectors came back for one text", vectors.len()),
            }
        })?;
        Ok(Entry {
            embedding: Arc::new(vector),
            tokens: embedded.tokens,
        })
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
        let first = cache.embed_query("caf\u{e9}  au lait").unwrap();
        let again = cache.embed_query(" cafe\u{301} au\n\tlait ").unwrap();
        assert!(!first.cached && again.cached);
        assert_eq!((again.tokens, &again.embedding), (7, &first.embedding));
        assert_eq!((model.calls(), cache.hits(), cache.misses()), (1, 1, 1));
        assert!(!cache.embed_query("cafe au lait").unwrap().cached);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let model = Counting::new(None);
        let cache = CachedEmbedder::new(model.clone(), 10);
        assert!(cache.embed_query("fail").is_err());
        assert!(cache.embed_query("fail").is_err());
        assert_eq!((model.calls(), cache.hits(), cache.misses()), (2, 0, 2));
    }

    #[test]
    fn concurrent_callers_share_one_run() {
        const CALLERS: u64 = 8;
        let model = Counting::new(Some(Barrier::new(2)));
        let cache = CachedEmbedder::new(model.clone(), 10);
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| scope.spawn(|| cache.embed_query("same").unwrap().cached))
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
            cache.embed_query(&format!("query {number}")).unwrap();
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries() <= 16, "{}", cache.entries());
    }

    #[test]
    fn without_entries_nothing_is_kept() {
        let model = Counting::new(None);
        let cache = CachedEmbedder::new(model.clone(), 0);
        for _ in 0..3 {
            assert!(!cache.embed_query("same").unwrap().cached);
            cache.entries.run_pending_tasks();
        }
        assert_eq!(model.calls(), 3);
    }
}
