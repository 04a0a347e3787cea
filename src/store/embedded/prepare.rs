//! What a write needs of its documents and can have before it holds the store: text as terms,
//! vectors as bytes. Made on all cores: stemming is the largest part of an insert that is not
//! SQLite's.

use crate::domain::{Chunk, EmbeddedDocument, Embedding};
use crate::terms;
use std::num::NonZeroUsize;

/// Chunks for which another thread is worth starting.
const CHUNKS_PER_THREAD: usize = 64;

/// One chunk as the store keeps it.
pub(super) struct PreparedChunk<'a> {
    pub(super) chunk: &'a Chunk,
    /// Terms of the text index, separated by spaces.
    pub(super) terms: String,
    /// f32, little endian.
    pub(super) vector: Vec<u8>,
}

/// A document with all its chunks.
pub(super) struct Prepared<'a> {
    pub(super) document: &'a EmbeddedDocument,
    pub(super) chunks: Vec<PreparedChunk<'a>>,
}

/// The documents in the same order.
pub(super) fn prepare(documents: &[EmbeddedDocument]) -> Vec<Prepared<'_>> {
    let chunks: usize = documents.iter().map(|document| document.chunks.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = cores.min(chunks / CHUNKS_PER_THREAD).max(1);
    let share = documents.len().div_ceil(threads).max(1);
    let mut shares = documents.chunks(share);
    let mine = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| (share, scope.spawn(|| prepare_all(share))))
            .collect();
        let mut prepared = prepare_all(mine);
        for (share, thread) in others {
            // A thread that failed is no reason to lose documents: their turn comes again here.
            prepared.extend(thread.join().unwrap_or_else(|_| prepare_all(share)));
        }
        prepared
    })
}

fn prepare_all(documents: &[EmbeddedDocument]) -> Vec<Prepared<'_>> {
    let prepare_one = |document| Prepared {
        document,
        chunks: document.chunks.iter().map(prepare_chunk).collect(),
    };
    documents.iter().map(prepare_one).collect()
}

fn prepare_chunk((chunk, vector): &(Chunk, Embedding)) -> PreparedChunk<'_> {
    let values = vector.as_slice().iter();
    PreparedChunk {
        chunk,
        terms: text_terms(chunk),
        vector: values.flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// The terms by which a chunk is found, separated by spaces.
pub(super) fn text_terms(chunk: &Chunk) -> String {
    terms::index_terms(&chunk.embedding_text()).join(" ")
}
