//! Writing: documents in, documents out, each whole.

use super::fault::{Fault, Location};
use super::prepare::{Prepared, PreparedChunk};
use super::schema;
use super::snapshot::read_model;
use crate::domain::stored::{chunk_id, document_id};
use crate::domain::{
    CollectionInfo, CollectionName, EmbeddedDocument, ModelId, UpsertStatus, Upserted,
};
use crate::store::{StoreError, same_model};
use rusqlite::{Connection, OptionalExtension, Savepoint, Transaction, params};
use uuid::Uuid;

/// Deleted documents that readers can still learn of one by one; who is further behind reads
/// everything again.
const TOMBSTONES_KEPT: i64 = 20_000;

/// What became of each document.
type Outcomes = Vec<Result<Upserted, StoreError>>;

/// Who writes, where, and when.
pub(super) struct Upsert<'a> {
    pub(super) location: &'a Location,
    pub(super) model: &'a ModelId,
    pub(super) now_ms: i64,
}

impl Upsert<'_> {
    /// Stores the documents inside the transaction. One that cannot be stored leaves no trace and
    /// takes no other with it.
    pub(super) fn run(
        &self,
        transaction: &mut Transaction<'_>,
        documents: &[Prepared<'_>],
    ) -> Result<Outcomes, Fault> {
        record_model(transaction, self.location, self.model)?;
        // A savepoint copies each page that changes under it, and every document changes the same
        // few, and has FTS5 write out what it gathered; so there is one for all documents.
        let mut together = transaction.savepoint()?;
        let outcomes = match self.all(&together, documents) {
            Ok(outcomes) => outcomes,
            Err(fault) if concerns_one_document(&fault) => {
                together.rollback()?;
                self.one_by_one(&mut together, documents)?
            }
            Err(fault) => return Err(fault),
        };
        together.commit()?;
        prune_tombstones(transaction)?;
        Ok(outcomes)
    }

    fn all(
        &self,
        savepoint: &Savepoint<'_>,
        documents: &[Prepared<'_>],
    ) -> Result<Outcomes, Fault> {
        let store = |prepared: &Prepared<'_>| match self.refusal(prepared.document) {
            Some(refusal) => Ok(Err(refusal)),
            None => upsert_one(savepoint, prepared, self.now_ms).map(Ok),
        };
        documents.iter().map(store).collect()
    }

    fn one_by_one(
        &self,
        outer: &mut Savepoint<'_>,
        documents: &[Prepared<'_>],
    ) -> Result<Outcomes, Fault> {
        let mut outcomes = Vec::with_capacity(documents.len());
        for document in documents {
            let mut savepoint = outer.savepoint()?;
            match self.all(&savepoint, std::slice::from_ref(document)) {
                Ok(outcome) => {
                    savepoint.commit()?;
                    outcomes.extend(outcome);
                }
                Err(fault) if concerns_one_document(&fault) => {
                    savepoint.rollback()?;
                    outcomes.push(Err(self.location.explain("storing a document")(fault)));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(outcomes)
    }

    /// A vector of another length than the model's makes the document useless.
    fn refusal(&self, document: &EmbeddedDocument) -> Option<StoreError> {
        let chunks = document.chunks.iter();
        let mut dimensions = chunks.map(|(_, vector)| vector.dimensions());
        let other = dimensions.find(|dimensions| *dimensions != self.model.dimensions)?;
        Some(StoreError::ModelMismatch {
            location: self.location.text(),
            stored: self.model.clone(),
            offered: ModelId {
                name: format!("the vectors of {}", document.source),
                dimensions: other,
            },
        })
    }
}

fn record_model(
    connection: &Connection,
    location: &Location,
    model: &ModelId,
) -> Result<(), Fault> {
    let stored = read_model(connection)?;
    if stored.is_none() {
        connection.execute(
            "INSERT INTO meta (key, value) VALUES ('model', ?1), ('dimensions', ?2)",
            params![model.name, model.dimensions.to_string()],
        )?;
    }
    Ok(same_model(&location.text(), stored, model)?)
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
    prepared: &Prepared<'_>,
    now_ms: i64,
) -> Result<Upserted, Fault> {
    let document = prepared.document;
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
    for chunk in &prepared.chunks {
        insert_chunk(savepoint, [collection, row], id, chunk)?;
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
    prepared: &PreparedChunk<'_>,
) -> rusqlite::Result<()> {
    let chunk = prepared.chunk;
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
    connection
        .prepare_cached(
            "INSERT INTO vectors (chunk_id, document_id, collection_id, embedding)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, document, collection, prepared.vector])?;
    index_text(connection, collection, id, &prepared.terms)
}

/// Adds the terms of a chunk's text to the text index.
pub(super) fn index_text(
    connection: &Connection,
    collection: i64,
    chunk: i64,
    terms: &str,
) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO fts_{collection} (rowid, terms) VALUES (?1, ?2)");
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
