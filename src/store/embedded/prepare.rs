//! What a write needs of its documents and can have before it holds the store: text as terms,
//! vectors as bytes. Made on all cores: stemming is the largest part of an insert that is not
//! SQLite's.

use crate::domain::{Chunk, EmbeddedDocument, Embedding};
use crate::store::spread::spread;
use crate::terms;

/// One chunk as the store keeps it.
pub(super) struct PreparedChunk<'a> {
    pub(super) chunk: &'a Chunk,
    /// Terms of the text index, separated by spaces.
    pub(super) terms: String,
    /// f32, little endian, and the checksum of these bytes.
    pub(super) vector: Vec<u8>,
}

/// A document with all its chunks.
pub(super) struct Prepared<'a> {
    pub(super) document: &'a EmbeddedDocument,
    pub(super) chunks: Vec<PreparedChunk<'a>>,
}

/// The documents in the same order.
pub(super) fn prepare(documents: &[EmbeddedDocument]) -> Vec<Prepared<'_>> {
    spread(
        documents,
        |document| document.chunks.len(),
        |document| Prepared {
            document,
            chunks: document.chunks.iter().map(prepare_chunk).collect(),
        },
    )
}

fn prepare_chunk((chunk, vector): &(Chunk, Embedding)) -> PreparedChunk<'_> {
    let values = vector.as_slice().iter();
    let mut vector: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    vector.extend(crc32fast::hash(&vector).to_le_bytes());
    PreparedChunk {
        chunk,
        terms: text_terms(chunk),
        vector,
    }
}

/// The terms by which a chunk is found, separated by spaces.
pub(super) fn text_terms(chunk: &Chunk) -> String {
    terms::index_terms(&chunk.embedding_text()).join(" ")
}
