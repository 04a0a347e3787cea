//! What each route answers, and each error of the contract.

use super::server::{settings, start, start_app, start_with};
use super::{client::Reply, fakes};
use alfred::clock::SystemClock;
use alfred::http::{App, Readiness};
use alfred::store::StoreError;
use serde_json::{Value, json};
use std::sync::Arc;

const QUERY: &str = r#"{"query": "How do I upgrade?"}"#;

#[test]
fn a_query_is_answered_with_its_timings() {
    let reply = start().connect().post("/v1/query", QUERY);
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/json")
    );
    let mut body = reply.json();
    let queue = body["timings_ms"]["queue"].take().as_f64().unwrap();
    let total = body["timings_ms"]["total"].take().as_f64().unwrap();
    assert!(
        (total - 5.0 - queue).abs() < 0.002,
        "total {total} includes the queue {queue}"
    );
    insta::assert_json_snapshot!(body);
}

#[test]
fn request_ids_are_the_callers_or_new() {
    let server = start();
    let mut connection = server.connect();
    let headers = "content-type: application/json\r\nx-request-id: abc-1\r\n";
    let reply = connection.post_as("/v1/query", headers, QUERY);
    assert_eq!(reply.header("x-request-id"), "abc-1");
    let reply = connection.post_as("/v1/query", headers, "{");
    assert_eq!(reply.problem(400)["request_id"], "abc-1");
    let (first, second) = (connection.get("/healthz"), connection.get("/nowhere"));
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(first.header("x-request-id").len(), 36);
    second.problem(404);
}

#[test]
fn bad_queries_get_the_contracts_status_and_cost_nobody_else_anything() {
    let server = start();
    let mut connection = server.connect();
    let deep = format!(
        r#"{{"query": "a", "filter": {}1{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let long = format!(r#"{{"query": "{}"}}"#, "x".repeat(8_193));
    for (body, status, says) in [
        ("", 400, "empty"),
        (r#"{"query": "#, 400, "line 1 column 10"),
        ("query=a", 400, "not JSON"),
        ("{\"query\": \"\\ud800\"}", 400, "not JSON"),
        (&deep, 400, "recursion limit"),
        ("{}", 422, "`query` is missing"),
        (r#"{"query": ""}"#, 422, "`query` must be 1 to 8192 bytes"),
        (&long, 422, "got 8193 bytes"),
        (r#"{"query": 5}"#, 422, "must be a string"),
        (r#"{"query": "a\u0000"}"#, 422, "NUL"),
        (r#"{"query": "a", "top_k": 101}"#, 422, "1 to 100"),
        (r#"{"query": "a", "topk": 3}"#, 422, "did you mean `top_k`?"),
        (
            r#"{"query": "a", "collection": "docs"}"#,
            404,
            "there are: default",
        ),
    ] {
        let reply = connection.post("/v1/query", body);
        let problem = reply.problem(status);
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{body:.80}: {problem}"
        );
        assert_eq!(
            connection.post("/v1/query", QUERY).status,
            200,
            "after {body:.80}"
        );
    }
    let rtl = connection
        .post("/v1/query", "{\"query\": \"\u{202e}שלום\"}")
        .json();
    assert_eq!(rtl["citations"][0]["excerpt"], "\u{202e}שלום");
}

#[test]
fn other_media_types_are_415() {
    let server = start();
    for headers in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: application/json; charset=latin1\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
    ] {
        let reply = server.connect().post_as("/v1/query", headers, QUERY);
        assert_eq!(
            reply.problem(415)["kind"],
            "unsupported_media_type",
            "{headers}"
        );
    }
    let charset = "content-type: application/json; charset=utf-8\r\n";
    assert_eq!(
        server.connect().post_as("/v1/query", charset, QUERY).status,
        200
    );
}

#[test]
fn unknown_routes_are_404_and_other_methods_405() {
    let server = start();
    let mut connection = server.connect();
    for path in [
        "/console",
        "/v1",
        "/v1/queries",
        "/v1/query/x",
        "//v1/query",
        "/v1/documents/a/b",
        "*",
    ] {
        assert_eq!(
            connection.get(path).problem(404)["kind"],
            "not_found",
            "{path}"
        );
    }
    for (method, path, allow) in [
        ("GET", "/v1/query", "POST"),
        ("DELETE", "/v1/documents", "GET, HEAD, POST"),
        ("PUT", "/v1/documents/x", "GET, HEAD, DELETE"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("OPTIONS", "/v1/collections/x", "DELETE"),
        ("BREW", "/readyz", "GET, HEAD"),
    ] {
        let reply = connection.request(method, path);
        reply.problem(405);
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = start();
    let mut connection = server.connect();
    for path in [
        "/healthz",
        "/health",
        "/readyz",
        "/v1/status",
        "/openapi.json",
        "/v1/documents",
    ] {
        let get = connection.get(path);
        let head = connection.request("HEAD", path);
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        if path != "/v1/status" {
            assert_eq!(
                head.header("content-length"),
                get.header("content-length"),
                "{path}"
            );
        }
    }
}

fn put(connection: &mut super::client::Connection, body: &Value) -> Reply {
    connection.post("/v1/documents", body.to_string())
}

#[test]
fn documents_are_stored_listed_read_and_deleted() {
    let server = start();
    let mut connection = server.connect();
    let document = json!({"content": "# Helm", "source": "a.md", "metadata": {"lang": "en"}});
    let stored = put(&mut connection, &document).json();
    let id = stored["documents"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        stored,
        json!({"documents": [{"id": id, "source": "a.md", "chunks": 1, "status": "created"}]})
    );
    assert_eq!(
        put(&mut connection, &document).json()["documents"][0]["status"],
        "replaced"
    );
    let read = connection.get(&format!("/v1/documents/{id}")).json();
    assert_eq!(
        (&read["source"], &read["chunk_texts"]),
        (&json!("a.md"), &json!(["# Helm"]))
    );
    assert_eq!(read["metadata"], json!({"lang": "en"}));
    let deleted = connection.request("DELETE", &format!("/v1/documents/{id}"));
    assert_eq!(deleted.json(), json!({"id": id, "status": "deleted"}));
    for method in ["GET", "DELETE"] {
        connection
            .request(method, &format!("/v1/documents/{id}"))
            .problem(404);
        let problem = connection.request(method, "/v1/documents/7").problem(422);
        assert_eq!(problem["field"], "id");
    }
}

#[test]
fn a_batch_stores_what_is_sound_and_says_why_not_the_rest() {
    let server = start();
    let mut connection = server.connect();
    let batch = json!([
        {"content": "x", "source": "a.md"},
        {"content": "x", "source": "b.md", "sauce": 1},
        {"content": "", "source": "c.md"},
        {"content": "x", "source": "d.md"},
    ]);
    let reply = put(&mut connection, &batch);
    assert_eq!(reply.status, 200);
    let outcomes = reply.json()["documents"].clone();
    let statuses: Vec<_> = outcomes
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["status"])
        .collect();
    assert_eq!(statuses, ["created", "refused", "refused", "created"]);
    assert_eq!(
        outcomes[1]["detail"],
        "`sauce` is unknown; did you mean `source`?"
    );
    assert_eq!(outcomes[2]["detail"], "`content`: there is no text in it");
    assert_eq!(
        put(&mut connection, &json!([])).json(),
        json!({"documents": []})
    );

    let none = put(&mut connection, &json!([{"source": "a"}, 7])).problem(422);
    assert_eq!(none["documents"].as_array().unwrap().len(), 2, "{none}");
    let single = put(&mut connection, &json!({"content": "", "source": "c.md"})).problem(422);
    assert_eq!(single["field"], "content");
    put(&mut connection, &json!("x")).problem(422);
    let many = format!("[{}1]", "1,".repeat(1_000));
    let many = connection.post("/v1/documents", many).problem(413);
    assert_eq!(many["kind"], "too_many_documents");
}

#[test]
fn listing_goes_page_by_page() {
    let server = start();
    let mut connection = server.connect();
    let batch: Vec<Value> = (0..5)
        .map(|n| json!({"content": "x", "source": format!("ü{n}.md")}))
        .collect();
    assert_eq!(put(&mut connection, &json!(batch)).status, 200);
    let (mut cursor, mut sources) = (String::new(), Vec::new());
    loop {
        let page = connection
            .get(&format!("/v1/documents?limit=2{cursor}"))
            .json();
        let documents = page["documents"].as_array().unwrap();
        assert!(documents.len() <= 2);
        sources.extend(
            documents
                .iter()
                .map(|d| d["source"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(sources, ["ü0.md", "ü1.md", "ü2.md", "ü3.md", "ü4.md"]);
    let one = connection.get("/v1/documents?source=%C3%BC3.md").json();
    assert_eq!(one["documents"].as_array().unwrap().len(), 1);
    for (query, field) in [
        ("source=", "source"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=zz", "cursor"),
        ("colection=a", "colection"),
        ("collection=A", "collection"),
        ("source=[", "source"),
    ] {
        let problem = connection
            .get(&format!("/v1/documents?{query}"))
            .problem(422);
        assert_eq!(problem["field"], field, "{query}");
    }
    let unknown = connection.get("/v1/documents?collection=docs").problem(404);
    assert_eq!(unknown["kind"], "unknown_collection");
}

#[test]
fn collections_are_listed_and_deleted() {
    let server = start();
    let mut connection = server.connect();
    put(
        &mut connection,
        &json!({"content": "x", "source": "a", "collection": "docs"}),
    );
    let listed = connection.get("/v1/collections").json();
    assert_eq!(
        listed["collections"][1],
        json!({"name": "docs", "documents": 1, "chunks": 1})
    );
    let deleted = connection.request("DELETE", "/v1/collections/docs").json();
    assert_eq!(
        (&deleted["documents"], &deleted["status"]),
        (&json!(1), &json!("deleted"))
    );
    let gone = connection
        .request("DELETE", "/v1/collections/docs")
        .problem(404);
    assert!(
        gone["detail"]
            .as_str()
            .unwrap()
            .contains("there are: default"),
        "{gone}"
    );
    connection
        .request("DELETE", "/v1/collections/No")
        .problem(422);
}

#[test]
fn readiness_names_what_is_missing_and_liveness_does_not_care() {
    let readiness = Arc::new(Readiness::default());
    let cases = fakes::use_cases(Arc::new(fakes::instant_answer));
    let app = App::new(cases, settings(), Arc::new(SystemClock));
    let server = start_app(app.with_readiness(Arc::clone(&readiness)));
    let mut connection = server.connect();
    assert_eq!(connection.get("/readyz").status, 200);
    readiness.wait_for("store", "PostgreSQL does not answer");
    let problem = connection.get("/readyz").problem(503);
    assert_eq!(
        problem["detail"],
        "not ready: store: PostgreSQL does not answer"
    );
    assert_eq!(connection.get("/healthz").status, 200);
    assert_eq!(connection.get("/v1/status").json()["ready"], false);
    readiness.met("store");
    assert_eq!(connection.get("/readyz").status, 200);
}

#[test]
fn status_counts_requests_and_takes_further_sections() {
    let cases = fakes::use_cases(Arc::new(fakes::instant_answer));
    let app = App::new(cases, settings(), Arc::new(SystemClock)).with_status(Arc::new(|| {
        let section = json!({"entries": 3});
        [("cache".to_owned(), section)].into_iter().collect()
    }));
    let server = start_app(app);
    let mut connection = server.connect();
    connection.get("/healthz");
    connection.get("/nowhere");
    let status = connection.get("/v1/status").json();
    assert_eq!(status["cache"]["entries"], 3);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        status["http"]["requests_by_status"],
        json!({"200": 1, "404": 1})
    );
    assert_eq!(status["http"]["connections"], 1);
    assert_eq!(status["http"]["in_flight"], 1);
}

#[test]
fn a_failing_store_is_503_without_its_address() {
    let server = start_with(
        settings(),
        Arc::new(|_, _| {
            let location = "/secret/place".to_owned();
            let problem = "disk I/O".to_owned();
            Err(StoreError::Busy { location, problem }.into())
        }),
    );
    let problem = server.connect().post("/v1/query", QUERY).problem(503);
    assert_eq!(problem["kind"], "search_error");
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

#[test]
fn a_panic_is_500_with_the_request_id_and_the_process_lives() {
    let server = start_with(settings(), Arc::new(|_, _| panic!("secret detail")));
    let mut connection = server.connect();
    let problem = connection.post("/v1/query", QUERY).problem(500);
    assert_eq!(problem["kind"], "internal");
    assert!(!problem.to_string().contains("secret"), "{problem}");
    assert_eq!(connection.get("/healthz").status, 200);
}
