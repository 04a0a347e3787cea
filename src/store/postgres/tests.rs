//! The store against a real PostgreSQL.

use super::testing::Server;
use super::*;
use crate::domain::{Embedding, Filter, Mode, QueryText};
use crate::secret::Secret;
use crate::store::conformance::{Fixture, conformance_tests, document_of, model};
use std::time::Duration;

fn settings(dsn: Secret) -> PostgresSettings {
    PostgresSettings {
        dsn,
        pool_size: 4,
        max_reads: 0,
        pool_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(5),
        ef_search: 40,
        quantization: Quantization::None,
        search_path: None,
        metrics: crate::telemetry::metrics::PoolMetrics::default(),
    }
}

fn open_empty() -> Fixture {
    let server = Server::new();
    let dsn = server.dsn();
    let open = move || PostgresStore::open(settings(dsn.clone())).unwrap();
    Fixture {
        repo: Box::new(open()),
        again: Box::new(move || Box::new(open())),
        _keeps: Box::new(server),
    }
}

mod conformance {
    use super::*;
    conformance_tests!(open_empty);
}

const DIMENSIONS: usize = 96;
/// Above what is searched without the index.
const ROWS: u64 = 6_000;

/// A vector near one of 100 centres, as vectors of texts are.
fn clustered(seed: u64) -> Embedding {
    let centre = crate::store::conformance::vector(seed % 100, DIMENSIONS);
    let own = crate::store::conformance::vector(1_000 + seed, DIMENSIONS);
    let values = centre.as_slice().iter().zip(own.as_slice());
    Embedding::normalised(values.map(|(a, b)| a + 0.6 * b).collect()).unwrap()
}

fn clustered_documents() -> Vec<EmbeddedDocument> {
    let one = |n: u64| {
        let mut document = document_of(&format!("docs/{n}.md"), n, &["word"], DIMENSIONS);
        document.chunks[0].1 = clustered(n);
        let lang = if n.is_multiple_of(100) { "de" } else { "en" };
        let metadata = serde_json::json!({ "lang": lang });
        document.metadata =
            crate::domain::Metadata::new(metadata.as_object().unwrap().clone()).unwrap();
        document
    };
    (0..ROWS).map(one).collect()
}

fn ask(store: &PostgresStore, vector: &Embedding, filter: &Filter, mode: Mode) -> Vec<Hit> {
    let request = SearchRequest {
        collection: &CollectionName::default(),
        mode,
        text: &QueryText::new("word").unwrap(),
        embedding: Some(vector),
        filter,
        limit: 10,
    };
    store.search(&request).unwrap()
}

/// Of the 10 nearest, how many the store finds, over 50 questions.
fn recall(store: &PostgresStore, documents: &[EmbeddedDocument]) -> f64 {
    let mut found = 0_u32;
    for question in 0..50 {
        let wanted = clustered(100_000 + question);
        let mut exact: Vec<(f32, &str)> = documents
            .iter()
            .map(|d| (d.chunks[0].1.cosine(&wanted), d.source.as_str()))
            .collect();
        exact.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hits = ask(store, &wanted, &Filter::default(), Mode::Vector);
        assert_eq!(hits.len(), 10);
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        found += u32::try_from(
            exact[..10]
                .iter()
                .filter(|(_, source)| hits.iter().any(|hit| hit.source == *source))
                .count(),
        )
        .unwrap();
    }
    f64::from(found) / 500.0
}

#[test]
fn every_kind_of_index_finds_nearly_all_and_filters_cost_nothing() {
    let server = Server::new();
    let documents = clustered_documents();
    for kind in [
        Quantization::None,
        Quantization::Halfvec,
        Quantization::Binary,
    ] {
        let store = PostgresStore::open(PostgresSettings {
            quantization: kind,
            // All of the documents are one statement, on a machine that may be busy.
            statement_timeout: Duration::from_mins(1),
            ..settings(server.dsn())
        })
        .unwrap();
        if store.model().unwrap().is_none() {
            store
                .upsert_embeddings(&model(DIMENSIONS), &documents)
                .unwrap();
        }
        store.settle().unwrap();
        let info = store.info().unwrap().database.unwrap();
        assert_eq!(info.index_kind, Some(kind.name()));
        let recall = recall(&store, &documents);
        assert!(recall >= 0.95, "{}: recall {recall}", kind.name());
        let german = Filter::new([("lang".to_owned(), "de".into())]).unwrap();
        let glob = Filter::new([("source".to_owned(), "docs/1*.md".into())]).unwrap();
        for mode in [Mode::Vector, Mode::Hybrid] {
            let hits = ask(&store, &clustered(7), &german, mode);
            assert_eq!(hits.len(), 10, "{} {mode:?}", kind.name());
            assert!(hits.iter().all(|hit| hit.metadata.as_map()["lang"] == "de"));
            let hits = ask(&store, &clustered(7), &glob, mode);
            assert_eq!(hits.len(), 10);
            assert!(hits.iter().all(|hit| hit.source.starts_with("docs/1")));
        }
    }
}

#[test]
fn vectors_of_more_than_2000_dimensions_are_indexed_by_halves() {
    let server = Server::new();
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    let documents: Vec<_> = (0..20)
        .map(|n| document_of(&n.to_string(), n, &["word"], 3_072))
        .collect();
    store.upsert_embeddings(&model(3_072), &documents).unwrap();
    let info = store.info().unwrap().database.unwrap();
    assert_eq!(info.index_kind, Some("halfvec"));
    let wanted = &documents[7].chunks[0].1;
    let hits = ask(&store, wanted, &Filter::default(), Mode::Vector);
    assert_eq!(hits[0].source, "7");
    assert!((hits[0].score - 1.0).abs() < 1e-5);
}

#[test]
fn many_may_start_at_once_on_an_empty_database() {
    let server = Server::new();
    let open = || {
        let store = PostgresStore::open(settings(server.dsn())).unwrap();
        let document = document_of("same", 1, &["word"], 16);
        store.upsert_embeddings(&model(16), &[document]).unwrap();
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        for one in all {
            one.join().unwrap();
        }
    });
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    assert_eq!(store.info().unwrap().chunks, 1);
    assert_eq!(store.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_table_of_another_program_is_left_alone() {
    let server = Server::new();
    server.execute("CREATE TABLE documents (id int)");
    let error = PostgresStore::open(settings(server.dsn())).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("did not make") && text.contains("search_path"),
        "{text}"
    );
    server.execute("CREATE SCHEMA alfred");
    let settings = PostgresSettings {
        search_path: Some("alfred,public".to_owned()),
        ..settings(server.dsn())
    };
    let store = PostgresStore::open(settings).unwrap();
    let document = document_of("a", 1, &["word"], 16);
    store.upsert_embeddings(&model(16), &[document]).unwrap();
    assert_eq!(store.info().unwrap().documents, 1);
}

#[test]
fn a_dry_run_prints_what_the_real_run_does() {
    let server = Server::new();
    let pending = admin::pending(settings(server.dsn())).unwrap();
    assert_eq!(pending.migrations.len(), migrate::MIGRATIONS.len());
    for statement in ["CREATE EXTENSION", "CREATE TABLE documents", "USING gin"] {
        assert!(pending.sql.contains(statement), "{statement}");
    }
    server.execute(&pending.sql);
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    let after = admin::pending(settings(server.dsn())).unwrap();
    assert_eq!((after.migrations.len(), after.sql.as_str()), (0, ""));
    drop(store);
}

#[test]
fn an_index_that_is_missing_is_built_and_searches_are_exact_until_then() {
    let server = Server::new();
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    let documents: Vec<_> = (0..50)
        .map(|n| document_of(&n.to_string(), n, &["word"], 16))
        .collect();
    store.begin_bulk(&model(16)).unwrap();
    store.upsert_embeddings(&model(16), &documents).unwrap();
    assert_eq!(store.info().unwrap().database.unwrap().index_kind, None);
    let wanted = &documents[3].chunks[0].1;
    assert_eq!(
        ask(&store, wanted, &Filter::default(), Mode::Hybrid)[0].source,
        "3"
    );
    drop(store);
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    assert!(store.shared.known_model().is_some());
    store.settle().unwrap();
    let info = store.info().unwrap().database.unwrap();
    assert_eq!(info.index_kind, Some("none"));
    assert!(
        info.indexes
            .iter()
            .any(|i| i.name == "documents_embedding_none" && i.valid)
    );
    assert!(
        info.last_analyze.is_none(),
        "nothing was written since it was opened"
    );
    let more = document_of("more", 99, &["word"], 16);
    store.upsert_embeddings(&model(16), &[more]).unwrap();
    store.settle().unwrap();
    let info = store.info().unwrap().database.unwrap();
    assert!(info.last_analyze.is_some());
    store.begin_bulk(&model(16)).unwrap();
    let info = store.info().unwrap().database.unwrap();
    assert_eq!(
        info.index_kind,
        Some("none"),
        "a store that holds something keeps its index"
    );
}

#[test]
fn a_check_finds_what_was_changed_by_hand() {
    let server = Server::new();
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    let documents: Vec<_> = (0..3)
        .map(|n| document_of(&n.to_string(), n, &["one", "two"], 16))
        .collect();
    store.upsert_embeddings(&model(16), &documents).unwrap();
    assert!(store.check().unwrap().problems.is_empty());
    server.execute("DELETE FROM documents WHERE source = '1' AND chunk = 0");
    server.execute("UPDATE alfred_collections SET chunks = 99");
    server.execute(
        "UPDATE documents SET embedding = embedding * (SELECT array_agg(2.0::real)::vector
        FROM generate_series(1, 16)) WHERE source = '2' AND chunk = 0",
    );
    let problems = store.check().unwrap().problems.join("\n");
    for part in ["number of chunks than is recorded: 1", "counts", "length 1"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
}

#[test]
fn a_daemon_waits_for_its_database() {
    let mut server = Server::new();
    let dsn = server.dsn();
    server.shut_down();
    let store = PostgresStore::start(settings(dsn)).unwrap();
    let error = store.collections().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(store.health().is_err());
    server.start();
    let clock = crate::clock::SystemClock;
    let deadline = crate::clock::Deadline::after(&clock, Duration::from_secs(5));
    while store.health().is_err() {
        assert_ne!(
            deadline.remaining(&clock),
            Some(Duration::ZERO),
            "not up in 5 s"
        );
        crate::clock::Clock::sleep(&clock, Duration::from_millis(20));
    }
    assert_eq!(store.collections().unwrap().len(), 1);
}

#[test]
fn a_new_database_is_asked_for_its_model_on_the_primary() {
    let primary = Server::new();
    let standby = Server::standby_of(&primary);
    // What is made from now on reaches it later.
    standby.execute("SELECT pg_wal_replay_pause()");
    let dsn = format!(
        "postgresql://alfred@127.0.0.1:{},127.0.0.1:{}/alfred",
        primary.port(),
        standby.port()
    );
    let store = PostgresStore::open(settings(Secret::new(dsn))).unwrap();
    assert_eq!(store.model().unwrap(), None);
}

#[test]
fn a_daemon_walks_the_index_before_it_is_ready() {
    let server = Server::new();
    let store = PostgresStore::open(settings(server.dsn())).unwrap();
    let documents: Vec<_> = (0..50)
        .map(|n| document_of(&n.to_string(), n, &["word"], 16))
        .collect();
    store.upsert_embeddings(&model(16), &documents).unwrap();
    drop(store);
    let scans = "SELECT coalesce(sum(idx_scan), 0)::text FROM pg_stat_user_indexes
        WHERE indexrelname = 'documents_embedding_none'";
    assert_eq!(server.execute(scans), ["0"]);
    let shared = Shared::unopened(settings(server.dsn())).unwrap();
    shared::prepare(&shared).unwrap();
    shared.set_problem(None);
    upkeep::warm_up(&shared).unwrap();
    let clock = crate::clock::SystemClock;
    let deadline = crate::clock::Deadline::after(&clock, Duration::from_secs(10));
    // A session reports its statistics when it is idle, or ends.
    drop(shared);
    while server.execute(scans) == ["0"] {
        assert_ne!(deadline.remaining(&clock), Some(Duration::ZERO), "no scan");
        crate::clock::Clock::sleep(&clock, Duration::from_millis(20));
    }
}
