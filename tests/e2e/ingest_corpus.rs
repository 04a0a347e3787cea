//! `alfred ingest --corpus`: a file says what flags say.

use crate::support::Home;

fn corpus(home: &Home, more: &str) -> String {
    let root = home.path().join("handbook");
    let root = root.to_str().unwrap();
    let text = format!("paths = [{root:?}]\nroot = {root:?}\ncollection = \"handbook\"\n{more}");
    let path = home.write("ingest.d/handbook.toml", text);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_corpus_is_kept_fresh_by_its_file_alone() {
    let home = Home::new();
    home.write("handbook/otters.md", "# Otters\n\nAn otter holds hands.\n");
    home.write("handbook/badgers.md", "# Badgers\n\nA badger digs.\n");
    let file = corpus(
        &home,
        "prune = true\nbatch = 8\nmetadata = { team = \"zoo\" }\n",
    );
    let run = || {
        home.alfred(&["ingest", "--corpus", &file, "--json"])
            .expect(0)
            .json()
    };
    assert_eq!(run()["created"], 2);
    let summary = run();
    assert_eq!(
        (&summary["unchanged"], &summary["deleted"]),
        (&2.into(), &0.into())
    );
    std::fs::remove_file(home.path().join("handbook/badgers.md")).unwrap();
    home.write(
        "handbook/otters.md",
        "# Otters\n\nAn otter eats sea urchins.\n",
    );
    let summary = run();
    assert_eq!(
        (&summary["replaced"], &summary["deleted"]),
        (&1.into(), &1.into())
    );
    let batch = [
        "ingest",
        "--corpus",
        &file,
        "--batch",
        "4",
        "--dry-run",
        "--json",
    ];
    assert_eq!(home.alfred(&batch).expect(0).json()["unchanged"], 1);

    let ask = ["query", "sea urchins", "--collection", "handbook", "--json"];
    let answer = home.alfred(&ask).expect(0).json();
    let citation = &answer["citations"][0];
    assert_eq!(
        citation["source"], "otters.md",
        "relative to the file's root"
    );
    assert_eq!(citation["metadata"]["team"], "zoo");
}

#[test]
fn what_is_wrong_with_a_corpus_is_exit_78_and_named() {
    let home = Home::new();
    home.write("handbook/otters.md", "# Otters\n");
    let file = corpus(&home, "purne = true\n");
    let done = home.alfred(&["ingest", "--corpus", &file]).expect(78);
    for part in [&*file, "`purne`", "hint: did you mean `prune`?"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    let file = corpus(&home, "batch = 0\n");
    let done = home.alfred(&["ingest", "--corpus", &file]).expect(78);
    assert!(
        done.stderr.contains("`batch` has to be 1 to 10000"),
        "{}",
        done.stderr
    );
    let done = home
        .alfred(&["ingest", "--corpus", "missing.toml"])
        .expect(2);
    assert!(done.stderr.contains("missing.toml"), "{}", done.stderr);
}

/// With `--prune` a mixture of both could delete what neither covers alone.
#[test]
fn flags_that_the_file_decides_are_refused_beside_it() {
    let home = Home::new();
    home.write("handbook/otters.md", "# Otters\n");
    let file = corpus(&home, "");
    for flags in [
        &["other.md"][..],
        &["--root", "."],
        &["--collection", "default"],
        &["--prune"],
        &["--metadata", "a=b"],
    ] {
        let done = home.alfred(&[&["ingest", "--corpus", &file], flags].concat());
        assert_eq!(done.code, 2, "{flags:?}: {}", done.stderr);
        assert!(done.stderr.contains("--corpus"), "{}", done.stderr);
    }
}
