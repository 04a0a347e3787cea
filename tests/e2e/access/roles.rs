//! Each role against each route.

use super::{Ask, key, socket, to};
use crate::support::{Daemon, Home};
use serde_json::json;

const MISSING: &str = "/v1/documents/00000000-0000-0000-0000-000000000000";

/// Method, path, which body, and what each gets who shows: nothing, a wrong key, a key of the roles query,
/// write and admin, and an admin key that is bound to a collection.
const TABLE: &[(&str, &str, &str, [&str; 6])] = &[
    ("GET", "/healthz", "", ["yes"; 6]),
    ("GET", "/health", "", ["yes"; 6]),
    ("GET", "/livez", "", ["yes"; 6]),
    ("GET", "/readyz", "", ["yes"; 6]),
    (
        "GET",
        "/openapi.json",
        "",
        ["yes", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "POST",
        "/v1/query",
        "question",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "GET",
        "/v1/documents",
        "",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "GET",
        MISSING,
        "",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "GET",
        "/v1/collections",
        "",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "GET",
        "/v1/status",
        "",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "GET",
        "/no/such/path",
        "",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "PUT",
        "/v1/query",
        "",
        ["who?", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "POST",
        "/v1/documents",
        "document",
        ["who?", "who?", "no", "yes", "yes", "yes"],
    ),
    (
        "DELETE",
        MISSING,
        "",
        ["who?", "who?", "no", "yes", "yes", "yes"],
    ),
    (
        "DELETE",
        "/v1/collections/none",
        "",
        ["who?", "who?", "no", "no", "yes", "yes"],
    ),
    (
        "GET",
        "/metrics",
        "",
        ["who?", "who?", "yes", "yes", "yes", "no"],
    ),
    (
        "GET",
        "/v1/runs",
        "",
        ["who?", "who?", "yes", "yes", "yes", "no"],
    ),
    (
        "GET",
        "/v1/runs/none/report.html",
        "",
        ["who?", "who?", "yes", "yes", "yes", "no"],
    ),
    ("GET", "/", "", ["yes", "who?", "yes", "yes", "yes", "yes"]),
    (
        "GET",
        "/console/main.js",
        "",
        ["yes", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "POST",
        "/v1/reload",
        "",
        ["who?", "who?", "no", "no", "yes", "no"],
    ),
    // From this machine without a proxy, and then as from elsewhere.
    (
        "GET",
        "/debug/pprof/heap",
        "",
        ["yes", "who?", "yes", "yes", "yes", "yes"],
    ),
    (
        "FAR",
        "/v1/runs/none/evidence/none/none",
        "",
        ["who?", "who?", "no", "no", "yes", "no"],
    ),
    (
        "FAR",
        "/debug/pprof/heap",
        "",
        ["who?", "who?", "no", "no", "yes", "no"],
    ),
];

/// What a request that is let in is answered here is for other tests.
fn verdict(status: u16) -> &'static str {
    match status {
        401 => "who?",
        403 => "no",
        _ => "yes",
    }
}

#[test]
fn each_role_has_its_routes_over_tcp() {
    let home = Home::new();
    let keys = [
        String::new(),
        "alfred_wrong".to_owned(),
        key(&home, "reader", &[]),
        key(&home, "writer", &["--role", "write"]),
        key(&home, "chief", &["--role", "admin"]),
        key(
            &home,
            "tenant",
            &["--role", "admin", "--collection", "theirs"],
        ),
    ];
    let daemon = home.serve(&[]);
    let question = json!({"query": "a", "mode": "text"});
    let document = json!({"source": "a.md", "content": "x", "collection": "theirs"});
    for (method, path, body, expected) in TABLE {
        let body = match *body {
            "question" => Some(&question),
            "document" => Some(&document),
            _ => None,
        };
        let got = keys.each_ref().map(|key| {
            let ask = to(&daemon).with(key);
            let (ask, method) = match *method {
                "FAR" => (ask.and("x-forwarded-for", "127.0.0.1"), "GET"),
                method => (ask, method),
            };
            let reply = ask.send(method, path, body);
            if verdict(reply.status) == "who?" {
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
                assert_eq!(reply.kind(), "unauthorized", "{reply:?}");
            }
            if verdict(reply.status) == "no" {
                assert_eq!(reply.kind(), "forbidden", "{reply:?}");
            }
            verdict(reply.status)
        });
        assert_eq!(got, *expected, "{method} {path}");
    }
    let reload = to(&daemon).with(&keys[4]).send("POST", "/v1/reload", None);
    assert_eq!((reload.status, &reload.body["changed"]), (200, &json!([])));
    // Refusals are the clients' affair, and no errors of retrieval.
    assert!(errors_owed(&socket(&home)).abs() < f64::EPSILON);
    assert_eq!(daemon.stop(), 0);
}

/// The sum of `retrieval_errors_total`, over the socket, where `/metrics` is text.
fn errors_owed(ask: &Ask<'_>) -> f64 {
    let limits = alfred::client::Limits {
        timeout: crate::support::PATIENCE,
        max_response_bytes: 1 << 20,
    };
    let target = ask.endpoint.at("/metrics");
    let reply =
        alfred::client::request_blocking(&target, alfred::client::Outgoing::default(), limits);
    let text = String::from_utf8(reply.unwrap().body.to_vec()).unwrap();
    assert!(
        text.contains("status=\"401\"") && text.contains("status=\"403\""),
        "{text}"
    );
    text.lines()
        .filter(|line| line.starts_with("retrieval_errors_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[test]
fn the_socket_needs_no_key_and_refuses_a_wrong_one() {
    let home = Home::new();
    let reader = key(&home, "reader", &[]);
    let daemon = home.serve(&[]);
    let document = json!({"source": "a.md", "content": "An otter."});
    for (method, path) in [
        ("GET", "/v1/status"),
        ("GET", "/metrics"),
        ("POST", "/v1/reload"),
    ] {
        assert_eq!(socket(&home).send(method, path, None).status, 200, "{path}");
        let wrong = socket(&home).with("alfred_wrong").send(method, path, None);
        assert_eq!(
            (wrong.status, wrong.kind()),
            (401, "unauthorized"),
            "{path}"
        );
    }
    assert_eq!(
        socket(&home)
            .send("POST", "/v1/documents", Some(&document))
            .status,
        200
    );
    // Who shows a key is taken at its word.
    let small = socket(&home)
        .with(&reader)
        .send("POST", "/v1/documents", Some(&document));
    assert_eq!(small.kind(), "forbidden");
    let basic = to(&daemon)
        .and("authorization", "Basic YTpi")
        .get("/v1/status");
    assert_eq!(basic.status, 401);
    // Local commands go on without a key.
    home.alfred(&["query", "otter", "--mode", "text"]).expect(0);
    home.alfred(&["status"]).expect(0);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn commands_ask_a_daemon_elsewhere_with_a_key_from_the_environment_or_a_file() {
    let home = Home::new();
    let writer = key(&home, "writer", &["--role", "write"]);
    let daemon: Daemon = home.serve(&[]);
    let url = daemon.endpoint.to_string();
    home.write("docs/otter.md", "# Otters\n\nAn otter holds hands.\n");
    let file = home.write("key", format!("{writer}\n"));
    let file = file.to_str().unwrap();
    for verb in [
        vec!["ingest", "docs"],
        vec!["query", "otter", "--mode", "text"],
        vec!["status"],
    ] {
        let all = |more: &[&str]| {
            let mut all = verb.clone();
            all.extend_from_slice(&["--url", &url, "--json"]);
            all.extend_from_slice(more);
            home.command(&all)
        };
        let run =
            |mut command: std::process::Command| crate::support::finish(command.spawn().unwrap());
        let refused = run(all(&[])).expect(1);
        assert!(refused.stderr.contains("401"), "{}", refused.stderr);
        if verb[0] != "ingest" {
            assert!(
                refused.stderr.contains("ALFRED_API_KEY"),
                "{}",
                refused.stderr
            );
        }
        run(all(&["--api-key-file", file])).expect(0);
        let mut command = all(&[]);
        command.env("ALFRED_API_KEY", &writer);
        run(command).expect(0);
        let mut command = all(&[]);
        command.env("ALFRED_API_KEY", "alfred_SecretThatIsWrong");
        let refused = run(command).expect(1);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(!said.contains("SecretThatIsWrong"), "{said}");
    }
    let alone = home.alfred(&["status", "--api-key-file", file]).expect(2);
    assert!(alone.stderr.contains("--url"), "{}", alone.stderr);
    assert_eq!(daemon.stop(), 0);
}
