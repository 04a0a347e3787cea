//! A disk that fills while documents are put in, and one that may only be read: clear errors, and a
//! store that is whole.

use crate::support::{Done, Home, finish};
use std::process::{Command, Stdio};

#[test]
fn a_disk_that_fills_during_ingest_costs_nothing_that_was_stored() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let home = Home::new();
    home.write("first.md", "# First\n\nThis one fits.\n");
    for n in 0..60 {
        let text = format!(
            "# Document {n}\n\n{}",
            "A sentence that takes room. ".repeat(400)
        );
        home.write(&format!("docs/{n}.md"), text);
    }
    std::fs::create_dir(home.path().join("store")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=1500k none "$STORE" || exit 90
        "$ALFRED" ingest first.md >/dev/null || exit 91
        "$ALFRED" ingest docs
        echo "ingest: $?"
        "$ALFRED" query 'Which one fits?' --mode text
        echo "query: $?"
        "$ALFRED" store check
        echo "check: $?"
    "#;
    let done = in_a_namespace(&home, script);
    let text = format!("{}\n{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("ingest: 1\n"), "{text}");
    assert!(done.stderr.contains("cannot write the store"), "{text}");
    assert!(done.stderr.contains("hint: free disk space"), "{text}");
    assert!(
        done.stdout.contains("first.md") && done.stdout.contains("query: 0"),
        "{text}"
    );
    assert!(done.stdout.contains("check: 0"), "{text}");
}

#[test]
fn a_store_on_a_medium_that_may_only_be_read_still_answers() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let home = Home::new();
    home.write(
        "first.md",
        "# First\n\nAn otter holds hands while it sleeps.\n",
    );
    home.write("second.md", "# Second\n\nA badger digs its sett.\n");
    std::fs::create_dir(home.path().join("store")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=20m none "$STORE" || exit 90
        "$ALFRED" ingest first.md >/dev/null || exit 91
        mount -o remount,ro "$STORE" || exit 92
        "$ALFRED" query 'What do otters do?'; echo "query: $?"
        "$ALFRED" store info; echo "info: $?"
        "$ALFRED" store check; echo "check: $?"
        "$ALFRED" store backup copy.db; echo "backup: $?"
        "$ALFRED" ingest first.md; echo "ingest: $?"
        mount -o remount,rw "$STORE" || exit 93
        "$ALFRED" serve --listen 127.0.0.1:0 2>/dev/null & daemon=$!
        trap 'kill -9 $daemon 2>/dev/null' EXIT
        until "$ALFRED" status >/dev/null 2>&1; do kill -0 $daemon || exit 94; done
        "$ALFRED" ingest second.md >/dev/null || exit 95
        kill -9 $daemon; wait $daemon
        mount -o remount,ro "$STORE" || exit 96
        "$ALFRED" query 'What do badgers do?' --top-k 1; echo "after a crash: $?"
        mount -o remount,rw "$STORE" && rm "$STORE/alfred.db-shm"
        mount -o remount,ro "$STORE" || exit 97
        "$ALFRED" store info; echo "with half a log: $?"
    "#;
    let done = in_a_namespace(&home, script);
    let text = format!("{}\n{}", done.stdout, done.stderr);
    for line in [
        "query: 0",
        "info: 0",
        "check: 0",
        "backup: 0",
        "ingest: 1",
        "after a crash: 0",
        "with half a log: 1",
    ] {
        assert!(
            done.stdout.lines().any(|told| told == line),
            "{line}: {text}"
        );
    }
    assert!(done.stdout.contains("An otter holds hands"), "{text}");
    assert!(done.stdout.contains("A badger digs"), "{text}");
    assert!(done.stderr.contains("Read-only file system"), "{text}");
    assert!(done.stderr.contains("its write-ahead log holds"), "{text}");
}

/// Runs the script in a mount namespace of its own: nothing is left behind, whatever happens.
fn in_a_namespace(home: &Home, script: &str) -> Done {
    let alfred = home.command(&[]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .current_dir(home.path())
        .env("ALFRED", env!("CARGO_BIN_EXE_alfred"))
        .env("STORE", home.path().join("store"))
        .envs(
            alfred
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}
