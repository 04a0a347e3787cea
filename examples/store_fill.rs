//! Fills an embedded store with given vectors, for `perf/bench/http_vs_chroma.sh`.
//!
//!     cargo run --release --example store_fill -- FOLDER VECTORS.f32 [BATCH]
//!
//! FOLDER must not exist. VECTORS.f32 holds little-endian f32, 384 a vector. They are recorded as
//! the local model's, one document of one chunk each, sources `0.md`, `1.md`, … Prints one line of
//! JSON with the rate of inserts, synced to disk.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use alfred::clock::{Clock, SystemClock};
use alfred::domain::{
    Chunk, CollectionName, ContentHash, EmbeddedDocument, Embedding, Metadata, ModelId, SourceName,
};
use alfred::store::EmbeddingRepo;
use alfred::store::embedded::EmbeddedStore;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Length of the vectors of all-MiniLM-L6-v2.
const DIMENSIONS: usize = 384;
/// Documents of one call where none are named: the batch that Chroma's documentation advises.
const BATCH: usize = 5_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(file)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: store_fill FOLDER VECTORS.f32 [BATCH]");
    };
    let batch_size: usize = arguments.next().map_or(Ok(BATCH), |text| text.parse())?;
    ensure!(batch_size > 0, "BATCH must be at least 1");
    ensure!(!Path::new(&folder).exists(), "{folder} exists already");
    let bytes = std::fs::read(&file).with_context(|| format!("reading {file}"))?;
    let (vectors, rest) = bytes.as_chunks::<{ DIMENSIONS * 4 }>();
    ensure!(rest.is_empty(), "{file} ends within a vector");
    let store = EmbeddedStore::open(Path::new(&folder), Arc::new(SystemClock))?;
    let model = ModelId {
        name: "all-MiniLM-L6-v2".to_owned(),
        dimensions: DIMENSIONS,
    };
    let mut spent = Duration::ZERO;
    for (number, batch) in vectors.chunks(batch_size).enumerate() {
        let documents = batch
            .iter()
            .enumerate()
            .map(|(offset, vector)| document(number * batch_size + offset, vector))
            .collect::<Result<Vec<_>>>()?;
        let start = SystemClock.monotonic();
        for outcome in store.upsert_embeddings(&model, &documents)? {
            outcome?;
        }
        spent += start.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let rate = vectors.len() as f64 / spent.as_secs_f64();
    println!(
        "{{\"vectors\": {}, \"insert_per_s\": {rate:.0}}}",
        vectors.len()
    );
    Ok(())
}

fn document(number: usize, vector: &[u8; DIMENSIONS * 4]) -> Result<EmbeddedDocument> {
    let (values, _) = vector.as_chunks::<4>();
    let values = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let chunk = Chunk {
        position: 0,
        title_path: Vec::new(),
        page: None,
        text: format!("passage number {number} of the corpus. ").repeat(12),
        tokens: 84,
    };
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    Ok(EmbeddedDocument {
        collection: CollectionName::default(),
        source: SourceName::new(&format!("{number}.md"))?,
        title: String::new(),
        metadata: Metadata::default(),
        content_hash: ContentHash(hash),
        bytes: chunk.text.len() as u64,
        chunks: vec![(chunk, Embedding::normalised(values)?)],
    })
}
