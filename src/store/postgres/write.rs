//! Writing: documents in, documents out, each whole.
//!
//! The documents of one call share a transaction; only when one of them cannot be stored are they
//! stored again one by one, each in a transaction of its own. Of two writers of the same new source one
//! waits for the other and then replaces what that one wrote. Rows are locked in order of id and
//! collections in order of name, so that two writers wait for each other and never for ever.

use super::fault::Fault;
use super::lexemes::lexemes;
use super::model;
use super::session::Session;
use crate::domain::stored::{chunk_id, document_id};
use crate::domain::{
    Chunk, CollectionInfo, CollectionName, EmbeddedDocument, Embedding, ModelId, UpsertStatus,
    Upserted,
};
use crate::store::StoreError;
use crate::store::spread::spread;
use crate::terms;
use postgres::Transaction;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{Json, Type};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// One chunk as the table has it.
struct Row<'a> {
    id: Uuid,
    chunk: &'a Chunk,
    position: i32,
    page: Option<i32>,
    content: String,
    tokens: i32,
    vector: pgvector::Vector,
    lexemes: String,
    terms: i32,
}

/// A document with all its rows.
pub(super) struct Prepared<'a> {
    document: &'a EmbeddedDocument,
    id: Uuid,
    rows: Vec<Row<'a>>,
    terms: i64,
}

/// The documents in the same order; made before the store is asked for anything.
pub(super) fn prepare(documents: &[EmbeddedDocument]) -> Vec<Prepared<'_>> {
    spread(documents, |document| document.chunks.len(), prepare_one)
}

fn prepare_one(document: &EmbeddedDocument) -> Prepared<'_> {
    let id = document_id(&document.collection, &document.source);
    let rows: Vec<Row<'_>> = document
        .chunks
        .iter()
        .map(|chunk| row_of(id, chunk))
        .collect();
    Prepared {
        document,
        id,
        terms: rows.iter().map(|row| i64::from(row.terms)).sum(),
        rows,
    }
}

fn row_of(document: Uuid, (chunk, vector): &(Chunk, Embedding)) -> Row<'_> {
    let (lexemes, terms) = lexemes(&terms::index_terms(&chunk.embedding_text()));
    Row {
        id: chunk_id(document, chunk),
        chunk,
        position: i32::try_from(chunk.position).unwrap_or(i32::MAX),
        page: chunk.page.and_then(|page| i32::try_from(page).ok()),
        content: storable(&chunk.text),
        tokens: i32::try_from(chunk.tokens).unwrap_or(i32::MAX),
        vector: pgvector::Vector::from(vector.as_slice().to_vec()),
        lexemes,
        terms,
    }
}

/// PostgreSQL's text holds everything but NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What is known of a document that is there.
struct Stored {
    collection: String,
    hash: Vec<u8>,
    chunks: i32,
    terms: i64,
}

/// Changes of the counts of collections, in order of name.
#[derive(Default)]
struct Deltas<'a>(BTreeMap<&'a str, [i64; 3]>);

impl<'a> Deltas<'a> {
    fn add(&mut self, collection: &'a str, documents: i64, chunks: i64, terms: i64) {
        let delta = self.0.entry(collection).or_default();
        delta[0] += documents;
        delta[1] += chunks;
        delta[2] += terms;
    }

    /// `prepared` takes the place of what was there before, or of nothing.
    fn replace(&mut self, prepared: &Prepared<'a>, before: Option<&Stored>) {
        let chunks = i64::try_from(prepared.rows.len()).unwrap_or(i64::MAX);
        let (documents, old_chunks, old_terms) = match before {
            Some(before) => (0, i64::from(before.chunks), before.terms),
            None => (1, 0, 0),
        };
        let (chunks, terms) = (chunks - old_chunks, prepared.terms - old_terms);
        let collection = prepared.document.collection.as_str();
        self.add(collection, documents, chunks, terms);
    }

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        for (name, [documents, chunks, terms]) in &self.0 {
            transaction.execute(
                "UPDATE alfred_collections SET documents = documents + $2, chunks = chunks + $3,
                     terms = terms + $4 WHERE name = $1",
                &[name, documents, chunks, terms],
            )?;
        }
        Ok(())
    }
}

/// Stores all of them in one transaction.
///
/// # Errors
/// [`StoreError::ModelMismatch`] when the store has another model by now than `model`.
pub(super) fn upsert(
    session: &mut Session,
    location: &str,
    model: &ModelId,
    documents: &[&Prepared<'_>],
) -> Result<Vec<Upserted>, Fault> {
    let (mut transaction, vector) = session.begin()?;
    make_durable(&mut transaction)?;
    let stored = model::recorded(&mut transaction)?;
    if let Some(stored) = stored.filter(|stored| stored != model) {
        return Err(Fault::Store(StoreError::ModelMismatch {
            location: location.to_owned(),
            stored,
            offered: model.clone(),
        }));
    }
    let mut outcomes = Vec::with_capacity(documents.len());
    for round in rounds(documents) {
        outcomes.extend(upsert_round(&mut transaction, &vector, round)?);
    }
    transaction.commit()?;
    Ok(outcomes)
}

/// What is acknowledged is on disk, however the server was set up. Takes the lock that a change of
/// model waits for, before any other: see `reembed`.
fn make_durable(transaction: &mut Transaction<'_>) -> Result<(), postgres::Error> {
    transaction.batch_execute(
        "LOCK TABLE alfred_sources IN ROW SHARE MODE;
         SELECT set_config('synchronous_commit', 'on', true)
         WHERE current_setting('synchronous_commit') = 'off'",
    )
}

/// Consecutive documents, no source twice in one round: the last one wins.
fn rounds<'d, 'p>(documents: &'d [&'p Prepared<'p>]) -> Vec<&'d [&'p Prepared<'p>]> {
    let mut rounds = Vec::new();
    let mut seen = HashSet::new();
    let mut start = 0;
    for (at, document) in documents.iter().enumerate() {
        if !seen.insert(document.id) {
            rounds.push(&documents[start..at]);
            start = at;
            seen = HashSet::from([document.id]);
        }
    }
    rounds.push(&documents[start..]);
    rounds
}

fn upsert_round(
    transaction: &mut Transaction<'_>,
    vector: &Type,
    documents: &[&Prepared<'_>],
) -> Result<Vec<Upserted>, Fault> {
    let ids: Vec<Uuid> = documents.iter().map(|prepared| prepared.id).collect();
    let mut stored = lock_sources(transaction, &ids)?;
    let missing = without(documents, &stored);
    if !missing.is_empty() {
        make_collections(transaction, &missing)?;
        let created = write_sources(transaction, &missing, LEAVE_SOURCE)?;
        let is_lost = |id: &Uuid| !created.contains(id);
        let ids = missing.iter().map(|prepared| prepared.id);
        // Another writer was first with these, and has committed.
        let lost: Vec<Uuid> = ids.filter(is_lost).collect();
        if !lost.is_empty() {
            stored.extend(lock_sources(transaction, &lost)?);
        }
    }
    let (mut outcomes, mut deltas) = (Vec::with_capacity(documents.len()), Deltas::default());
    let (mut replaced, mut changed) = (Vec::new(), Vec::new());
    for prepared in documents {
        let before = stored.get(&prepared.id);
        let hash = &prepared.document.content_hash.0[..];
        let status = match before {
            None => UpsertStatus::Created,
            Some(before) if before.hash == hash => UpsertStatus::Unchanged,
            Some(_) => UpsertStatus::Replaced,
        };
        outcomes.push(Upserted {
            id: prepared.id,
            chunks: prepared.rows.len(),
            status,
        });
        if status != UpsertStatus::Unchanged {
            deltas.replace(prepared, before);
            changed.push(*prepared);
        }
        if status == UpsertStatus::Replaced {
            replaced.push(*prepared);
        }
    }
    if !replaced.is_empty() {
        write_sources(transaction, &replaced, UPDATE_SOURCE)?;
        let ids: Vec<Uuid> = replaced.iter().map(|prepared| prepared.id).collect();
        let sql = "DELETE FROM documents WHERE document_id = ANY($1)";
        transaction.execute(sql, &[&ids])?;
    }
    if !changed.is_empty() {
        copy_rows(transaction, vector, &changed)?;
        deltas.apply(transaction)?;
    }
    Ok(outcomes)
}

/// The documents of which nothing is stored.
fn without<'d, 'p>(
    documents: &[&'d Prepared<'p>],
    stored: &HashMap<Uuid, Stored>,
) -> Vec<&'d Prepared<'p>> {
    let is_missing = |prepared: &&&'d Prepared<'p>| !stored.contains_key(&prepared.id);
    documents.iter().filter(is_missing).copied().collect()
}

fn lock_sources(
    transaction: &mut Transaction<'_>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Stored>, postgres::Error> {
    let rows = transaction.query(
        "SELECT id, collection, content_hash, chunks, terms FROM alfred_sources
         WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        &[&ids],
    )?;
    let stored = |row: &postgres::Row| {
        let stored = Stored {
            collection: row.get(1),
            hash: row.get(2),
            chunks: row.get(3),
            terms: row.get(4),
        };
        (row.get(0), stored)
    };
    Ok(rows.iter().map(stored).collect())
}

fn make_collections(
    transaction: &mut Transaction<'_>,
    documents: &[&Prepared<'_>],
) -> Result<(), postgres::Error> {
    let names: BTreeSet<&str> = documents
        .iter()
        .map(|prepared| prepared.document.collection.as_str())
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    transaction.execute(
        "INSERT INTO alfred_collections (name)
         SELECT n FROM unnest($1::text[]) AS n
         WHERE NOT EXISTS (SELECT FROM alfred_collections WHERE name = n)
         ORDER BY n ON CONFLICT DO NOTHING",
        &[&names],
    )?;
    Ok(())
}

/// A source that is there stays. Without naming a key: another writer of the same source may be seen
/// by the one on collection and source first, which would be an error if only `id` were named.
const LEAVE_SOURCE: &str = "DO NOTHING";
/// What becomes of a source that is there.
const UPDATE_SOURCE: &str =
    "(id) DO UPDATE SET title = excluded.title, metadata = excluded.metadata,
    content_hash = excluded.content_hash, bytes = excluded.bytes, chunks = excluded.chunks,
    terms = excluded.terms, updated_at = now()";

/// Writes rows of `alfred_sources`; returns those that were written.
fn write_sources(
    transaction: &mut Transaction<'_>,
    documents: &[&Prepared<'_>],
    on_conflict: &str,
) -> Result<HashSet<Uuid>, postgres::Error> {
    let mut documents = documents.to_vec();
    documents.sort_unstable_by_key(|prepared| prepared.id);
    let metadata: Vec<Json<&Map<String, Value>>> = documents
        .iter()
        .map(|prepared| Json(prepared.document.metadata.as_map()))
        .collect();
    let text = |value: &dyn Fn(&EmbeddedDocument) -> String| -> Vec<String> {
        documents
            .iter()
            .map(|prepared| storable(&value(prepared.document)))
            .collect()
    };
    let collections = text(&|document| document.collection.to_string());
    let sources = text(&|document| document.source.to_string());
    let titles = text(&|document| document.title.clone());
    let ids: Vec<Uuid> = documents.iter().map(|prepared| prepared.id).collect();
    let of = |value: &dyn Fn(&Prepared<'_>) -> i64| -> Vec<i64> {
        documents.iter().map(|prepared| value(prepared)).collect()
    };
    let hashes: Vec<&[u8]> = documents
        .iter()
        .map(|prepared| &prepared.document.content_hash.0[..])
        .collect();
    let bytes = of(&|prepared| i64::try_from(prepared.document.bytes).unwrap_or(i64::MAX));
    let chunks = of(&|prepared| i64::try_from(prepared.rows.len()).unwrap_or(i64::MAX));
    let terms = of(&|prepared| prepared.terms);
    let sql = format!(
        "INSERT INTO alfred_sources (id, collection, source, title, metadata, content_hash, bytes,
             chunks, terms)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[],
             $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[])
         ON CONFLICT {on_conflict} RETURNING id"
    );
    let rows = transaction.query(
        &sql,
        &[
            &ids,
            &collections,
            &sources,
            &titles,
            &metadata,
            &hashes,
            &bytes,
            &chunks,
            &terms,
        ],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The columns of `documents` that are copied, with their types; `None` stands for `vector`.
const COLUMNS: [(&str, Option<Type>); 15] = [
    ("id", Some(Type::UUID)),
    ("document_id", Some(Type::UUID)),
    ("collection", Some(Type::TEXT)),
    ("source", Some(Type::TEXT)),
    ("title", Some(Type::TEXT)),
    ("title_path", Some(Type::TEXT_ARRAY)),
    ("chunk", Some(Type::INT4)),
    ("page", Some(Type::INT4)),
    ("content", Some(Type::TEXT)),
    ("tokens", Some(Type::INT4)),
    ("embedding", None),
    ("metadata", Some(Type::JSONB)),
    ("lexemes", Some(Type::TEXT)),
    ("terms", Some(Type::INT4)),
    ("content_hash", Some(Type::BYTEA)),
];

fn copy_rows(
    transaction: &mut Transaction<'_>,
    vector: &Type,
    documents: &[&Prepared<'_>],
) -> Result<(), postgres::Error> {
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    let sql = format!("COPY documents ({names}) FROM STDIN (FORMAT binary)");
    let types = COLUMNS.map(|(_, known)| known.unwrap_or_else(|| vector.clone()));
    let mut writer = BinaryCopyInWriter::new(transaction.copy_in(&sql)?, &types);
    for prepared in documents {
        let document = prepared.document;
        let metadata = Json(document.metadata.as_map());
        let title = storable(&document.title);
        let hash = &document.content_hash.0[..];
        for row in &prepared.rows {
            let path: Vec<String> = row.chunk.title_path.iter().map(|t| storable(t)).collect();
            writer.write(&[
                &row.id,
                &prepared.id,
                &document.collection.as_str(),
                &document.source.as_str(),
                &title,
                &path,
                &row.position,
                &row.page,
                &row.content,
                &row.tokens,
                &row.vector,
                &metadata,
                &row.lexemes,
                &row.terms,
                &hash,
            ])?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// Deletes documents; returns how many there were.
pub(super) fn delete_documents(session: &mut Session, ids: &[Uuid]) -> Result<u64, Fault> {
    let (mut transaction, _) = session.begin()?;
    make_durable(&mut transaction)?;
    let stored = lock_sources(&mut transaction, ids)?;
    let mut deltas = Deltas::default();
    for document in stored.values() {
        deltas.add(
            &document.collection,
            -1,
            -i64::from(document.chunks),
            -document.terms,
        );
    }
    let there: Vec<Uuid> = stored.keys().copied().collect();
    transaction.execute(
        "DELETE FROM documents WHERE document_id = ANY($1)",
        &[&there],
    )?;
    transaction.execute("DELETE FROM alfred_sources WHERE id = ANY($1)", &[&there])?;
    deltas.apply(&mut transaction)?;
    transaction.commit()?;
    Ok(stored.len() as u64)
}

/// Deletes a collection with its documents; `default` is emptied instead.
pub(super) fn delete_collection(
    session: &mut Session,
    name: &CollectionName,
) -> Result<Option<CollectionInfo>, Fault> {
    let (mut transaction, _) = session.begin()?;
    make_durable(&mut transaction)?;
    // Writers lock documents first and the collection last; this does the same.
    transaction.execute(
        "SELECT FROM alfred_sources WHERE collection = $1 ORDER BY id FOR UPDATE",
        &[&name.as_str()],
    )?;
    let sql = "SELECT documents, chunks FROM alfred_collections WHERE name = $1 FOR UPDATE";
    let Some(row) = transaction.query_opt(sql, &[&name.as_str()])? else {
        return Ok(None);
    };
    let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    let info = CollectionInfo {
        name: name.clone(),
        documents: count(0),
        chunks: count(1),
    };
    let last = if *name == CollectionName::default() {
        "UPDATE alfred_collections SET documents = 0, chunks = 0, terms = 0 WHERE name = $1"
    } else {
        "DELETE FROM alfred_collections WHERE name = $1"
    };
    for sql in [
        "DELETE FROM documents WHERE collection = $1",
        "DELETE FROM alfred_sources WHERE collection = $1",
        last,
    ] {
        transaction.execute(sql, &[&name.as_str()])?;
    }
    transaction.commit()?;
    Ok(Some(info))
}
