//! A disk that fills while documents are put in: a clear error, and a store that is whole.

use crate::support::{Home, finish};
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
    // A mount namespace of its own: nothing is left behind, whatever happens.
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
    let done = finish(command.spawn().unwrap());
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
