//! Documents with everything, for moving them elsewhere.

use super::fault::{Fault, unsound};
use super::read::stored_document;
use super::session::Session;
use crate::domain::{Chunk, EmbeddedDocument, Embedding};
use crate::store::ExportRequest;
use postgres::Row;
use std::collections::HashMap;
use uuid::Uuid;

/// Most documents of one page, however few chunks they have.
const MAX_DOCUMENTS: i64 = 10_000;

pub(super) fn export(
    session: &mut Session,
    request: &ExportRequest<'_>,
) -> Result<Vec<EmbeddedDocument>, Fault> {
    // The documents whose predecessors on the page have not filled it yet.
    let rows = session.query(
        "SELECT id, collection, source, title, metadata, content_hash, chunks, bytes, created_at,
             updated_at
         FROM (
             SELECT *, sum(chunks) OVER (ORDER BY source ROWS UNBOUNDED PRECEDING) - chunks AS before
             FROM (
                 SELECT * FROM alfred_sources WHERE collection = $1 AND source > $2
                 ORDER BY source LIMIT $4
             ) next
         ) page
         WHERE before < $3 ORDER BY source",
        &[
            &request.collection.as_str(),
            &request.after.unwrap_or_default(),
            &i64::try_from(request.chunks).unwrap_or(i64::MAX),
            &MAX_DOCUMENTS,
        ],
    )?;
    let stored = rows
        .iter()
        .map(stored_document)
        .collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<Uuid> = stored.iter().map(|document| document.id).collect();
    let mut chunks = chunks_of(session, &ids)?;
    let whole = stored.into_iter().map(|document| EmbeddedDocument {
        chunks: chunks.remove(&document.id).unwrap_or_default(),
        collection: document.collection,
        source: document.source,
        title: document.title,
        metadata: document.metadata,
        content_hash: document.content_hash,
        bytes: document.bytes,
    });
    Ok(whole.collect())
}

type Chunks = HashMap<Uuid, Vec<(Chunk, Embedding)>>;

fn chunks_of(session: &mut Session, documents: &[Uuid]) -> Result<Chunks, Fault> {
    let rows = session.query(
        "SELECT document_id, chunk, title_path, page, content, tokens, embedding FROM documents
         WHERE document_id = ANY($1) ORDER BY document_id, chunk",
        &[&documents],
    )?;
    let mut chunks = Chunks::new();
    for row in &rows {
        chunks.entry(row.get(0)).or_default().push(chunk_of(row)?);
    }
    Ok(chunks)
}

fn chunk_of(row: &Row) -> Result<(Chunk, Embedding), Fault> {
    let natural = |number: i32| u32::try_from(number).unwrap_or_default();
    let vector: pgvector::Vector = row.get(6);
    let chunk = Chunk {
        position: natural(row.get(1)),
        title_path: row.get(2),
        page: row.get::<_, Option<i32>>(3).map(natural),
        text: row.get(4),
        tokens: natural(row.get(5)),
    };
    let vector =
        Embedding::of_unit_length(vector.into()).map_err(|error| unsound("vector", &error))?;
    Ok((chunk, vector))
}
