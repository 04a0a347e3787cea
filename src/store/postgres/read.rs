//! Reading documents and counts.

use super::fault::{Fault, unsound};
use super::session::Session;
use crate::domain::glob::postgres_regex;
use crate::domain::stored::document_id;
use crate::domain::{
    CollectionInfo, CollectionName, ContentHash, Metadata, SourceName, StoredDocument,
};
use crate::store::{ListRequest, StoreError};
use postgres::Row;
use postgres::types::Json;
use serde_json::{Map, Value};
use std::collections::HashMap;
use uuid::Uuid;

pub(super) fn content_hashes(
    session: &mut Session,
    collection: &CollectionName,
    sources: &[SourceName],
) -> Result<Vec<Option<ContentHash>>, Fault> {
    let ids: Vec<Uuid> = sources
        .iter()
        .map(|source| document_id(collection, source))
        .collect();
    let sql = "SELECT id, content_hash FROM alfred_sources WHERE id = ANY($1)";
    let mut found: HashMap<Uuid, ContentHash> = HashMap::new();
    for row in session.query(sql, &[&ids])? {
        found.insert(row.get(0), hash_of(row.get(1))?);
    }
    Ok(ids.iter().map(|id| found.get(id).copied()).collect())
}

fn hash_of(bytes: &[u8]) -> Result<ContentHash, Fault> {
    bytes
        .try_into()
        .map(ContentHash)
        .map_err(|_| unsound("content hash", &format!("{} bytes", bytes.len())))
}

pub(super) fn list(
    session: &mut Session,
    request: &ListRequest,
) -> Result<Vec<StoredDocument>, Fault> {
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
    let regex = request.source.as_deref().and_then(postgres_regex);
    let rows = session.query(
        "SELECT id, collection, source, title, metadata, content_hash, chunks, bytes, created_at,
             updated_at
         FROM alfred_sources
         WHERE collection = $1 AND source > $2 AND ($3::text IS NULL OR source = $3 OR source ~ $4)
         ORDER BY source LIMIT $5",
        &[
            &request.collection.as_str(),
            &request.after.as_deref().unwrap_or_default(),
            &request.source,
            &regex,
            &limit,
        ],
    )?;
    if rows.is_empty() {
        known_collection(session, &request.collection)?;
    }
    rows.iter().map(stored_document).collect()
}

/// Nothing, or the error that names the collections that exist.
pub(super) fn known_collection(session: &mut Session, name: &CollectionName) -> Result<(), Fault> {
    let known = collections(session)?;
    if known.iter().any(|info| info.name == *name) {
        return Ok(());
    }
    Err(Fault::Store(StoreError::UnknownCollection {
        name: name.to_string(),
        known: known.iter().map(|info| info.name.to_string()).collect(),
    }))
}

pub(super) fn document(
    session: &mut Session,
    id: Uuid,
) -> Result<Option<(StoredDocument, Vec<String>)>, Fault> {
    // One statement, so that document and chunks are of the same moment.
    let rows = session.query(
        "SELECT id, collection, source, title, metadata, content_hash, chunks, bytes, created_at,
             updated_at, ARRAY(
                 SELECT content FROM documents d WHERE d.document_id = s.id ORDER BY d.chunk)
         FROM alfred_sources s WHERE id = $1",
        &[&id],
    )?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some((stored_document(row)?, row.get(10))))
}

pub(super) fn collections(session: &mut Session) -> Result<Vec<CollectionInfo>, Fault> {
    let sql = "SELECT name, documents, chunks FROM alfred_collections ORDER BY name";
    let info = |row: &Row| {
        let name: &str = row.get(0);
        Ok(CollectionInfo {
            name: CollectionName::new(name).map_err(|error| unsound("collection", &error))?,
            documents: count(row, 1),
            chunks: count(row, 2),
        })
    };
    session.query(sql, &[])?.iter().map(info).collect()
}

/// A number that is never negative.
pub(super) fn count(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or_default()
}

pub(super) fn stored_document(row: &Row) -> Result<StoredDocument, Fault> {
    let (collection, source): (&str, &str) = (row.get(1), row.get(2));
    Ok(StoredDocument {
        id: row.get(0),
        collection: CollectionName::new(collection)
            .map_err(|error| unsound("collection", &error))?,
        source: SourceName::new(source).map_err(|error| unsound("source", &error))?,
        title: row.get(3),
        metadata: metadata_of(row.get(4))?,
        content_hash: hash_of(row.get(5))?,
        chunks: u64::try_from(row.get::<_, i32>(6)).unwrap_or_default(),
        bytes: count(row, 7),
        created_at: row.get(8),
        updated_at: row.get(9),
    })
}

/// Metadata as stored.
pub(super) fn metadata_of(json: Json<Map<String, Value>>) -> Result<Metadata, Fault> {
    if json.0.is_empty() {
        return Ok(Metadata::default());
    }
    Metadata::new(json.0).map_err(|error| unsound("metadata", &error))
}
