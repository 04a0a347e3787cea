//! Measures the embedded store on synthetic vectors: unit vectors in 2,000 clusters (a random
//! centre plus 0.7 times as much noise), each with a text of Zipf-distributed words.
//!
//!     cargo run --release --example store_bench -- FOLDER [COUNT] [DIMENSIONS] [QUERIES]
//!
//! FOLDER is emptied first. Prints one `name value unit` a line.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use alfred::clock::{Clock, SystemClock};
use alfred::domain::{
    Chunk, CollectionName, ContentHash, EmbeddedDocument, Embedding, Filter, Metadata, Mode,
    ModelId, QueryText, SourceName,
};
use alfred::store::embedded::EmbeddedStore;
use alfred::store::{EmbeddingRepo, SearchRequest};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Documents of one call: what `alfred ingest --batch 128` sends at once.
const BATCH: usize = 128;
const CLUSTERS: usize = 2_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .context("usage: store_bench FOLDER [COUNT]")?;
    let mut number = |default: usize| -> Result<usize> {
        Ok(arguments.next().map_or(Ok(default), |text| text.parse())?)
    };
    let (count, dimensions, queries) = (number(100_000)?, number(384)?, number(1_000)?);
    let folder = Path::new(&folder);
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let mut source = Source::new(dimensions);
    let vectors: Vec<Embedding> = (0..count).map(|_| source.vector()).collect::<Result<_>>()?;
    insert(folder, &mut source, &vectors)?;

    let start = SystemClock.monotonic();
    let store = EmbeddedStore::open(folder, Arc::new(SystemClock))?;
    println!("open {:.1} ms", ms(start));
    let info = store.info()?;
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    {
        println!(
            "memory {:.0} bytes/vector",
            info.memory_bytes as f64 / count as f64
        );
        println!(
            "disk {:.0} bytes/vector",
            info.disk_bytes as f64 / count as f64
        );
    }
    let questions: Vec<(Embedding, QueryText)> = (0..queries)
        .map(|_| Ok((source.vector()?, QueryText::new(&source.text(6))?)))
        .collect::<Result<_>>()?;
    recall(&store, &vectors, &questions)?;
    for (mode, share) in [(Mode::Vector, 1), (Mode::Text, 10), (Mode::Hybrid, 10)] {
        latency(
            &store,
            mode,
            &questions[..queries / share],
            &Filter::default(),
            "",
        )?;
    }
    for (name, value) in [("one_percent", "parity"), ("half", "half")] {
        let filter = Filter::new([(value.to_owned(), 1.into())])?;
        latency(&store, Mode::Vector, &questions, &filter, name)?;
    }
    Ok(())
}

fn insert(folder: &Path, source: &mut Source, vectors: &[Embedding]) -> Result<()> {
    let store = EmbeddedStore::open(folder, Arc::new(SystemClock))?;
    let model = ModelId {
        name: "synthetic".to_owned(),
        dimensions: vectors[0].dimensions(),
    };
    let mut spent = Duration::ZERO;
    for (number, batch) in vectors.chunks(BATCH).enumerate() {
        let documents = batch
            .iter()
            .enumerate()
            .map(|(offset, vector)| source.document(number * BATCH + offset, vector))
            .collect::<Result<Vec<_>>>()?;
        let start = SystemClock.monotonic();
        for outcome in store.upsert_embeddings(&model, &documents)? {
            outcome?;
        }
        spent += start.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let rate = vectors.len() as f64 / spent.as_secs_f64();
    println!("insert {rate:.0} vectors/s");
    Ok(())
}

/// Recall at 10 of vector search against the exact scan.
fn recall(
    store: &dyn EmbeddingRepo,
    vectors: &[Embedding],
    questions: &[(Embedding, QueryText)],
) -> Result<()> {
    let mut found = 0;
    let questions = &questions[..questions.len().min(200)];
    for (vector, text) in questions {
        let mut exact: Vec<(f32, usize)> = vectors
            .iter()
            .enumerate()
            .map(|(row, other)| (vector.cosine(other), row))
            .collect();
        exact.select_nth_unstable_by(9, |a, b| b.0.total_cmp(&a.0));
        let hits = store.search(&request(Mode::Vector, vector, text, &Filter::default(), 10))?;
        found += exact[..10]
            .iter()
            .filter(|(_, row)| hits.iter().any(|hit| hit.source == row.to_string()))
            .count();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let recall = found as f64 / (10 * questions.len()) as f64;
    println!("recall_at_10 {recall:.4}");
    Ok(())
}

fn latency(
    store: &dyn EmbeddingRepo,
    mode: Mode,
    questions: &[(Embedding, QueryText)],
    filter: &Filter,
    name: &str,
) -> Result<()> {
    for (vector, text) in questions.iter().take(10) {
        store.search(&request(mode, vector, text, filter, 3))?;
    }
    let mut times: Vec<f64> = Vec::with_capacity(questions.len());
    for (vector, text) in questions {
        let start = SystemClock.monotonic();
        store.search(&request(mode, vector, text, filter, 3))?;
        times.push(ms(start));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let separator = if name.is_empty() { "" } else { "_" };
    println!(
        "search_{mode:?}{separator}{name} p50 {:.3} p99 {:.3} ms (top 3, one thread)",
        at(50),
        at(99)
    );
    Ok(())
}

fn request<'a>(
    mode: Mode,
    vector: &'a Embedding,
    text: &'a QueryText,
    filter: &'a Filter,
    limit: usize,
) -> SearchRequest<'a> {
    static COLLECTION: std::sync::LazyLock<CollectionName> =
        std::sync::LazyLock::new(CollectionName::default);
    SearchRequest {
        collection: &COLLECTION,
        mode,
        text,
        embedding: Some(vector),
        filter,
        limit,
    }
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Random vectors and texts, the same in every run.
struct Source {
    state: u64,
    centres: Vec<Vec<f32>>,
}

impl Source {
    fn new(dimensions: usize) -> Self {
        let mut source = Self {
            state: 0x9e37_79b9_7f4a_7c15,
            centres: Vec::new(),
        };
        source.centres = (0..CLUSTERS)
            .map(|_| (0..dimensions).map(|_| source.normal()).collect())
            .collect();
        source
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "24 bits")]
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    /// Nearly normal (sum of four uniforms), mean 0, deviation 1.
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.uniform()).sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder below 2,000")]
    fn vector(&mut self) -> Result<Embedding> {
        let cluster = (self.next() % CLUSTERS as u64) as usize;
        let values = (0..self.centres[cluster].len())
            .map(|at| self.centres[cluster][at] + 0.7 * self.normal())
            .collect();
        Ok(Embedding::normalised(values)?)
    }

    /// Words of a vocabulary of 30,000 in which rank r has a share of about 1/r.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "e to less than 10.3 is below 30,000"
    )]
    fn text(&mut self, words: usize) -> String {
        let words: Vec<String> = (0..words)
            .map(|_| format!("w{}", (self.uniform() * 10.3).exp() as u32))
            .collect();
        words.join(" ")
    }

    fn document(&mut self, number: usize, vector: &Embedding) -> Result<EmbeddedDocument> {
        let mut metadata = serde_json::Map::new();
        metadata.insert("parity".to_owned(), (number % 100).into());
        metadata.insert("half".to_owned(), (number % 2).into());
        let chunk = Chunk {
            position: 0,
            title_path: Vec::new(),
            page: None,
            text: self.text(80),
            tokens: 80,
        };
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        Ok(EmbeddedDocument {
            collection: CollectionName::default(),
            source: SourceName::new(&number.to_string())?,
            title: String::new(),
            metadata: Metadata::new(metadata)?,
            content_hash: ContentHash(hash),
            bytes: 400,
            chunks: vec![(chunk, vector.clone())],
        })
    }
}
