//! The corpus at rest, and search over it.
//!
//! [`EmbeddingRepo`] is the one interface: the embedded store and PostgreSQL stand behind it and
//! pass the same conformance tests. Implementations block; they are called from blocking threads
//! only.

#[cfg(test)]
pub(crate) mod conformance;
pub mod embedded;
pub mod postgres;
mod spread;

pub use postgres::{PoolState, WaitHistogram};

use crate::domain::{
    CollectionInfo, CollectionName, ContentHash, EmbeddedDocument, Embedding, Filter, Metadata,
    Mode, ModelId, QueryText, SourceName, StoredDocument, Upserted,
};
use std::path::PathBuf;
use uuid::Uuid;

/// A search over one collection.
#[derive(Clone, Debug)]
pub struct SearchRequest<'a> {
    /// Where.
    pub collection: &'a CollectionName,
    /// What is searched. `Vector` and `Hybrid` need `embedding`.
    pub mode: Mode,
    /// The question, for text search.
    pub text: &'a QueryText,
    /// The question's vector, of the store's dimensions.
    pub embedding: Option<&'a Embedding>,
    /// Among which documents. Never costs recall: `limit` hits come back when that many match.
    pub filter: &'a Filter,
    /// Most hits, 1 to 100.
    pub limit: usize,
}

/// One chunk found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The chunk's id.
    pub id: Uuid,
    /// Its document's id.
    pub document_id: Uuid,
    /// The score as [`crate::domain::Citation::score`] defines it.
    pub score: f32,
    /// The document's source.
    pub source: String,
    /// The document's title; may be empty.
    pub document_title: String,
    /// Headings above the chunk, outermost first.
    pub title_path: Vec<String>,
    /// 0-based position in the document.
    pub position: u32,
    /// 1-based page, where the format has pages.
    pub page: Option<u32>,
    /// The chunk's text.
    pub text: String,
    /// The document's metadata.
    pub metadata: Metadata,
}

/// What is done with the outcome of a search.
pub type Then = Box<dyn FnOnce(Result<Vec<Hit>, StoreError>) + Send>;

/// Which documents to list, in order of source.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Where.
    pub collection: CollectionName,
    /// Only this source, exactly; or a glob as in [`Filter::source`].
    pub source: Option<String>,
    /// Only sources after this one.
    pub after: Option<String>,
    /// Most documents, 1 to 1,000.
    pub limit: usize,
}

/// Which documents to export, in order of source.
#[derive(Clone, Copy, Debug)]
pub struct ExportRequest<'a> {
    /// Where.
    pub collection: &'a CollectionName,
    /// Only sources after this one.
    pub after: Option<&'a str>,
    /// A page ends with the document that brings it to this many chunks.
    pub chunks: usize,
}

/// What the store says of itself.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StoreInfo {
    /// `embedded` or `postgres`.
    pub kind: &'static str,
    /// The model recorded in the store; `None` before the first document.
    pub model: Option<String>,
    /// Dimensions of the recorded model.
    pub dimensions: Option<usize>,
    /// Documents in all collections.
    pub documents: u64,
    /// Chunks in all collections.
    pub chunks: u64,
    /// Size on disk, write-ahead log included.
    pub disk_bytes: u64,
    /// What search keeps in memory.
    pub memory_bytes: u64,
    /// Where it is: a path or a DSN without password.
    pub location: String,
    /// Version of the schema.
    pub schema_version: u32,
    /// What a database adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
}

/// What a database says of the tables and of itself.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DatabaseInfo {
    /// PostgreSQL's version.
    pub server: String,
    /// pgvector's version.
    pub pgvector: String,
    /// How the index that searches use holds vectors; `None` while there is no index.
    pub index_kind: Option<&'static str>,
    /// The table `documents` without its indexes.
    pub table_bytes: u64,
    /// The indexes of `documents`, the largest first.
    pub indexes: Vec<IndexInfo>,
    /// Rows of `documents` that vacuum has yet to clear away.
    pub dead_rows: u64,
    /// When statistics were made last, RFC 3339; `None`: never.
    pub last_analyze: Option<String>,
    /// When it was vacuumed last, RFC 3339; `None`: never.
    pub last_vacuum: Option<String>,
}

/// One index.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct IndexInfo {
    /// Its name.
    pub name: String,
    /// Its size on disk.
    pub bytes: u64,
    /// Whether it can be used: one whose building was cut off cannot.
    pub valid: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// Documents looked at.
    pub documents: u64,
    /// Chunks looked at, each with its vector.
    pub chunks: u64,
    /// What is wrong; empty for a sound store.
    pub problems: Vec<String>,
    /// Whether making the text index anew mends at least one problem.
    pub text_index_differs: bool,
}

/// Documents with their chunks and vectors, searchable.
pub trait EmbeddingRepo: Send + Sync {
    /// The model recorded in the store; `None` before the first document.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn model(&self) -> Result<Option<ModelId>, StoreError>;

    /// Stores documents, each whole or refused by itself; what is `Ok` is on disk, synced. A
    /// document whose content hash is already there is left alone. The first document records
    /// `model` in the store.
    ///
    /// # Errors
    /// The outer error when the store as a whole refuses (another model, disk full, busy): then
    /// nothing of this call is stored.
    fn upsert_embeddings(
        &self,
        model: &ModelId,
        documents: &[EmbeddedDocument],
    ) -> Result<Vec<Result<Upserted, StoreError>>, StoreError>;

    /// The content hash of each of `sources`, `None` where there is no such document.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn content_hashes(
        &self,
        collection: &CollectionName,
        sources: &[SourceName],
    ) -> Result<Vec<Option<ContentHash>>, StoreError>;

    /// Finds chunks, best first.
    ///
    /// # Errors
    /// [`StoreError::UnknownCollection`]; [`StoreError::ModelMismatch`] when the embedding has
    /// other dimensions; or when the store cannot be read.
    fn search(&self, request: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError>;

    /// Whether [`EmbeddingRepo::search_later`] is of use now.
    fn searches_later(&self) -> bool {
        false
    }

    /// As [`EmbeddingRepo::search`], but returns at once: `then` is called with what that returns, once,
    /// on a thread of the store, which it must not keep for long, nor search from. Dropped uncalled, it
    /// says that this kind of search is only to be had by [`EmbeddingRepo::search`]. May be called on
    /// any thread.
    fn search_later(&self, request: &SearchRequest<'_>, then: Then) {
        let _ = request;
        drop(then);
    }

    /// Lists documents in order of source.
    ///
    /// # Errors
    /// [`StoreError::UnknownCollection`], or when the store cannot be read.
    fn list_documents(&self, request: &ListRequest) -> Result<Vec<StoredDocument>, StoreError>;

    /// One document with the texts of its chunks in order; `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn document(&self, id: Uuid) -> Result<Option<(StoredDocument, Vec<String>)>, StoreError>;

    /// A page of documents with everything, to be stored elsewhere; empty after the last one.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn export(&self, request: &ExportRequest<'_>) -> Result<Vec<EmbeddedDocument>, StoreError>;

    /// Makes an empty store ready to take very many documents; [`EmbeddingRepo::settle`] follows
    /// the last of them. A store that holds something is left as it is.
    ///
    /// # Errors
    /// When the store cannot be written, or was written with another model.
    fn begin_bulk(&self, model: &ModelId) -> Result<(), StoreError> {
        let _ = model;
        Ok(())
    }

    /// Deletes documents and their chunks; returns how many there were. Synced on return.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn delete_documents(&self, ids: &[Uuid]) -> Result<u64, StoreError>;

    /// All collections with their counts, `default` always among them.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn collections(&self) -> Result<Vec<CollectionInfo>, StoreError>;

    /// Deletes a collection with its documents; `default` is emptied instead. Returns what was
    /// deleted, `None` when there is no such collection.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn delete_collection(
        &self,
        name: &CollectionName,
    ) -> Result<Option<CollectionInfo>, StoreError>;

    /// Whether the store would take a write now, as far as is known without asking anybody.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when what is open is no longer what is at the store's place.
    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether vectors of `model` can be compared with what is stored, as far as is known without
    /// asking anybody.
    ///
    /// # Errors
    /// [`StoreError::ModelMismatch`].
    fn fits(&self, model: &ModelId) -> Result<(), StoreError>;

    /// The connections to a database, where there are any.
    fn pool(&self) -> Option<PoolState> {
        None
    }

    /// Makes what was stored in bulk quick to search: missing indexes, statistics. Called after an
    /// ingest; may take minutes.
    ///
    /// # Errors
    /// When the store cannot be written; what was stored is stored all the same.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn info(&self) -> Result<StoreInfo, StoreError>;
}

/// Refuses vectors of another model than the one that a store was written with, if any.
fn same_model(
    location: &str,
    stored: Option<ModelId>,
    offered: &ModelId,
) -> Result<(), StoreError> {
    match stored {
        Some(stored) if stored != *offered => Err(StoreError::ModelMismatch {
            location: location.to_owned(),
            stored,
            offered: offered.clone(),
        }),
        _ => Ok(()),
    }
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such collection.
    #[error("there is no collection {name:?}{}", those(known))]
    UnknownCollection {
        /// What was asked for.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The store holds vectors of another model.
    #[error("the store {location} was written with {stored}, not with {offered}")]
    ModelMismatch {
        /// Which store.
        location: String,
        /// The model recorded in it.
        stored: ModelId,
        /// The model that was offered.
        offered: ModelId,
    },
    /// Another process holds the write lock for too long, or the pool is exhausted.
    #[error("the store {location} is busy: {problem}")]
    Busy {
        /// Which store.
        location: String,
        /// What was waited for, and how long.
        problem: String,
    },
    /// The database cannot be reached, or is not ready yet.
    #[error("the store {location} is not available: {problem}")]
    Unavailable {
        /// Which store, without credentials.
        location: String,
        /// What happened.
        problem: String,
    },
    /// The disk has no room left, or may not be written.
    #[error("cannot write the store {location}: {problem}")]
    NotWritable {
        /// Which store.
        location: String,
        /// Disk full, read-only, permission.
        problem: String,
    },
    /// The file was deleted or replaced while it was open.
    #[error("the store {location} is gone: {problem} while it was open")]
    Gone {
        /// Which store.
        location: String,
        /// What was found at its path.
        problem: String,
    },
    /// What is on disk is not a sound store.
    #[error("the store {location} is damaged: {problem}")]
    Damaged {
        /// Which store.
        location: String,
        /// What was found.
        problem: String,
    },
    /// Everything else, with what was being done.
    #[error("{action} in the store {location}")]
    Failed {
        /// Which store.
        location: String,
        /// What was being done.
        action: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database was reached and cannot be used as it is.
    #[error("the store {location} cannot be used: {problem}")]
    Refused {
        /// Which store, without credentials.
        location: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The folder or file cannot be used at all.
    #[error("cannot open the store {}: {problem}", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The collections that there are, as the end of a sentence.
fn those(known: &[String]) -> String {
    if known.is_empty() {
        return String::new();
    }
    format!("; there are: {}", known.join(", "))
}

impl StoreError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownCollection { .. } => "list them with `alfred store info`",
            Self::ModelMismatch { stored, .. } => {
                return Some(format!(
                    "set `embedding.model = \"{}\"`, embed everything again with `alfred store \
                     reembed`, or use another store",
                    stored.name
                ));
            }
            Self::Busy { .. } => {
                "try again in a moment: another process is writing, or every connection is in use"
            }
            Self::Unavailable { .. } => {
                "check `store.dsn` and that the database is up; it is tried again by itself"
            }
            Self::NotWritable { .. } => {
                "free disk space or correct the permissions, then run again"
            }
            Self::Gone { .. } => {
                "put the file back where it was, or stop what has it open, restore a backup and \
                 start again"
            }
            Self::Damaged { .. } => {
                "run `alfred store check`, then `alfred store restore FILE` from a backup"
            }
            Self::Open { .. } => {
                "check that the folder exists and that this user may write it; `alfred query` and \
                 `alfred store info` need to read only"
            }
            Self::Failed { .. } | Self::Refused { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
