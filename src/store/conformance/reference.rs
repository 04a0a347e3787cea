//! Random histories and many rows against a plain map; two handles on one store.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::time::Duration;

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
    let is_deleted = |n: usize| n.is_multiple_of(7) || (1_000..2_900).contains(&n);
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
        let start = SystemClock.monotonic();
        while !sees() {
            assert!(
                start.elapsed() < Duration::from_secs(2),
                "not seen within 2 s"
            );
            SystemClock.sleep(Duration::from_millis(10));
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
