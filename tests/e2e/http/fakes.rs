//! A store and a model that need nothing, and an answer that a test decides.

use alfred::clock::Deadline;
use alfred::domain::{
    Answer, Citation, CollectionInfo, CollectionName, ContentHash, EmbeddedDocument, Embedding,
    Metadata, ModelId, Query, SourceName, StoredDocument, Timings, UpsertStatus, Upserted, Usage,
};
use alfred::embed::{EmbedError, Embedded, Embedder};
use alfred::extract::ExtractError;
use alfred::http::{AnswerFn, UseCases};
use alfred::ingest::{IngestError, NewDocument};
use alfred::search::SearchError;
use alfred::store::{
    EmbeddingRepo, ExportRequest, Hit, ListRequest, SearchRequest, StoreError, StoreInfo,
};
use std::sync::{Arc, Mutex};
use time::macros::datetime;
use uuid::Uuid;

/// A model that is never asked.
pub(super) struct FakeEmbedder(ModelId);

impl Default for FakeEmbedder {
    fn default() -> Self {
        Self(ModelId {
            name: "fake".to_owned(),
            dimensions: 2,
        })
    }
}

impl Embedder for FakeEmbedder {
    fn model(&self) -> &ModelId {
        &self.0
    }

    fn max_tokens(&self) -> usize {
        256
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        let vector = Embedding::normalised(vec![1.0, 0.0]).unwrap();
        Ok(Embedded {
            vectors: vec![vector; texts.len()],
            tokens: 1,
        })
    }
}

/// Documents in memory, in order of source; one chunk each.
#[derive(Default)]
pub(super) struct FakeRepo(Mutex<Vec<(StoredDocument, String)>>);

impl FakeRepo {
    fn put(&self, document: &NewDocument) -> Result<Upserted, IngestError> {
        let content = document.content.clone().unwrap_or_default();
        if content.is_empty() {
            return Err(IngestError::Extract(ExtractError::Empty));
        }
        let id = alfred::domain::stored::document_id(&document.collection, &document.source);
        let mut documents = self.0.lock().unwrap();
        let before = documents.len();
        documents.retain(|(known, _)| known.id != id);
        let status = if documents.len() < before {
            UpsertStatus::Replaced
        } else {
            UpsertStatus::Created
        };
        let stored = StoredDocument {
            id,
            collection: document.collection.clone(),
            source: document.source.clone(),
            title: document.title.clone().unwrap_or_default(),
            metadata: document.metadata.clone(),
            content_hash: ContentHash([7; 32]),
            chunks: 1,
            bytes: content.len() as u64,
            created_at: datetime!(2026-11-23 09:00 UTC),
            updated_at: datetime!(2026-11-23 09:00 UTC),
        };
        documents.push((stored, content));
        documents.sort_by(|a, b| a.0.source.cmp(&b.0.source));
        Ok(Upserted {
            id,
            chunks: 1,
            status,
        })
    }

    fn check(&self, name: &CollectionName) -> Result<(), StoreError> {
        let known = self.collections()?;
        if known.iter().any(|info| info.name == *name) {
            return Ok(());
        }
        Err(StoreError::UnknownCollection {
            name: name.to_string(),
            known: known.iter().map(|info| info.name.to_string()).collect(),
        })
    }
}

impl EmbeddingRepo for FakeRepo {
    fn model(&self) -> Result<Option<ModelId>, StoreError> {
        Ok(None)
    }

    fn upsert_embeddings(
        &self,
        _: &ModelId,
        _: &[EmbeddedDocument],
    ) -> Result<Vec<Result<Upserted, StoreError>>, StoreError> {
        unreachable!("the routes store through the ingester")
    }

    fn content_hashes(
        &self,
        _: &CollectionName,
        _: &[SourceName],
    ) -> Result<Vec<Option<ContentHash>>, StoreError> {
        unreachable!("the routes store through the ingester")
    }

    /// Queries search through the searcher; this is the watchdog's.
    fn search(&self, _: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError> {
        Ok(Vec::new())
    }

    fn list_documents(&self, request: &ListRequest) -> Result<Vec<StoredDocument>, StoreError> {
        self.check(&request.collection)?;
        let documents = self.0.lock().unwrap();
        let documents = documents.iter().map(|(document, _)| document);
        let listed = documents.filter(|document| {
            let source = document.source.as_str();
            document.collection == request.collection
                && request.source.as_deref().is_none_or(|only| only == source)
                && request.after.as_deref().is_none_or(|after| source > after)
        });
        Ok(listed.take(request.limit).cloned().collect())
    }

    fn document(&self, id: Uuid) -> Result<Option<(StoredDocument, Vec<String>)>, StoreError> {
        let documents = self.0.lock().unwrap();
        let found = documents.iter().find(|(document, _)| document.id == id);
        Ok(found.map(|(document, text)| (document.clone(), vec![text.clone()])))
    }

    fn fits(&self, _: &ModelId) -> Result<(), StoreError> {
        Ok(())
    }

    fn export(&self, _: &ExportRequest<'_>) -> Result<Vec<EmbeddedDocument>, StoreError> {
        Ok(Vec::new())
    }

    fn delete_documents(&self, ids: &[Uuid]) -> Result<u64, StoreError> {
        let mut documents = self.0.lock().unwrap();
        let before = documents.len();
        documents.retain(|(document, _)| !ids.contains(&document.id));
        Ok((before - documents.len()) as u64)
    }

    fn collections(&self) -> Result<Vec<CollectionInfo>, StoreError> {
        let documents = self.0.lock().unwrap();
        let mut names = vec![CollectionName::default()];
        names.extend(
            documents
                .iter()
                .map(|(document, _)| document.collection.clone()),
        );
        names.sort();
        names.dedup();
        let info = names.into_iter().map(|name| {
            let of = documents
                .iter()
                .filter(|(document, _)| document.collection == name);
            let count = of.count() as u64;
            CollectionInfo {
                name,
                documents: count,
                chunks: count,
            }
        });
        Ok(info.collect())
    }

    fn delete_collection(
        &self,
        name: &CollectionName,
    ) -> Result<Option<CollectionInfo>, StoreError> {
        let known = self.collections()?;
        let info = known.into_iter().find(|info| info.name == *name);
        self.0
            .lock()
            .unwrap()
            .retain(|(document, _)| document.collection != *name);
        Ok(info)
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        let documents = self.0.lock().unwrap().len() as u64;
        Ok(StoreInfo {
            kind: "embedded",
            model: None,
            dimensions: None,
            documents,
            chunks: documents,
            disk_bytes: 0,
            memory_bytes: 0,
            location: "nowhere".to_owned(),
            schema_version: 1,
            database: None,
        })
    }
}

/// Use cases over the fakes, answering with `answer`.
pub(super) fn use_cases(answer: Arc<AnswerFn>) -> UseCases {
    let repo = Arc::new(FakeRepo::default());
    let put_into = Arc::clone(&repo);
    UseCases {
        answer,
        answer_later: None,
        put: Arc::new(move |documents: &[NewDocument]| {
            Ok(documents
                .iter()
                .map(|document| put_into.put(document))
                .collect())
        }),
        repo,
        embedder: Arc::new(FakeEmbedder::default()),
    }
}

/// An answer with one citation, at once.
pub(super) fn instant_answer(query: &Query, _: Deadline) -> Result<Answer, SearchError> {
    if query.collection != CollectionName::default() {
        let name = query.collection.to_string();
        let known = vec!["default".to_owned()];
        return Err(StoreError::UnknownCollection { name, known }.into());
    }
    Ok(Answer {
        text: Some("Run `helm upgrade` [^1]".to_owned()),
        fallback: None,
        citations: vec![Citation {
            id: Uuid::from_u128(1),
            document_id: Uuid::from_u128(2),
            excerpt: query.text.as_str().to_owned(),
            score: 0.71,
            source: "docs/helm.md".to_owned(),
            title: "Upgrading".to_owned(),
            chunk: 4,
            page: None,
            metadata: Metadata::default(),
        }],
        timings: Timings {
            queue_ms: 0.0,
            embed_ms: 4.1,
            search_ms: 0.9,
            total_ms: 5.0,
        },
        usage: Usage {
            embedding_tokens: 9,
            embedding_cached: false,
            completion: None,
        },
    })
}
