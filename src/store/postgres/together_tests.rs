//! Against a real server. The only turn is held until all who are to share have come to wait.

use super::*;
use crate::domain::{CollectionName, EmbeddedDocument, Filter, QueryText};
use crate::store::EmbeddingRepo as _;
use crate::store::conformance::{document_of, model, vector};
use crate::store::postgres::testing::Server;
use crate::store::postgres::{PostgresSettings, PostgresStore, Quantization};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

const DIMENSIONS: usize = 16;
/// Above what is searched without the index.
const ROWS: u64 = 5_200;
const LONG: Duration = Duration::from_secs(30);
const MANY: &str = "alfred_nearest_many_none_v1";

fn settings(server: &Server) -> PostgresSettings {
    PostgresSettings {
        dsn: server.dsn(),
        pool_size: 1,
        max_reads: 1,
        pool_timeout: Duration::from_secs(10),
        // Filling a store on a busy machine takes long.
        statement_timeout: Duration::from_mins(1),
        ef_search: 40,
        quantization: Quantization::None,
        search_path: None,
        metrics: crate::telemetry::metrics::PoolMetrics::default(),
    }
}

fn document(collection: &str, n: u64) -> EmbeddedDocument {
    let metadata = json!({"lang": if n.is_multiple_of(10) { "de" } else { "en" }});
    let Value::Object(metadata) = metadata else {
        unreachable!("an object was made");
    };
    EmbeddedDocument {
        collection: CollectionName::new(collection).unwrap(),
        metadata: crate::domain::Metadata::new(metadata).unwrap(),
        ..document_of(&format!("docs/{n}.md"), n, &["word"], DIMENSIONS)
    }
}

/// A store with a large and a small collection, for who has more than one row a search.
fn filled(server: &Server) -> PostgresStore {
    let store = PostgresStore::open(settings(server)).unwrap();
    let mut documents: Vec<_> = (0..ROWS).map(|n| document("default", n)).collect();
    documents.extend((0..40).map(|n| document("small", n)));
    store.begin_bulk(&model(DIMENSIONS)).unwrap();
    store
        .upsert_embeddings(&model(DIMENSIONS), &documents)
        .unwrap();
    store.settle().unwrap();
    store
}

/// The same with other settings.
fn refilled(server: &Server, change: impl FnOnce(&mut PostgresSettings)) -> PostgresStore {
    drop(filled(server));
    let mut settings = settings(server);
    change(&mut settings);
    PostgresStore::open(settings).unwrap()
}

/// The only turn, until it is let go.
struct Held {
    let_go: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Held {
    /// From then on searches may share a statement.
    fn of(store: &PostgresStore) -> Self {
        let search_us = &store.searches.desk.sharing.search_us;
        search_us.store(1, Ordering::Relaxed);
        let shared = Arc::clone(&store.shared);
        let (let_go, end) = mpsc::channel::<()>();
        let (has, has_turn) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let hold = |_: &mut Session| {
                let _ = has.send(());
                let _ = end.recv();
                Ok(())
            };
            shared.read("holding the turn", hold).unwrap();
        });
        has_turn.recv().unwrap();
        Self { let_go, thread }
    }

    fn let_go(self) {
        drop(self.let_go);
        self.thread.join().unwrap();
    }
}

#[derive(Clone, Debug)]
struct Ask {
    collection: &'static str,
    mode: Mode,
    filter: Value,
    limit: usize,
    seed: u64,
}

impl Ask {
    fn plain(seed: u64) -> Self {
        Self {
            collection: "default",
            mode: Mode::Vector,
            filter: json!({}),
            limit: 3,
            seed,
        }
    }

    fn of(&self, store: &PostgresStore) -> Result<Vec<Hit>, StoreError> {
        self.with(|request| store.search(request))
    }

    fn later(&self, store: &PostgresStore, then: Then) {
        self.with(|request| store.search_later(request, then));
    }

    fn with<T>(&self, work: impl FnOnce(&SearchRequest<'_>) -> T) -> T {
        let Value::Object(filter) = self.filter.clone() else {
            unreachable!("filters are objects");
        };
        work(&SearchRequest {
            collection: &CollectionName::new(self.collection).unwrap(),
            mode: self.mode,
            text: &QueryText::new("word").unwrap(),
            embedding: Some(&vector(100_000 + self.seed, DIMENSIONS)),
            filter: &Filter::new(filter).unwrap(),
            limit: self.limit,
        })
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = SystemClock.monotonic();
    while !done() {
        assert!(start.elapsed() < LONG, "{what}");
        SystemClock.sleep(Duration::from_millis(1));
    }
}

/// Who waits, but for the thread that asks for others.
fn waiting(store: &PostgresStore) -> usize {
    let asked = store.searches.desk.inbox.waiting();
    let in_turn = store.shared.pools.waiting();
    (asked + in_turn).saturating_sub(usize::from(asked > 0))
}

type Outcome = Result<Vec<Hit>, StoreError>;

/// What each gets when all have come to wait behind a turn that is held; meanwhile `during` runs.
fn together(
    store: &PostgresStore,
    asks: &[Ask],
    during: impl FnOnce(),
) -> Vec<(Outcome, Duration)> {
    let held = Held::of(store);
    thread::scope(|scope| {
        let mut callers = Vec::new();
        for ask in asks {
            let began: Instant = SystemClock.monotonic();
            callers.push(scope.spawn(move || (ask.of(store), began.elapsed())));
            until("all wait", || waiting(store) == callers.len());
        }
        held.let_go();
        during();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    })
}

fn text_of(outcome: &Outcome) -> String {
    match outcome {
        Ok(hits) => format!("{hits:?}"),
        Err(error) => format!("error: {error}"),
    }
}

/// All together get what each gets alone.
fn assert_as_alone(store: &PostgresStore, asks: &[Ask]) {
    let alone: Vec<String> = asks.iter().map(|ask| text_of(&ask.of(store))).collect();
    for ((ask, alone), (outcome, _)) in asks.iter().zip(&alone).zip(together(store, asks, || {})) {
        assert_eq!(*alone, text_of(&outcome), "{ask:?}");
    }
}

/// Calls of the function for many, as of now.
fn shared_statements(store: &PostgresStore) -> i64 {
    let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions
               WHERE funcname = $1";
    let count = |session: &mut Session| {
        session.batch_execute("SELECT pg_stat_force_next_flush()")?;
        Ok(session.query_one(sql, &[&MANY])?.get(0))
    };
    store.shared.read("counting calls", count).unwrap()
}

/// Puts another body in place of the function for many.
fn replace_many(server: &Server, body: &str) {
    server.execute(&format!(
        "CREATE OR REPLACE FUNCTION {MANY}(
            p_collections text[], p_embeddings vector[], p_metadata jsonb[], p_sources text[],
            p_limits integer[], p_ef integer, p_exact bigint
        ) RETURNS TABLE (
            id uuid, document_id uuid, score real, source text, title text, title_path text[],
            chunk integer, page integer, content text, metadata jsonb, is_exact boolean,
            question integer
        ) LANGUAGE plpgsql AS $$ BEGIN {body}; END $$"
    ));
}

/// Whether a backend runs the function for many now, by its process id.
fn running_many(server: &Server) -> Option<String> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{MANY}%'
         AND pid <> pg_backend_pid()"
    );
    server.execute(&sql).pop()
}

#[test]
fn many_at_once_get_what_each_gets_alone() {
    let server = Server::with_config(&["track_functions = pl"]);
    let store = filled(&server);
    let mut asks = Vec::new();
    let filters = [
        json!({}),
        json!({"lang": "de"}),
        json!({"source": "docs/1*.md"}),
        json!({"source": "docs/77.md"}),
        json!({"lang": "fr"}),
    ];
    for (seed, filter) in (0..).zip(filters.into_iter().cycle().take(20)) {
        asks.push(Ask {
            filter,
            limit: [3, 1, 10, 100][usize::try_from(seed % 4).unwrap()],
            mode: [
                Mode::Vector,
                Mode::Vector,
                Mode::Hybrid,
                Mode::Vector,
                Mode::Text,
            ][usize::try_from(seed / 2 % 5).unwrap()],
            collection: if seed % 6 == 5 { "small" } else { "default" },
            seed,
        });
    }
    asks.extend((20..40).map(Ask::plain));
    let before = shared_statements(&store);
    assert_as_alone(&store, &asks);
    let shared = shared_statements(&store) - before;
    // On a busy machine fewer share, since each takes longer.
    assert!((1..=12).contains(&shared), "{shared} shared statements");
}

#[test]
fn an_unknown_collection_is_the_error_of_who_asked_for_it() {
    let server = Server::with_config(&["track_functions = pl"]);
    let store = filled(&server);
    let mut asks: Vec<Ask> = (0..7).map(Ask::plain).collect();
    asks[3].collection = "nothing";
    assert_as_alone(&store, &asks);
    assert_eq!(shared_statements(&store), 1, "it costs the others nothing");
    let outcomes = together(&store, &asks, || {});
    let error = outcomes[3].0.as_ref().unwrap_err();
    assert!(
        matches!(error, StoreError::UnknownCollection { name, known }
            if name == "nothing" && known.len() == 2),
        "{error}"
    );
}

#[test]
fn an_index_that_finds_too_little_is_no_answer() {
    let server = Server::new();
    let store = filled(&server);
    // Of a third collection that is large enough for the index, and then loses nearly all.
    let documents: Vec<_> = (0..ROWS).map(|n| document("shrinking", n)).collect();
    store
        .upsert_embeddings(&model(DIMENSIONS), &documents)
        .unwrap();
    server.execute("DELETE FROM documents WHERE collection = 'shrinking' AND chunk = 0 AND source <> 'docs/7.md'");
    let asks: Vec<Ask> = (0..4)
        .map(|seed| Ask {
            collection: "shrinking",
            ..Ask::plain(seed)
        })
        .collect();
    assert_as_alone(&store, &asks);
    for (outcome, _) in together(&store, &asks, || {}) {
        assert_eq!(outcome.unwrap().len(), 1);
    }
}

#[test]
fn a_shared_statement_that_fails_fails_nobody() {
    let server = Server::new();
    let store = filled(&server);
    let asks: Vec<Ask> = (0..6).map(Ask::plain).collect();
    replace_many(&server, "RAISE division_by_zero");
    assert_as_alone(&store, &asks);
    replace_many(
        &server,
        "PERFORM pg_terminate_backend(pg_backend_pid(), 5000)",
    );
    assert_as_alone(&store, &asks);
    server.execute(&format!("DROP FUNCTION {MANY}"));
    assert_as_alone(&store, &asks);
    assert!(
        store.shared.stale.load(Ordering::Relaxed),
        "the keeper is to look at the schema"
    );
}

#[test]
fn a_shared_statement_that_takes_too_long_is_ended() {
    let server = Server::new();
    let store = refilled(&server, |settings| {
        settings.statement_timeout = Duration::from_millis(700);
    });
    replace_many(&server, "PERFORM pg_sleep(600)");
    let asks: Vec<Ask> = (0..5).map(Ask::plain).collect();
    let alone: Vec<String> = asks.iter().map(|ask| text_of(&ask.of(&store))).collect();
    for (alone, (outcome, took)) in alone.iter().zip(together(&store, &asks, || {})) {
        assert_eq!(*alone, text_of(&outcome));
        assert!(
            took >= Duration::from_millis(600) && took < LONG,
            "{took:?}"
        );
    }
    assert_eq!(
        store.searches.desk.sharing.most(),
        1,
        "none is shared for a while"
    );
}

#[test]
fn a_shared_statement_that_fails_late_sends_nobody_away() {
    let server = Server::new();
    let store = refilled(&server, |settings| {
        settings.pool_timeout = Duration::from_secs(1);
    });
    // Longer than anybody waits for a connection.
    replace_many(&server, "PERFORM pg_sleep(2); RAISE division_by_zero");
    let asks: Vec<Ask> = (0..6).map(Ask::plain).collect();
    assert_as_alone(&store, &asks);
}

#[test]
fn a_backend_that_is_ended_costs_nobody_an_answer() {
    let server = Server::new();
    let store = filled(&server);
    replace_many(&server, "PERFORM pg_sleep(600)");
    let asks: Vec<Ask> = (0..6).map(Ask::plain).collect();
    let alone: Vec<String> = asks.iter().map(|ask| text_of(&ask.of(&store))).collect();
    let end = || {
        until("it runs", || running_many(&server).is_some());
        let pid = running_many(&server).unwrap();
        server.execute(&format!("SELECT pg_terminate_backend({pid})"));
    };
    for (alone, (outcome, took)) in alone.iter().zip(together(&store, &asks, end)) {
        assert_eq!(*alone, text_of(&outcome));
        assert!(took < LONG, "{took:?}");
    }
}

#[test]
fn a_database_that_is_killed_is_an_error_for_each_and_no_wait() {
    let mut server = Server::new();
    let store = filled(&server);
    replace_many(&server, "PERFORM pg_sleep(600)");
    let asks: Vec<Ask> = (0..6).map(Ask::plain).collect();
    let kill = || {
        until("it runs", || running_many(&server).is_some());
        server.kill();
    };
    for (outcome, took) in together(&store, &asks, kill) {
        let error = outcome.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(took < LONG, "{took:?}");
    }
    server.start();
    until("it is back", || store.health().is_ok());
    assert_eq!(asks[0].of(&store).unwrap().len(), 3);
}

#[test]
fn who_waited_too_long_leaves_and_the_others_are_answered() {
    let server = Server::new();
    let store = refilled(&server, |settings| {
        settings.pool_timeout = Duration::from_millis(400);
    });
    let held = Held::of(&store);
    thread::scope(|scope| {
        let store = &store;
        let first = scope.spawn(move || Ask::plain(1).of(store));
        SystemClock.sleep(Duration::from_millis(300));
        let later: Vec<_> = (2..5)
            .map(|seed| scope.spawn(move || Ask::plain(seed).of(store)))
            .collect();
        until("all wait", || waiting(store) == 4);
        let error = first.join().unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        held.let_go();
        for one in later {
            assert_eq!(one.join().unwrap().unwrap().len(), 3);
        }
    });
}

#[test]
fn who_keeps_no_thread_gets_the_same() {
    let server = Server::new();
    let store = filled(&server);
    assert!(store.searches_later());
    let broken = |_: Outcome| panic!("whoever asked breaks");
    Ask::plain(0).later(&store, Box::new(broken));
    let mut asks: Vec<Ask> = (1..20).map(Ask::plain).collect();
    asks[3].collection = "nothing";
    asks[4].collection = "small";
    asks[5].filter = json!({"lang": "fr"});
    let (tell, told) = mpsc::channel();
    for (at, ask) in asks.iter().enumerate() {
        let tell = tell.clone();
        ask.later(
            &store,
            Box::new(move |found| tell.send((at, found)).unwrap()),
        );
    }
    for _ in &asks {
        let (at, found) = told.recv_timeout(LONG).unwrap();
        assert_eq!(text_of(&found), text_of(&asks[at].of(&store)));
    }
    let hybrid = Ask {
        mode: Mode::Hybrid,
        ..Ask::plain(1)
    };
    hybrid.later(
        &store,
        Box::new(move |found| tell.send((0, found)).unwrap()),
    );
    assert!(told.recv().is_err(), "it is not called, and let go of");
}

#[test]
fn who_waits_when_the_store_is_closed_is_let_go() {
    let server = Server::new();
    let store = filled(&server);
    let held = Held::of(&store);
    let (tell, told) = mpsc::channel::<Outcome>();
    Ask::plain(1).later(&store, Box::new(move |found| tell.send(found).unwrap()));
    until("it waits", || waiting(&store) == 1);
    drop(store);
    let gone = Err(mpsc::RecvTimeoutError::Disconnected);
    assert_eq!(told.recv_timeout(LONG).map(drop), gone, "uncalled");
    held.let_go();
}
