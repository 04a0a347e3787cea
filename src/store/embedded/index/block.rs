//! Rows of vectors in memory, in blocks that are shared between snapshots.

use super::quantise::{GROUP_ROWS, code_words, quantise, sign_code};
use std::sync::Arc;

/// Rows of one block: a write copies at most the last block, 0.5 MB at 384 dimensions.
pub(crate) const BLOCK_ROWS: usize = 1_024;

/// One bit a row of a block.
pub(crate) type Bits = [u32; BLOCK_ROWS / GROUP_ROWS];

/// What a row is to the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowIds {
    /// The chunk; ascending over rows.
    pub(crate) chunk: i64,
    /// Its document; ascending over rows, too.
    pub(crate) document: i64,
}

/// The rows themselves: only ever appended to.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pub(crate) chunks: Vec<i64>,
    pub(crate) documents: Vec<i64>,
    /// `quantised × scale` is the vector.
    pub(crate) scales: Vec<f32>,
    /// `dimensions` values a row.
    pub(crate) quantised: Vec<i8>,
    /// Groups of `code_words × GROUP_ROWS`; empty while the collection has no centre.
    pub(crate) codes: Vec<u64>,
}

impl Rows {
    /// The 8-bit vector of a row.
    pub(crate) fn vector(&self, row: usize, dimensions: usize) -> &[i8] {
        &self.quantised[row * dimensions..(row + 1) * dimensions]
    }

    fn push(&mut self, ids: RowIds, vector: &[f32], centre: Option<&[f32]>) {
        let row = self.chunks.len();
        self.chunks.push(ids.chunk);
        self.documents.push(ids.document);
        let scale = quantise(vector, &mut self.quantised);
        self.scales.push(scale);
        if let Some(centre) = centre {
            self.set_code(row, vector, centre);
        }
    }

    fn set_code(&mut self, row: usize, vector: &[f32], centre: &[f32]) {
        let words = code_words(vector.len());
        let group = row / GROUP_ROWS * words * GROUP_ROWS;
        if self.codes.len() < group + words * GROUP_ROWS {
            self.codes.resize(group + words * GROUP_ROWS, 0);
        }
        for (word, bits) in sign_code(vector, centre).enumerate() {
            self.codes[group + word * GROUP_ROWS + row % GROUP_ROWS] = bits;
        }
    }

    /// The vector of a row as far as 8 bits kept it.
    pub(crate) fn restored(&self, row: usize, dimensions: usize) -> Vec<f32> {
        let scale = self.scales[row];
        let vector = self.vector(row, dimensions).iter();
        vector.map(|v| f32::from(*v) * scale).collect()
    }

    /// Makes the codes anew, from the 8-bit vectors.
    pub(crate) fn encode(&mut self, dimensions: usize, centre: &[f32]) {
        for row in 0..self.chunks.len() {
            let vector = self.restored(row, dimensions);
            self.set_code(row, &vector, centre);
        }
    }

    fn memory_bytes(&self) -> usize {
        8 * (self.chunks.capacity() + self.documents.capacity() + self.codes.capacity())
            + 4 * self.scales.capacity()
            + self.quantised.capacity()
    }
}

/// At most [`BLOCK_ROWS`] rows, and which of them are alive.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) rows: Arc<Rows>,
    pub(crate) alive: Bits,
    pub(crate) live: usize,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self {
            rows: Arc::default(),
            alive: Bits::default(),
            live: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.chunks.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() == BLOCK_ROWS
    }

    pub(crate) fn is_alive(&self, row: usize) -> bool {
        self.alive[row / GROUP_ROWS] >> (row % GROUP_ROWS) & 1 == 1
    }

    pub(crate) fn push(&mut self, ids: RowIds, vector: &[f32], centre: Option<&[f32]>) {
        let row = self.len();
        Arc::make_mut(&mut self.rows).push(ids, vector, centre);
        self.alive[row / GROUP_ROWS] |= 1 << (row % GROUP_ROWS);
        self.live += 1;
    }

    /// Marks the rows of a document dead; returns how many there were.
    pub(crate) fn remove_document(&mut self, document: i64) -> usize {
        let first = self.rows.documents.partition_point(|d| *d < document);
        let mut removed = 0;
        for row in first..self.len() {
            if self.rows.documents[row] != document {
                break;
            }
            if self.is_alive(row) {
                self.alive[row / GROUP_ROWS] &= !(1 << (row % GROUP_ROWS));
                removed += 1;
            }
        }
        self.live -= removed;
        removed
    }

    /// The live rows of both, in order, in a new block.
    pub(crate) fn merged(&self, next: &Self, dimensions: usize, centre: Option<&[f32]>) -> Self {
        let mut merged = Self::new();
        for block in [self, next] {
            for row in (0..block.len()).filter(|row| block.is_alive(*row)) {
                let target = merged.len();
                let rows = Arc::make_mut(&mut merged.rows);
                rows.chunks.push(block.rows.chunks[row]);
                rows.documents.push(block.rows.documents[row]);
                rows.scales.push(block.rows.scales[row]);
                rows.quantised
                    .extend_from_slice(block.rows.vector(row, dimensions));
                merged.alive[target / GROUP_ROWS] |= 1 << (target % GROUP_ROWS);
                merged.live += 1;
            }
        }
        if let Some(centre) = centre {
            Arc::make_mut(&mut merged.rows).encode(dimensions, centre);
        }
        merged
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<Rows>() + self.rows.memory_bytes()
    }
}
