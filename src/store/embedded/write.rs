//! Writing: documents in, documents out, each whole.

use super::fault::{Fault, Location};
use super::schema;
use super::snapshot::read_model;
use crate::domain::stored::{chunk_id, document_id};
use crate::domain::{
    Chunk, CollectionInfo, CollectionName, EmbeddedDocument, Embedding, ModelId, UpsertStatus,
    Upserted,
};
use crate::store::StoreError;
use crate::terms;
use rusqlite::{Connection, OptionalExtension, Savepoint, Transaction, params};
use uuid::Uuid;

/// Deleted documents that readers can still learn of one by one; who is further behind reads
/// everything again.
const TOMBSTONES_KEPT: i64 = 20_000;

/// Stores the documents inside the transaction, each in a savepoint of its own.
pub(super) fn upsert(
    transaction: &mut Transaction<'_>,
    location: &Location,
    model: &ModelId,
    documents: &[EmbeddedDocument],
    now_ms: i64,
) -> Result<Vec<Result<Upserted, StoreError>>, Fault> {
    record_model(transaction, location, model)?;
    let mut outcomes = Vec::with_capacity(documents.len());
    for document in documents {
        if let Some(refusal) = refusal(location, model, document) {
            outcomes.push(Err(refusal));
            continue;
        }
        let mut savepoint = transaction.savepoint()?;
        match upsert_one(&savepoint, document, now_ms) {
            Ok(upserted) => {
                savepoint.commit()?;
                outcomes.push(Ok(upserted));
            }
            Err(fault) if concerns_one_document(&fault) => {
                savepoint.rollback()?;
                outcomes.push(Err(location.explain("storing a document")(fault)));
            }
            Err(fault) => return Err(fault),
        }
    }
    prune_tombstones(transaction)?;
    Ok(outcomes)
}

fn record_model(
    connection: &Connection,
    location: &Location,
    model: &ModelId,
) -> Result<(), Fault> {
    match read_model(connection)? {
        Some(stored) if stored == *model => Ok(()),
        Some(stored) => Err(Fault::Store(StoreError::ModelMismatch {
            location: location.text(),
            stored,
            offered: model.clone(),
        })),
        None => {
            connection.execute(
                "INSERT INTO meta (key, value) VALUES ('model', ?1), ('dimensions', ?2)",
                params![model.name, model.dimensions.to_string()],
            )?;
            Ok(())
        }
    }
}

/// A vector of another length than the model's makes the document useless.
fn refusal(
    location: &Location,
    model: &ModelId,
    document: &EmbeddedDocument,
) -> Option<StoreError> {
    let mut dimensions = document
        .chunks
        .iter()
        .map(|(_, vector)| vector.dimensions());
    let other = dimensions.find(|dimensions| *dimensions != model.dimensions)?;
    Some(StoreError::ModelMismatch {
        location: location.text(),
        stored: model.clone(),
        offered: ModelId {
            name: format!("the vectors of {}", document.source),
            dimensions: other,
        },
    })
}

fn concerns_one_document(fault: &Fault) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(fault, Fault::Sql(error) if matches!(
        error.sqlite_error_code(),
        Some(ConstraintViolation | TooBig | TypeMismatch)
    ))
}

/// A document's row, as far as replacing it needs.
struct Existing {
    row: i64,
    content_hash: Vec<u8>,
    chunks: usize,
    created_at_ms: i64,
}

fn upsert_one(
    savepoint: &Savepoint<'_>,
    document: &EmbeddedDocument,
    now_ms: i64,
) -> Result<Upserted, Fault> {
    let id = document_id(&document.collection, &document.source);
    let collection = collection_id(savepoint, &document.collection)?;
    let existing = find(savepoint, id)?;
    let mut created_at_ms = now_ms;
    let mut status = UpsertStatus::Created;
    if let Some(existing) = existing {
        if existing.content_hash == document.content_hash.0 {
            return Ok(Upserted {
                id,
                chunks: existing.chunks,
                status: UpsertStatus::Unchanged,
            });
        }
        delete_rows(savepoint, existing.row, collection)?;
        created_at_ms = existing.created_at_ms;
        status = UpsertStatus::Replaced;
    }
    let row = insert_document(savepoint, id, collection, document, [created_at_ms, now_ms])?;
    for (chunk, vector) in &document.chunks {
        insert_chunk(savepoint, [collection, row], id, chunk, vector)?;
    }
    count(savepoint, collection, 1, document.chunks.len())?;
    Ok(Upserted {
        id,
        chunks: document.chunks.len(),
        status,
    })
}

fn collection_id(connection: &Connection, name: &CollectionName) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached("SELECT id FROM collections WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => schema::create_collection(connection, name.as_str()),
    }
}

fn find(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Existing>> {
    connection
        .prepare_cached(
            "SELECT id, content_hash, chunks, created_at_ms FROM documents WHERE uuid = ?1",
        )?
        .query_row([id.as_bytes()], |row| {
            Ok(Existing {
                row: row.get(0)?,
                content_hash: row.get(1)?,
                chunks: row.get(2)?,
                created_at_ms: row.get(3)?,
            })
        })
        .optional()
}

fn insert_document(
    connection: &Connection,
    id: Uuid,
    collection: i64,
    document: &EmbeddedDocument,
    [created_at_ms, updated_at_ms]: [i64; 2],
) -> rusqlite::Result<i64> {
    let metadata = serde_json::Value::Object(document.metadata.as_map().clone()).to_string();
    connection
        .prepare_cached(
            "INSERT INTO documents (uuid, collection_id, source, title, content_hash, metadata,
                                    bytes, chunks, created_at_ms, updated_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .insert(params![
            id.as_bytes(),
            collection,
            document.source.as_str(),
            document.title,
            document.content_hash.0,
            metadata,
            i64::try_from(document.bytes).unwrap_or(i64::MAX),
            document.chunks.len(),
            created_at_ms,
            updated_at_ms,
        ])
}

fn insert_chunk(
    connection: &Connection,
    [collection, document]: [i64; 2],
    document_id: Uuid,
    chunk: &Chunk,
    vector: &Embedding,
) -> rusqlite::Result<()> {
    let id = connection
        .prepare_cached(
            "INSERT INTO chunks (uuid, document_id, position, title_path, page, tokens, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert(params![
            chunk_id(document_id, chunk).as_bytes(),
            document,
            chunk.position,
            serde_json::Value::from(chunk.title_path.clone()).to_string(),
            chunk.page,
            chunk.tokens,
            chunk.text,
        ])?;
    let mut blob = Vec::with_capacity(4 * vector.dimensions());
    blob.extend(vector.as_slice().iter().flat_map(|v| v.to_le_bytes()));
    connection
        .prepare_cached(
            "INSERT INTO vectors (chunk_id, document_id, collection_id, embedding)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, document, collection, blob])?;
    index_text(connection, collection, id, &chunk.embedding_text())
}

/// Adds a chunk's text to the text index.
pub(super) fn index_text(
    connection: &Connection,
    collection: i64,
    chunk: i64,
    text: &str,
) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO fts_{collection} (rowid, terms) VALUES (?1, ?2)");
    let terms = terms::index_terms(text).join(" ");
    connection
        .prepare_cached(&sql)?
        .execute(params![chunk, terms])?;
    Ok(())
}

/// Deletes a document's rows, leaves a tombstone, and takes it off the counts.
fn delete_rows(connection: &Connection, document: i64, collection: i64) -> Result<(), Fault> {
    let chunks = "(SELECT id FROM chunks WHERE document_id = ?1)";
    let execute = |sql: &str| -> rusqlite::Result<usize> {
        connection.prepare_cached(sql)?.execute([document])
    };
    execute(&format!(
        "DELETE FROM fts_{collection} WHERE rowid IN {chunks}"
    ))?;
    execute(&format!("DELETE FROM vectors WHERE chunk_id IN {chunks}"))?;
    let removed = execute("DELETE FROM chunks WHERE document_id = ?1")?;
    execute("DELETE FROM documents WHERE id = ?1")?;
    connection
        .prepare_cached("INSERT INTO tombstones (document_id, collection_id) VALUES (?1, ?2)")?
        .execute([document, collection])?;
    count(connection, collection, -1, removed)?;
    Ok(())
}

/// Adds (`sign` 1) or takes off (-1) one document and its chunks.
fn count(
    connection: &Connection,
    collection: i64,
    sign: i64,
    chunks: usize,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE collections SET documents = documents + ?2, chunks = chunks + ?2 * ?3
             WHERE id = ?1",
        )?
        .execute(params![collection, sign, chunks])?;
    Ok(())
}

fn prune_tombstones(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM tombstones WHERE seq <= (SELECT MAX(seq) FROM tombstones) - ?1",
        )?
        .execute([TOMBSTONES_KEPT])?;
    Ok(())
}

/// Deletes documents; returns how many there were.
pub(super) fn delete(transaction: &Transaction<'_>, ids: &[Uuid]) -> Result<u64, Fault> {
    let mut deleted = 0;
    for id in ids {
        let found: Option<(i64, i64)> = transaction
            .prepare_cached("SELECT id, collection_id FROM documents WHERE uuid = ?1")?
            .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((row, collection)) = found {
            delete_rows(transaction, row, collection)?;
            deleted += 1;
        }
    }
    prune_tombstones(transaction)?;
    Ok(deleted)
}

/// Deletes a collection; `default` comes back at once, empty, under a new id.
pub(super) fn delete_collection(
    transaction: &Transaction<'_>,
    name: &CollectionName,
) -> Result<Option<CollectionInfo>, Fault> {
    let found: Option<(i64, u64, u64)> = transaction
        .query_row(
            "SELECT id, documents, chunks FROM collections WHERE name = ?1",
            [name.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((id, documents, chunks)) = found else {
        return Ok(None);
    };
    for sql in [
        "DELETE FROM vectors WHERE collection_id = ?1",
        "DELETE FROM chunks WHERE document_id IN
             (SELECT id FROM documents WHERE collection_id = ?1)",
        "DELETE FROM documents WHERE collection_id = ?1",
        "DELETE FROM collections WHERE id = ?1",
    ] {
        transaction.execute(sql, [id])?;
    }
    schema::drop_text_index(transaction, id)?;
    if name.as_str() == CollectionName::DEFAULT {
        schema::create_collection(transaction, CollectionName::DEFAULT)?;
    }
    Ok(Some(CollectionInfo {
        name: name.clone(),
        documents,
        chunks,
    }))
}
