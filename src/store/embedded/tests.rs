//! The embedded store alone: its file, its memory, its ends.

use super::*;
use crate::clock::SystemClock;
use crate::store::conformance::{Fixture, conformance_tests};

pub(super) fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, Arc::new(SystemClock)).unwrap()
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    Fixture {
        repo: Box::new(open(folder.path())),
        again: Box::new(move || Box::new(open(&path))),
        _keeps: Box::new(folder),
    }
}

mod conformance {
    super::conformance_tests!(super::fixture);
}

use crate::domain::{Embedding, Filter, Mode, QueryText, UpsertStatus};
use crate::store::conformance::{document, document_of, model, vector};
use std::process::{Child, Command, Stdio};

pub(super) const DIMENSIONS: usize = 16;

pub(super) fn put(store: &EmbeddedStore, source: &str, seed: u64, texts: &[&str]) -> UpsertStatus {
    let document = document(source, seed, texts);
    let mut outcomes = store
        .upsert_embeddings(&model(DIMENSIONS), &[document])
        .unwrap();
    outcomes.remove(0).unwrap().status
}

pub(super) fn ask(
    store: &EmbeddedStore,
    mode: Mode,
    embedding: &Embedding,
) -> Result<Vec<Hit>, StoreError> {
    store.search(&SearchRequest {
        collection: &CollectionName::default(),
        mode,
        text: &QueryText::new("word").unwrap(),
        embedding: Some(embedding),
        filter: &Filter::default(),
        limit: 10,
    })
}

pub(super) fn chunks_found(store: &EmbeddedStore) -> usize {
    ask(store, Mode::Vector, &vector(1, DIMENSIONS))
        .unwrap()
        .len()
}

#[test]
fn what_was_stored_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let store = open(folder.path());
        put(&store, "a", 1, &["word", "other"]);
        put(&store, "b", 5, &["word"]);
        ask(&store, Mode::Hybrid, &vector(1, DIMENSIONS)).unwrap()
    };
    let store = open(folder.path());
    assert_eq!(
        ask(&store, Mode::Hybrid, &vector(1, DIMENSIONS)).unwrap(),
        before
    );
    assert_eq!(
        put(&store, "a", 1, &["word", "other"]),
        UpsertStatus::Unchanged
    );
    assert!(store.info().unwrap().memory_bytes > 0);
}

#[test]
fn who_is_too_far_behind_for_tombstones_reads_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "a", 1, &["word"]);
    put(&store, "b", 2, &["word"]);
    let other = schema::connect(&file_in(folder.path()), rusqlite::OpenFlags::empty()).unwrap();
    // As if another process had deleted "a" and then so many more that its tombstone was pruned.
    other
        .execute_batch(
            "BEGIN;
             DELETE FROM vectors WHERE chunk_id = 1;
             DELETE FROM chunks WHERE id = 1;
             DELETE FROM documents WHERE id = 1;
             INSERT INTO tombstones (seq, document_id, collection_id) VALUES (900, 77, 1);
             COMMIT;",
        )
        .unwrap();
    store.shared.follower.refresh().unwrap();
    assert_eq!(
        store.shared.follower.current().collections["default"].live(),
        1
    );
    assert_eq!(chunks_found(&store), 1);
}

#[test]
fn a_file_that_is_no_store_is_told_from_a_damaged_and_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(folder.path());
    let refusal = || match EmbeddedStore::open(folder.path(), Arc::new(SystemClock)) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    };
    std::fs::write(
        &file,
        "no database at all, but long enough for a header".repeat(9),
    )
    .unwrap();
    assert!(
        matches!(refusal(), StoreError::Damaged { .. }),
        "{}",
        refusal()
    );

    std::fs::remove_file(&file).unwrap();
    let other = Connection::open(&file).unwrap();
    other
        .execute_batch("CREATE TABLE recipes (title TEXT)")
        .unwrap();
    drop(other);
    assert!(
        refusal().to_string().contains("another program"),
        "{}",
        refusal()
    );

    std::fs::remove_file(&file).unwrap();
    drop(open(folder.path()));
    Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(
        refusal().to_string().contains("version 99"),
        "{}",
        refusal()
    );
}

#[test]
fn an_unusable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = EmbeddedStore::open(&file.join("store"), Arc::new(SystemClock))
        .err()
        .unwrap();
    assert!(matches!(error, StoreError::Open { .. }));
    assert!(error.to_string().contains("file/store"), "{error}");
}

#[test]
fn a_damaged_page_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = open(folder.path());
        for n in 0..200 {
            put(&store, &n.to_string(), n, &["word and some more text"]);
        }
    }
    let file = file_in(folder.path());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 8_192 / 2 * 8_192;
    for page in (middle..bytes.len()).step_by(8_192) {
        bytes[page..page + 4_096].fill(0xa5);
    }
    std::fs::write(&file, bytes).unwrap();
    let opened = EmbeddedStore::open(folder.path(), Arc::new(SystemClock));
    match opened {
        Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "{error}"),
        Ok(store) => {
            let _ = ask(&store, Mode::Hybrid, &vector(1, DIMENSIONS));
        }
    }
    match admin::check(folder.path()) {
        Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "{error}"),
        Ok(report) => assert!(!report.problems.is_empty()),
    }
}

#[test]
fn check_finds_what_is_wrong_and_the_text_index_can_be_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "a", 1, &["word", "word"]);
    put(&store, "b", 3, &["word"]);
    let sound = admin::check(folder.path()).unwrap();
    assert_eq!(
        (sound.documents, sound.chunks, sound.problems),
        (2, 3, Vec::new())
    );

    let other = Connection::open(file_in(folder.path())).unwrap();
    other
        .execute_batch("DELETE FROM fts_1 WHERE rowid = 2")
        .unwrap();
    let report = admin::check(folder.path()).unwrap();
    assert!(report.text_index_differs);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(admin::rebuild_text_index(folder.path()).unwrap(), 3);
    assert_eq!(
        admin::check(folder.path()).unwrap().problems,
        Vec::<String>::new()
    );
    assert_eq!(
        ask(&store, Mode::Text, &vector(1, DIMENSIONS))
            .unwrap()
            .len(),
        3
    );

    let spoil = "UPDATE vectors SET embedding = zeroblob(64) WHERE chunk_id = 1;
                 UPDATE vectors SET embedding = x'00' WHERE chunk_id = 2;
                 DELETE FROM vectors WHERE chunk_id = 3;
                 UPDATE collections SET chunks = 9;";
    other.execute_batch(spoil).unwrap();
    let problems = admin::check(folder.path()).unwrap().problems.join("\n");
    for expected in [
        "chunk 1: its length",
        "chunk 2: it has 1 bytes",
        "chunk 3",
        "counts 2",
    ] {
        assert!(problems.contains(expected), "{expected} in {problems}");
    }
}

#[test]
fn a_backup_made_while_writing_is_whole_and_restores() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("backup.db");
    let place = folder.path().join("store");
    let store = open(&place);
    for n in 0..50 {
        put(&store, &n.to_string(), n, &["word"]);
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 50..150 {
                put(&store, &n.to_string(), n, &["word"]);
            }
        });
        admin::backup(&place, &target, false).unwrap();
        writer.join().unwrap();
    });
    let refused = admin::backup(&place, &target, false).unwrap_err();
    assert!(matches!(refused, StoreError::Open { .. }), "{refused}");
    admin::backup(&place, &target, true).unwrap();
    let leftovers = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(leftovers, 2, "the store's folder and the backup");

    let busy = admin::restore(&target, &place, true).unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy}");
    store.delete_collection(&CollectionName::default()).unwrap();
    drop(store);
    let exists = admin::restore(&target, &place, false).unwrap_err();
    assert!(matches!(exists, StoreError::Open { .. }), "{exists}");
    let report = admin::restore(&target, &place, true).unwrap();
    assert_eq!((report.documents, report.chunks), (150, 150));
    let store = open(&place);
    assert_eq!(store.info().unwrap().chunks, 150);
    assert_eq!(chunks_found(&store), 10);
    assert_eq!(admin::check(&place).unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_damaged_backup_is_refused_and_the_store_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    put(&open(&place), "a", 1, &["word"]);
    let target = folder.path().join("backup.db");
    admin::backup(&place, &target, false).unwrap();
    let damaged = Connection::open(&target).unwrap();
    damaged.execute_batch("DELETE FROM vectors").unwrap();
    drop(damaged);
    let error = admin::restore(&target, &place, true).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    std::fs::write(&target, "nothing of the kind").unwrap();
    let error = admin::restore(&target, &place, true).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(chunks_found(&open(&place)), 1);
}

/// This test binary once more, running `child_ingests` alone on `folder`.
fn ingesting_child(folder: &Path, wrapper: &[&str]) -> Child {
    let binary = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(std::ffi::OsStr::new).collect();
    words.push(binary.as_os_str());
    Command::new(words[0])
        .args(&words[1..])
        .args([
            "--exact",
            "store::embedded::tests::child_ingests",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const CHILD_FOLDER: &str = "ALFRED_TEST_CHILD_FOLDER";

/// Chunks of each document that the child stores.
const CHILD_CHUNKS: usize = 5;

#[test]
#[ignore = "the child of the tests that kill or trace it"]
#[expect(
    clippy::disallowed_methods,
    reason = "how the parent tells its child where to write"
)]
fn child_ingests() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else {
        return;
    };
    let store = open(Path::new(&folder));
    for round in 0..400_u64 {
        let source = format!("{}", round % 20);
        put(&store, &source, round + 1, &["word"; CHILD_CHUNKS]);
        println!("stored {round}");
    }
}

#[test]
fn a_process_killed_while_ingesting_leaves_no_half_document() {
    use std::io::BufRead as _;
    let folder = tempfile::tempdir().unwrap();
    for point in 0..20_u64 {
        let mut child = ingesting_child(folder.path(), &[]);
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        // Some lines, then a moment of no fixed length: anywhere in a transaction.
        let acknowledged = lines
            .by_ref()
            .map(Result::unwrap)
            .filter(|line| line.starts_with("stored"))
            .nth(usize::try_from(point * 7 % 23).unwrap());
        assert!(acknowledged.is_some(), "the child ended early");
        SystemClock.sleep(Duration::from_micros(point * 577 % 5_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines.map_while(Result::ok).last().or(acknowledged).unwrap();
        let last: u64 = last.trim_start_matches("stored ").parse().unwrap();

        let report = admin::check(folder.path()).unwrap();
        assert_eq!(report.problems, Vec::<String>::new(), "at point {point}");
        assert_eq!(report.chunks, report.documents * CHILD_CHUNKS as u64);
        let store = open(folder.path());
        let source = SourceName::new(&format!("{}", last % 20)).unwrap();
        let hashes = store
            .content_hashes(&CollectionName::default(), &[source])
            .unwrap();
        let acknowledged = document(&format!("{}", last % 20), last + 1, &["word"; CHILD_CHUNKS]);
        let next = document("any", last + 21, &["word"; CHILD_CHUNKS]);
        assert!(
            hashes[0] == Some(acknowledged.content_hash) || hashes[0] == Some(next.content_hash),
            "what was acknowledged is there"
        );
    }
}

#[test]
fn a_commit_is_synced_before_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("trace");
    let tracer = [
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=write,fsync,fdatasync",
        "-o",
    ];
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("not run: there is no strace");
        return;
    }
    let place = folder.path().join("store");
    let mut child = ingesting_child(&place, &[&tracer[..], &[log.to_str().unwrap()]].concat());
    let mut output = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut output).unwrap();
    let is_traced = child.wait().unwrap().success();
    if !is_traced {
        eprintln!("not run: strace may not trace here");
        return;
    }
    let trace = std::fs::read_to_string(&log).unwrap();
    let mut is_synced = false;
    let mut acknowledged = 0;
    for line in trace.lines() {
        if line.contains("sync(") && line.contains("alfred.db") {
            is_synced = true;
        }
        if line.contains("\"stored ") {
            assert!(is_synced, "acknowledged before it was synced: {line}");
            is_synced = false;
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 400);
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("not run: mounting a small tmpfs needs root");
        return;
    }
    let outcome = std::panic::catch_unwind(|| fill(folder.path()));
    let unmounted = Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmounted.success());
    outcome.unwrap();
}

fn fill(folder: &Path) {
    let store = open(folder);
    let mut stored = 0_u64;
    let error = loop {
        let document = document_of(&stored.to_string(), stored, &["word"; 20], 512);
        match store.upsert_embeddings(&model(512), &[document]) {
            Ok(outcomes) => assert!(outcomes[0].is_ok()),
            Err(error) => break error,
        }
        stored += 1;
        assert!(stored < 1_000, "the disk never filled");
    };
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.hint().unwrap().contains("disk"), "{error}");
    // It still answers, and everything acknowledged is there.
    assert_eq!(
        ask(&store, Mode::Vector, &vector(1, 512)).unwrap().len(),
        10
    );
    let info = store.info().unwrap();
    assert_eq!((info.documents, info.chunks), (stored, stored * 20));
    // With room again it goes on.
    let ids: Vec<Uuid> = (0..stored / 2)
        .map(|n| {
            let source = SourceName::new(&n.to_string()).unwrap();
            crate::domain::stored::document_id(&CollectionName::default(), &source)
        })
        .collect();
    drop(store);
    let remount = Command::new("mount")
        .args(["-o", "remount,size=16m"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(remount.success());
    let store = open(folder);
    assert_eq!(store.delete_documents(&ids).unwrap(), ids.len() as u64);
    assert_eq!(admin::check(folder).unwrap().problems, Vec::<String>::new());
}
