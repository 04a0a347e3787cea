//! The embedded store: SQLite as the source of truth, vectors in memory.
//!
//! Everything that was acknowledged is in one SQLite file (write-ahead log, `synchronous=FULL`);
//! what is kept in memory is rebuilt from it. One connection writes, under a mutex; readers have
//! their own. A thread looks every 200 ms whether another process has written and catches up.
//!
//! Reading order: `schema` (the file), `write`, `read`, `snapshot` (memory that follows the file),
//! `index` (vectors), `text`, `filter`, `search`, `admin`, `verify`.

mod access;
pub mod admin;
mod export;
mod fault;
mod filter;
mod index;
mod lock;
mod pool;
mod prepare;
mod presence;
mod read;
mod schema;
mod search;
mod snapshot;
mod text;
mod vectors;
mod verify;
mod write;

use crate::clock::Clock;
use crate::domain::{
    CollectionInfo, CollectionName, ContentHash, EmbeddedDocument, ModelId, SourceName,
    StoredDocument, Upserted,
};
use crate::store::{
    EmbeddingRepo, ExportRequest, Hit, ListRequest, SearchRequest, StoreError, StoreInfo,
    same_model,
};
use access::Access;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use fault::{Fault, Location};
use filter::FilterCache;
use pool::ReaderPool;
use presence::Presence;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use snapshot::{Follower, read_model};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};
use text::TextSearch;
use uuid::Uuid;

/// The file inside the store's folder.
const FILE_NAME: &str = "alfred.db";

/// How often it is looked whether another process has written; documents of others are served
/// within this and the time it takes to read them.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// The embedded store. Cheap to share behind an `Arc`.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// `None` where the store may only be read.
    writer: Mutex<Option<Connection>>,
    clock: Arc<dyn Clock>,
    follower: Option<(Sender<()>, JoinHandle<()>)>,
    _lock: Option<lock::SharedLock>,
}

/// What searches and the following thread share.
struct Shared {
    location: Location,
    presence: Presence,
    follower: Follower,
    pool: ReaderPool,
    filters: FilterCache,
    text: TextSearch,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, creating both when absent, and reads its vectors.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the folder cannot be used, [`StoreError::Damaged`] when what is
    /// there is no sound store, [`StoreError::Busy`] while a backup is being restored.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let location = Location::new(&file_in(folder));
        lock::prepare_folder(folder)?;
        let lock = lock::SharedLock::take(folder)?;
        let writer = schema::open_and_migrate(&location)?;
        for suffix in ["", "-wal", "-shm"] {
            let mut file = file_in(folder).into_os_string();
            file.push(suffix);
            lock::give_to_owner_of(folder, Path::new(&file));
        }
        Self::assemble(location, Some(writer), Some(lock), clock)
    }

    /// Opens a store that is there, to write where that is allowed, else to read: every write is
    /// then refused. Meant for a question or two, since what others write may go unseen.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`]; [`StoreError::Open`] when it may not be read, or was written by
    /// an older alfred and may not be written.
    pub fn open_for_reading(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let location = Location::for_reading(&file_in(folder))?;
        if location.access() == Access::Write {
            return Self::open(folder, clock);
        }
        schema::check_reader(&location)?;
        let lock = lock::SharedLock::take_if_there(folder)?;
        Self::assemble(location, None, lock, clock)
    }

    fn assemble(
        location: Location,
        writer: Option<Connection>,
        lock: Option<lock::SharedLock>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let explain = location.explain("reading its vectors");
        let shared = Arc::new(Shared {
            follower: Follower::open(&location).map_err(explain)?,
            pool: ReaderPool::new(location.clone()),
            filters: FilterCache::new(),
            text: TextSearch::new(),
            presence: Presence::of(location.path())?,
            location,
        });
        let follower = follow(&shared)?;
        Ok(Self {
            shared,
            writer: Mutex::new(writer),
            clock,
            follower: Some(follower),
            _lock: lock,
        })
    }

    /// Runs `work` in one write transaction; what it wrote is synced, and seen by searches of this
    /// process, when this returns. A file that is no longer at its path is refused before anything
    /// is done, and again after the commit: only then is it sure where the commit went.
    fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let presence = &self.shared.presence;
        let result = (|| {
            let writer = writer.as_mut().ok_or_else(|| self.read_only())?;
            presence.look()?;
            let mut transaction =
                writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&mut transaction)?;
            transaction.commit()?;
            presence.look()?;
            Ok(result)
        })();
        drop(writer);
        let result = result.map_err(self.shared.location.explain(action))?;
        // It is on disk; that reading it back failed is no reason to call it not stored.
        self.shared.refresh_or_warn();
        Ok(result)
    }

    fn read_only(&self) -> StoreError {
        StoreError::NotWritable {
            location: self.shared.location.text(),
            problem: "this user or the medium allows reading only".to_owned(),
        }
    }

    fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let result = self.shared.pool.read(work);
        result.map_err(self.shared.location.explain(action))
    }

    fn now_ms(&self) -> i64 {
        let since_epoch = self.clock.wall().duration_since(UNIX_EPOCH);
        let ms = since_epoch.map_or(0, |duration| duration.as_millis());
        i64::try_from(ms).unwrap_or(i64::MAX)
    }
}

impl Shared {
    fn refresh_or_warn(&self) {
        if let Err(fault) = self.follower.refresh() {
            let error = self.location.explain("following the file")(fault);
            tracing::warn!(%error, "searches show an older state of the store");
        }
    }
}

/// Whether there is a store in `folder`, or may be: one that cannot be seen is not absent.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let looked = std::fs::metadata(file_in(folder));
    !looked.is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// Where the store's file is in its folder.
fn file_in(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// Starts the thread that follows other processes' writes until the sender is dropped.
fn follow(shared: &Arc<Shared>) -> Result<(Sender<()>, JoinHandle<()>), StoreError> {
    let (stop, stopped) = bounded::<()>(0);
    let followed = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("store-follower".to_owned())
        .spawn(move || {
            while stopped.recv_timeout(FOLLOW_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // It is told once, when it is found; writes and readiness say it again.
                if followed.presence.look().is_ok() {
                    followed.refresh_or_warn();
                }
            }
        })
        .map_err(|error| StoreError::Failed {
            location: shared.location.text(),
            action: "starting the follower thread".to_owned(),
            source: Box::new(error),
        })?;
    Ok((stop, thread))
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.follower.take() {
            drop(stop);
            // It only ends by returning or by a panic that has already been reported.
            let _ = thread.join();
        }
    }
}

impl EmbeddingRepo for EmbeddedStore {
    fn model(&self) -> Result<Option<ModelId>, StoreError> {
        self.read("reading the model", read_model)
    }

    fn upsert_embeddings(
        &self,
        model: &ModelId,
        documents: &[EmbeddedDocument],
    ) -> Result<Vec<Result<Upserted, StoreError>>, StoreError> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let upsert = write::Upsert {
            location: &self.shared.location,
            model,
            now_ms: self.now_ms(),
        };
        let prepared = prepare::prepare(documents);
        self.write("storing documents", |transaction| {
            upsert.run(transaction, &prepared)
        })
    }

    fn content_hashes(
        &self,
        collection: &CollectionName,
        sources: &[SourceName],
    ) -> Result<Vec<Option<ContentHash>>, StoreError> {
        self.read("reading content hashes", |connection| {
            read::content_hashes(connection, collection, sources)
        })
    }

    fn search(&self, request: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError> {
        search::search(&self.shared, request)
    }

    fn list_documents(&self, request: &ListRequest) -> Result<Vec<StoredDocument>, StoreError> {
        self.read("listing documents", |connection| {
            read::list(connection, request)
        })
    }

    fn document(&self, id: Uuid) -> Result<Option<(StoredDocument, Vec<String>)>, StoreError> {
        self.read("reading a document", |connection| {
            read::document(connection, id)
        })
    }

    fn export(&self, request: &ExportRequest<'_>) -> Result<Vec<EmbeddedDocument>, StoreError> {
        let model = self.model()?;
        self.read("exporting documents", |connection| {
            export::export(connection, model.as_ref(), request)
        })
    }

    fn delete_documents(&self, ids: &[Uuid]) -> Result<u64, StoreError> {
        self.write("deleting documents", |transaction| {
            write::delete(transaction, ids)
        })
    }

    fn collections(&self) -> Result<Vec<CollectionInfo>, StoreError> {
        self.read("listing collections", read::collections)
    }

    fn delete_collection(
        &self,
        name: &CollectionName,
    ) -> Result<Option<CollectionInfo>, StoreError> {
        self.write("deleting a collection", |transaction| {
            write::delete_collection(transaction, name)
        })
    }

    fn fits(&self, model: &ModelId) -> Result<(), StoreError> {
        let snapshot = self.shared.follower.current();
        same_model(&self.shared.location.text(), snapshot.model.clone(), model)
    }

    fn health(&self) -> Result<(), StoreError> {
        self.shared.presence.last_seen()
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        let info = self.read("counting", |connection| {
            admin::info(connection, &self.shared.location)
        })?;
        Ok(StoreInfo {
            memory_bytes: self.shared.follower.current().memory_bytes(),
            ..info
        })
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
