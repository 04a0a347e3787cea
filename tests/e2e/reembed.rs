//! `alfred store reembed`: a store with vectors of another model, whatever happens meanwhile.

use crate::postgres_server::Server;
use crate::provider::Standin;
use crate::support::{Daemon, Done, Home, PATIENCE, eventually, finish};
use serde_json::{Value, json};
use std::process::Command;

/// More than two of the pages that are stored together.
const DOCUMENTS: u64 = 1_400;
/// Chunks of such a page.
const PAGE: u64 = 512;
const OLD: &str = "all-MiniLM-L6-v2 (384 dimensions)";
const NEW: &str = "text-embedding-3-small (256 dimensions)";

/// `alfred` with the new model.
fn anew(standin: &Standin, home: &Home, arguments: &[&str]) -> Command {
    let mut command = standin.alfred(home, arguments);
    command
        .env("ALFRED__EMBEDDING__KIND", "openai")
        .env("ALFRED__EMBEDDING__MODEL", "text-embedding-3-small")
        .env("ALFRED__EMBEDDING__DIMENSIONS", "256")
        .env("ALFRED__EMBEDDING__BATCH_MAX", "64");
    command
}

/// `alfred` with the old model, said by name.
fn of_old(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command
        .env("ALFRED__EMBEDDING__KIND", "local")
        .env("ALFRED__EMBEDDING__MODEL", "all-MiniLM-L6-v2");
    command
}

fn over(server: &Server, mut command: Command) -> Command {
    command.env("POSTGRES_DSN", server.dsn().reveal());
    command
}

fn run(mut command: Command) -> Done {
    finish(command.spawn().unwrap())
}

fn inputs(standin: &Standin) -> u64 {
    standin.control(&Value::Null)["inputs"].as_u64().unwrap()
}

/// Documents on disk and, with the local model, in the embedded store.
fn filled(documents: u64) -> Home {
    let home = Home::new();
    for number in 0..documents {
        home.write(&format!("docs/{number:04}.md"), format!("Note {number}."));
    }
    run(of_old(&home, &["ingest", "docs"])).expect(0);
    home
}

/// Starts to embed anew and kills it when one page of two that are stored at a time is for sure.
fn cut_off(standin: &Standin, mut command: Command) {
    standin.control(&json!({"reset": true, "latency_ms": 200}));
    let mut child = command.spawn().unwrap();
    eventually(PATIENCE, || (inputs(standin) > 2 * PAGE).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn question(number: u64) -> Vec<String> {
    let question = format!("Note {number}.");
    let arguments = ["query", &question, "--mode", "vector", "--json"];
    arguments.map(str::to_owned).to_vec()
}

/// What is true of a store that was embedded anew, with `documents` in it. `place` makes a command
/// one over that store.
fn check(standin: &Standin, home: &Home, place: &dyn Fn(Command) -> Command, documents: u64) {
    let info = run(place(home.command(&["store", "info", "--json"])))
        .expect(0)
        .json();
    assert_eq!(
        (&info["model"], &info["dimensions"]),
        (&json!("text-embedding-3-small"), &json!(256))
    );
    assert_eq!(
        (&info["documents"], &info["chunks"]),
        (&json!(documents), &json!(documents))
    );
    run(place(home.command(&["store", "check"]))).expect(0);
    for number in [17, documents - 50] {
        let asked = question(number);
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let found = run(place(anew(standin, home, &asked))).expect(0).json();
        let source = format!("docs/{number:04}.md");
        assert_eq!(found["citations"][0]["source"], source.as_str(), "{found}");
    }
    let refused = run(place(of_old(home, &["query", "note"])))
        .expect(1)
        .stderr;
    assert!(refused.contains(OLD) && refused.contains(NEW), "{refused}");
    let again = run(place(anew(standin, home, &["store", "reembed"]))).expect(0);
    assert!(again.stdout.contains("already"), "{}", again.stdout);
}

/// What was written and deleted meanwhile is as it should be.
fn check_words(standin: &Standin, home: &Home, place: &dyn Fn(Command) -> Command) {
    for (word, found) in [("otter", 1), ("bee", 1), ("3", 0)] {
        let asked = ["query", word, "--mode", "text", "--json"];
        let asked = run(place(anew(standin, home, &asked))).expect(0);
        let citations = asked.json()["citations"].as_array().unwrap().len();
        assert_eq!(citations, found, "{word}: {}", asked.stdout);
    }
}

#[test]
fn the_embedded_store_is_embedded_anew_and_goes_on_after_a_kill() {
    let standin = Standin::start(&[]);
    let home = filled(DOCUMENTS);
    cut_off(&standin, anew(&standin, &home, &["store", "reembed"]));
    let info = home.alfred(&["store", "info", "--json"]).expect(0).json();
    assert_eq!(info["model"], "all-MiniLM-L6-v2");

    // Of what was taken over, one is deleted and one is changed; one is new.
    std::fs::remove_file(home.path().join("docs/0003.md")).unwrap();
    home.write("docs/0005.md", "An otter holds hands.");
    home.write("docs/9999.md", "A bee dances.");
    run(of_old(&home, &["ingest", "docs", "--prune"])).expect(0);

    standin.control(&json!({"reset": true}));
    let done = run(anew(&standin, &home, &["store", "reembed", "--json"])).expect(0);
    let report = done.json();
    assert_eq!(report["refused"], json!([]));
    let asked = inputs(&standin);
    assert!(asked <= DOCUMENTS - PAGE + 2, "{asked} texts were sent");
    assert_eq!(report["stored"], asked);
    assert!(!home.path().join("store/reembed").exists());
    check(&standin, &home, &|command| command, DOCUMENTS);
    check_words(&standin, &home, &|command| command);

    // The files are what they were: nothing is paid for twice.
    standin.control(&json!({"reset": true}));
    let ingested = run(anew(&standin, &home, &["ingest", "docs", "--json"])).expect(0);
    assert_eq!(ingested.json()["unchanged"], DOCUMENTS);
    assert_eq!(inputs(&standin), 0);
}

#[test]
fn the_embedded_store_is_swapped_when_no_daemon_has_it() {
    let (standin, home) = (Standin::start(&[]), filled(3));
    let daemon = home.serve(&[]);
    let refused = run(anew(&standin, &home, &["store", "reembed"])).expect(1);
    assert!(
        refused.stderr.contains("stop the daemon"),
        "{}",
        refused.stderr
    );
    daemon.ask(&json!({"query": "note"}));
    assert_eq!(daemon.stop(), 0);
    run(anew(&standin, &home, &["store", "reembed"])).expect(0);
    assert_eq!(inputs(&standin), 3);
    let info = home.alfred(&["store", "info", "--json"]).expect(0).json();
    assert_eq!(info["model"], "text-embedding-3-small");
}

/// Writes, replaces and deletes through `daemon`.
fn write_meanwhile(daemon: &Daemon) {
    let documents = json!([
        {"source": "docs/0005.md", "content": "An otter holds hands."},
        {"source": "docs/9999.md", "content": "A bee dances."},
    ]);
    let (status, reply) = daemon.request("POST", "/v1/documents", Some(&documents));
    assert_eq!(status, 200, "{reply}");
    let (_, listed) = daemon.request("GET", "/v1/documents?source=docs/0003.md", None);
    let id = listed["documents"][0]["id"].as_str().unwrap();
    let (status, reply) = daemon.request("DELETE", &format!("/v1/documents/{id}"), None);
    assert!(status < 300, "{status} {reply}");
}

/// Waits until `daemon` says that the store has `stored` and not its own model.
fn is_left_behind(daemon: &Daemon, stored: &str, own: &str) {
    let detail = eventually(PATIENCE, || {
        let (status, problem) = daemon.request("GET", "/readyz", None);
        (status == 503).then(|| problem["detail"].as_str().unwrap().to_owned())
    });
    assert!(
        detail.contains(stored) && detail.contains(own),
        "{detail}, not {stored} and {own}"
    );
}

#[test]
fn a_database_is_embedded_anew_while_it_is_served_and_written() {
    let (standin, server) = (Standin::start(&[]), Server::new());
    let home = filled(DOCUMENTS);
    let place = |command| over(&server, command);
    run(place(
        home.command(&["store", "copy", "embedded", "postgres"]),
    ))
    .expect(0);
    cut_off(
        &standin,
        place(anew(&standin, &home, &["store", "reembed"])),
    );

    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let daemon = Daemon::start(place(home.command(&serve)));
    standin.control(&json!({"reset": true, "latency_ms": 200}));
    let mut command = place(anew(&standin, &home, &["store", "reembed", "--json"]));
    let running = command.spawn().unwrap();
    eventually(PATIENCE, || (inputs(&standin) > 0).then_some(()));
    write_meanwhile(&daemon);
    let report = finish(running).expect(0).json();
    assert_eq!(report["refused"], json!([]));
    let asked = inputs(&standin);
    assert!(asked <= DOCUMENTS - PAGE + 2, "{asked} texts were sent");

    is_left_behind(&daemon, NEW, OLD);
    let (status, _) = daemon.request("POST", "/v1/query", Some(&json!({"query": "note"})));
    assert!(status >= 400, "{status}");
    assert_eq!(daemon.stop(), 0);

    check(&standin, &home, &place, DOCUMENTS);
    check_words(&standin, &home, &place);
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'alfred_next'";
    assert_eq!(server.execute(left), ["0"]);
    let daemon = Daemon::start(place(anew(&standin, &home, &serve)));
    eventually(PATIENCE, || {
        (daemon.request("GET", "/readyz", None).0 == 200).then_some(())
    });
    let reply = daemon.ask(&json!({"query": "Note 17.", "mode": "vector"}));
    assert_eq!(reply["citations"][0]["source"], "docs/0017.md");
}

#[test]
fn vectors_of_two_models_of_one_length_never_meet_in_a_database() {
    let (standin, server) = (Standin::start(&[]), Server::new());
    let home = filled(3);
    let place = |command| over(&server, command);
    run(place(
        home.command(&["store", "copy", "embedded", "postgres"]),
    ))
    .expect(0);
    run(place(anew(&standin, &home, &["store", "reembed"]))).expect(0);
    let daemon = Daemon::start(place(anew(
        &standin,
        &home,
        &["serve", "--listen", "127.0.0.1:0"],
    )));
    daemon.ask(&json!({"query": "note"}));

    let reembed = ["store", "reembed", "--model", "other"];
    run(place(anew(&standin, &home, &reembed))).expect(0);
    // At once, before anybody could have told the daemon.
    let document = json!({"source": "late.md", "content": "Too late."});
    let (status, problem) = daemon.request("POST", "/v1/documents", Some(&document));
    assert!(status >= 400, "{status} {problem}");
    is_left_behind(&daemon, "other (256 dimensions)", NEW);
}
