//! The console's files over the wire, and the routes of recorded runs.

use super::client::{Connection, Reply};
use super::server::{settings, start, start_with};
use super::{fakes, openapi};
use alfred::http::Settings;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// With these header lines.
fn get(connection: &mut Connection, path: &str, headers: &str) -> Reply {
    connection.send(format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
    ));
    connection.reply()
}

#[track_caller]
fn assert_secured(reply: &Reply, policy: &str) {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-security-policy"), policy);
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
}

/// What follows each `before` up to a quotation mark.
fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(before).skip(1);
    parts.map(|part| part.split('"').next().unwrap())
}

/// Every file that the page and its scripts name.
fn files(connection: &mut Connection) -> BTreeSet<String> {
    let page = text(&connection.get("/"));
    let mut files: BTreeSet<String> = quoted(&page, "=\"console/").map(str::to_owned).collect();
    files.insert("viewer.html".to_owned());
    for script in files.clone() {
        let source = text(&connection.get(&format!("/console/{script}")));
        let imported = quoted(&source, " from \"./").map(str::to_owned);
        files.extend(imported);
    }
    files
}

#[test]
fn the_page_and_all_its_files_are_served_with_a_strict_policy() {
    let server = start();
    let mut connection = server.connect();
    let page = connection.get("/");
    assert_secured(&page, POLICY);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(text(&page).contains("<title>alfred</title>"));
    assert!(text(&page).contains("data-keys=\"no\""));
    let files = files(&mut connection);
    assert!(files.len() >= 15, "{files:?}");
    let mut packed = get(&mut connection, "/", "accept-encoding: gzip\r\n")
        .body
        .len();
    for name in &files {
        let path = format!("/console/{name}");
        let plain = connection.get(&path);
        let policy = plain.header("content-security-policy").to_owned();
        assert_secured(&plain, &policy);
        if name == "viewer.html" {
            assert!(policy.contains("sandbox allow-scripts") && !policy.contains("connect-src"));
        } else {
            assert_eq!(policy, POLICY, "{name}");
        }
        assert_eq!(plain.header("content-encoding"), "");
        let small = get(&mut connection, &path, "accept-encoding: br, gzip\r\n");
        assert_eq!(small.header("content-encoding"), "gzip", "{name}");
        assert_eq!(small.header("vary"), "accept-encoding");
        let mut unpacked = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(small.body.as_slice());
        decoder.read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body, "{name}");
        packed += small.body.len();
    }
    assert!(packed < 150_000, "{packed} bytes");
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let server = start();
    let mut connection = server.connect();
    for path in ["/", "/console/main.js"] {
        let first = connection.get(path);
        assert_eq!(first.header("cache-control"), "no-cache");
        let etag = first.header("etag").to_owned();
        let known = format!("if-none-match: \"other\", {etag}\r\n");
        let again = get(&mut connection, path, &known);
        assert_eq!((again.status, again.body.len()), (304, 0), "{again:?}");
        assert_eq!(again.header("etag"), etag);
        let other = get(&mut connection, path, "if-none-match: W/\"0\"\r\n");
        assert_eq!((other.status, other.body.len()), (200, first.body.len()));
        let head = connection.request("HEAD", path);
        assert_eq!(head.header("content-length"), first.body.len().to_string());
    }
}

#[test]
fn what_is_no_file_of_the_console_is_404_and_so_is_all_of_it_turned_off() {
    let server = start();
    let mut connection = server.connect();
    for path in [
        "/console",
        "/console/",
        "/console/none.js",
        "/console/..%2fsettings.rs",
        "/console/../http/mod.rs",
        "/index.html",
    ] {
        connection.get(path).problem(404);
    }
    let problem = connection.request("POST", "/").problem(405);
    assert_eq!(problem["kind"], "method_not_allowed");

    let off = Settings {
        console: false,
        ..settings()
    };
    let server = start_with(off, Arc::new(fakes::instant_answer));
    let mut connection = server.connect();
    for path in ["/", "/console/main.js", "/console/viewer.html"] {
        let problem = connection.get(path).problem(404);
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("server.console")
        );
    }
    assert_eq!(connection.get("/v1/runs").status, 200);
}

#[test]
fn runs_are_listed_within_limits() {
    let server = start();
    let mut connection = server.connect();
    let listed = connection.get("/v1/runs").json();
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["runs"][0]["run"], "docs");
    let document = openapi::document(&server);
    openapi::assert_valid(&document, "/components/schemas/Runs", &listed);
    assert_eq!(connection.get("/v1/runs?limit=200").status, 200);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=a", "limit"),
        ("limit=1&limit=1", "limit"),
        ("name=a", "name"),
    ] {
        let problem = connection.get(&format!("/v1/runs?{query}")).problem(422);
        assert_eq!(problem["field"], field, "{problem}");
    }
}

#[test]
fn a_report_has_no_origin_and_a_name_leads_nowhere_else() {
    let server = start();
    let mut connection = server.connect();
    let report = connection.get("/v1/runs/docs/report.html");
    let policy = report.header("content-security-policy").to_owned();
    assert_secured(&report, &policy);
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(
        policy.ends_with("sandbox allow-scripts allow-downloads"),
        "{policy}"
    );
    assert_eq!(report.header("content-type"), "text/html; charset=utf-8");
    for (name, status, kind) in [
        ("none", 404, "not_found"),
        ("..", 404, "not_found"),
        ("%2e%2e", 404, "not_found"),
        ("..%2f..%2fetc", 404, "not_found"),
        (".docs", 404, "not_found"),
        ("docs%00", 404, "not_found"),
        ("%zz", 404, "not_found"),
        ("large", 409, "run_too_large"),
        ("damaged", 409, "run_damaged"),
    ] {
        let reply = connection.get(&format!("/v1/runs/{name}/report.html"));
        let problem = reply.problem(status);
        assert_eq!(problem["kind"], kind, "{name}: {problem}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    connection.get("/v1/runs/a/b/report.html").problem(404);
    let file = connection.get("/v1/runs/docs/evidence/1-stall/main.js");
    assert_secured(&file, "default-src 'none'; sandbox");
    assert_eq!(file.header("content-type"), "application/octet-stream");
    assert_eq!(file.header("content-disposition"), "attachment");
    for (path, status) in [
        ("docs/evidence/1-stall/none", 404),
        ("docs/evidence/..%2f1-stall/main.js", 404),
        ("docs/evidence/../run.json", 404),
        ("docs/evidence/1-stall/large", 409),
    ] {
        connection.get(&format!("/v1/runs/{path}")).problem(status);
    }
    connection.get("/v1/runs/docs/run.json").problem(404);
}

#[test]
fn the_status_has_what_is_missing_and_the_last_minutes() {
    let server = start();
    let mut connection = server.connect();
    connection.post("/v1/query", r#"{"query": "a"}"#);
    let status = connection.get("/v1/status").json();
    assert_eq!(status["missing"], serde_json::json!([]));
    let recent = &status["recent"];
    assert_eq!(recent["slot_s"], 5);
    assert!(
        recent["minute"]["p95_ms"].as_f64().unwrap() > 0.0,
        "{recent}"
    );
    let document = openapi::document(&server);
    openapi::assert_valid(&document, "/components/schemas/Status", &status);
}
