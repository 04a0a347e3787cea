//! Configuration to parts: opens the store and the model, and puts the use cases together.

use crate::chunking::ChunkLimits;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::domain::ModelId;
use crate::embed::{CachedEmbedder, EmbedError, Embedder, LocalModel, ModelPaths};
use crate::failure::Failure;
use crate::ingest::Ingester;
use crate::search::Searcher;
use crate::store::embedded::EmbeddedStore;
use crate::store::{EmbeddingRepo, StoreError};
use std::sync::Arc;

/// The store that is configured; an embedded one is made when it is not there.
pub(super) fn open_store(config: &Config) -> Result<Arc<EmbeddedStore>, Failure> {
    EmbeddedStore::open(&config.store_dir, Arc::new(SystemClock))
        .map(Arc::new)
        .map_err(store_failure)
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
    let repo = open_store(config)?;
    let recorded = repo.model().map_err(store_failure)?;
    let embedder: Arc<dyn Embedder> = open_model(config, recorded.as_ref())?;
    let repo: Arc<dyn EmbeddingRepo> = repo;
    let cached = CachedEmbedder::new(Arc::clone(&embedder), config.raw.embedding.cache_entries);
    let searcher = Searcher::new(cached, Arc::clone(&repo), Arc::new(SystemClock));
    let limits = &config.raw.ingest;
    let ingester = Ingester {
        limits: ChunkLimits {
            max_tokens: limits.chunk_tokens.min(embedder.max_tokens()),
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
