//! What is stored, changed behind the store's back.

use super::tests::{DIMENSIONS, ask, chunks_found, open, put};
use super::*;
use crate::domain::Mode;
use crate::store::conformance::vector;

#[test]
fn what_is_not_what_was_stored_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "a", 1, &["word"]);
    let other = Connection::open(file_in(folder.path())).unwrap();
    for (spoil, mend, told) in [
        (
            "chunks SET text = 'work'",
            "chunks SET text = 'word'",
            "chunk 1: its text",
        ),
        (
            "documents SET source = 'b'",
            "documents SET source = 'a'",
            "its source is not",
        ),
    ] {
        other.execute_batch(&format!("UPDATE {spoil}")).unwrap();
        let error = ask(&store, Mode::Vector, &vector(1, DIMENSIONS)).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(told), "{told} in {error}");
        let problems = admin::check(folder.path()).unwrap().problems.join("\n");
        assert!(problems.contains(told), "{told} in {problems}");
        other.execute_batch(&format!("UPDATE {mend}")).unwrap();
        assert_eq!(chunks_found(&store), 1);
    }
    assert_eq!(admin::check(folder.path()).unwrap().problems, [""; 0]);
}

#[test]
fn vectors_of_the_first_schema_have_no_checksum() {
    let folder = tempfile::tempdir().unwrap();
    put(&open(folder.path()), "a", 1, &["word"]);
    let other = Connection::open(file_in(folder.path())).unwrap();
    let first = "UPDATE vectors SET embedding = substr(embedding, 1, 64); PRAGMA user_version = 1";
    other.execute_batch(first).unwrap();
    let store = open(folder.path());
    assert_eq!(chunks_found(&store), 1);
    assert_eq!(store.info().unwrap().schema_version, 2);
    put(&store, "b", 2, &["word"]);
    assert_eq!(chunks_found(&store), 2);
    assert_eq!(admin::check(folder.path()).unwrap().problems, [""; 0]);
}
