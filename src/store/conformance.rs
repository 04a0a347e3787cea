//! What every store must do, as tests that know nothing of which store they test.
//!
//! A store's test module calls [`conformance_tests!`] with a function that opens an empty store.

use crate::domain::{
    Chunk, CollectionInfo, CollectionName, ContentHash, EmbeddedDocument, Embedding, Filter,
    Metadata, Mode, ModelId, QueryText, SourceName, UpsertStatus, Upserted,
};
use crate::store::{EmbeddingRepo, Hit, ListRequest, SearchRequest, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::any::Any;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
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
            text_finds_words_identifiers_and_scripts,
            questions_are_never_query_syntax,
            hits_carry_everything,
            limits_hold,
            lists_page_in_order_of_source,
            hashes_answer_in_order,
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

pub(crate) fn an_empty_store_answers(fixture: &Fixture) {
    let repo = &*fixture.repo;
    assert_eq!(repo.model().unwrap(), None);
    for mode in MODES {
        assert_eq!(Ask::new(repo, mode).run().unwrap(), []);
    }
    let default = CollectionInfo {
        name: CollectionName::default(),
        documents: 0,
        chunks: 0,
    };
    assert_eq!(repo.collections().unwrap(), [default]);
    assert_eq!(repo.document(Uuid::nil()).unwrap(), None);
    assert_eq!(repo.delete_documents(&[Uuid::nil()]).unwrap(), 0);
    assert!(
        repo.upsert_embeddings(&model(DIMENSIONS), &[])
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn documents_are_created_replaced_and_left_alone(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let first = document("a.md", 1, &["one word", "two words"]);
    let created = put(repo, std::slice::from_ref(&first));
    assert_eq!(created[0].status, UpsertStatus::Created);
    assert_eq!(created[0].chunks, 2);
    let before = repo.document(created[0].id).unwrap().unwrap();
    assert_eq!(before.1, ["one word", "two words"]);

    let unchanged = put(repo, &[first]);
    assert_eq!(unchanged[0].status, UpsertStatus::Unchanged);
    assert_eq!((unchanged[0].id, unchanged[0].chunks), (created[0].id, 2));

    let replaced = put(repo, &[document("a.md", 7, &["three words"])]);
    assert_eq!(replaced[0].status, UpsertStatus::Replaced);
    assert_eq!((replaced[0].id, replaced[0].chunks), (created[0].id, 1));
    let after = repo.document(created[0].id).unwrap().unwrap();
    assert_eq!(after.1, ["three words"]);
    assert_eq!(after.0.created_at, before.0.created_at);
    assert!(after.0.updated_at >= before.0.updated_at);
    for mode in MODES {
        let hits = Ask::new(repo, mode).run().unwrap();
        let texts: Vec<_> = hits.iter().map(|hit| hit.text.as_str()).collect();
        assert_eq!(texts, ["three words"], "{mode:?}");
    }
    assert_eq!(repo.model().unwrap(), Some(model(DIMENSIONS)));
    let info = repo.info().unwrap();
    assert_eq!((info.documents, info.chunks), (1, 1));
    assert_eq!(info.dimensions, Some(DIMENSIONS));
}

pub(crate) fn a_document_may_have_no_chunks(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let empty = put(repo, &[document("empty.md", 1, &[])]);
    assert_eq!(empty[0].chunks, 0);
    let filled = put(repo, &[document("empty.md", 1, &["word"])]);
    assert_eq!(filled[0].status, UpsertStatus::Replaced);
    let emptied = put(repo, &[document("empty.md", 1, &[])]);
    assert_eq!(emptied[0].status, UpsertStatus::Replaced);
    assert!(Ask::new(repo, Mode::Hybrid).run().unwrap().is_empty());
    let collections = repo.collections().unwrap();
    assert_eq!((collections[0].documents, collections[0].chunks), (1, 0));
}

pub(crate) fn the_same_source_twice_in_one_call_ends_as_the_last(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let outcomes = put(
        repo,
        &[
            document("a", 1, &["old word"]),
            document("a", 2, &["new word"]),
        ],
    );
    assert_eq!(outcomes[1].status, UpsertStatus::Replaced);
    let hits = Ask::new(repo, Mode::Vector).run().unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].text, "new word");
}

pub(crate) fn a_refused_document_costs_the_others_nothing(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let wrong = document_of("wrong", 1, &["word"], DIMENSIONS + 1);
    let documents = [
        document("a", 1, &["word"]),
        wrong,
        document("b", 2, &["word"]),
    ];
    let outcomes = repo
        .upsert_embeddings(&model(DIMENSIONS), &documents)
        .unwrap();
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let refusal = outcomes[1].as_ref().unwrap_err().to_string();
    assert!(
        refusal.contains("16 dimensions") && refusal.contains("17 dimensions"),
        "{refusal}"
    );
    assert_eq!(text_sources(repo, "word"), ["a", "b"]);
}

pub(crate) fn another_model_is_refused_with_both_names(fixture: &Fixture) {
    let repo = &*fixture.repo;
    put(repo, &[document("a", 1, &["word"])]);
    let other = ModelId {
        name: "other-model".to_owned(),
        dimensions: DIMENSIONS,
    };
    let error = repo
        .upsert_embeddings(&other, &[document("b", 2, &["word"])])
        .unwrap_err();
    assert!(matches!(error, StoreError::ModelMismatch { .. }));
    let message = error.to_string();
    assert!(
        message.contains("test-model") && message.contains("other-model"),
        "{message}"
    );
    assert_eq!(text_sources(repo, "word"), ["a"]);
}

pub(crate) fn a_question_of_other_dimensions_is_refused(fixture: &Fixture) {
    let repo = &*fixture.repo;
    put(repo, &[document("a", 1, &["word"])]);
    for mode in [Mode::Vector, Mode::Hybrid] {
        let ask = Ask {
            dimensions: 8,
            ..Ask::new(repo, mode)
        };
        let error = ask.run().unwrap_err();
        assert!(matches!(error, StoreError::ModelMismatch { .. }), "{error}");
    }
    let text = Ask {
        dimensions: 8,
        ..Ask::new(repo, Mode::Text)
    };
    assert_eq!(text.sources(), ["a"]);
}

pub(crate) fn deleted_documents_are_gone_at_once(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let stored = put(
        repo,
        &[
            document("a", 1, &["word", "word"]),
            document("b", 5, &["word"]),
        ],
    );
    assert_eq!(
        repo.delete_documents(&[stored[0].id, stored[0].id])
            .unwrap(),
        1
    );
    for mode in MODES {
        assert_eq!(Ask::new(repo, mode).sources(), ["b"], "{mode:?}");
    }
    assert_eq!(repo.document(stored[0].id).unwrap(), None);
    let again = put(repo, &[document("a", 1, &["word", "word"])]);
    assert_eq!(
        (again[0].status, again[0].id),
        (UpsertStatus::Created, stored[0].id)
    );
    assert_eq!(Ask::new(repo, Mode::Vector).run().unwrap().len(), 3);
}

pub(crate) fn collections_are_apart(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut other = document("a", 2, &["other word"]);
    other.collection = CollectionName::new("other").unwrap();
    let stored = put(repo, &[document("a", 1, &["word"]), other]);
    assert_ne!(stored[0].id, stored[1].id);
    for mode in MODES {
        for (collection, text) in [("default", "word"), ("other", "other word")] {
            let ask = Ask {
                collection,
                ..Ask::new(repo, mode)
            };
            let hits = ask.run().unwrap();
            let texts: Vec<_> = hits.iter().map(|hit| hit.text.as_str()).collect();
            assert_eq!(texts, [text]);
        }
    }
    let counts: Vec<_> = repo.collections().unwrap();
    let counts: Vec<_> = counts
        .iter()
        .map(|c| (c.name.as_str(), c.documents, c.chunks))
        .collect();
    assert_eq!(counts, [("default", 1, 1), ("other", 1, 1)]);
}

pub(crate) fn an_unknown_collection_is_named_with_those_that_exist(fixture: &Fixture) {
    let repo = &*fixture.repo;
    for mode in MODES {
        let ask = Ask {
            collection: "nowhere",
            ..Ask::new(repo, mode)
        };
        let error = ask.run().unwrap_err();
        assert!(matches!(error, StoreError::UnknownCollection { .. }));
        assert!(error.to_string().contains("nowhere") && error.to_string().contains("default"));
    }
    let list = ListRequest {
        collection: CollectionName::new("nowhere").unwrap(),
        limit: 1,
        ..ListRequest::default()
    };
    let error = repo.list_documents(&list).unwrap_err();
    assert!(matches!(error, StoreError::UnknownCollection { .. }));
}

pub(crate) fn deleting_a_collection_keeps_default(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut other = document("a", 2, &["word"]);
    other.collection = CollectionName::new("other").unwrap();
    put(repo, &[document("a", 1, &["word", "word"]), other]);
    let deleted = repo
        .delete_collection(&CollectionName::new("other").unwrap())
        .unwrap();
    assert_eq!(
        deleted.map(|info| (info.documents, info.chunks)),
        Some((1, 1))
    );
    assert_eq!(
        repo.delete_collection(&CollectionName::new("other").unwrap())
            .unwrap(),
        None
    );
    let ask = Ask {
        collection: "other",
        ..Ask::new(repo, Mode::Vector)
    };
    assert!(matches!(
        ask.run(),
        Err(StoreError::UnknownCollection { .. })
    ));

    let emptied = repo.delete_collection(&CollectionName::default()).unwrap();
    assert_eq!(emptied.map(|info| info.chunks), Some(2));
    for mode in MODES {
        assert_eq!(Ask::new(repo, mode).run().unwrap(), []);
    }
    put(repo, &[document("b", 3, &["word"])]);
    for mode in MODES {
        assert_eq!(Ask::new(repo, mode).sources(), ["b"]);
    }
}

pub(crate) fn filters_never_cost_recall(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let documents: Vec<_> = (0..300_u64)
        .map(|n| {
            let source = format!("{}/{n}.md", if n % 50 == 7 { "rare" } else { "docs" });
            let metadata =
                json!({"lang": if n % 10 == 0 { "de" } else { "en" }, "odd": n % 2 == 1});
            with_metadata(document(&source, n, &["word"]), &metadata)
        })
        .collect();
    put(repo, &documents);
    for mode in MODES {
        let count = |filter: Value, limit: usize| {
            let ask = Ask {
                filter,
                limit,
                ..Ask::new(repo, mode)
            };
            ask.sources().len()
        };
        assert_eq!(count(json!({}), 100), 100);
        assert_eq!(count(json!({"source": "rare/*"}), 10), 6, "{mode:?}");
        assert_eq!(count(json!({"lang": "de"}), 100), 30);
        assert_eq!(count(json!({"lang": "de"}), 20), 20);
        assert_eq!(count(json!({"lang": "de", "odd": true}), 10), 0);
        assert_eq!(count(json!({"lang": "fr"}), 10), 0);
        assert_eq!(count(json!({"source": "rare/*", "odd": true}), 10), 6);
    }
    // A filter that was asked before learns of new documents.
    put(
        repo,
        &[with_metadata(
            document("new.md", 400, &["word"]),
            &json!({"lang": "fr"}),
        )],
    );
    let ask = Ask {
        filter: json!({"lang": "fr"}),
        ..Ask::new(repo, Mode::Vector)
    };
    assert_eq!(ask.sources(), ["new.md"]);
}

pub(crate) fn numbers_are_equal_by_value(fixture: &Fixture) {
    let repo = &*fixture.repo;
    put(
        repo,
        &[
            with_metadata(document("int", 1, &["word"]), &json!({"v": 1, "n": null})),
            with_metadata(document("float", 2, &["word"]), &json!({"v": 1.0})),
            with_metadata(document("text", 3, &["word"]), &json!({"v": "1"})),
            with_metadata(document("bool", 4, &["word"]), &json!({"v": true})),
        ],
    );
    let sources = |filter: Value| {
        let ask = Ask {
            filter,
            ..Ask::new(repo, Mode::Vector)
        };
        let mut sources = ask.sources();
        sources.sort();
        sources
    };
    assert_eq!(sources(json!({"v": 1})), ["float", "int"]);
    assert_eq!(sources(json!({"v": 1.0})), ["float", "int"]);
    assert_eq!(sources(json!({"v": "1"})), ["text"]);
    assert_eq!(sources(json!({"v": true})), ["bool"]);
    assert_eq!(sources(json!({"n": null})), ["int"]);
}

pub(crate) fn globs_keep_to_their_segment(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let sources = [
        "a.md",
        "docs/b.md",
        "docs/deep/c.md",
        "docs/d.txt",
        "docs/[x].md",
        "größe.md",
    ];
    let documents: Vec<_> = (0_u64..)
        .zip(sources)
        .map(|(n, source)| document(source, n, &["word"]))
        .collect();
    put(repo, &documents);
    let matching = |glob: &str| {
        let ask = Ask {
            filter: json!({"source": glob}),
            ..Ask::new(repo, Mode::Vector)
        };
        let mut sources = ask.sources();
        sources.sort();
        sources
    };
    assert_eq!(matching("*.md"), ["a.md", "größe.md"]);
    assert_eq!(matching("docs/*.md"), ["docs/[x].md", "docs/b.md"]);
    assert_eq!(
        matching("docs/**/*.md"),
        ["docs/[x].md", "docs/b.md", "docs/deep/c.md"]
    );
    assert_eq!(matching("docs/{b,d}.*"), ["docs/b.md", "docs/d.txt"]);
    assert_eq!(matching("docs/[[]x].md"), ["docs/[x].md"]);
    assert_eq!(matching("a.md"), ["a.md"]);
}

pub(crate) fn text_finds_words_identifiers_and_scripts(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut titled = document("titled", 9, &["nothing of note"]);
    titled.chunks[0].0.title_path = vec!["Operating".to_owned(), "Rollbacks".to_owned()];
    put(
        repo,
        &[
            document("stems", 1, &["The charts were upgraded"]),
            document(
                "names",
                2,
                &["Set POSTGRES_DSN before the EmbeddingRepo is opened"],
            ),
            document("latency", 3, &["retrieval_latency_ms has a p95"]),
            document("german", 4, &["Die Größe der Überraschung"]),
            document("chinese", 5, &["数据库升级"]),
            document("hebrew", 6, &["שלום עולם"]),
            titled,
        ],
    );
    assert_eq!(text_sources(repo, "upgrading a chart"), ["stems"]);
    assert_eq!(text_sources(repo, "postgres_dsn"), ["names"]);
    assert_eq!(text_sources(repo, "embedding repos"), ["names"]);
    assert_eq!(text_sources(repo, "p95"), ["latency"]);
    assert_eq!(text_sources(repo, "latency"), ["latency"]);
    assert_eq!(text_sources(repo, "grosse"), ["german"]);
    assert_eq!(text_sources(repo, "数据"), ["chinese"]);
    assert_eq!(text_sources(repo, "שלום"), ["hebrew"]);
    assert_eq!(text_sources(repo, "rollback"), ["titled"]);
    assert_eq!(text_sources(repo, "the of"), ["names", "stems", "titled"]);
    assert!(text_sources(repo, "zeppelin").is_empty());
    assert!(text_sources(repo, "?!").is_empty());
}

pub(crate) fn questions_are_never_query_syntax(fixture: &Fixture) {
    let repo = &*fixture.repo;
    put(
        repo,
        &[
            document("a", 1, &["word near title"]),
            document("b", 2, &["else"]),
        ],
    );
    for text in [
        "\"",
        "word\"",
        "word*",
        "NEAR(word, 2)",
        "title:word",
        "-word",
        "^word",
        "word AND (",
        "{word}",
        "a' OR 1=1 --",
        "%",
        "word; DROP TABLE chunks",
        "\u{202e}word",
        "+",
        "word\\",
    ] {
        for mode in MODES {
            let ask = Ask {
                text,
                ..Ask::new(repo, mode)
            };
            let hits = ask
                .run()
                .unwrap_or_else(|error| panic!("{text:?} {mode:?}: {error}"));
            if mode == Mode::Text && text.contains("word") {
                assert_eq!(hits[0].source, "a", "{text:?}");
            }
        }
    }
    let long = "word ".repeat(1_600);
    let ask = Ask {
        text: &long,
        ..Ask::new(repo, Mode::Text)
    };
    assert_eq!(ask.sources(), ["a"]);
    let many: Vec<String> = (0..1_500).map(|n| format!("t{n}")).collect();
    let ask = Ask {
        text: &many.join(" "),
        ..Ask::new(repo, Mode::Text)
    };
    assert!(ask.sources().is_empty());
}

pub(crate) fn hits_carry_everything(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let metadata = json!({"lang": "en", "n": 3, "ok": true, "none": null, "quote": "'\"\\"});
    let mut stored = with_metadata(
        document("docs/größe.md", 1, &["first", "word 😀"]),
        &metadata,
    );
    stored.title = "A title: 'quoted'".to_owned();
    stored.bytes = 1 << 40;
    stored.chunks[1].0.title_path = vec!["A title".to_owned(), "Part \"two\"".to_owned()];
    stored.chunks[1].0.page = Some(7);
    let id = put(repo, std::slice::from_ref(&stored))[0].id;
    let hits = Ask::new(repo, Mode::Text).run().unwrap();
    let hit = &hits[0];
    assert_eq!(hit.document_id, id);
    assert_eq!(
        hit.id,
        crate::domain::stored::chunk_id(id, &stored.chunks[1].0)
    );
    assert_eq!(
        (hit.source.as_str(), hit.text.as_str()),
        ("docs/größe.md", "word 😀")
    );
    assert_eq!(hit.document_title, stored.title);
    assert_eq!(hit.title_path, stored.chunks[1].0.title_path);
    assert_eq!((hit.position, hit.page), (1, Some(7)));
    assert_eq!(hit.metadata, stored.metadata);
    let (listed, texts) = repo.document(id).unwrap().unwrap();
    assert_eq!(texts, ["first", "word 😀"]);
    assert_eq!((listed.bytes, listed.chunks), (1 << 40, 2));
    assert_eq!(listed.content_hash, stored.content_hash);
    assert_eq!(listed.metadata, stored.metadata);
    assert_eq!(listed.title, stored.title);
}

pub(crate) fn limits_hold(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let documents: Vec<_> = (0..150_u64)
        .map(|n| document(&n.to_string(), n, &["word"]))
        .collect();
    put(repo, &documents);
    for mode in MODES {
        for limit in [1, 3, 100] {
            let ask = Ask {
                limit,
                ..Ask::new(repo, mode)
            };
            let mut sources = ask.sources();
            sources.sort();
            sources.dedup();
            assert_eq!(sources.len(), limit, "{mode:?}");
        }
    }
}

pub(crate) fn lists_page_in_order_of_source(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut names: Vec<String> = (0..25).map(|n| format!("docs/{n}.md")).collect();
    names.extend([
        "Zebra.txt".to_owned(),
        "a[1].md".to_owned(),
        "é.md".to_owned(),
    ]);
    let documents: Vec<_> = (0_u64..)
        .zip(&names)
        .map(|(n, name)| document(name, n, &["word"]))
        .collect();
    put(repo, &documents);
    names.sort();
    let page = |source: Option<&str>, after: Option<&str>, limit: usize| -> Vec<String> {
        let request = ListRequest {
            collection: CollectionName::default(),
            source: source.map(str::to_owned),
            after: after.map(str::to_owned),
            limit,
        };
        let documents = repo.list_documents(&request).unwrap();
        documents
            .into_iter()
            .map(|d| d.source.to_string())
            .collect()
    };
    let mut all: Vec<String> = Vec::new();
    loop {
        let next = page(None, all.last().map(String::as_str), 10);
        if next.is_empty() {
            break;
        }
        all.extend(next);
    }
    assert_eq!(all, names);
    assert_eq!(page(Some("docs/1*.md"), None, 100).len(), 11);
    assert_eq!(
        page(Some("docs/1*.md"), Some("docs/15.md"), 2),
        ["docs/16.md", "docs/17.md"]
    );
    assert_eq!(page(Some("a[1].md"), None, 10), ["a[1].md"]);
    assert!(page(Some("nothing"), None, 10).is_empty());
}

pub(crate) fn hashes_answer_in_order(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let documents = [document("a", 1, &["word"]), document("b", 2, &[])];
    put(repo, &documents);
    let sources = ["b", "missing", "a"].map(|name| SourceName::new(name).unwrap());
    let hashes = repo
        .content_hashes(&CollectionName::default(), &sources)
        .unwrap();
    let expected = [
        Some(documents[1].content_hash),
        None,
        Some(documents[0].content_hash),
    ];
    assert_eq!(hashes, expected);
    let other = CollectionName::new("other").unwrap();
    assert_eq!(
        repo.content_hashes(&other, &sources).unwrap(),
        [None, None, None]
    );
}

pub(crate) fn hybrid_scores_are_shares(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut documents: Vec<_> = (0..200_u64)
        .map(|n| document(&n.to_string(), n, &["common filler"]))
        .collect();
    documents.push(document(
        "identifier",
        777,
        &["common retrieval_latency_ms"],
    ));
    put(repo, &documents);
    let ask = Ask {
        text: "common retrieval_latency_ms",
        seed: 42,
        ..Ask::new(repo, Mode::Hybrid)
    };
    let hits = ask.run().unwrap();
    assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)));
    let sources: Vec<_> = hits.iter().map(|hit| hit.source.as_str()).collect();
    assert!(sources.contains(&"42"), "the nearest vector: {sources:?}");
    assert!(
        sources.contains(&"identifier"),
        "the only text match: {sources:?}"
    );
    let again = ask.run().unwrap();
    assert_eq!(hits, again, "the same question has the same answer");
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Put {
        source: u8,
        seed: u64,
        chunks: u8,
        lang: bool,
    },
    Delete {
        source: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0_u8..20, any::<u64>(), 0_u8..4, any::<bool>()).prop_map(
        |(source, seed, chunks, lang)| Step::Put {
            source,
            seed: seed >> 1,
            chunks,
            lang,
        },
    );
    let delete = (0_u8..20).prop_map(|source| Step::Delete { source });
    prop::collection::vec(prop_oneof![4 => put, 1 => delete], 1..40)
}

/// Random histories, the result of each compared with a map that did the same.
pub(crate) fn results_equal_the_reference(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&(steps(), any::<u64>()), |(steps, question)| {
        repo.delete_collection(&CollectionName::default()).unwrap();
        let mut reference = BTreeMap::new();
        for step in &steps {
            apply(repo, &mut reference, step);
        }
        for lang in [None, Some("de")] {
            compare(repo, &reference, question, lang);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn apply(
    repo: &dyn EmbeddingRepo,
    reference: &mut BTreeMap<String, EmbeddedDocument>,
    step: &Step,
) {
    match step {
        Step::Put {
            source,
            seed,
            chunks,
            lang,
        } => {
            let texts = vec!["word"; usize::from(*chunks)];
            let mut new = document(&format!("s{source}"), *seed, &texts);
            if *lang {
                new = with_metadata(new, &json!({"lang": "de"}));
            }
            put(repo, std::slice::from_ref(&new));
            reference.insert(new.source.to_string(), new);
        }
        Step::Delete { source } => {
            let name = SourceName::new(&format!("s{source}")).unwrap();
            let id = crate::domain::stored::document_id(&CollectionName::default(), &name);
            let there = reference.remove(name.as_str()).is_some();
            assert_eq!(repo.delete_documents(&[id]).unwrap(), u64::from(there));
        }
    }
}

fn compare(
    repo: &dyn EmbeddingRepo,
    reference: &BTreeMap<String, EmbeddedDocument>,
    question: u64,
    lang: Option<&str>,
) {
    let wanted = vector(question, DIMENSIONS);
    let mut expected: Vec<f32> = reference
        .values()
        .filter(|d| lang.is_none_or(|lang| d.metadata.as_map().get("lang") == Some(&json!(lang))))
        .flat_map(|document| &document.chunks)
        .map(|(_, vector)| vector.cosine(&wanted))
        .collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    let chunks = expected.len();
    expected.truncate(10);
    let filter = lang.map_or(json!({}), |lang| json!({"lang": lang}));
    let ask = Ask {
        seed: question,
        filter: filter.clone(),
        ..Ask::new(repo, Mode::Vector)
    };
    let hits = ask.run().unwrap();
    assert_eq!(hits.len(), expected.len());
    for (hit, score) in hits.iter().zip(&expected) {
        assert!(
            (hit.score - score).abs() < 1e-4,
            "{} instead of {score}",
            hit.score
        );
        let (_, own) = &reference[&hit.source].chunks[hit.position as usize];
        assert!((own.cosine(&wanted) - hit.score).abs() < 1e-4);
    }
    let ask = Ask {
        limit: 100,
        filter,
        ..Ask::new(repo, Mode::Text)
    };
    assert_eq!(ask.run().unwrap().len(), chunks.min(100));
}

pub(crate) fn many_rows_are_found_after_deletions(fixture: &Fixture) {
    const MANY: usize = 128;
    let repo = &*fixture.repo;
    let documents: Vec<_> = (0..6_000_u64)
        .map(|n| {
            let metadata = json!({"third": n % 3 == 0});
            with_metadata(document_of(&n.to_string(), n, &["word"], MANY), &metadata)
        })
        .collect();
    for batch in documents.chunks(1_500) {
        repo.upsert_embeddings(&model(MANY), batch).unwrap();
    }
    let is_deleted = |n: usize| n % 7 == 0 || (1_000..2_900).contains(&n);
    let ids: Vec<Uuid> = (0..6_000)
        .filter(|n| is_deleted(*n))
        .map(|n| {
            let source = SourceName::new(&n.to_string()).unwrap();
            crate::domain::stored::document_id(&CollectionName::default(), &source)
        })
        .collect();
    assert_eq!(repo.delete_documents(&ids).unwrap(), ids.len() as u64);
    for third in [false, true] {
        let mut found = 0;
        for question in 0..20_u64 {
            let wanted = vector(1_000_000 + question, MANY);
            let mut exact: Vec<(f32, usize)> = (0..6_000)
                .filter(|n| !is_deleted(*n) && (!third || n % 3 == 0))
                .map(|n| (documents[n].chunks[0].1.cosine(&wanted), n))
                .collect();
            exact.sort_by(|a, b| b.0.total_cmp(&a.0));
            let ask = Ask {
                seed: 1_000_000 + question,
                dimensions: MANY,
                filter: if third {
                    json!({"third": true})
                } else {
                    json!({})
                },
                ..Ask::new(repo, Mode::Vector)
            };
            let hits = ask.sources();
            assert_eq!(hits.len(), 10);
            found += exact[..10]
                .iter()
                .filter(|(_, n)| hits.contains(&n.to_string()))
                .count();
        }
        assert!(found >= 198, "recall {found} of 200");
    }
}

pub(crate) fn another_handle_sees_writes_within_two_seconds(fixture: &Fixture) {
    let (here, there) = (&*fixture.repo, (fixture.again)());
    let within_two_seconds = |sees: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !sees() {
            assert!(
                start.elapsed() < Duration::from_secs(2),
                "not seen within 2 s"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let stored = put(here, &[document("a", 1, &["word"])]);
    within_two_seconds(&|| Ask::new(&*there, Mode::Hybrid).sources() == ["a"]);
    put(&*there, &[document("b", 2, &["word"])]);
    within_two_seconds(&|| Ask::new(here, Mode::Vector).sources().len() == 2);
    here.delete_documents(&[stored[0].id]).unwrap();
    within_two_seconds(&|| Ask::new(&*there, Mode::Vector).sources() == ["b"]);
    there.delete_collection(&CollectionName::default()).unwrap();
    within_two_seconds(&|| Ask::new(here, Mode::Text).sources().is_empty());
    let mut new = document("c", 3, &["word"]);
    new.collection = CollectionName::new("fresh").unwrap();
    put(here, &[new]);
    let ask = Ask {
        collection: "fresh",
        ..Ask::new(&*there, Mode::Vector)
    };
    assert_eq!(
        ask.sources(),
        ["c"],
        "a collection that another made is looked for"
    );
}
