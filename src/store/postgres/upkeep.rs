//! What keeps searches quick: the index, and the statistics that the planner reads.

use super::fault::Fault;
use super::model;
use super::settings::Quantization;
use super::shared::Shared;
use crate::clock::{Clock, SystemClock};
use crate::domain::ModelId;
use crate::store::StoreError;
use postgres::Client;
use std::time::Duration;

/// Who builds an index holds this. Another one than that of migrations, and only ever tried, never
/// waited for: a waiting statement would hold the very snapshot that `CONCURRENTLY` waits for.
const BUILD_LOCK: i64 = 0x616c_6672_6564_0001;
/// How often the lock is tried again.
const BUILD_PAUSE: Duration = Duration::from_millis(500);
/// Memory of an index build, in MiB: at least PostgreSQL's own default.
const BUILD_MIN_MIB: u64 = 64;
/// And at most this: what the database machine can spare is not known here.
const BUILD_MAX_MIB: u64 = 2_048;
/// Memory of the graph beside the vector itself, in bytes a row (m = 16, two levels and headers).
const GRAPH_BYTES: u64 = 400;

/// Builds the index that is wanted if it is missing. `wait`: for another process that builds it.
/// Returns whether it was built here.
pub(super) fn ensure_index(shared: &Shared, wait: bool) -> Result<bool, StoreError> {
    let Some(model) = shared.known_model() else {
        return Ok(false);
    };
    let wanted = shared
        .settings
        .quantization
        .for_dimensions(model.dimensions);
    let mut client = shared.pools.dedicated()?;
    let explain = |fault: Fault| fault.into_store(shared.location(), "building the index");
    if has(&mut client, wanted).map_err(explain)? {
        return Ok(false);
    }
    while !try_lock(&mut client).map_err(explain)? {
        if !wait {
            return Ok(false);
        }
        SystemClock.sleep(BUILD_PAUSE);
    }
    if has(&mut client, wanted).map_err(explain)? {
        return Ok(false);
    }
    build(&mut client, wanted, &model).map_err(explain)?;
    Ok(true)
}

fn has(client: &mut Client, kind: Quantization) -> Result<bool, Fault> {
    Ok(model::valid_indexes(client)?.contains(&kind))
}

fn try_lock(client: &mut Client) -> Result<bool, Fault> {
    let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&BUILD_LOCK])?;
    Ok(row.get(0))
}

fn build(client: &mut Client, kind: Quantization, model: &ModelId) -> Result<(), Fault> {
    let chunks = client.query_one("SELECT count(*) FROM documents", &[])?;
    let chunks = u64::try_from(chunks.get::<_, i64>(0)).unwrap_or_default();
    let mib = build_mib(kind, chunks, model.dimensions);
    tracing::info!(
        chunks,
        kind = kind.name(),
        memory_mib = mib,
        "building the vector index"
    );
    client.batch_execute(&format!("SET maintenance_work_mem = '{mib}MB'"))?;
    // What an interrupted build left behind is invalid and in the way.
    let name = model::index_name(kind);
    client.batch_execute(&format!("DROP INDEX IF EXISTS {name}"))?;
    client.batch_execute(&model::index_sql(kind, model.dimensions, "CONCURRENTLY"))?;
    tracing::info!(kind = kind.name(), "the vector index is built");
    for other in model::valid_indexes(client)? {
        if other != kind {
            let index = model::index_name(other);
            tracing::warn!(
                index,
                "this index is not needed any more: DROP INDEX CONCURRENTLY it"
            );
        }
    }
    Ok(())
}

fn build_mib(kind: Quantization, chunks: u64, dimensions: usize) -> u64 {
    let dimensions = u64::try_from(dimensions).unwrap_or(u64::MAX);
    let vector = match kind {
        Quantization::None => dimensions.saturating_mul(4),
        Quantization::Halfvec => dimensions.saturating_mul(2),
        Quantization::Binary => dimensions / 8,
    };
    let bytes = chunks.saturating_mul(vector.saturating_add(GRAPH_BYTES));
    (bytes >> 20).clamp(BUILD_MIN_MIB, BUILD_MAX_MIB)
}

/// Reads the statistics that the planner needs.
pub(super) fn analyze(shared: &Shared) -> Result<(), StoreError> {
    let mut client = shared.pools.dedicated()?;
    client
        .batch_execute("ANALYZE documents; ANALYZE alfred_sources")
        .map_err(|error| Fault::Sql(error).into_store(shared.location(), "analyzing the tables"))
}

/// Drops the index of a table that has no rows, so that many can be copied in at their full speed.
/// Returns whether it did; [`ensure_index`] makes it again.
pub(super) fn drop_index_of_empty(shared: &Shared) -> Result<bool, StoreError> {
    let Some(model) = shared.known_model() else {
        return Ok(false);
    };
    let kind = shared
        .settings
        .quantization
        .for_dimensions(model.dimensions);
    let explain = |fault: Fault| fault.into_store(shared.location(), "preparing a bulk load");
    let mut client = shared.pools.dedicated()?;
    let row = client
        .query_one("SELECT NOT EXISTS (SELECT FROM documents)", &[])
        .map_err(|error| explain(Fault::Sql(error)))?;
    let is_empty: bool = row.get(0);
    if is_empty {
        let sql = format!("DROP INDEX IF EXISTS {}", model::index_name(kind));
        client
            .batch_execute(&sql)
            .map_err(|error| explain(Fault::Sql(error)))?;
    }
    Ok(is_empty)
}

/// Questions that bring the index into memory.
const WARM_UP_QUESTIONS: i64 = 20;
/// Longest warm-up, in ms: a very large index is read by and by.
const WARM_UP_MS: u32 = 5_000;

/// Asks for the neighbours of some stored vectors, so that the first real question does not wait
/// for the disk.
pub(super) fn warm_up(shared: &Shared) -> Result<(), StoreError> {
    let active = shared.active();
    if shared.known_model().is_none() || !active.has_index {
        return Ok(());
    }
    let functions = model::Functions::of(active.kind);
    let sql = format!(
        "SELECT count(*) FROM (SELECT embedding, collection FROM documents LIMIT {WARM_UP_QUESTIONS}) d,
         LATERAL (SELECT FROM {}(d.collection, d.embedding, NULL, NULL, 10, 40, 0)) n",
        functions.nearest
    );
    let outcome = shared.pools.read("warming up", |session| {
        let client = session.client();
        let mut transaction = client.transaction()?;
        transaction.batch_execute(&format!("SET LOCAL statement_timeout = {WARM_UP_MS}"))?;
        transaction.query(&sql, &[])?;
        Ok(())
    });
    match outcome {
        // It took longer than it may: what was read is in memory all the same.
        Err(StoreError::Busy { .. }) => Ok(()),
        other => other,
    }
}
