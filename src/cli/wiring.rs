//! Configuration to parts: opens the store and the model, and puts the use cases together.

use super::providers;
use crate::chunking::ChunkLimits;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::config::{Changes, Config, EmbeddingKind, StoreKind};
use crate::domain::ModelId;
use crate::embed::openai::own_dimensions;
use crate::embed::{
    CachedEmbedder, EmbedError, Embedder, Gatherer, LocalModel, ModelPaths, RedisAddress,
    RedisCache, TimedEmbedder,
};
use crate::extract::Extractor;
use crate::failure::Failure;
use crate::ingest::Ingester;
use crate::provider::Stats;
use crate::search::Searcher;
use crate::store::embedded::EmbeddedStore;
use crate::store::postgres::{PostgresSettings, PostgresStore, Quantization};
use crate::store::{EmbeddingRepo, StoreError};
use crate::telemetry::metrics::{Metrics, PoolMetrics};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often a store that is busy is tried again before it is said to be.
const OPEN_RETRIES: u32 = 20;
/// The pause between two tries.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// How long the daemon waits for the database before it starts without knowing what is in there.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// How a store on this machine is opened.
type Open = fn(&Path, Arc<dyn Clock>) -> Result<EmbeddedStore, StoreError>;

/// What for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Serve,
    Write,
    Read,
}

/// The store that is configured.
fn open_store(
    config: &Config,
    purpose: Purpose,
    metrics: &Metrics,
) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    match (config.store_kind, purpose) {
        (StoreKind::Postgres, Purpose::Serve) => start_postgres(config, metrics),
        (StoreKind::Postgres, Purpose::Write | Purpose::Read) => Ok(Arc::new(postgres(config)?)),
        (StoreKind::Embedded, Purpose::Read) => embedded(&config.store_dir, false),
        (StoreKind::Embedded, _) => embedded(&config.store_dir, true),
    }
}

fn open_embedded(folder: &Path, open: Open) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    let open = || open(folder, Arc::new(SystemClock));
    let shared = |store: EmbeddedStore| -> Arc<dyn EmbeddingRepo> { Arc::new(store) };
    // Another process may be making the very same store.
    for _ in 0..OPEN_RETRIES {
        match open() {
            Err(StoreError::Busy { .. }) => SystemClock.sleep(OPEN_PAUSE),
            opened => return opened.map(shared).map_err(store_failure),
        }
    }
    open().map(shared).map_err(store_failure)
}

/// The store in PostgreSQL, up to date and ready.
pub(super) fn postgres(config: &Config) -> Result<PostgresStore, Failure> {
    PostgresStore::open(postgres_settings(config)).map_err(store_failure)
}

/// The database of `store.dsn`, whichever store is configured.
pub(super) fn postgres_of_dsn(config: &Config) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    if config.raw.store.dsn.is_empty() {
        return Err(Failure::configuration("`store.dsn` is not set")
            .hint("set POSTGRES_DSN, as postgresql://alfred@localhost/alfred"));
    }
    Ok(Arc::new(postgres(config)?))
}

/// The store in a folder, whichever store is configured.
pub(super) fn embedded(folder: &Path, to_write: bool) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    if to_write {
        open_embedded(folder, EmbeddedStore::open)
    } else {
        open_embedded(folder, EmbeddedStore::open_for_reading)
    }
}

/// The same for a daemon, which does not wait for a database that is away.
fn start_postgres(config: &Config, metrics: &Metrics) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    let settings = PostgresSettings {
        metrics: metrics.pool.clone(),
        ..postgres_settings(config)
    };
    let store = PostgresStore::start(settings).map_err(store_failure)?;
    let until = Deadline::after(&SystemClock, FIRST_LOOK);
    while store.health().is_err() && until.remaining(&SystemClock) != Some(Duration::ZERO) {
        SystemClock.sleep(Duration::from_millis(10));
    }
    Ok(Arc::new(store))
}

pub(super) fn postgres_settings(config: &Config) -> PostgresSettings {
    let store = &config.raw.store;
    PostgresSettings {
        dsn: store.dsn.clone(),
        pool_size: store.pool_size,
        max_reads: store.max_reads,
        pool_timeout: Duration::from_millis(store.pool_timeout_ms),
        statement_timeout: Duration::from_millis(store.statement_timeout_ms),
        ef_search: store.ef_search,
        quantization: Quantization::of_name(&store.quantization).unwrap_or_default(),
        search_path: None,
        metrics: PoolMetrics::default(),
    }
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
    stats: &Arc<Stats>,
) -> Result<Arc<dyn Embedder>, Failure> {
    Ok(match providers::kind(config, recorded) {
        EmbeddingKind::OpenAi => Arc::new(providers::embedder(config, recorded, stats)?),
        EmbeddingKind::Local => Arc::new(open_local(config, recorded)?),
    })
}

fn open_local(config: &Config, recorded: Option<&ModelId>) -> Result<LocalModel, Failure> {
    let is_ours = |model: &&ModelId| own_dimensions(&model.name).is_none();
    let name = match recorded.filter(is_ours) {
        Some(recorded) if !config.is_said("embedding.model") => &recorded.name,
        _ => &config.raw.embedding.model,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = model_paths(config)
        .find(name)
        .and_then(|folder| LocalModel::open(&folder, threads));
    model.map_err(embed_failure)
}

/// What answers, and what stores: one store and one model behind both.
#[derive(Clone)]
pub(super) struct Parts {
    /// Answers questions.
    pub(super) searcher: Arc<Searcher>,
    /// Stores documents.
    pub(super) ingester: Arc<Ingester>,
    /// What providers were asked, where there are any.
    pub(super) provider_stats: Option<Arc<Stats>>,
    /// Processes that take text out of files.
    pub(super) workers: Arc<Extractor>,
    /// What all of this counts in; the same after a reload.
    pub(super) metrics: Arc<Metrics>,
    stats: Arc<Stats>,
}

/// Opens everything that is local.
pub(super) fn open(config: &Config) -> Result<Parts, Failure> {
    assemble(config, Purpose::Write)
}

/// As [`open`], without waiting for what is remote.
pub(super) fn open_for_serving(config: &Config) -> Result<Parts, Failure> {
    assemble(config, Purpose::Serve)
}

/// As [`open`], over a store that is there and may perhaps only be read.
pub(super) fn open_for_reading(config: &Config) -> Result<Parts, Failure> {
    assemble(config, Purpose::Read)
}

fn assemble(config: &Config, purpose: Purpose) -> Result<Parts, Failure> {
    let metrics = Arc::<Metrics>::default();
    let repo = open_store(config, purpose, &metrics)?;
    let recorded = recorded(&*repo)?;
    let stats = Arc::new(Stats::counting(metrics.provider.clone()));
    let embedder = open_model(config, recorded.as_ref(), &stats)?;
    repo.fits(embedder.model()).map_err(store_failure)?;
    let counts = Counts { stats, metrics };
    let cached = Arc::new(cached(config, &counts.timed(embedder), &counts.metrics)?);
    put_together(config, repo, cached, counts)
}

/// What is counted in, from the start of the daemon to its end.
#[derive(Clone)]
struct Counts {
    stats: Arc<Stats>,
    metrics: Arc<Metrics>,
}

impl Counts {
    fn timed(&self, embedder: Arc<dyn Embedder>) -> Arc<dyn Embedder> {
        Arc::new(TimedEmbedder::new(embedder, &self.metrics.embedding))
    }
}

/// The model of what is stored, as far as can be said without waiting for a database.
fn recorded(repo: &dyn EmbeddingRepo) -> Result<Option<ModelId>, Failure> {
    match repo.model() {
        // A daemon waits for its database while it serves.
        Err(StoreError::Unavailable { .. } | StoreError::Busy { .. }) => Ok(None),
        recorded => recorded.map_err(store_failure),
    }
}

/// The parts after `changes`; what they do not touch is the same as before.
///
/// # Errors
/// When the new configuration cannot be used; `parts` go on.
pub(super) fn renew(parts: &Parts, config: &Config, changes: &Changes) -> Result<Parts, Failure> {
    let mut repo = Arc::clone(parts.searcher.repo());
    if config.store_kind == StoreKind::Postgres && changes.touch(&["store."]) {
        repo = start_postgres(config, &parts.metrics)?;
        repo.health().map_err(store_failure)?;
    }
    let counts = Counts {
        stats: Arc::clone(&parts.stats),
        metrics: Arc::clone(&parts.metrics),
    };
    let mut cached = Arc::clone(parts.searcher.cache());
    if changes.touch(&["embedding."]) {
        let mut embedder = Arc::clone(parts.searcher.embedder());
        if embedder.provider() != "local" {
            let recorded = Some(embedder.model().clone());
            let opened = open_model(config, recorded.as_ref(), &parts.stats)?;
            embedder = counts.timed(opened);
        }
        cached = Arc::new(self::cached(config, &embedder, &counts.metrics)?);
    }
    repo.fits(cached.embedder().model())
        .map_err(store_failure)?;
    put_together(config, repo, cached, counts)
}

fn put_together(
    config: &Config,
    repo: Arc<dyn EmbeddingRepo>,
    cached: Arc<CachedEmbedder>,
    counts: Counts,
) -> Result<Parts, Failure> {
    let Counts { stats, metrics } = counts;
    let embedder = Arc::clone(cached.embedder());
    let generator = providers::generator(config, &stats)?;
    let has_provider = generator.is_some() || embedder.provider() != "local";
    let searcher = Searcher::new(cached, Arc::clone(&repo), Arc::new(SystemClock))
        .with_generator(generator)
        .timed(metrics.repo.clone());
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
    let workers = Arc::new(Extractor::of_this_program());
    let ingester = Ingester {
        limits: ChunkLimits {
            max_tokens: limits.chunk_tokens,
            overlap_tokens: limits.overlap_tokens,
        },
        batch: limits.batch,
        metrics: metrics.repo.clone(),
        extract: extracting_with(Arc::clone(&workers)),
        embedder,
        repo,
    };
    Ok(Parts {
        searcher: Arc::new(searcher),
        ingester: Arc::new(ingester),
        provider_stats: has_provider.then(|| Arc::clone(&stats)),
        stats,
        metrics,
        workers,
    })
}

/// The caches in front of `embedder`.
fn cached(
    config: &Config,
    embedder: &Arc<dyn Embedder>,
    metrics: &Metrics,
) -> Result<CachedEmbedder, Failure> {
    let settings = &config.raw.embedding;
    let mut cached = CachedEmbedder::new(Arc::clone(embedder), settings.cache_entries)
        .counting(metrics.cache.clone());
    if embedder.provider() != "local" {
        cached = cached.gathering(Gatherer::new(Arc::clone(embedder), settings.batch_max));
    }
    if let Some(address) = redis_address(config)? {
        let timeout = Duration::from_millis(settings.redis_timeout_ms);
        let redis = RedisCache::start(address, timeout)
            .map_err(|error| Failure::failed("cannot start a thread for Redis").because(error))?;
        cached = cached.with_shared(Box::new(redis));
    }
    Ok(cached)
}

/// The Redis that is configured, if any. Whether it is there is no question of configuration.
pub(super) fn redis_address(config: &Config) -> Result<Option<RedisAddress>, Failure> {
    let url = &config.raw.embedding.redis_url;
    if url.is_empty() {
        return Ok(None);
    }
    let address = RedisAddress::parse(url).map_err(|problem| {
        Failure::configuration("`embedding.redis_url` is no address of a Redis")
            .because(problem)
            .hint("as redis://:PASSWORD@cache.internal:6379/0, or rediss:// for TLS")
    });
    address.map(Some)
}

/// Whether `store.dsn` can be read. Whether the database is there is no question of configuration.
pub(super) fn check_dsn(config: &Config) -> Result<(), Failure> {
    let dsn = &config.raw.store.dsn;
    if config.store_kind != StoreKind::Postgres {
        return Ok(());
    }
    crate::store::postgres::check_dsn(dsn).map_err(|problem| {
        Failure::configuration("`store.dsn` cannot be read")
            .because(problem)
            .hint("as postgresql://alfred@localhost/alfred")
    })
}

/// Takes text out of files, in worker processes that a bad file may crash.
pub(super) fn extractor() -> Arc<crate::ingest::Extract> {
    extracting_with(Arc::new(Extractor::of_this_program()))
}

fn extracting_with(workers: Arc<Extractor>) -> Arc<crate::ingest::Extract> {
    Arc::new(move |format, bytes: &[u8]| workers.extract(format, bytes))
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
