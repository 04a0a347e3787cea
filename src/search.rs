//! The one use case: question → embedding → search → answer. No HTTP in it.

use crate::answering::{self, Source};
use crate::clock::Clock;
use crate::domain::{Answer, AnswerKind, Citation, Embedding, Mode, Query, Timings, Usage};
use crate::embed::{CachedEmbedder, EmbedError, Embedder};
use crate::store::{EmbeddingRepo, Hit, SearchRequest, StoreError};
use crate::terms::{index_terms, query_terms};
use std::sync::Arc;
use std::time::Duration;

/// Answers questions over a store; shared by the daemon's threads and the command line.
pub struct Searcher {
    embedder: CachedEmbedder,
    repo: Arc<dyn EmbeddingRepo>,
    clock: Arc<dyn Clock>,
}

impl Searcher {
    /// A searcher over `repo`, embedding with `embedder`, timed by `clock`.
    #[must_use]
    pub fn new(
        embedder: CachedEmbedder,
        repo: Arc<dyn EmbeddingRepo>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            embedder,
            repo,
            clock,
        }
    }

    /// The store that is searched.
    #[must_use]
    pub fn repo(&self) -> &Arc<dyn EmbeddingRepo> {
        &self.repo
    }

    /// The model that embeds.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        self.embedder.embedder()
    }

    /// The cache in front of the model.
    #[must_use]
    pub fn cache(&self) -> &CachedEmbedder {
        &self.embedder
    }

    /// Answers one question; blocks. `queue_ms` of the timings is left 0 for the caller to fill in,
    /// `total_ms` does not include it.
    ///
    /// # Errors
    /// When the query cannot be embedded or the store cannot be searched.
    pub fn answer(&self, query: &Query) -> Result<Answer, SearchError> {
        if query.answer == AnswerKind::Generated {
            return Err(SearchError::GeneratedUnavailable);
        }
        let start = self.clock.monotonic();
        let (embedding, usage) = self.embed(query)?;
        let embedded = self.clock.monotonic();
        let hits = self.repo.search(&SearchRequest {
            collection: &query.collection,
            mode: query.mode,
            text: &query.text,
            embedding: embedding.as_deref(),
            filter: &query.filter,
            limit: query.top_k.get(),
        })?;
        let searched = self.clock.monotonic();
        let text = match query.answer {
            AnswerKind::Extractive => Some(extract(query, &hits)),
            AnswerKind::None | AnswerKind::Generated => None,
        };
        Ok(Answer {
            text,
            citations: hits.into_iter().map(cite).collect(),
            timings: Timings {
                queue_ms: 0.0,
                embed_ms: ms(embedded - start),
                search_ms: ms(searched - embedded),
                total_ms: ms(self.clock.monotonic() - start),
            },
            usage,
        })
    }

    fn embed(&self, query: &Query) -> Result<(Option<Arc<Embedding>>, Usage), SearchError> {
        if query.mode == Mode::Text {
            return Ok((None, Usage::default()));
        }
        let made = self.embedder.embed_query(query.text.as_str())?;
        let usage = Usage {
            embedding_tokens: made.tokens,
            embedding_cached: made.cached,
        };
        Ok((Some(made.embedding), usage))
    }
}

/// The quoted passages that answer; empty when nothing was found.
fn extract(query: &Query, hits: &[Hit]) -> String {
    let headings: Vec<String> = hits.iter().map(|hit| hit.title_path.join(" ")).collect();
    let sources: Vec<Source<'_>> = hits
        .iter()
        .zip(&headings)
        .map(|(hit, headings)| Source {
            headings,
            text: &hit.text,
        })
        .collect();
    let wanted = query_terms(query.text.as_str());
    answering::extractive(&wanted, &sources, &index_terms).unwrap_or_default()
}

fn cite(hit: Hit) -> Citation {
    let title = hit
        .title_path
        .into_iter()
        .next_back()
        .unwrap_or(hit.document_title);
    Citation {
        id: hit.id,
        document_id: hit.document_id,
        excerpt: hit.text,
        score: hit.score,
        source: hit.source,
        title,
        chunk: hit.position,
        page: hit.page,
        metadata: hit.metadata,
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
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

impl SearchError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Embed(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::GeneratedUnavailable => Some("ask for \"extractive\" or \"none\"".to_owned()),
        }
    }
}
