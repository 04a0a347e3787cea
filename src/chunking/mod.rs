//! PURE: text with structure to chunks bounded in the model's own tokens.
//!
//! Three steps, each linear in the text:
//! 1. [`sections`]: blocks under the same headings, each section with its title path;
//! 2. [`pieces`]: sections to parts that are never cut (a sentence, a listing, a row), each counted
//!    once;
//! 3. [`pack`]: neighbouring small sections join, and pieces fill chunks, cut where it hurts least.
//!
//! Invariants: no chunk is empty or over the limit, positions are 0 to n - 1, every character of
//! the text that is not white space is in a chunk or in its title path, and in order. What one
//! chunk repeats of the one before is whole sentences of the same section.

mod pack;
mod pieces;
mod sections;

use crate::domain::{Chunk, ExtractedText};

/// How chunks are bounded, in tokens of the model, special tokens not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Most tokens of [`Chunk::embedding_text`], title path included: 32 to the model's maximum.
    pub max_tokens: usize,
    /// Tokens of the end of one chunk that the next one repeats: 0 to a quarter of `max_tokens`.
    pub overlap_tokens: usize,
}

impl ChunkLimits {
    /// Bytes of text for each token of the limit. Models count any word that they cannot read, and
    /// any run of white space, as one token or none; this bounds what such a text amounts to.
    const BYTES_PER_TOKEN: usize = 32;

    /// Most bytes of a chunk's text.
    #[must_use]
    pub fn max_bytes(self) -> usize {
        self.max_tokens * Self::BYTES_PER_TOKEN
    }
}

/// Cuts a document into chunks. `count` gives the tokens of a text and is additive over parts that
/// were split at white space.
#[must_use]
pub fn chunk(
    text: &ExtractedText,
    limits: ChunkLimits,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Chunk> {
    pack(text, limits, count)
        .into_iter()
        .map(|draft| draft.chunk)
        .collect()
}

fn pack(
    text: &ExtractedText,
    limits: ChunkLimits,
    count: &dyn Fn(&str) -> usize,
) -> Vec<pack::Draft> {
    let sections = sections::sections(text, limits, count);
    let pieces = pieces::pieces(&sections, limits, count);
    pack::Packer::new(&sections, &pieces, limits, count).pack()
}

#[cfg(test)]
mod tests;
