//! Configuration to parts: opens the store and the model, and puts the use cases together.

use crate::chunking::ChunkLimits;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::ModelId;
use crate::embed::{CachedEmbedder, EmbedError, Embedder, LocalModel, ModelPaths};
use crate::failure::Failure;
use crate::ingest::Ingester;
use crate::search::Searcher;
use crate::store::embedded::EmbeddedStore;
use crate::store::{EmbeddingRepo, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often a store that is busy is tried again before it is said to be.
const OPEN_RETRIES: u32 = 20;
/// The pause between two tries.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// How a store is opened.
type Open = fn(&Path, Arc<dyn Clock>) -> Result<EmbeddedStore, StoreError>;

/// The store that is configured.
fn open_store(config: &Config, open: Open) -> Result<Arc<EmbeddedStore>, Failure> {
    let open = || open(&config.store_dir, Arc::new(SystemClock));
    // Another process may be making the very same store.
    for _ in 0..OPEN_RETRIES {
        match open() {
            Err(StoreError::Busy { .. }) => SystemClock.sleep(OPEN_PAUSE),
            opened => return opened.map(Arc::new).map_err(store_failure),
        }
    }
    open().map(Arc::new).map_err(store_failure)
}

/// Where models are looked for.
pub(super) fn model_paths(config: &Config) -> ModelPaths {
    ModelPaths::standard(
        config.models_dir.clone(),
        Some(config.data_home.join("models")),
    )
}

/// The model that is configured; where none is said, the one recorded in the store.
pub(super) fn open_model(
    config: &Config,
    recorded: Option<&ModelId>,
) -> Result<Arc<LocalModel>, Failure> {
    let name = match recorded {
        Some(recorded) if !config.is_said("embedding.model") => &recorded.name,
        _ => &config.raw.embedding.model,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = model_paths(config)
        .find(name)
        .and_then(|folder| LocalModel::open(&folder, threads));
    let model = model.map_err(embed_failure)?;
    match recorded {
        Some(stored) if stored != model.model() => Err(store_failure(StoreError::ModelMismatch {
            location: config.store_dir.display().to_string(),
            stored: stored.clone(),
            offered: model.model().clone(),
        })),
        _ => Ok(Arc::new(model)),
    }
}

/// What answers, and what stores: one store and one model behind both.
pub(super) struct Parts {
    /// Answers questions.
    pub(super) searcher: Arc<Searcher>,
    /// Stores documents.
    pub(super) ingester: Arc<Ingester>,
}

/// Opens everything that is local.
pub(super) fn open(config: &Config) -> Result<Parts, Failure> {
    assemble(config, open_store(config, EmbeddedStore::open)?)
}

/// As [`open`], over a store that is there and may perhaps only be read.
pub(super) fn open_for_reading(config: &Config) -> Result<Parts, Failure> {
    assemble(config, open_store(config, EmbeddedStore::open_for_reading)?)
}

fn assemble(config: &Config, repo: Arc<EmbeddedStore>) -> Result<Parts, Failure> {
    let recorded = repo.model().map_err(store_failure)?;
    let embedder: Arc<dyn Embedder> = open_model(config, recorded.as_ref())?;
    let repo: Arc<dyn EmbeddingRepo> = repo;
    let cached = CachedEmbedder::new(Arc::clone(&embedder), config.raw.embedding.cache_entries);
    let searcher = Searcher::new(cached, Arc::clone(&repo), Arc::new(SystemClock));
    let limits = &config.raw.ingest;
    if limits.chunk_tokens > embedder.max_tokens() {
        let what = format!(
            "`ingest.chunk_tokens` is {}, and {} reads at most {}",
            limits.chunk_tokens,
            embedder.model().name,
            embedder.max_tokens()
        );
        return Err(Failure::configuration(what).hint("set it to that or less"));
    }
    let ingester = Ingester {
        limits: ChunkLimits {
            max_tokens: limits.chunk_tokens,
            overlap_tokens: limits.overlap_tokens,
        },
        batch: limits.batch,
        extract: extractor(),
        embedder,
        repo,
    };
    Ok(Parts {
        searcher: Arc::new(searcher),
        ingester: Arc::new(ingester),
    })
}

/// Takes text out of files, in worker processes that a bad file may crash.
pub(super) fn extractor() -> Arc<crate::ingest::Extract> {
    let extractor = crate::extract::Extractor::of_this_program();
    Arc::new(move |format, bytes: &[u8]| extractor.extract(format, bytes))
}

/// A store's error as a failure with its hint.
pub(super) fn store_failure(error: StoreError) -> Failure {
    let hint = error.hint();
    Failure::failed("the store cannot be used")
        .because(error)
        .maybe_hint(hint)
}

/// An embedding error as a failure with its hint.
pub(super) fn embed_failure(error: EmbedError) -> Failure {
    let hint = error.hint();
    Failure::failed("the embedding model cannot be used")
        .because(error)
        .maybe_hint(hint)
}
