//! The OpenAPI document against the handlers: neither has what the other lacks.

use super::client::{Connection, Reply, post};
use super::server::{Server, start};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MISSING: &str = "00000000-0000-0000-0000-000000000000";

pub(super) fn document(server: &Server) -> Value {
    server.connect().get("/openapi.json").json()
}

/// A validator of one schema of the document, references resolved inside it.
fn validator(document: &Value, pointer: &str) -> jsonschema::Validator {
    let mut schema = document.clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$ref"] = json!(format!("#{pointer}"));
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[track_caller]
pub(super) fn assert_valid(document: &Value, pointer: &str, instance: &Value) {
    let errors: Vec<String> = validator(document, pointer)
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{pointer}: {errors:?} in {instance}");
}

fn escape(path: &str) -> String {
    path.replace('~', "~0")
        .replace('/', "~1")
        .replace('{', "%7B")
        .replace('}', "%7D")
}

/// Sends the documented example to one operation.
fn call(
    connection: &mut Connection,
    path: &str,
    method: &str,
    operation: &Value,
    id: &str,
) -> Reply {
    let path = path.replace("{id}", id).replace("{name}", "docs");
    let path = path.replace("{file}", "main.js");
    let path = path.replace("{moment}", "1-stall");
    match operation["requestBody"]["content"]["application/json"].get("example") {
        Some(body) => {
            let headers = "content-type: application/json\r\n";
            connection.send(post(&path, headers, body.to_string().as_bytes()));
            connection.reply()
        }
        None => connection.request(&method.to_uppercase(), &path),
    }
}

#[test]
fn every_documented_operation_answers_as_documented() {
    let server = start();
    let mut connection = server.connect();
    let openapi = document(&server);
    assert_eq!(openapi["info"]["version"], env!("CARGO_PKG_VERSION"));
    let batch = json!([
        {"content": "x", "source": "a.md"},
        {"content": "x", "source": "a.md", "collection": "docs"},
    ]);
    let stored = connection.post("/v1/documents", batch.to_string()).json();
    let id = stored["documents"][0]["id"].as_str().unwrap();
    let mut operations = Vec::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // For the unix socket, and for who asks for this machine by its name: see `profile.rs`.
            if path == "/v1/reload" || path.starts_with("/debug/") {
                continue;
            }
            operations.push((method == "delete", path, method, operation));
        }
    }
    operations.sort_by_key(|(is_delete, path, ..)| (*is_delete, *path));
    assert!(operations.len() >= 12, "{}", operations.len());
    for (_, path, method, operation) in operations {
        let reply = call(&mut connection, path, method, operation, id);
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        let responses = format!("/paths/{}/{method}/responses", escape(path));
        let content_type = reply.header("content-type");
        let media = content_type.split(';').next().unwrap();
        let body = match media {
            "application/json" => reply.json(),
            _ => json!(String::from_utf8(reply.body.clone()).unwrap()),
        };
        let media = media.replace('/', "~1");
        let schema = format!("{responses}/200/content/{media}/schema");
        assert_valid(&openapi, &schema, &body);
        assert!(!reply.header("x-request-id").is_empty());
    }
}

#[test]
fn examples_obey_their_schemas() {
    let server = start();
    let openapi = document(&server);
    let mut checked = 0;
    check_examples(&openapi, &openapi, "", &mut checked);
    assert!(checked >= 24, "{checked}");
}

fn check_examples(openapi: &Value, node: &Value, pointer: &str, checked: &mut usize) {
    let Some(object) = node.as_object() else {
        return;
    };
    if let (Some(example), Some(_)) = (object.get("example"), object.get("schema")) {
        assert_valid(openapi, &format!("{pointer}/schema"), example);
        *checked += 1;
    }
    for (key, value) in object {
        check_examples(
            openapi,
            value,
            &format!("{pointer}/{}", escape(key)),
            checked,
        );
    }
}

#[test]
fn every_route_that_answers_is_documented() {
    let server = start();
    let openapi = document(&server);
    let paths = openapi["paths"].as_object().unwrap();
    let mut connection = server.connect();
    for (path, methods) in paths {
        let mut documented: BTreeSet<String> = methods
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        if documented.contains("GET") {
            documented.insert("HEAD".to_owned());
        }
        let mut concrete = path.replace("{id}", MISSING).replace("{name}", "none");
        concrete = concrete.replace("{file}", "none");
        concrete = concrete.replace("{moment}", "none");
        // A profile would take its time; this one is refused.
        if path.starts_with("/debug/") {
            concrete.push_str("?seconds=0");
        }
        let reply = connection.request("OPTIONS", &concrete);
        reply.problem(405);
        let allowed = reply
            .header("allow")
            .split(", ")
            .map(str::to_owned)
            .collect();
        assert_eq!(documented, allowed, "{path}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let status = server.connect().request(method, &concrete).status;
            assert_eq!(
                status != 405,
                documented.contains(method),
                "{method} {path}: {status}"
            );
        }
    }
}

#[test]
fn problems_obey_their_schema_and_are_documented_where_they_occur() {
    let server = start();
    let openapi = document(&server);
    let json = "content-type: application/json\r\n";
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        ("/v1/query", "post", json, "{", "400"),
        (
            "/v1/query",
            "post",
            json,
            r#"{"query": "a", "topk": 1}"#,
            "422",
        ),
        (
            "/v1/query",
            "post",
            json,
            r#"{"query": "a", "collection": "x"}"#,
            "404",
        ),
        ("/v1/query", "post", "", "{}", "415"),
        ("/v1/documents", "post", json, r#"[{"source": "a"}]"#, "422"),
        (
            "/v1/documents",
            "post",
            "content-type: a/b\r\n",
            "{}",
            "415",
        ),
    ];
    for (path, method, headers, body, status) in cases {
        let reply = server.connect().post_as(path, headers, body);
        let problem = reply.problem(status.parse().unwrap());
        assert_valid(&openapi, "/components/schemas/Problem", &problem);
        let documented = &openapi["paths"][path][method]["responses"][status];
        assert!(documented.is_object(), "{path} {status}");
    }
}

#[test]
fn documented_limits_of_a_query_are_those_of_the_handlers() {
    let server = start();
    let openapi = document(&server);
    let schema = validator(&openapi, "/components/schemas/Query");
    let mut connection = server.connect();
    for body in [
        json!({"query": "a"}),
        json!({"query": "a", "top_k": 1}),
        json!({"query": "a", "top_k": 100, "mode": "text", "answer": "none"}),
        json!({"query": "a", "top_k": null, "filter": null, "collection": null}),
        json!({"query": "a", "filter": {"source": "*.md", "n": 3, "b": true, "z": null}}),
        json!({}),
        json!([]),
        json!({"query": ""}),
        json!({"query": 1}),
        json!({"query": "x".repeat(8_193)}),
        json!({"query": "a", "top_k": 0}),
        json!({"query": "a", "top_k": 101}),
        json!({"query": "a", "top_k": "3"}),
        json!({"query": "a", "mode": "other"}),
        json!({"query": "a", "answer": "other"}),
        json!({"query": "a", "filter": {"source": 1}}),
        json!({"query": "a", "filter": {"a": []}}),
        json!({"query": "a", "collection": "A"}),
        json!({"query": "a", "other": 1}),
    ] {
        let status = connection.post("/v1/query", body.to_string()).status;
        assert_eq!(schema.is_valid(&body), status == 200, "{status} for {body}");
    }
}
