//! Mistakes of the person at the keyboard: the contract's exit code, what failed, and a hint.

use crate::support::{Done, Home};
use std::os::unix::fs::PermissionsExt as _;

#[track_caller]
fn explains(done: &Done, code: i32, what: &str, hint: &str) {
    assert_eq!(done.code, code, "{}", done.stderr);
    assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
    assert!(done.stderr.contains(what), "{what:?} in {}", done.stderr);
    assert!(done.stderr.contains("\nhint: "), "{}", done.stderr);
    assert!(done.stderr.contains(hint), "{hint:?} in {}", done.stderr);
}

#[test]
fn usage_is_exit_2_with_a_hint() {
    let home = Home::new();
    explains(
        &home.alfred(&["sreve"]),
        2,
        "unrecognized subcommand 'sreve'",
        "serve",
    );
    explains(&home.alfred(&[]), 2, "subcommand", "--help");
    explains(
        &home.alfred(&["ingest", "missing.md"]),
        2,
        "missing.md",
        "--root",
    );
    explains(
        &home.alfred(&["ingest", "gs://bucket/docs"]),
        2,
        "gs://bucket/docs",
        "",
    );
    for top_k in ["0", "-1", "101", "three"] {
        let done = home.alfred(&["query", "x", "--top-k", top_k]);
        assert_eq!(done.code, 2, "{top_k}: {}", done.stderr);
    }
    explains(
        &home.alfred(&["query", "x"]),
        1,
        "there is no store in",
        "alfred ingest",
    );
    explains(&home.alfred(&["ingest", ""]), 2, "empty argument", "");
    let root = ["ingest", "x.md", "--root", "/nope"];
    explains(&home.alfred(&root), 2, "the root /nope", "--root");
    let batch = ["ingest", "x.md", "--batch", "0"];
    explains(&home.alfred(&batch), 2, "--batch", "--help");
    let listen = ["serve", "--check", "--listen", "nowhere"];
    explains(&home.alfred(&listen), 2, "--listen", "127.0.0.1:8080");
    let top_k = ["query", "x", "--top-k", "0"];
    explains(&home.alfred(&top_k), 2, "`top_k`", "--top-k");
    explains(&home.alfred(&["query", ""]), 2, "`query`", "alfred query '");
    let filter = ["query", "x", "--filter", "y"];
    explains(&home.alfred(&filter), 2, "`filter`", "KEY=VALUE");
    let config = ["query", "x", "--config", "/none"];
    explains(&home.alfred(&config), 78, "/none", "without --config");
    let pull = ["model", "pull", "other", "--dir", "models"];
    explains(&home.alfred(&pull), 1, "all-MiniLM-L6-v2", "--from PATH");
    let restore = ["store", "restore", "/nope"];
    explains(&home.alfred(&restore), 1, "/nope", "`alfred store backup`");
    assert!(!home.path().join("store").exists(), "nothing was made");
    let done = home.alfred(&["query", "   "]);
    assert!(
        done.code == 2 && done.stderr.contains("`query` must be 1 to 8192"),
        "{done:?}"
    );
}

#[test]
fn configuration_is_exit_78_and_names_the_key_and_file() {
    let home = Home::new();
    let file = home.write("alfred.toml", "[server]\nmax_inflight = 3\n");
    let done = home.alfred(&["serve", "--check"]);
    explains(
        &done,
        78,
        "unknown key `server.max_inflight` in ./alfred.toml",
        "max_in_flight",
    );
    std::fs::write(&file, "[server]\nlisten = [\"0.0.0.0:80\"]\n").unwrap();
    explains(
        &home.alfred(&["serve", "--check"]),
        78,
        "open to others",
        "allow_anonymous",
    );
    explains(
        &home.alfred(&["config", "check"]),
        78,
        "open to others",
        "allow_anonymous",
    );
    std::fs::write(&file, "[server]\nlisten = [\"nowhere\"]\n").unwrap();
    let done = home.alfred(&["serve", "--check"]);
    assert!(
        done.code == 78 && done.stderr.contains("nowhere"),
        "{done:?}"
    );
    std::fs::write(&file, "[log]\nlevel = \"debug\"\n").unwrap();
    home.alfred(&["serve", "--check"]).expect(0);
    home.alfred(&["config", "check"]).expect(0);
    let shown = home.alfred(&["config", "show"]).expect(0).stdout;
    let line = shown
        .lines()
        .find(|line| line.starts_with("log.level"))
        .unwrap();
    assert!(
        line.contains("\"debug\"") && line.ends_with("# ./alfred.toml"),
        "{line}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = home.alfred(&["serve", "--listen", &address]);
    explains(
        &done,
        1,
        &format!("cannot listen on {address}"),
        "another process has the port",
    );
}

#[test]
fn a_missing_model_is_named_with_the_command_that_fixes_it() {
    let home = Home::new();
    home.write("doc.md", "text");
    let mut command = home.command(&["ingest", "doc.md"]);
    command.env("ALFRED__EMBEDDING__MODELS_DIR", home.path().join("none"));
    let done = crate::support::finish(command.spawn().unwrap());
    explains(&done, 1, "all-MiniLM-L6-v2", "alfred model pull");
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named() {
    let home = Home::new();
    let file = home.write("store", "a file where a folder should be");
    explains(&home.alfred(&["store", "info"]), 1, "store", "");
    std::fs::remove_file(file).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere: what is left is a file system that refuses.
        let mut command = home.command(&["store", "info"]);
        command.env("ALFRED__STORE__PATH", "/proc/alfred");
        let done = crate::support::finish(command.spawn().unwrap());
        explains(&done, 1, "/proc/alfred", "");
    } else {
        let sealed = home.path().join("sealed");
        std::fs::create_dir(&sealed).unwrap();
        std::fs::set_permissions(&sealed, std::fs::Permissions::from_mode(0o500)).unwrap();
        let mut command = home.command(&["store", "info"]);
        command.env("ALFRED__STORE__PATH", sealed.join("store"));
        let done = crate::support::finish(command.spawn().unwrap());
        explains(&done, 1, "sealed", "");
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let home = Home::new();
    let help = home.alfred(&["--help"]).expect(0).stdout;
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    for wanted in [
        "serve", "ingest", "query", "soak", "report", "runs", "config", "model", "status", "store",
    ] {
        assert!(verbs.contains(&wanted), "{wanted} in {verbs:?}");
    }
    for verb in verbs {
        let help = home.alfred(&[verb, "--help"]).expect(0).stdout;
        assert!(
            help.contains("Example") && help.contains("--config"),
            "{verb}: {help}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{verb}: {help}"
        );
    }
}
