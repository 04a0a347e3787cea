//! Documents and collections: what goes in, is listed, and goes out.

use super::*;

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
    let mut twice = document("twice", 5, &["word", "word"]);
    twice.chunks[1].0.position = 0;
    let documents = [
        document("a", 1, &["word"]),
        wrong,
        document("b", 2, &["word"]),
        twice,
        document("c", 3, &["word"]),
    ];
    let outcomes = repo
        .upsert_embeddings(&model(DIMENSIONS), &documents)
        .unwrap();
    let stored: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, false, true, false, true]);
    let refusal = outcomes[1].as_ref().unwrap_err().to_string();
    assert!(
        refusal.contains("16 dimensions") && refusal.contains("17 dimensions"),
        "{refusal}"
    );
    assert_eq!(text_sources(repo, "word"), ["a", "b", "c"]);
    let [info] = &repo.collections().unwrap()[..] else {
        panic!("only the default collection")
    };
    assert_eq!((info.documents, info.chunks), (3, 3), "counts are whole");
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

pub(crate) fn exports_are_whole(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut documents = vec![
        document("b", 1, &["one word", "two words"]),
        document("a", 5, &["three"]),
        document("empty", 7, &[]),
        document("größe", 9, &["four"]),
    ];
    documents[0].title = "A title".to_owned();
    documents[0].chunks[1].0.title_path = vec!["A title".to_owned(), "Part".to_owned()];
    documents[0].chunks[1].0.page = Some(3);
    documents[0].chunks[1].0.tokens = 17;
    put(repo, &documents);
    documents.sort_by(|a, b| a.source.as_str().cmp(b.source.as_str()));
    let collection = CollectionName::default();
    let page = |after: Option<&str>, chunks: usize| {
        let request = ExportRequest {
            collection: &collection,
            after,
            chunks,
        };
        repo.export(&request).unwrap()
    };
    assert_eq!(page(None, 1_000), documents);
    assert_eq!(page(None, 1), documents[..1]);
    assert_eq!(
        page(Some("a"), 1),
        documents[1..2],
        "whole, however small the page"
    );
    assert_eq!(page(Some("größe"), 1), []);
}
