//! Search: filters, text, limits, scores.

use super::*;

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
