//! What the store says of itself.

use super::fault::{Fault, unsound};
use super::model;
use super::read::count;
use super::session::Session;
use crate::store::{DatabaseInfo, IndexInfo, StoreInfo};
use postgres::Row;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Counts and sizes. `index_kind`: of the index that searches use.
pub(super) fn info(
    session: &mut Session,
    location: &str,
    index_kind: Option<&'static str>,
) -> Result<StoreInfo, Fault> {
    let rows = session.query(
        "SELECT coalesce(sum(documents), 0)::bigint, coalesce(sum(chunks), 0)::bigint,
             pg_total_relation_size('documents') + pg_total_relation_size('alfred_sources'),
             (SELECT max(number) FROM alfred_migrations)
         FROM alfred_collections",
        &[],
    )?;
    let Some(row) = rows.first() else {
        return Err(unsound("schema", &"it counts nothing"));
    };
    let model = model::recorded(session.client())?;
    Ok(StoreInfo {
        kind: "postgres",
        model: model.as_ref().map(|model| model.name.clone()),
        dimensions: model.map(|model| model.dimensions),
        documents: count(row, 0),
        chunks: count(row, 1),
        disk_bytes: count(row, 2),
        memory_bytes: 0,
        location: location.to_owned(),
        schema_version: u32::try_from(row.get::<_, i32>(3)).unwrap_or_default(),
        database: Some(database(session, index_kind)?),
    })
}

fn database(
    session: &mut Session,
    index_kind: Option<&'static str>,
) -> Result<DatabaseInfo, Fault> {
    let indexes = session.query(
        "SELECT c.relname::text, pg_relation_size(c.oid), i.indisvalid
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = 'documents'::regclass ORDER BY 2 DESC, 1",
        &[],
    )?;
    let rows = session.query(
        "SELECT current_setting('server_version'),
             (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
             pg_table_size('documents'), coalesce(max(n_dead_tup), 0)::bigint,
             max(greatest(last_analyze, last_autoanalyze)),
             max(greatest(last_vacuum, last_autovacuum))
         FROM pg_stat_user_tables WHERE relid = 'documents'::regclass",
        &[],
    )?;
    let Some(row) = rows.first() else {
        return Err(unsound("schema", &"there is no table `documents`"));
    };
    let index = |row: &Row| IndexInfo {
        name: row.get(0),
        bytes: count(row, 1),
        valid: row.get(2),
    };
    let moment = |column: usize| {
        let moment: Option<OffsetDateTime> = row.get(column);
        moment.and_then(|moment| moment.format(&Rfc3339).ok())
    };
    Ok(DatabaseInfo {
        server: row.get(0),
        pgvector: row.get::<_, Option<String>>(1).unwrap_or_default(),
        index_kind,
        table_bytes: count(row, 2),
        indexes: indexes.iter().map(index).collect(),
        dead_rows: count(row, 3),
        last_analyze: moment(4),
        last_vacuum: moment(5),
    })
}
