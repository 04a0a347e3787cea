//! Documents into the store: extract → chunk → plan → embed in batches → one transaction a document.

pub mod corpus;
pub mod coverage;
pub mod files;
mod local;
pub mod objects;
pub mod pipeline;
pub mod plan;

use crate::chunking::{ChunkLimits, chunk};
use crate::domain::stored::document_id;
use crate::domain::{
    Block, Chunk, CollectionName, ContentHash, EmbeddedDocument, Embedding, ExtractedText,
    LimitError, Metadata, SourceName, UpsertStatus, Upserted,
};
use crate::embed::{EmbedError, Embedder};
use crate::extract::{self, ExtractError, Format};
use crate::store::{EmbeddingRepo, StoreError};
use crate::telemetry::metrics::RepoMetrics;
use std::sync::Arc;

/// Parts the pages of a document that is offered as text.
const PAGE_BREAK: char = '\u{c}';

/// Takes text out of bytes; the real one isolates its parsers, tests pass a plain function.
pub type Extract = dyn Fn(Format, &[u8]) -> Result<ExtractedText, ExtractError> + Send + Sync;

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
    /// Its text: HTML or plain text when the source's extension says so, else Markdown. Without it
    /// nothing is stored: it is only asked whether `version` is.
    pub content: Option<String>,
    /// Stands for the content, as an ETag does: equal versions of a source mean equal content.
    pub version: Option<String>,
}

/// Puts documents into a store; shared by the daemon and the command line.
#[derive(Clone)]
pub struct Ingester {
    /// The model.
    pub embedder: Arc<dyn Embedder>,
    /// The store.
    pub repo: Arc<dyn EmbeddingRepo>,
    /// Takes text out of bytes.
    pub extract: Arc<Extract>,
    /// How chunks are bounded.
    pub limits: ChunkLimits,
    /// Most texts in one call to the model.
    pub batch: usize,
    /// Where storing is timed.
    pub metrics: RepoMetrics,
}

/// A document cut into chunks that have no vectors yet.
#[derive(Clone, Debug)]
pub struct Prepared {
    document: EmbeddedDocument,
    chunks: Vec<Chunk>,
}

impl Prepared {
    /// How many chunks wait for a vector.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// What it is known by.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        &self.document.source
    }
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
        // A source given twice in one call: the last one wins, as in a loop of single calls.
        let mut outcomes = Vec::with_capacity(documents.len());
        let mut prepared = Vec::new();
        for new in documents {
            outcomes.push(match self.prepare_new(new) {
                Ok(ready) => {
                    prepared.push(ready);
                    None
                }
                Err(Skipped::Unchanged(upserted)) => Some(Ok(upserted)),
                Err(Skipped::Refused(error)) => Some(Err(error)),
            });
        }
        let mut stored = self.store(prepared, &mut |_| {})?.into_iter();
        let from_store = |outcome: Result<Upserted, StoreError>| outcome.map_err(IngestError::from);
        Ok(outcomes
            .into_iter()
            .filter_map(|outcome| outcome.or_else(|| stored.next().map(from_store)))
            .collect())
    }

    fn prepare_new(&self, new: &NewDocument) -> Result<Prepared, Skipped> {
        let format = match Format::of_source(new.source.as_str()) {
            Some(format @ (Format::Html | Format::Text)) => format,
            _ => Format::Markdown,
        };
        let content = new.content.as_deref();
        let title = new.title.as_deref();
        let hash = match (&new.version, content) {
            (Some(version), _) => self.version_hash(format, version, title, &new.metadata),
            (None, Some(content)) => self.hash(format, content.as_bytes(), title, &new.metadata),
            (None, None) => return Err(missing_content().into()),
        };
        let stored = self.stored_hash(&new.collection, &new.source)?;
        if plan::need(hash, stored) == plan::Need::Nothing {
            return Err(self.unchanged(&new.collection, &new.source));
        }
        let content = content.ok_or_else(missing_content)?;
        let text = match self.extract_pages(format, content) {
            // What it held before must not be quoted any more.
            Err(ExtractError::Empty) if stored.is_some() => ExtractedText::default(),
            text => text.map_err(IngestError::Extract)?,
        };
        let document = EmbeddedDocument {
            collection: new.collection.clone(),
            source: new.source.clone(),
            title: title
                .or(text.title.as_deref())
                .unwrap_or_default()
                .to_owned(),
            metadata: new.metadata.clone(),
            content_hash: hash,
            bytes: content.len() as u64,
            chunks: Vec::new(),
        };
        Ok(self.prepare(document, &text))
    }

    /// The text of a document whose pages, if it has any, are parted by form feeds, as `pdftotext`
    /// writes them.
    fn extract_pages(&self, format: Format, content: &str) -> Result<ExtractedText, ExtractError> {
        if !content.contains(PAGE_BREAK) || format == Format::Html {
            return (self.extract)(format, content.as_bytes());
        }
        let mut whole = ExtractedText::default();
        for (number, page) in (1..).zip(content.split(PAGE_BREAK)) {
            let text = match (self.extract)(format, page.as_bytes()) {
                Err(ExtractError::Empty) => continue,
                text => text?,
            };
            whole.title = whole.title.or(text.title);
            let blocks = text.blocks.into_iter();
            whole.blocks.extend(blocks.map(|block| Block {
                page: Some(number),
                ..block
            }));
        }
        if whole.blocks.is_empty() {
            Err(ExtractError::Empty)
        } else {
            Ok(whole)
        }
    }

    /// The hash of what the store holds under this source.
    fn stored_hash(
        &self,
        collection: &CollectionName,
        source: &SourceName,
    ) -> Result<Option<ContentHash>, StoreError> {
        let stored = self.stored_hashes(collection, std::slice::from_ref(source))?;
        Ok(stored.first().copied().flatten())
    }

    /// As `stored_hash`, of many sources.
    fn stored_hashes(
        &self,
        collection: &CollectionName,
        sources: &[SourceName],
    ) -> Result<Vec<Option<ContentHash>>, StoreError> {
        match self.repo.content_hashes(collection, sources) {
            Err(StoreError::UnknownCollection { .. }) => Ok(vec![None; sources.len()]),
            stored => stored,
        }
    }

    /// The document is stored as it is.
    fn unchanged(&self, collection: &CollectionName, source: &SourceName) -> Skipped {
        let id = document_id(collection, source);
        match self.repo.document(id) {
            Ok(document) => Skipped::Unchanged(Upserted {
                id,
                chunks: document.map_or(0, |(_, texts)| texts.len()),
                status: UpsertStatus::Unchanged,
            }),
            Err(error) => Skipped::Refused(error.into()),
        }
    }

    /// The hash of everything that decides the document's chunks; not the model, of which a store has
    /// one: documents that were embedded anew with another are still the same.
    #[must_use]
    pub fn hash(
        &self,
        format: Format,
        bytes: &[u8],
        title: Option<&str>,
        metadata: &Metadata,
    ) -> ContentHash {
        self.hash_of(format, &[bytes], title, metadata)
    }

    /// As [`Ingester::hash`], with a version in place of the bytes that it stands for. The two
    /// never meet: no text that is stored begins with a NUL.
    #[must_use]
    pub fn version_hash(
        &self,
        format: Format,
        version: &str,
        title: Option<&str>,
        metadata: &Metadata,
    ) -> ContentHash {
        let content = [b"\0version\0", version.as_bytes()];
        self.hash_of(format, &content, title, metadata)
    }

    fn hash_of(
        &self,
        format: Format,
        content: &[&[u8]],
        title: Option<&str>,
        metadata: &Metadata,
    ) -> ContentHash {
        let mut hasher = blake3::Hasher::new();
        let how = format!(
            "{} {format:?} {:?}\n{title:?}\n{}\n",
            extract::VERSION,
            self.limits,
            serde_json::Value::Object(metadata.as_map().clone()),
        );
        hasher.update(how.as_bytes());
        for part in content {
            hasher.update(part);
        }
        ContentHash(*hasher.finalize().as_bytes())
    }

    /// Cuts `text` into chunks that fit the model.
    #[must_use]
    pub fn prepare(&self, document: EmbeddedDocument, text: &ExtractedText) -> Prepared {
        let max_tokens = self.limits.max_tokens.min(self.embedder.max_tokens());
        let limits = ChunkLimits {
            max_tokens,
            ..self.limits
        };
        let count = |text: &str| self.embedder.count_tokens(text);
        let titled;
        let text = if text.title.as_deref() == Some(document.title.as_str()) {
            text
        } else {
            let title = Some(document.title.clone()).filter(|title| !title.is_empty());
            titled = ExtractedText {
                title,
                blocks: text.blocks.clone(),
            };
            &titled
        };
        Prepared {
            chunks: chunk(text, limits, &count),
            document,
        }
    }

    /// Embeds the chunks of all `prepared` together, then stores the documents. `embedded` hears
    /// after each batch how many chunks it had.
    ///
    /// # Errors
    /// The outer error when nothing of this call was stored.
    pub fn store(
        &self,
        prepared: Vec<Prepared>,
        embedded: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Upserted, StoreError>>, IngestError> {
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = prepared
            .iter()
            .flat_map(|p| &p.chunks)
            .map(Chunk::embedding_text)
            .collect();
        let mut vectors: Vec<Embedding> = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.batch.max(1)) {
            let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
            vectors.extend(self.embedder.embed(&batch)?.vectors);
            embedded(batch.len());
        }
        let mut vectors = vectors.into_iter();
        let documents: Vec<EmbeddedDocument> = prepared
            .into_iter()
            .map(|Prepared { document, chunks }| EmbeddedDocument {
                chunks: chunks.into_iter().zip(vectors.by_ref()).collect(),
                ..document
            })
            .collect();
        let model = self.embedder.model();
        let upsert = || self.repo.upsert_embeddings(model, &documents);
        Ok(self.metrics.upsert.time(upsert)?)
    }
}

fn missing_content() -> IngestError {
    let problem = "is missing, and this version of the document is not stored";
    LimitError::new("content", problem).into()
}

enum Skipped {
    Unchanged(Upserted),
    Refused(IngestError),
}

impl From<StoreError> for Skipped {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<IngestError> for Skipped {
    fn from(error: IngestError) -> Self {
        Self::Refused(error)
    }
}

/// Why a document was not stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A field is out of range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// No text could be taken out of it.
    #[error(transparent)]
    Extract(ExtractError),
    /// The embedding failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon that was handed the document refused it, or went away.
    #[error("{0}")]
    Daemon(String),
}

impl IngestError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Embed(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}
