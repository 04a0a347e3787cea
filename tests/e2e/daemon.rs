//! The real daemon on the real model and store: documents in, questions, documents out.

use crate::support::{Home, PATIENCE, eventually};
use serde_json::{Value, json};

fn put(source: &str, content: &str) -> Value {
    json!({"source": source, "content": content})
}

#[test]
fn a_document_lives_and_goes_over_http() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let first = put(
        "notes/otters.md",
        "# Otters\n\nAn otter holds hands while it sleeps.\n",
    );
    let (status, reply) = daemon.request("POST", "/v1/documents", Some(&first));
    assert_eq!(
        (status, &reply["documents"][0]["status"]),
        (200, &json!("created")),
        "{reply}"
    );
    let id = reply["documents"][0]["id"].as_str().unwrap().to_owned();
    let (_, reply) = daemon.request("POST", "/v1/documents", Some(&first));
    assert_eq!(reply["documents"][0]["status"], "unchanged");

    let reply = daemon.ask(&json!({"query": "What do otters do when they sleep?"}));
    let citation = &reply["citations"][0];
    assert_eq!(
        (&citation["document_id"], &citation["title"]),
        (&json!(id), &json!("Otters"))
    );
    assert!(
        reply["answer"]
            .as_str()
            .unwrap()
            .contains("holds hands while it sleeps. [^1]")
    );
    assert_eq!(reply["usage"]["embedding_cached"], false);
    let again = daemon.ask(&json!({"query": "  What do otters do\twhen they sleep? "}));
    assert_eq!(again["usage"]["embedding_cached"], true);

    let second = put(
        "notes/otters.md",
        "# Otters\n\nAn otter eats sea urchins.\n",
    );
    let (_, reply) = daemon.request("POST", "/v1/documents", Some(&second));
    assert_eq!(
        (
            &reply["documents"][0]["status"],
            &reply["documents"][0]["id"]
        ),
        (&json!("replaced"), &json!(id))
    );
    let reply = daemon.ask(&json!({"query": "otter", "mode": "text"}));
    assert!(
        reply["citations"][0]["excerpt"]
            .as_str()
            .unwrap()
            .contains("sea urchins")
    );
    assert_eq!(reply["citations"].as_array().unwrap().len(), 1);

    let (status, _) = daemon.request("DELETE", &format!("/v1/documents/{id}"), None);
    assert!((200..300).contains(&status));
    let (status, problem) = daemon.request("GET", &format!("/v1/documents/{id}"), None);
    assert_eq!((status, &problem["status"]), (404, &json!(404)));
    assert_eq!(
        daemon.ask(&json!({"query": "otter"}))["citations"],
        json!([])
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn each_document_of_a_batch_stands_alone() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let batch = json!([
        put("good.md", "A good one."),
        {"source": "bad.md", "content": 7},
        {"source": "odd.md", "content": "x", "colour": "red"},
        put("", "no source"),
        put("blank.md", "   "),
    ]);
    let (status, reply) = daemon.request("POST", "/v1/documents", Some(&batch));
    let statuses: Vec<&str> = reply["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(status, 200, "{reply}");
    assert_eq!(
        statuses,
        ["created", "refused", "refused", "refused", "refused"]
    );
    assert!(
        reply["documents"][2]["detail"]
            .as_str()
            .unwrap()
            .contains("colour"),
        "{reply}"
    );
}

#[test]
fn questions_out_of_bounds_are_refused_and_cost_nobody_else_anything() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    daemon.request(
        "POST",
        "/v1/documents",
        Some(&put("a.md", "שלום עולם means hello world.")),
    );
    for (body, status, field) in [
        (json!({}), 422, "query"),
        (json!({"query": ""}), 422, "query"),
        (json!({"query": "   "}), 422, "query"),
        (json!({"query": 7}), 422, "query"),
        (json!({"query": "x".repeat(8_193)}), 422, "query"),
        (json!({"query": "a\0b"}), 422, "query"),
        (json!({"query": "x", "top_k": 0}), 422, "top_k"),
        (json!({"query": "x", "top_k": -1}), 422, "top_k"),
        (json!({"query": "x", "top_k": 101}), 422, "top_k"),
        (json!({"query": "x", "top_k": "3"}), 422, "top_k"),
        (json!({"query": "x", "topk": 3}), 422, "topk"),
        (json!({"query": "x", "mode": "psychic"}), 422, "mode"),
        (
            json!({"query": "x", "filter": {"source": "a["}}),
            422,
            "filter",
        ),
        (
            json!({"query": "x", "collection": "nowhere"}),
            404,
            "nowhere",
        ),
        (json!({"query": "x", "answer": "generated"}), 422, "answer"),
    ] {
        let (got, problem) = daemon.request("POST", "/v1/query", Some(&body));
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{body}: {problem}");
        assert!(detail.contains(field), "{field} in {detail}");
        assert!(
            problem["request_id"].is_string() && problem["kind"].is_string(),
            "{problem}"
        );
    }
    let (_, problem) = daemon.request(
        "POST",
        "/v1/query",
        Some(&json!({"query": "x", "collection": "no"})),
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("default"),
        "{problem}"
    );
    let reply = daemon.ask(&json!({"query": "שלום", "top_k": 1}));
    assert_eq!(reply["citations"][0]["source"], "a.md");
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"), "{status}");
}

#[test]
fn local_commands_go_through_the_daemon() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.write("docs/pdf-like.md", "# Page one\n\nThe first page.\n");
    let summary = home.alfred(&["ingest", "docs", "--json"]).expect(0).json();
    assert_eq!(summary["created"], 1, "{summary}");
    assert_eq!(
        daemon.ask(&json!({"query": "first page"}))["citations"][0]["title"],
        "Page one"
    );
    let reply = home
        .alfred(&["query", "first page", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        reply["usage"]["embedding_cached"], true,
        "the daemon was asked: {reply}"
    );
    std::fs::remove_file(home.path().join("docs/pdf-like.md")).unwrap();
    let summary = home
        .alfred(&["ingest", "docs", "--prune", "--allow-empty", "--json"])
        .expect(0)
        .json();
    assert_eq!(summary["deleted"], 1, "{summary}");
    let status = home.alfred(&["status", "--json"]).expect(0).json();
    assert_eq!(status["store"]["documents"], 0, "{status}");
    assert_eq!(daemon.stop(), 0);
    let done = home.alfred(&["status"]).expect(1);
    assert!(
        done.stderr.contains("hint: start it with `alfred serve`"),
        "{done:?}"
    );
}

#[test]
fn an_emptied_file_is_cleared_through_the_daemon_as_without_it() {
    let home = Home::new();
    let mut told = Vec::new();
    for daemon in [None, Some(home.serve(&["--store", "served"]))] {
        let store = if daemon.is_some() { "served" } else { "alone" };
        let ingest = || {
            let done = home.alfred(&["ingest", "docs", "--store", store, "--json"]);
            let mut summary = done.expect(0).json();
            summary["seconds"] = Value::Null;
            summary
        };
        home.write("docs/note.txt", "Percentiles count from the due time.");
        home.write("docs/blank.md", " \n");
        let first = ingest();
        home.write("docs/note.txt", "");
        let emptied = ingest();
        let again = ingest();
        let query = ["query", "percentiles", "--mode", "text", "--store", store];
        let found = home.alfred(&[&query[..], &["--json"]].concat());
        let citations = found.expect(0).json()["citations"].clone();
        assert_eq!(emptied["replaced"], 1, "{emptied}");
        told.push((first, emptied, again, citations));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0["empty"], 1, "{:?}", told[0].0);
    assert_eq!(told[0].2["unchanged"], 1, "{:?}", told[0].2);
    assert_eq!(told[0].3, json!([]));
}

#[test]
fn a_file_that_the_daemon_refuses_costs_a_line_and_not_the_run() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.write("docs/binary.md", b"\x7fELF\x00\x00\x01");
    let done = home.alfred(&["ingest", "docs", "--json"]).expect(1);
    assert_eq!(done.json()["failed"], 1, "{done:?}");
    assert!(done.stderr.contains("error: docs/binary.md: "), "{done:?}");
}

#[test]
fn a_store_that_is_deleted_under_the_daemon_takes_no_more_writes() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let write = |name: &str| daemon.request("POST", "/v1/documents", Some(&put(name, "Text.")));
    assert_eq!(write("a.md").0, 200);
    assert_eq!(daemon.request("GET", "/readyz", None).0, 200);
    let (store, away) = (home.path().join("store"), home.path().join("away"));
    std::fs::rename(&store, &away).unwrap();
    let (status, problem) = write("b.md");
    assert_eq!((status, &problem["kind"]), (503, &json!("search_error")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("deleted or replaced"), "{problem}");
    let (status, problem) = daemon.request("GET", "/readyz", None);
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == 503 && detail.contains("store: "), "{problem}");
    // Another file at the same path is not the store either.
    std::fs::create_dir(&store).unwrap();
    std::fs::copy(away.join("alfred.db"), store.join("alfred.db")).unwrap();
    assert_eq!(write("c.md").0, 503);
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    assert_eq!(write("d.md").0, 200);
    assert_eq!(daemon.request("GET", "/readyz", None).0, 200);
}

#[test]
fn a_socket_that_was_asked_for_goes_with_the_daemon() {
    let home = Home::new();
    let socket = home.path().join("asked.sock");
    let listen = format!("unix:{}", socket.display());
    let daemon = home.serve(&["--listen", &listen]);
    assert!(socket.exists());
    assert_eq!(daemon.stop(), 0);
    assert!(!socket.exists());
    assert!(!home.path().join("store/alfred.sock").exists());
    home.write("asked.sock", "a note");
    let done = home.alfred(&["serve", "--listen", &listen]).expect(1);
    let problem = "there is a regular file already, and no socket";
    assert!(done.stderr.contains(problem), "{done:?}");
    assert!(done.stderr.contains("\nhint: move "), "{done:?}");
}

#[test]
fn backup_while_serving_and_restore() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    daemon.request(
        "POST",
        "/v1/documents",
        Some(&put("kept.md", "This was kept in the backup.")),
    );
    home.alfred(&["store", "backup", "copy.db"]).expect(0);
    daemon.request(
        "POST",
        "/v1/documents",
        Some(&put("late.md", "This came after the backup.")),
    );
    // Over the store itself, or over what is no file: something would be destroyed.
    std::os::unix::fs::symlink("copy.db", home.path().join("link.db")).unwrap();
    for target in [
        "store/alfred.db",
        "store/../store/alfred.db-wal",
        "link.db",
        "/dev/null",
    ] {
        let refused = home.alfred(&["store", "backup", target, "--force"]);
        assert!(refused.expect(1).stderr.contains("hint: "), "{target}");
    }
    let refused = home
        .alfred(&["store", "restore", "copy.db", "--force"])
        .expect(1);
    assert!(
        refused.stderr.contains("hint: stop the daemon"),
        "{refused:?}"
    );
    let lost = home
        .alfred(&["query", "x", "--collection", "lost"])
        .expect(1);
    let hint = "hint: list them with `alfred store info`";
    assert!(lost.stderr.contains(hint), "{lost:?}");
    let info = home.alfred(&["store", "info"]).expect(0).stdout;
    assert!(info.contains("\ncollection default: 2 documents"), "{info}");
    assert_eq!(daemon.stop(), 0);
    home.alfred(&["store", "restore", "copy.db", "--force"])
        .expect(0);
    home.alfred(&["store", "check"]).expect(0);
    let daemon = home.serve(&[]);
    let (_, listed) = daemon.request("GET", "/v1/documents", None);
    let sources: Vec<&Value> = listed["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["source"])
        .collect();
    assert_eq!(sources, [&json!("kept.md")]);
}

#[test]
fn a_store_of_another_model_is_refused_with_both_names() {
    let home = Home::new();
    home.write("doc.md", "text");
    home.alfred(&["ingest", "doc.md"]).expect(0);
    // As another model would have left it.
    let store = rusqlite::Connection::open(home.path().join("store/alfred.db")).unwrap();
    store
        .execute(
            "UPDATE meta SET value = 'other-model' WHERE key = 'model'",
            [],
        )
        .unwrap();
    drop(store);
    let mut command = home.command(&["ingest", "doc.md"]);
    command.env("ALFRED__EMBEDDING__MODEL", "all-MiniLM-L6-v2");
    let done = crate::support::finish(command.spawn().unwrap()).expect(1);
    for name in ["other-model", "all-MiniLM-L6-v2", "hint: "] {
        assert!(done.stderr.contains(name), "{name} in {}", done.stderr);
    }
}

#[test]
fn a_stop_finishes_what_runs() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let text = "A sentence to embed that is long enough to take a while. ".repeat(400);
    let body = put("long.md", &text);
    let pid = rustix::process::Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    let reply = std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.request("POST", "/v1/documents", Some(&body)));
        eventually(PATIENCE, || {
            let (_, status) = daemon.request("GET", "/v1/status", None);
            (status["http"]["writes_running"] == 1).then_some(())
        });
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        running.join().unwrap()
    });
    assert_eq!(reply.0, 200, "{reply:?}");
    assert_eq!(reply.1["documents"][0]["status"], "created");
    assert_eq!(daemon.stop(), 0);
}
