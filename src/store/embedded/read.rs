//! Reading documents and counts.

use super::fault::Fault;
use crate::domain::stored::document_id;
use crate::domain::{
    CollectionInfo, CollectionName, ContentHash, Metadata, SourceGlob, SourceName, StoredDocument,
};
use crate::store::{ListRequest, StoreError};
use rusqlite::{Connection, OptionalExtension, Row};
use time::OffsetDateTime;
use uuid::Uuid;

pub(super) const DOCUMENT: &str =
    "SELECT d.uuid, c.name, d.source, d.title, d.metadata, d.content_hash,
            d.chunks, d.bytes, d.created_at_ms, d.updated_at_ms, d.id
     FROM documents d JOIN collections c ON c.id = d.collection_id";

pub(super) fn content_hashes(
    connection: &Connection,
    collection: &CollectionName,
    sources: &[SourceName],
) -> Result<Vec<Option<ContentHash>>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT content_hash FROM documents WHERE uuid = ?1")?;
    let mut hashes = Vec::with_capacity(sources.len());
    for source in sources {
        let id = document_id(collection, source);
        let hash = statement.query_row([id.as_bytes()], |row| row.get(0));
        hashes.push(hash.optional()?.map(ContentHash));
    }
    Ok(hashes)
}

pub(super) fn list(
    connection: &Connection,
    request: &ListRequest,
) -> Result<Vec<StoredDocument>, Fault> {
    let collection = known_collection(connection, &request.collection)?;
    // A plain source is matched exactly even where it looks like a glob.
    let source = request.source.as_deref();
    let glob = source.and_then(|source| SourceGlob::new(source).ok());
    let wanted = |source: &str| match &request.source {
        None => true,
        Some(exact) => exact == source || glob.as_ref().is_some_and(|glob| glob.is_match(source)),
    };
    let mut statement = connection.prepare_cached(&format!(
        "{DOCUMENT} WHERE d.collection_id = ?1 AND d.source > ?2 ORDER BY d.source"
    ))?;
    let after = request.after.as_deref().unwrap_or_default();
    let mut rows = statement.query(rusqlite::params![collection, after])?;
    let mut documents = Vec::new();
    while documents.len() < request.limit
        && let Some(row) = rows.next()?
    {
        if wanted(row.get_ref(2)?.as_str().unwrap_or_default()) {
            documents.push(stored_document(row)?);
        }
    }
    Ok(documents)
}

/// The id of a collection, or the error that names those that exist.
pub(super) fn known_collection(
    connection: &Connection,
    name: &CollectionName,
) -> Result<i64, Fault> {
    let mut statement = connection.prepare_cached("SELECT id FROM collections WHERE name = ?1")?;
    let id = statement.query_row([name.as_str()], |row| row.get(0));
    if let Some(id) = id.optional()? {
        return Ok(id);
    }
    let known = collections(connection)?;
    Err(Fault::Store(StoreError::UnknownCollection {
        name: name.to_string(),
        known: known.iter().map(|info| info.name.to_string()).collect(),
    }))
}

pub(super) fn document(
    connection: &Connection,
    id: Uuid,
) -> Result<Option<(StoredDocument, Vec<String>)>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{DOCUMENT} WHERE d.uuid = ?1"))?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let document = stored_document(row)?;
    let mut statement = connection.prepare_cached(
        "SELECT text FROM chunks WHERE document_id = (SELECT id FROM documents WHERE uuid = ?1)
         ORDER BY position",
    )?;
    let texts = statement.query_map([id.as_bytes()], |row| row.get(0))?;
    let texts = texts.collect::<Result<Vec<String>, _>>()?;
    Ok(Some((document, texts)))
}

pub(super) fn collections(connection: &Connection) -> Result<Vec<CollectionInfo>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT name, documents, chunks FROM collections ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut collections = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        collections.push(CollectionInfo {
            name: CollectionName::new(&name).map_err(|error| unsound("collection", &error))?,
            documents: row.get(1)?,
            chunks: row.get(2)?,
        });
    }
    Ok(collections)
}

pub(super) fn stored_document(row: &Row<'_>) -> Result<StoredDocument, Fault> {
    let (collection, source): (String, String) = (row.get(1)?, row.get(2)?);
    let metadata: String = row.get(4)?;
    Ok(StoredDocument {
        id: Uuid::from_bytes(row.get(0)?),
        metadata: metadata_of(&metadata, &source)?,
        collection: CollectionName::new(&collection)
            .map_err(|error| unsound("collection", &error))?,
        source: SourceName::new(&source).map_err(|error| unsound("source", &error))?,
        title: row.get(3)?,
        content_hash: ContentHash(row.get(5)?),
        chunks: row.get(6)?,
        bytes: row.get(7)?,
        created_at: moment(row.get(8)?)?,
        updated_at: moment(row.get(9)?)?,
    })
}

fn moment(unix_ms: i64) -> Result<OffsetDateTime, Fault> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .map_err(|error| unsound("time", &error))
}

/// Metadata as stored.
pub(super) fn metadata_of(json: &str, source: &str) -> Result<Metadata, Fault> {
    if json == "{}" {
        return Ok(Metadata::default());
    }
    let map = serde_json::from_str(json)
        .map_err(|error| Fault::Unsound(format!("metadata of {source:?}: {error}")))?;
    Metadata::new(map).map_err(|error| unsound("metadata", &error))
}

pub(super) fn unsound(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Unsound(format!("a stored {what}: {error}"))
}
