//! What this process knows of the store: vectors in memory, kept up with the file.
//!
//! A [`Snapshot`] never changes; a refresh builds the next one, which shares all untouched blocks,
//! and swaps it in. So a search works on one state from beginning to end and never waits for a
//! writer, and a refresh of a few rows copies a few kilobytes to half a megabyte.

use super::fault::{Fault, Location};
use super::index::CollectionIndex;
use super::index::block::RowIds;
use super::schema;
use crate::domain::{CollectionName, ModelId};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// One state of the store.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    /// By name.
    pub(super) collections: BTreeMap<String, Arc<CollectionIndex>>,
    /// The model recorded in the store.
    pub(super) model: Option<ModelId>,
    /// Differs between snapshots of different content.
    pub(super) revision: u64,
    last_chunk: i64,
    last_tombstone: i64,
}

impl Snapshot {
    pub(super) fn collection(&self, name: &CollectionName) -> Option<&Arc<CollectionIndex>> {
        self.collections.get(name.as_str())
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let indexes = self.collections.values();
        indexes.map(|index| index.memory_bytes() as u64).sum()
    }
}

/// The current snapshot and the connection that follows the file.
pub(super) struct Follower {
    current: RwLock<Arc<Snapshot>>,
    reader: Mutex<Reader>,
}

struct Reader {
    connection: Connection,
    /// `PRAGMA data_version` when it was last read: changes with every commit of another
    /// connection.
    seen: i64,
}

impl Follower {
    /// Reads the whole store.
    pub(super) fn open(location: &Location) -> Result<Self, Fault> {
        let connection = schema::connect_reader(location)?;
        let follower = Self {
            current: RwLock::default(),
            reader: Mutex::new(Reader {
                connection,
                seen: i64::MIN,
            }),
        };
        follower.refresh()?;
        Ok(follower)
    }

    /// The latest state that was read.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Catches up with the file, when anything was committed since.
    pub(super) fn refresh(&self) -> Result<(), Fault> {
        let mut reader = self.reader();
        let version = data_version(&reader.connection)?;
        if version == reader.seen {
            return Ok(());
        }
        let before = self.current();
        let transaction = reader.connection.transaction()?;
        let after = catch_up(&transaction, &before)?;
        transaction.commit()?;
        reader.seen = version;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        Ok(())
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn data_version(connection: &Connection) -> Result<i64, Fault> {
    let mut statement = connection.prepare_cached("PRAGMA data_version")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn catch_up(transaction: &Transaction<'_>, before: &Snapshot) -> Result<Snapshot, Fault> {
    let model = read_model(transaction)?;
    let (oldest, newest) = transaction.query_row(
        "SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM tombstones",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let is_first = before.revision == 0;
    let missed_some = newest > before.last_tombstone && oldest > before.last_tombstone + 1;
    let mut after = if is_first || missed_some {
        Snapshot::default()
    } else {
        before.clone()
    };
    after.revision = before.revision + 1;
    after.model = model;
    let mut indexes = take_collections(transaction, &mut after)?;
    if !is_first && !missed_some {
        bury(transaction, after.last_tombstone, &mut indexes)?;
    }
    after.last_tombstone = newest;
    load_vectors(transaction, &mut after, &mut indexes)?;
    if is_first {
        check_counts(transaction, &indexes)?;
    }
    for (name, mut index) in indexes.into_values() {
        // Untouched ones are still shared, and have nothing to compact.
        if let Some(index) = Arc::get_mut(&mut index) {
            index.compact();
        }
        after.collections.insert(name, index);
    }
    Ok(after)
}

/// Indexes by the id of their collection, with its name.
type Indexes = BTreeMap<i64, (String, Arc<CollectionIndex>)>;

/// Takes the indexes out of the snapshot: those of collections that still exist, and empty ones for
/// new collections.
fn take_collections(
    transaction: &Transaction<'_>,
    snapshot: &mut Snapshot,
) -> Result<Indexes, Fault> {
    let dimensions = snapshot.model.as_ref().map_or(0, |model| model.dimensions);
    let mut known = std::mem::take(&mut snapshot.collections);
    let mut statement = transaction.prepare_cached("SELECT id, name FROM collections")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut indexes = Indexes::new();
    for row in rows {
        let (id, name) = row?;
        let index = known
            .remove(&name)
            .filter(|index| {
                index.id == id && (index.live() > 0 || index.dimensions() == dimensions)
            })
            .unwrap_or_else(|| Arc::new(CollectionIndex::new(id, dimensions)));
        indexes.insert(id, (name, index));
    }
    Ok(indexes)
}

fn bury(transaction: &Transaction<'_>, after: i64, indexes: &mut Indexes) -> Result<(), Fault> {
    let mut statement = transaction
        .prepare_cached("SELECT document_id, collection_id FROM tombstones WHERE seq > ?1")?;
    let mut rows = statement.query([after])?;
    while let Some(row) = rows.next()? {
        let (document, collection) = (row.get(0)?, row.get(1)?);
        if let Some((_, index)) = indexes.get_mut(&collection) {
            Arc::make_mut(index).remove_document(document);
        }
    }
    Ok(())
}

fn load_vectors(
    transaction: &Transaction<'_>,
    snapshot: &mut Snapshot,
    indexes: &mut Indexes,
) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(
        "SELECT chunk_id, document_id, collection_id, embedding FROM vectors
         WHERE chunk_id > ?1 ORDER BY chunk_id",
    )?;
    let dimensions = snapshot.model.as_ref().map_or(0, |model| model.dimensions);
    let mut vector = Vec::with_capacity(dimensions);
    let mut rows = statement.query([snapshot.last_chunk])?;
    while let Some(row) = rows.next()? {
        let chunk = row.get(0)?;
        snapshot.last_chunk = chunk;
        read_vector(row.get_ref(3)?.as_blob().ok(), dimensions, &mut vector)
            .map_err(|problem| Fault::Unsound(format!("vector of chunk {chunk}: {problem}")))?;
        let document = row.get(1)?;
        if let Some((_, index)) = indexes.get_mut(&row.get(2)?) {
            Arc::make_mut(index).append(RowIds { chunk, document }, &vector);
        }
    }
    Ok(())
}

/// Sees that there is a vector for each chunk that was counted: a page that is gone takes its rows with it
/// and is no error to SQLite.
fn check_counts(transaction: &Transaction<'_>, indexes: &Indexes) -> Result<(), Fault> {
    let mut statement = transaction.prepare("SELECT id, chunks FROM collections")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, chunks): (i64, usize) = (row.get(0)?, row.get(1)?);
        let Some((name, index)) = indexes.get(&id) else {
            continue;
        };
        if index.live() != chunks {
            let vectors = index.live();
            let problem = format!("collection {name:?} has {chunks} chunks and {vectors} vectors");
            return Err(Fault::Unsound(problem));
        }
    }
    Ok(())
}

/// Bytes of the checksum behind a vector.
pub(super) const CHECKSUM_BYTES: usize = 4;

/// Reads a stored vector; the error says what is wrong with it. Stores of the first schema have no
/// checksums.
pub(super) fn read_vector(
    blob: Option<&[u8]>,
    dimensions: usize,
    into: &mut Vec<f32>,
) -> Result<(), String> {
    let blob = blob.ok_or("it is not a blob")?;
    let bytes = 4 * dimensions;
    let checksum = match blob.len().checked_sub(bytes) {
        Some(0) => None,
        Some(CHECKSUM_BYTES) => blob.last_chunk().copied().map(u32::from_le_bytes),
        _ => return Err(format!("it has {} bytes, not {bytes}", blob.len())),
    };
    if checksum.is_some_and(|checksum| checksum != crc32fast::hash(&blob[..bytes])) {
        return Err("its checksum does not match".to_owned());
    }
    into.clear();
    let (values, _) = blob[..bytes].as_chunks::<4>();
    into.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    if !into.iter().all(|value| value.is_finite()) {
        return Err("it has values that are not finite".to_owned());
    }
    Ok(())
}

/// The model recorded in the store.
pub(super) fn read_model(connection: &Connection) -> Result<Option<ModelId>, Fault> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let mut read = |key: &str| -> Result<Option<String>, Fault> {
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    };
    let (Some(name), Some(dimensions)) = (read("model")?, read("dimensions")?) else {
        return Ok(None);
    };
    let dimensions = dimensions
        .parse()
        .map_err(|_| Fault::Unsound(format!("its dimensions are recorded as {dimensions:?}")))?;
    Ok(Some(ModelId { name, dimensions }))
}
