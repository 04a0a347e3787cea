//! Documents from one store to another, as they are or embedded anew.
//!
//! What is there already is left alone and not even read, so that a transfer that was cut off goes
//! on where it was when it is run again. One thread reads ahead while others write.

use crate::clock::{Clock as _, SystemClock};
use crate::domain::{
    Chunk, CollectionName, ContentHash, EmbeddedDocument, ModelId, SourceName, StoredDocument,
    UpsertStatus, Upserted,
};
use crate::embed::{EmbedError, Embedder};
use crate::store::{EmbeddingRepo, ExportRequest, ListRequest, StoreError};
use crossbeam_channel::{Receiver, Sender, bounded};
use uuid::Uuid;

/// Chunks of one page: one transaction of the other store, of which four are held in memory.
const PAGE_CHUNKS: usize = 4_096;
/// The same where each chunk is embedded, which costs more than it saves to be done twice after an
/// interruption: a few requests to a provider.
const PAGE_CHUNKS_EMBEDDED: usize = 512;
/// Documents that are looked at together, the most that a store lists.
const LIST: usize = 1_000;
/// Pages that are read ahead.
const PAGES_AHEAD: usize = 1;
/// Pages that are stored at the same time: while one is made ready here, a database stores another.
const WRITERS: usize = 2;

/// What a transfer did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Transferred {
    /// Documents that were stored.
    pub stored: u64,
    /// Documents that were there already.
    pub unchanged: u64,
    /// Chunks of the stored ones.
    pub chunks: u64,
    /// Documents that were refused, each with its reason.
    pub refused: Vec<String>,
    /// How long reading, embedding and storing took, in s.
    pub copy_s: f64,
    /// How long indexes and statistics took afterwards, in s.
    pub settle_s: f64,
}

impl Transferred {
    /// Adds what another part stored.
    pub fn add(&mut self, more: Self) {
        self.stored += more.stored;
        self.unchanged += more.unchanged;
        self.chunks += more.chunks;
        self.refused.extend(more.refused);
        self.copy_s += more.copy_s;
        self.settle_s += more.settle_s;
    }
}

/// Why a transfer ended early; what was stored stays, and running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// One of the stores failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new model failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// There is nothing to take over.
    #[error("the store {0} is empty")]
    Empty(String),
}

impl TransferError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Embed(error) => error.hint(),
            Self::Empty(_) => Some("put documents in with `alfred ingest`".to_owned()),
        }
    }
}

/// Copies all collections. `report` hears how many documents and chunks each page had.
///
/// # Errors
/// When a store fails as a whole, or `to` holds vectors of another model.
pub fn copy(
    from: &dyn EmbeddingRepo,
    to: &dyn EmbeddingRepo,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Transferred, TransferError> {
    let Some(model) = from.model()? else {
        return Err(TransferError::Empty(from.info()?.location));
    };
    let kind = Kind {
        model: &model,
        page_chunks: PAGE_CHUNKS,
        make: &|documents| Ok(documents),
    };
    transfer(from, to, &kind, report)
}

/// Copies all collections with vectors of another model.
///
/// # Errors
/// When a store or the model fails, or `to` holds vectors of yet another model.
pub fn reembed(
    from: &dyn EmbeddingRepo,
    to: &dyn EmbeddingRepo,
    embedder: &dyn Embedder,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Transferred, TransferError> {
    let kind = Kind {
        model: embedder.model(),
        page_chunks: PAGE_CHUNKS_EMBEDDED,
        make: &|documents| embed_anew(documents, embedder),
    };
    transfer(from, to, &kind, report)
}

/// Deletes from `to` what `from` does not have any more; returns how many documents that were.
///
/// # Errors
/// When a store fails.
pub fn delete_gone(from: &dyn EmbeddingRepo, to: &dyn EmbeddingRepo) -> Result<u64, TransferError> {
    let mut deleted = 0;
    for collection in to.collections()? {
        let mut after = None;
        loop {
            let listed = list(to, &collection.name, after)?;
            let Some(last) = listed.last() else { break };
            after = Some(last.source.to_string());
            let known = known_hashes(from, &collection.name, &sources_of(&listed))?;
            let gone = listed
                .iter()
                .zip(known)
                .filter(|(_, known)| known.is_none());
            let gone: Vec<Uuid> = gone.map(|(document, _)| document.id).collect();
            if !gone.is_empty() {
                deleted += to.delete_documents(&gone)?;
            }
        }
    }
    Ok(deleted)
}

/// Makes of documents those that are to be stored.
type Make<'a> =
    dyn Fn(Vec<EmbeddedDocument>) -> Result<Vec<EmbeddedDocument>, TransferError> + Sync + 'a;

/// What is done to documents on their way.
struct Kind<'a> {
    /// Of the vectors that are stored.
    model: &'a ModelId,
    page_chunks: usize,
    make: &'a Make<'a>,
}

fn transfer(
    from: &dyn EmbeddingRepo,
    to: &dyn EmbeddingRepo,
    kind: &Kind<'_>,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Transferred, TransferError> {
    let started = SystemClock.monotonic();
    to.begin_bulk(kind.model)?;
    let reading = Reading {
        from,
        to,
        page_chunks: kind.page_chunks,
    };
    let writer = Writer { to, kind };
    let mut done = std::thread::scope(|scope| {
        let (pages, received) = bounded(PAGES_AHEAD);
        let (results, stored) = bounded(WRITERS);
        let reader = scope.spawn(move || reading.all(&pages));
        for _ in 0..WRITERS {
            let (received, results, writer) = (received.clone(), results.clone(), &writer);
            scope.spawn(move || writer.store_all(&received, &results));
        }
        // What ends here are the clones of the writers.
        drop((received, results));
        let mut done = Transferred::default();
        for result in stored {
            let page: Outcome = result?;
            done.add(page.done);
            report(page.documents, page.chunks);
        }
        match reader.join() {
            Ok(outcome) => outcome.map(|()| done).map_err(TransferError::from),
            Err(_) => Err(TransferError::Store(StoreError::Failed {
                location: "that is read".to_owned(),
                action: "reading ahead".to_owned(),
                source: "the thread ended".into(),
            })),
        }
    })?;
    let copied = SystemClock.monotonic();
    to.settle()?;
    done.copy_s = (copied - started).as_secs_f64();
    done.settle_s = (SystemClock.monotonic() - copied).as_secs_f64();
    Ok(done)
}

/// A step of the reading side.
enum Page {
    /// Documents that are there already, and their chunks.
    Known(u64, u64),
    /// Documents of which at least the first is not there.
    Read(Vec<EmbeddedDocument>),
}

/// The reading side.
#[derive(Clone, Copy)]
struct Reading<'a> {
    from: &'a dyn EmbeddingRepo,
    to: &'a dyn EmbeddingRepo,
    page_chunks: usize,
}

impl Reading<'_> {
    /// Sends page after page; ends early when nobody takes them any more.
    fn all(&self, pages: &Sender<Page>) -> Result<(), StoreError> {
        for collection in self.from.collections()? {
            let mut after: Option<SourceName> = None;
            loop {
                let known = self.skip_known(&collection.name, &mut after)?;
                let page = self.read(&collection.name, after.as_ref())?;
                if known.0 > 0 && pages.send(Page::Known(known.0, known.1)).is_err() {
                    return Ok(());
                }
                let Some(last) = page.last() else { break };
                after = Some(last.source.clone());
                if pages.send(Page::Read(page)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The next page; empty in a collection that is gone.
    fn read(
        &self,
        collection: &CollectionName,
        after: Option<&SourceName>,
    ) -> Result<Vec<EmbeddedDocument>, StoreError> {
        let request = ExportRequest {
            collection,
            after: after.map(SourceName::as_str),
            chunks: self.page_chunks,
        };
        match self.from.export(&request) {
            Err(StoreError::UnknownCollection { .. }) => Ok(Vec::new()),
            page => page,
        }
    }

    /// Moves `after` to the last document before the next one that is not there as it is; returns
    /// how many documents and chunks that passed.
    fn skip_known(
        &self,
        collection: &CollectionName,
        after: &mut Option<SourceName>,
    ) -> Result<(u64, u64), StoreError> {
        let mut passed = (0, 0);
        loop {
            let from = after.as_ref().map(SourceName::to_string);
            let listed = list(self.from, collection, from)?;
            if listed.is_empty() {
                return Ok(passed);
            }
            let known = known_hashes(self.to, collection, &sources_of(&listed))?;
            for (document, known) in listed.into_iter().zip(known) {
                if known != Some(document.content_hash) {
                    return Ok(passed);
                }
                passed = (passed.0 + 1, passed.1 + document.chunks);
                *after = Some(document.source);
            }
        }
    }
}

/// The documents after a source; none in a collection that is gone.
fn list(
    store: &dyn EmbeddingRepo,
    collection: &CollectionName,
    after: Option<String>,
) -> Result<Vec<StoredDocument>, StoreError> {
    let request = ListRequest {
        collection: collection.clone(),
        source: None,
        after,
        limit: LIST,
    };
    match store.list_documents(&request) {
        Err(StoreError::UnknownCollection { .. }) => Ok(Vec::new()),
        listed => listed,
    }
}

fn sources_of(documents: &[StoredDocument]) -> Vec<SourceName> {
    let sources = documents.iter().map(|document| document.source.clone());
    sources.collect()
}

/// The writing side.
struct Writer<'a> {
    to: &'a dyn EmbeddingRepo,
    kind: &'a Kind<'a>,
}

/// What became of one page.
struct Outcome {
    documents: u64,
    chunks: u64,
    done: Transferred,
}

impl Writer<'_> {
    /// Stores pages until there are no more, or one failed, or nobody listens.
    fn store_all(&self, pages: &Receiver<Page>, results: &Sender<Result<Outcome, TransferError>>) {
        for page in pages {
            let result = match page {
                Page::Known(documents, chunks) => Ok(known(documents, chunks)),
                Page::Read(page) => self.store(page),
            };
            let failed = result.is_err();
            if results.send(result).is_err() || failed {
                return;
            }
        }
    }

    fn store(&self, page: Vec<EmbeddedDocument>) -> Result<Outcome, TransferError> {
        let (documents, chunks) = (page.len() as u64, chunks_in(&page));
        let missing = without_known(self.to, page)?;
        let mut done = Transferred {
            unchanged: documents - missing.len() as u64,
            ..Transferred::default()
        };
        let ready = (self.kind.make)(missing)?;
        let outcomes = self.to.upsert_embeddings(self.kind.model, &ready)?;
        for (document, outcome) in ready.iter().zip(outcomes) {
            match outcome {
                Ok(Upserted {
                    status: UpsertStatus::Unchanged,
                    ..
                }) => done.unchanged += 1,
                Ok(stored) => {
                    done.stored += 1;
                    done.chunks += stored.chunks as u64;
                }
                Err(error) => done.refused.push(format!("{}: {error}", document.source)),
            }
        }
        Ok(Outcome {
            documents,
            chunks,
            done,
        })
    }
}

fn known(documents: u64, chunks: u64) -> Outcome {
    let done = Transferred {
        unchanged: documents,
        ..Transferred::default()
    };
    Outcome {
        documents,
        chunks,
        done,
    }
}

fn chunks_in(documents: &[EmbeddedDocument]) -> u64 {
    documents
        .iter()
        .map(|document| document.chunks.len() as u64)
        .sum()
}

/// The documents of one collection that the other store does not have as they are.
fn without_known(
    to: &dyn EmbeddingRepo,
    page: Vec<EmbeddedDocument>,
) -> Result<Vec<EmbeddedDocument>, StoreError> {
    let Some(collection) = page.first().map(|document| document.collection.clone()) else {
        return Ok(page);
    };
    let sources: Vec<SourceName> = page
        .iter()
        .map(|document| document.source.clone())
        .collect();
    let known = known_hashes(to, &collection, &sources)?;
    let is_missing = |(document, known): &(EmbeddedDocument, Option<_>)| {
        known.as_ref() != Some(&document.content_hash)
    };
    let missing = page.into_iter().zip(known).filter(is_missing);
    Ok(missing.map(|(document, _)| document).collect())
}

fn known_hashes(
    to: &dyn EmbeddingRepo,
    collection: &CollectionName,
    sources: &[SourceName],
) -> Result<Vec<Option<ContentHash>>, StoreError> {
    match to.content_hashes(collection, sources) {
        Err(StoreError::UnknownCollection { .. }) => Ok(vec![None; sources.len()]),
        known => known,
    }
}

fn embed_anew(
    documents: Vec<EmbeddedDocument>,
    embedder: &dyn Embedder,
) -> Result<Vec<EmbeddedDocument>, TransferError> {
    let texts: Vec<String> = documents
        .iter()
        .flat_map(|document| &document.chunks)
        .map(|(chunk, _)| chunk.embedding_text())
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut vectors = embedder.embed(&texts)?.vectors.into_iter();
    let anew = |document: EmbeddedDocument| {
        let chunks: Vec<Chunk> = document
            .chunks
            .into_iter()
            .map(|(chunk, _)| chunk)
            .collect();
        EmbeddedDocument {
            chunks: chunks.into_iter().zip(vectors.by_ref()).collect(),
            ..document
        }
    };
    Ok(documents.into_iter().map(anew).collect())
}
