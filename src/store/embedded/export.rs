//! Documents with everything, for moving them elsewhere.

use super::fault::Fault;
use super::read::{DOCUMENT, known_collection, stored_document, unsound};
use super::snapshot::read_vector;
use crate::domain::{Chunk, EmbeddedDocument, Embedding, ModelId};
use crate::store::ExportRequest;
use rusqlite::{Connection, Row};

pub(super) fn export(
    connection: &Connection,
    model: Option<&ModelId>,
    request: &ExportRequest<'_>,
) -> Result<Vec<EmbeddedDocument>, Fault> {
    let collection = known_collection(connection, request.collection)?;
    let dimensions = model.map_or(0, |model| model.dimensions);
    let mut statement = connection.prepare_cached(&format!(
        "{DOCUMENT} WHERE d.collection_id = ?1 AND d.source > ?2 ORDER BY d.source"
    ))?;
    let after = request.after.unwrap_or_default();
    let mut rows = statement.query(rusqlite::params![collection, after])?;
    let (mut documents, mut chunks) = (Vec::new(), 0);
    while chunks < request.chunks
        && let Some(row) = rows.next()?
    {
        let document = stored_document(row)?;
        let own = chunks_of(connection, row.get(10)?, dimensions)?;
        chunks += own.len().max(1);
        documents.push(EmbeddedDocument {
            collection: document.collection,
            source: document.source,
            title: document.title,
            metadata: document.metadata,
            content_hash: document.content_hash,
            bytes: document.bytes,
            chunks: own,
        });
    }
    Ok(documents)
}

fn chunks_of(
    connection: &Connection,
    document: i64,
    dimensions: usize,
) -> Result<Vec<(Chunk, Embedding)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT c.position, c.title_path, c.page, c.tokens, c.text, v.embedding
         FROM chunks c JOIN vectors v ON v.chunk_id = c.id
         WHERE c.document_id = ?1 ORDER BY c.position",
    )?;
    let mut rows = statement.query([document])?;
    let mut chunks = Vec::new();
    while let Some(row) = rows.next()? {
        chunks.push(chunk_of(row, dimensions)?);
    }
    Ok(chunks)
}

fn chunk_of(row: &Row<'_>, dimensions: usize) -> Result<(Chunk, Embedding), Fault> {
    let title_path: String = row.get(1)?;
    let mut values = Vec::with_capacity(dimensions);
    read_vector(row.get_ref(5)?.as_blob().ok(), dimensions, &mut values)
        .map_err(|problem| unsound("vector", &problem))?;
    let chunk = Chunk {
        position: row.get(0)?,
        title_path: serde_json::from_str(&title_path)
            .map_err(|error| unsound("title path", &error))?,
        page: row.get(2)?,
        tokens: row.get(3)?,
        text: row.get(4)?,
    };
    let vector = Embedding::of_unit_length(values).map_err(|error| unsound("vector", &error))?;
    Ok((chunk, vector))
}
