//! The daemon and the command line over a real PostgreSQL.

use crate::postgres_server::Server;
use crate::support::{Daemon, Home, eventually};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// `alfred` over the database.
fn command(home: &Home, server: &Server, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command.env("POSTGRES_DSN", server.dsn().reveal());
    command
}

fn run(home: &Home, server: &Server, arguments: &[&str]) -> crate::support::Done {
    crate::support::finish(command(home, server, arguments).spawn().unwrap())
}

fn serve(home: &Home, server: &Server) -> Daemon {
    Daemon::start(command(home, server, &["serve", "--listen", "127.0.0.1:0"]))
}

fn is_ready(daemon: &Daemon) -> bool {
    daemon.request("GET", "/readyz", None).0 == 200
}

#[test]
fn documents_live_in_postgres_from_ingest_to_answer() {
    let (home, server) = (Home::new(), Server::new());
    home.write(
        "docs/otters.md",
        "# Otters\n\nAn otter holds hands while it sleeps.\n",
    );
    home.write(
        "docs/bees.md",
        "# Bees\n\nA bee dances to tell where the flowers are.\n",
    );
    let done = run(&home, &server, &["ingest", "docs", "--json"]).expect(0);
    assert_eq!(done.json()["created"], 2);
    let asked = run(&home, &server, &["query", "What do otters do?", "--json"]).expect(0);
    assert_eq!(asked.json()["citations"][0]["source"], "docs/otters.md");

    let daemon = serve(&home, &server);
    let reply = daemon.ask(&json!({"query": "How do bees tell of flowers?", "top_k": 1}));
    assert_eq!(reply["citations"][0]["source"], "docs/bees.md");
    let more = json!({"source": "ants.md", "content": "# Ants\n\nAnts farm mushrooms."});
    let (status, reply) = daemon.request("POST", "/v1/documents", Some(&more));
    assert_eq!(
        (status, &reply["documents"][0]["status"]),
        (200, &json!("created"))
    );
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert_eq!(status["store"]["kind"], "postgres");
    assert_eq!(status["counts"]["documents"], 3);
    assert_eq!(status["pool"]["max"], 10);

    // Commands find the daemon of this database.
    std::fs::remove_file(home.path().join("docs/bees.md")).unwrap();
    let done = run(&home, &server, &["ingest", "docs", "--prune", "--json"]).expect(0);
    assert_eq!(
        (&done.json()["deleted"], &done.json()["unchanged"]),
        (&json!(1), &json!(1))
    );

    let info = run(&home, &server, &["store", "info", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&info["documents"], &info["model"]),
        (&json!(2), &json!("all-MiniLM-L6-v2"))
    );
    assert!(
        info["database"]["indexes"].as_array().unwrap().len() >= 5,
        "{info}"
    );
    run(&home, &server, &["store", "check"]).expect(0);
    let shown = run(&home, &server, &["store", "migrate", "--dry-run"]).expect(0);
    assert_eq!(shown.stdout.trim(), "-- nothing is pending");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_store_is_copied_into_postgres_and_back() {
    let (home, server) = (Home::new(), Server::new());
    for number in 0..30 {
        home.write(
            &format!("docs/{number}.md"),
            format!("# Note {number}\n\nThe number of this note is {number}.\n"),
        );
    }
    home.alfred(&["ingest", "docs"]).expect(0);
    let copied = run(
        &home,
        &server,
        &["store", "copy", "embedded", "postgres", "--json"],
    )
    .expect(0);
    assert_eq!(
        (&copied.json()["stored"], &copied.json()["chunks"]),
        (&json!(30), &json!(30))
    );
    let again = run(
        &home,
        &server,
        &["store", "copy", "embedded", "postgres", "--json"],
    )
    .expect(0);
    assert_eq!(
        (&again.json()["stored"], &again.json()["unchanged"]),
        (&json!(0), &json!(30))
    );
    let asked = run(
        &home,
        &server,
        &["query", "note 17", "--mode", "text", "--json"],
    )
    .expect(0);
    assert_eq!(asked.json()["citations"][0]["source"], "docs/17.md");
    // Nothing is embedded anew by an ingest of the same files.
    let done = run(&home, &server, &["ingest", "docs", "--json"]).expect(0);
    assert_eq!(done.json()["unchanged"], 30);

    let other = Home::new();
    let back = run(
        &other,
        &server,
        &["store", "copy", "postgres", "embedded", "--json"],
    )
    .expect(0);
    assert_eq!(back.json()["stored"], 30);
    let asked = other
        .alfred(&["query", "note 17", "--json", "--top-k", "1"])
        .expect(0);
    assert_eq!(asked.json()["citations"][0]["source"], "docs/17.md");
    run(&home, &server, &["store", "copy", "postgres", "postgres"]).expect(2);
}

#[test]
fn a_dry_run_prints_sql_and_changes_nothing() {
    let (home, server) = (Home::new(), Server::new());
    let shown = run(&home, &server, &["store", "migrate", "--dry-run"]).expect(0);
    assert!(
        shown.stdout.contains("CREATE TABLE documents"),
        "{}",
        shown.stdout
    );
    assert_eq!(
        server.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        ["0"]
    );
    let done = run(&home, &server, &["store", "migrate"]).expect(0);
    assert!(
        done.stdout.contains("migrations applied"),
        "{}",
        done.stdout
    );
    let done = run(&home, &server, &["store", "migrate"]).expect(0);
    assert!(done.stdout.contains("up to date"), "{}", done.stdout);
}

#[test]
fn a_daemon_starts_before_its_database_and_outlives_it() {
    let (home, mut server) = (Home::new(), Server::new());
    home.write(
        "docs/otters.md",
        "# Otters\n\nAn otter holds hands while it sleeps.\n",
    );
    run(&home, &server, &["ingest", "docs"]).expect(0);
    server.stop();
    let daemon = serve(&home, &server);
    let (status, problem) = daemon.request("GET", "/readyz", None);
    assert_eq!(status, 503);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("store: the database"),
        "{problem}"
    );
    let question = json!({"query": "What do otters do?"});
    let (status, problem) = daemon.request("POST", "/v1/query", Some(&question));
    assert_eq!((status, &problem["kind"]), (503, &json!("search_error")));
    let (status, body) = daemon.request("GET", "/v1/status", None);
    assert_eq!((status, &body["ready"]), (200, &json!(false)));
    server.start();
    eventually(Duration::from_secs(5), || is_ready(&daemon).then_some(()));
    assert_eq!(
        daemon.ask(&question)["citations"][0]["source"],
        "docs/otters.md"
    );

    for _ in 0..3 {
        server.restart();
        let back = || {
            let (status, _) = daemon.request("POST", "/v1/query", Some(&question));
            (status == 200).then_some(())
        };
        eventually(Duration::from_secs(2), back);
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_password_is_in_no_output() {
    let home = Home::new();
    let mut asked = home.command(&["store", "info"]);
    asked.env(
        "POSTGRES_DSN",
        "postgresql://alfred:s3cret@127.0.0.1:1/alfred",
    );
    let done = crate::support::finish(asked.spawn().unwrap()).expect(1);
    assert!(
        done.stderr
            .contains("postgresql://alfred@127.0.0.1:1/alfred"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("s3cret"));
    let mut asked = home.command(&["config", "show"]);
    asked.env(
        "POSTGRES_DSN",
        "postgresql://alfred:s3cret@127.0.0.1:1/alfred",
    );
    let shown = crate::support::finish(asked.spawn().unwrap()).expect(0);
    assert!(
        shown.stdout.contains("environment POSTGRES_DSN"),
        "{}",
        shown.stdout
    );
    assert!(!shown.stdout.contains("s3cret"));
    let mut asked = home.command(&["store", "info"]);
    asked.env(
        "POSTGRES_DSN",
        "postgresql://alfred:s3cret@localhost/db?sslmode=maybe",
    );
    let done = crate::support::finish(asked.spawn().unwrap());
    assert!(
        done.code != 0 && done.stderr.contains("sslmode"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("s3cret"));
}

#[test]
fn a_store_of_another_model_is_named_with_both() {
    let (home, server) = (Home::new(), Server::new());
    run(&home, &server, &["store", "migrate"]).expect(0);
    server.execute(
        "INSERT INTO alfred_settings (key, value) VALUES ('model', 'other'), ('dimensions', '8')",
    );
    let mut asked = command(&home, &server, &["query", "anything"]);
    asked.env("ALFRED__EMBEDDING__KIND", "local");
    asked.env("ALFRED__EMBEDDING__MODEL", "all-MiniLM-L6-v2");
    let done = crate::support::finish(asked.spawn().unwrap()).expect(1);
    assert!(
        done.stderr.contains("other (8 dimensions)") && done.stderr.contains("reembed"),
        "{}",
        done.stderr
    );
}
