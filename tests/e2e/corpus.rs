//! The main job on real files: ingest, ask, change, prune, share a store between processes.

use crate::support::{Home, PATIENCE, eventually};
use serde_json::json;
use std::time::Duration;

fn corpus(home: &Home) {
    home.write(
        "docs/helm.md",
        "# Helm\n\n## Upgrading the chart\n\nRun this to upgrade the Helm chart:\n\n```sh\nhelm \
         upgrade core alfred/agent-core\n```\n\n## Removing\n\nUninstall it with helm uninstall.\n",
    );
    home.write(
        "docs/deep/backup.md",
        "# Backup\n\nA backup is a copy of the store file.\n",
    );
    home.write(
        "docs/page.html",
        "<html><title>Pools</title><p>The pool holds ten connections.",
    );
    home.write(
        "docs/note.txt",
        "Percentiles are measured from when a request was due.",
    );
}

#[test]
fn a_corpus_is_ingested_and_answers_with_citations() {
    let home = Home::new();
    corpus(&home);
    for name in ["a.png", "b.png", "c.zip"] {
        home.write(&format!("docs/{name}"), "x");
    }
    let summary = home.alfred(&["ingest", "docs", "--json"]).expect(0).json();
    assert_eq!(
        (&summary["created"], &summary["failed"]),
        (&json!(4), &json!(0)),
        "{summary}"
    );
    assert_eq!(summary["skipped_by_ending"], json!({".png": 2, ".zip": 1}));
    let again = home.alfred(&["ingest", "docs"]).expect(0).stdout;
    assert!(again.ends_with("; 3 skipped: .png 2, .zip 1\n"), "{again}");

    let reply = home
        .alfred(&["query", "How do I upgrade the Helm chart?", "--json"])
        .expect(0)
        .json();
    let answer = reply["answer"].as_str().unwrap();
    assert!(
        answer.contains("helm upgrade core alfred/agent-core"),
        "{answer}"
    );
    assert!(answer.contains("[^1]"), "{answer}");
    let first = &reply["citations"][0];
    assert_eq!(first["source"], "docs/helm.md");
    // Small sections share a chunk; the title is that of the section that is quoted.
    assert_eq!(first["title"], "Upgrading the chart");
    assert!(reply["citations"].as_array().unwrap().len() <= 3);

    let text = home.alfred(&[
        "query",
        "how many connections has the pool",
        "--mode",
        "text",
    ]);
    assert!(text.expect(0).stdout.contains("[^1] docs/page.html"));
    let filtered = home.alfred(&[
        "query",
        "the store",
        "--filter",
        "source=docs/*.md",
        "--json",
    ]);
    for citation in filtered.expect(0).json()["citations"].as_array().unwrap() {
        assert_eq!(
            citation["source"], "docs/helm.md",
            "`*` stays within a folder"
        );
    }
}

#[test]
fn unchanged_files_are_left_alone_and_gone_files_pruned() {
    let home = Home::new();
    corpus(&home);
    home.alfred(&["ingest", "docs"]).expect(0);
    let again = home
        .alfred(&["ingest", "docs/**/*.md", "docs", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&again["unchanged"], &again["chunks"]),
        (&json!(4), &json!(0)),
        "{again}"
    );

    home.write(
        "docs/note.txt",
        "Percentiles are measured from the due time.",
    );
    std::fs::remove_file(home.path().join("docs/deep/backup.md")).unwrap();
    let dry = home
        .alfred(&["ingest", "docs", "--prune", "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(dry["deleted"], 1);
    let kept = home
        .alfred(&["ingest", "docs/*.txt", "--prune", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&kept["replaced"], &kept["deleted"]),
        (&json!(1), &json!(0)),
        "{kept}"
    );
    let pruned = home
        .alfred(&["ingest", "docs", "--prune", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&pruned["unchanged"], &pruned["deleted"]),
        (&json!(3), &json!(1)),
        "{pruned}"
    );
    let info = home.alfred(&["store", "info", "--json"]).expect(0).json();
    assert_eq!(info["documents"], 3);

    // A file that was emptied says nothing any more.
    home.write("docs/note.txt", "");
    home.alfred(&["ingest", "docs"]).expect(0);
    let reply = home.alfred(&["query", "percentiles due", "--mode", "text", "--json"]);
    assert_eq!(reply.expect(0).json()["citations"], json!([]));

    let refused = home
        .alfred(&["ingest", "docs/note.txt", "--prune"])
        .expect(2);
    assert!(
        refused
            .stderr
            .contains("hint: give folders or quoted patterns"),
        "{refused:?}"
    );
}

#[test]
fn bad_files_cost_a_line_each_and_the_rest_lands() {
    let home = Home::new();
    corpus(&home);
    home.write("docs/empty.md", "");
    home.write("docs/binary.md", b"\x7fELF\x00\x00\x01");
    home.write("docs/latin1.txt", b"caf\xe9 au lait, s'il vous pla\xeet");
    home.write("docs/broken.pdf", "%PDF-1.7 and then nothing of the kind");
    std::os::unix::fs::symlink("nowhere", home.path().join("docs/dangling.md")).unwrap();
    let sparse = std::fs::File::create(home.path().join("docs/huge.md")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let done = home.alfred(&["ingest", "docs", "--json"]).expect(1);
    let summary = done.json();
    assert_eq!(
        (&summary["created"], &summary["empty"]),
        (&json!(4), &json!(1)),
        "{summary}"
    );
    for (source, reason) in [
        ("docs/binary.md", "binary"),
        ("docs/latin1.txt", "UTF-8"),
        ("docs/broken.pdf", "malformed"),
        ("dangling.md", "No such file"),
        ("docs/huge.md", "over the limit"),
    ] {
        let line = done.stderr.lines().find(|line| line.contains(source));
        let line = line.unwrap_or_else(|| panic!("{source} in {}", done.stderr));
        assert!(
            line.starts_with("error: ") && line.contains(reason),
            "{line}"
        );
    }
    assert!(
        done.stderr
            .contains("warning: docs/empty.md: there is no text in it")
    );
    assert!(done.stderr.contains("5 of"), "{}", done.stderr);
}

#[test]
fn a_daemon_serves_what_another_process_ingests() {
    let home = Home::new();
    corpus(&home);
    let daemon = home.serve(&[]);
    let question = json!({"query": "What is a backup?", "mode": "text"});
    assert_eq!(daemon.ask(&question)["citations"], json!([]));
    // Another process, straight on the store: not through the daemon's socket.
    let store = home.path().join("store");
    std::fs::rename(store.join("alfred.sock"), store.join("hidden.sock")).unwrap();
    home.alfred(&["ingest", "docs"]).expect(0);
    eventually(Duration::from_secs(2), || {
        (daemon.ask(&question)["citations"][0]["source"] == "docs/deep/backup.md").then_some(())
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn killed_at_any_time_an_ingest_leaves_whole_documents_and_can_be_repeated() {
    let home = Home::new();
    let section = |n: usize, m: usize| {
        format!("## Section {m}\n\nDocument {n} says in section {m} what a section says.\n\n")
    };
    for n in 0..40 {
        let text: String = (0..12).map(|m| section(n, m).repeat(6)).collect();
        home.write(&format!("docs/{n}.md"), format!("# Document {n}\n\n{text}"));
    }
    let mut seen_partial = 0;
    for round in 0..6 {
        let mut child = home
            .command(&["ingest", "docs", "--batch", "8"])
            .spawn()
            .unwrap();
        // Once more documents are there than before, the work is in full swing.
        let before = documents_in(&home);
        eventually(PATIENCE, || {
            let is_over = child.try_wait().unwrap().is_some();
            (is_over || documents_in(&home) > before + round).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        home.alfred(&["store", "check"]).expect(0);
        seen_partial += u64::from((1..40).contains(&documents_in(&home)));
    }
    assert!(seen_partial > 0, "no kill came in the middle of the work");
    home.alfred(&["ingest", "docs"]).expect(0);
    let info = home.alfred(&["store", "info", "--json"]).expect(0).json();
    assert_eq!(info["documents"], 40);
    home.alfred(&["store", "check"]).expect(0);
}

/// How many documents another process would see now.
fn documents_in(home: &Home) -> u64 {
    let path = home.path().join("store/alfred.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    rusqlite::Connection::open_with_flags(path, flags)
        .and_then(|store| store.query_row("SELECT count(*) FROM documents", [], |row| row.get(0)))
        .unwrap_or(0)
}

#[test]
fn a_folder_in_which_nothing_is_left_is_taken_for_one_that_is_not_mounted() {
    let home = Home::new();
    home.write("docs/a.md", "# A\n\nThe first one.");
    home.write("notes/b.md", "# B\n\nThe second one.");
    home.alfred(&["ingest", "docs", "notes"]).expect(0);
    std::fs::remove_file(home.path().join("docs/a.md")).unwrap();
    let ingest = ["ingest", "docs", "notes", "--prune"];
    let refused = home.alfred(&ingest).expect(1);
    assert!(
        refused.stderr.contains("nothing is left in docs"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("--allow-empty"),
        "{}",
        refused.stderr
    );
    let info = || home.alfred(&["store", "info", "--json"]).expect(0).json();
    assert_eq!(info()["documents"], 2);
    home.alfred(&[&ingest[..], &["--allow-empty"]].concat())
        .expect(0);
    assert_eq!(info()["documents"], 1);
}
