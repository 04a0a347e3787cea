//! What every store must do, as tests that know nothing of which store they test.
//!
//! Cases are in [`documents`], [`search`], [`hostile`] and [`reference`]. A store's test module calls [`conformance_tests!`] with a function that opens an empty store.

mod documents;
mod hostile;
mod reference;
mod search;

pub(crate) use documents::*;
pub(crate) use hostile::*;
pub(crate) use reference::*;
pub(crate) use search::*;

use crate::clock::{Clock, SystemClock};
use crate::domain::{
    Chunk, CollectionInfo, CollectionName, ContentHash, EmbeddedDocument, Embedding, Filter,
    Metadata, Mode, ModelId, QueryText, SourceName, UpsertStatus, Upserted,
};
use crate::store::{EmbeddingRepo, ExportRequest, Hit, ListRequest, SearchRequest, StoreError};
use serde_json::{Value, json};
use std::any::Any;
use uuid::Uuid;

/// An empty store, and what must live as long as it.
pub(crate) struct Fixture {
    pub(crate) repo: Box<dyn EmbeddingRepo>,
    /// Opens the same store once more, as another process would.
    pub(crate) again: Box<dyn Fn() -> Box<dyn EmbeddingRepo>>,
    pub(crate) _keeps: Box<dyn Any>,
}

/// One `#[test]` a case; `$open` returns a [`Fixture`] with an empty store.
macro_rules! conformance_tests {
    ($open:path) => {
        $crate::store::conformance::conformance_tests!(@ $open,
            an_empty_store_answers,
            documents_are_created_replaced_and_left_alone,
            a_document_may_have_no_chunks,
            the_same_source_twice_in_one_call_ends_as_the_last,
            a_refused_document_costs_the_others_nothing,
            another_model_is_refused_with_both_names,
            a_question_of_other_dimensions_is_refused,
            deleted_documents_are_gone_at_once,
            collections_are_apart,
            an_unknown_collection_is_named_with_those_that_exist,
            deleting_a_collection_keeps_default,
            filters_never_cost_recall,
            numbers_are_equal_by_value,
            globs_keep_to_their_segment,
            globs_mean_what_they_mean_elsewhere,
            globs_take_characters_whole,
            metadata_is_never_syntax,
            text_finds_words_identifiers_and_scripts,
            questions_are_never_query_syntax,
            hits_carry_everything,
            limits_hold,
            lists_page_in_order_of_source,
            hashes_answer_in_order,
            exports_are_whole,
            hybrid_scores_are_shares,
            results_equal_the_reference,
            many_rows_are_found_after_deletions,
            another_handle_sees_writes_within_two_seconds
        );
    };
    (@ $open:path, $($case:ident),*) => {
        $(
            #[test]
            fn $case() {
                let fixture = $open();
                $crate::store::conformance::$case(&fixture);
            }
        )*
    };
}
pub(crate) use conformance_tests;

const DIMENSIONS: usize = 16;

pub(crate) fn model(dimensions: usize) -> ModelId {
    ModelId {
        name: "test-model".to_owned(),
        dimensions,
    }
}

/// A vector that depends on `seed` alone.
pub(crate) fn vector(seed: u64, dimensions: usize) -> Embedding {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let values = (0..dimensions).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    });
    Embedding::normalised(values.collect()).unwrap()
}

/// A document with one chunk a text; the vector of text n has the seed `seed + n`.
pub(crate) fn document(source: &str, seed: u64, texts: &[&str]) -> EmbeddedDocument {
    document_of(source, seed, texts, DIMENSIONS)
}

pub(crate) fn document_of(
    source: &str,
    seed: u64,
    texts: &[&str],
    dimensions: usize,
) -> EmbeddedDocument {
    let chunks = (0_u32..).zip(texts).map(|(position, text)| {
        let chunk = Chunk {
            position,
            title_path: Vec::new(),
            page: None,
            text: (*text).to_owned(),
            tokens: 1,
        };
        (chunk, vector(seed + u64::from(position), dimensions))
    });
    EmbeddedDocument {
        collection: CollectionName::default(),
        source: SourceName::new(source).unwrap(),
        title: String::new(),
        metadata: Metadata::default(),
        content_hash: ContentHash(*blake3::hash(format!("{seed} {texts:?}").as_bytes()).as_bytes()),
        bytes: 10,
        chunks: chunks.collect(),
    }
}

fn with_metadata(mut document: EmbeddedDocument, metadata: &Value) -> EmbeddedDocument {
    document.metadata = Metadata::new(metadata.as_object().unwrap().clone()).unwrap();
    let hashed = format!("{:?} {metadata}", document.content_hash);
    document.content_hash = ContentHash(*blake3::hash(hashed.as_bytes()).as_bytes());
    document
}

fn put(repo: &dyn EmbeddingRepo, documents: &[EmbeddedDocument]) -> Vec<Upserted> {
    let outcomes = repo
        .upsert_embeddings(&model(DIMENSIONS), documents)
        .unwrap();
    outcomes.into_iter().map(Result::unwrap).collect()
}

/// A question with its defaults.
struct Ask<'a> {
    repo: &'a dyn EmbeddingRepo,
    mode: Mode,
    text: &'a str,
    seed: u64,
    filter: Value,
    limit: usize,
    collection: &'a str,
    dimensions: usize,
}

impl<'a> Ask<'a> {
    fn new(repo: &'a dyn EmbeddingRepo, mode: Mode) -> Self {
        Self {
            repo,
            mode,
            text: "word",
            seed: 1,
            filter: json!({}),
            limit: 10,
            collection: "default",
            dimensions: DIMENSIONS,
        }
    }

    fn run(&self) -> Result<Vec<Hit>, StoreError> {
        let filter = self.filter.as_object().unwrap().clone();
        let hits = self.repo.search(&SearchRequest {
            collection: &CollectionName::new(self.collection).unwrap(),
            mode: self.mode,
            text: &QueryText::new(self.text).unwrap(),
            embedding: Some(&vector(self.seed, self.dimensions)),
            filter: &Filter::new(filter).unwrap(),
            limit: self.limit,
        })?;
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score), "best first");
        assert!(hits.len() <= self.limit);
        Ok(hits)
    }

    fn sources(&self) -> Vec<String> {
        let hits = self.run().unwrap();
        hits.into_iter().map(|hit| hit.source).collect()
    }
}

fn text_sources(repo: &dyn EmbeddingRepo, text: &str) -> Vec<String> {
    let ask = Ask {
        text,
        ..Ask::new(repo, Mode::Text)
    };
    let mut sources = ask.sources();
    sources.sort();
    sources
}

const MODES: [Mode; 3] = [Mode::Vector, Mode::Text, Mode::Hybrid];
