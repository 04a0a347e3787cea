//! What a check compares beyond SQLite's own: stored text with its ids, the text index with the text.
//!
//! A document's id is made of its collection and source, a chunk's of its document, position and text:
//! so they tell whether these are what was stored. The text index is compared as a whole: each term at
//! each place, and each chunk's length, are hashed and summed up on both sides.

use super::fault::Fault;
use super::prepare::text_terms;
use super::read::metadata_of;
use crate::domain::stored::{chunk_id_of, document_id};
use crate::domain::{Chunk, CollectionName, SourceName};
use rusqlite::{Connection, Row};
use std::hash::{DefaultHasher, Hasher as _};
use uuid::Uuid;

/// What is wrong with documents and chunks, one text each.
pub(super) fn contents(connection: &Connection) -> Result<Vec<String>, Fault> {
    let mut problems = Vec::new();
    let mut statement = connection.prepare(
        "SELECT d.id, d.uuid, k.name, d.source, d.metadata
         FROM documents d JOIN collections k ON k.id = d.collection_id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let document: i64 = row.get(0)?;
        if let Some(problem) = of_document(row) {
            problems.push(format!("document {document}: {problem}"));
        }
    }
    let mut statement = connection.prepare(
        "SELECT c.id, c.uuid, d.uuid, c.position, c.text, c.title_path
         FROM chunks c JOIN documents d ON d.id = c.document_id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let chunk: i64 = row.get(0)?;
        if let Some(problem) = of_chunk(row) {
            problems.push(format!("chunk {chunk}: {problem}"));
        }
    }
    Ok(problems)
}

fn of_document(row: &Row<'_>) -> Option<String> {
    let read = || -> rusqlite::Result<(Uuid, String, String, String)> {
        let id = Uuid::from_bytes(row.get(1)?);
        Ok((id, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let (id, collection, source, metadata) = match read() {
        Ok(read) => read,
        Err(error) => return Some(error.to_string()),
    };
    if !is_of(id, &collection, &source) {
        return Some(OTHER_SOURCE.to_owned());
    }
    match metadata_of(&metadata, &source) {
        Err(Fault::Unsound(problem)) => Some(problem),
        _ => None,
    }
}

/// What a document is that has another source than its id says.
pub(super) const OTHER_SOURCE: &str = "its source is not the one that was stored";

/// What a chunk is that has another text than its id says.
pub(super) const OTHER_TEXT: &str = "its text is not the one that was stored";

/// Whether a document has this id.
pub(super) fn is_of(id: Uuid, collection: &str, source: &str) -> bool {
    match (CollectionName::new(collection), SourceName::new(source)) {
        (Ok(collection), Ok(source)) => document_id(&collection, &source) == id,
        _ => false,
    }
}

fn of_chunk(row: &Row<'_>) -> Option<String> {
    let read = || -> rusqlite::Result<(Uuid, Uuid, String)> {
        let (id, document) = (row.get(1)?, row.get(2)?);
        let made = chunk_id_of(
            Uuid::from_bytes(document),
            row.get(3)?,
            row.get_ref(4)?.as_str()?,
        );
        Ok((Uuid::from_bytes(id), made, row.get(5)?))
    };
    match read() {
        Err(error) => Some(error.to_string()),
        Ok((id, made, _)) if id != made => Some(OTHER_TEXT.to_owned()),
        Ok((.., titles)) => serde_json::from_str::<Vec<String>>(&titles)
            .err()
            .map(|error| format!("its title path: {error}")),
    }
}

/// What a text index holds, or has to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    terms: u64,
    places: u64,
    lengths: u64,
    chunks: u64,
}

impl Sum {
    fn term(&mut self, chunk: i64, offset: usize, term: &str) {
        self.terms += 1;
        self.places = self.places.wrapping_add(hash((chunk, offset, term)));
    }

    fn length(&mut self, chunk: i64, terms: u64) {
        self.chunks += 1;
        self.lengths = self.lengths.wrapping_add(hash((chunk, terms)));
    }
}

fn hash(value: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What is wrong with the words in the text index of a collection.
pub(super) fn text_index(
    connection: &Connection,
    collection: i64,
) -> Result<Option<String>, Fault> {
    let wanted = of_chunks(connection, collection)?;
    let problem = match of_index(connection, collection) {
        Ok(held) if held == wanted => None,
        Ok(held) if (held.terms, held.chunks) == (wanted.terms, wanted.chunks) => {
            Some("holds other words than the chunks do".to_owned())
        }
        Ok(held) => Some(format!(
            "holds {} words of {} chunks, which have {} in {}",
            held.terms, held.chunks, wanted.terms, wanted.chunks
        )),
        Err(Fault::Sql(error)) => Some(format!("cannot be read: {error}")),
        Err(other) => return Err(other),
    };
    match problem {
        None => averages(connection, collection, wanted),
        some => Ok(some),
    }
}

fn of_chunks(connection: &Connection, collection: i64) -> Result<Sum, Fault> {
    let mut statement = connection.prepare(
        "SELECT c.id, c.title_path, c.text FROM documents d
         JOIN chunks c ON c.document_id = d.id WHERE d.collection_id = ?1",
    )?;
    let mut rows = statement.query([collection])?;
    let mut sum = Sum::default();
    while let Some(row) = rows.next()? {
        let (id, titles): (i64, String) = (row.get(0)?, row.get(1)?);
        let chunk = Chunk {
            position: 0,
            title_path: serde_json::from_str(&titles).unwrap_or_default(),
            page: None,
            text: row.get(2)?,
            tokens: 0,
        };
        let terms = text_terms(&chunk);
        let mut count = 0;
        for (offset, term) in terms.split(' ').filter(|term| !term.is_empty()).enumerate() {
            sum.term(id, offset, term);
            count += 1;
        }
        sum.length(id, count);
    }
    Ok(sum)
}

fn of_index(connection: &Connection, collection: i64) -> Result<Sum, Fault> {
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.places_{collection}
         USING fts5vocab('main', 'fts_{collection}', 'instance')"
    ))?;
    let mut sum = Sum::default();
    let sql = format!("SELECT doc, \"offset\", term FROM temp.places_{collection}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // A term that is no text any more is not the one that was stored.
        let term = row.get_ref(2)?.as_bytes().unwrap_or_default();
        sum.term(row.get(0)?, row.get(1)?, &String::from_utf8_lossy(term));
    }
    let sql = format!("SELECT id, sz FROM fts_{collection}_docsize");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let length = varints(row.get_ref(1)?.as_blob().unwrap_or_default());
        sum.length(row.get(0)?, length.first().copied().unwrap_or(u64::MAX));
    }
    Ok(sum)
}

/// FTS5 counts chunks and words by itself, and ranks with these.
fn averages(
    connection: &Connection,
    collection: i64,
    wanted: Sum,
) -> Result<Option<String>, Fault> {
    let sql = format!("SELECT block FROM fts_{collection}_data WHERE id = 1");
    let block: Vec<u8> = connection.query_row(&sql, [], |row| row.get(0))?;
    let counts = varints(&block);
    let is_right =
        counts == [wanted.chunks, wanted.terms] || (counts.is_empty() && wanted.chunks == 0);
    Ok((!is_right).then(|| format!("counts {counts:?} chunks and words")))
}

/// SQLite's integers of variable length, one after another.
fn varints(mut bytes: &[u8]) -> Vec<u64> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let mut value = 0_u64;
        let mut length = 0;
        for byte in bytes.iter().take(9) {
            length += 1;
            if length == 9 {
                value = (value << 8) | u64::from(*byte);
                break;
            }
            value = (value << 7) | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        values.push(value);
        bytes = &bytes[length..];
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_variable_length_are_read() {
        assert_eq!(varints(&[]), [0_u64; 0]);
        assert_eq!(varints(&[5, 0x81, 0x00, 0x7f]), [5, 128, 127]);
        assert_eq!(varints(&[0xff; 9]), [u64::MAX]);
        assert_eq!(varints(&[0x81]), [1], "cut off");
    }
}
