//! A key that is bound to collections, through every route: it never sees, counts, changes or makes
//! anything elsewhere, and cannot tell what is elsewhere from what is not.

use super::{Reply, key, socket, to};
use crate::support::{Daemon, Home};
use serde_json::{Value, json};

fn put(home: &Home, collection: &str, source: &str, content: &str) -> String {
    let document = json!({"collection": collection, "source": source, "content": content});
    let reply = socket(home).send("POST", "/v1/documents", Some(&document));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body["documents"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A daemon with the collections `ours` and `vault`, and a key of every role bound to `ours` and `later`.
struct Set {
    home: Home,
    daemon: Daemon,
    ours: String,
    theirs: String,
    key: String,
}

fn set() -> Set {
    let home = Home::new();
    let bound = [
        "--role",
        "admin",
        "--collection",
        "ours",
        "--collection",
        "later",
    ];
    let key = key(&home, "tenant", &bound);
    let daemon = home.serve(&[]);
    Set {
        ours: put(&home, "ours", "ours.md", "An otter holds hands."),
        theirs: put(
            &home,
            "vault",
            "hidden.md",
            "The otter's passphrase is marmalade.",
        ),
        home,
        daemon,
        key,
    }
}

impl Set {
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let reply = to(&self.daemon).with(&self.key).send(method, path, body);
        let text = reply.body.to_string();
        for hidden in ["hidden", "marmalade"] {
            assert!(!text.contains(hidden), "{method} {path}: {text}");
        }
        reply
    }

    /// The same request about a collection that is hidden and about one that does not exist, which
    /// must be told apart by nothing but the name.
    fn alike(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let named = |name: &str| {
            let body = body.map(|body| {
                serde_json::from_str::<Value>(&body.to_string().replace("NAME", name)).unwrap()
            });
            self.ask(method, &path.replace("NAME", name), body.as_ref())
        };
        let (hidden, absent) = (named("vault"), named("nowhere"));
        let absent_steady = absent.steady().to_string().replace("nowhere", "vault");
        assert_eq!(
            hidden.steady().to_string(),
            absent_steady,
            "{method} {path}"
        );
        assert_eq!(hidden.status, absent.status);
        hidden
    }
}

#[test]
fn questions_lists_and_deletions_elsewhere_find_nothing() {
    let set = set();
    for mode in ["text", "vector", "hybrid"] {
        let question = json!({"query": "otter passphrase", "collection": "NAME", "mode": mode});
        let refused = set.alike("POST", "/v1/query", Some(&question));
        assert_eq!(
            (refused.status, refused.kind()),
            (404, "unknown_collection")
        );
        let detail = "there is no collection \"vault\"; there are: ours";
        assert_eq!(refused.body["detail"], detail);
    }
    let refused = set.alike("GET", "/v1/documents?collection=NAME", None);
    assert_eq!(
        (refused.status, refused.kind()),
        (404, "unknown_collection")
    );
    let refused = set.alike("DELETE", "/v1/collections/NAME", None);
    assert_eq!(
        (refused.status, refused.kind()),
        (404, "unknown_collection")
    );
    // `default` always exists, and not for this key.
    for question in [
        json!({"query": "a"}),
        json!({"query": "a", "collection": "default"}),
    ] {
        assert_eq!(set.ask("POST", "/v1/query", Some(&question)).status, 404);
    }
    assert_eq!(set.ask("GET", "/v1/documents", None).status, 404);
    assert_eq!(
        set.ask("DELETE", "/v1/collections/default", None).status,
        404
    );
    // Its own that is not there yet: only its own are named.
    let later = json!({"query": "a", "collection": "later", "mode": "text"});
    let refused = set.ask("POST", "/v1/query", Some(&later));
    assert_eq!(
        refused.body["detail"],
        "there is no collection \"later\"; there are: ours"
    );
    let refused = set.ask("GET", "/v1/documents?collection=later", None);
    assert_eq!(
        refused.body["detail"],
        "there is no collection \"later\"; there are: ours"
    );
    let refused = set.ask("DELETE", "/v1/collections/later", None);
    assert_eq!(
        refused.body["detail"],
        "there is no collection \"later\"; there are: ours"
    );
}

#[test]
fn documents_elsewhere_are_not_there_by_their_id() {
    let set = set();
    let absent = "00000000-0000-0000-0000-000000000000";
    for method in ["GET", "DELETE"] {
        let hidden = set.ask(method, &format!("/v1/documents/{}", set.theirs), None);
        let none = set.ask(method, &format!("/v1/documents/{absent}"), None);
        assert_eq!(hidden.status, 404);
        let renamed = none.steady().to_string().replace(absent, &set.theirs);
        assert_eq!(hidden.steady().to_string(), renamed, "{method}");
    }
    let own = set.ask("GET", &format!("/v1/documents/{}", set.ours), None);
    assert_eq!((own.status, &own.body["collection"]), (200, &json!("ours")));
    let still = socket(&set.home).get(&format!("/v1/documents/{}", set.theirs));
    assert_eq!(still.status, 200, "nothing was deleted");
    let gone = set.ask("DELETE", &format!("/v1/documents/{}", set.ours), None);
    assert_eq!(gone.status, 200);
}

#[test]
fn nothing_is_written_elsewhere_alone_or_among_others() {
    let set = set();
    let document = |name: &str| json!({"collection": name, "source": "hers.md", "content": "mine"});
    let refused = set.alike("POST", "/v1/documents", Some(&document("NAME")));
    assert_eq!((refused.status, refused.kind()), (403, "forbidden"));
    let all = json!([document("NAME")]);
    let refused = set.alike("POST", "/v1/documents", Some(&all));
    assert_eq!((refused.status, refused.kind()), (403, "forbidden"));
    // A question whether a version is known is one, too.
    let asked = json!({"collection": "NAME", "source": "hers.md", "version": "1"});
    assert_eq!(set.alike("POST", "/v1/documents", Some(&asked)).status, 403);
    let many = json!([
        document("ours"), document("vault"), document("later"), document("nowhere"),
        {"source": "hers.md", "content": "of the collection default"},
    ]);
    let reply = set.ask("POST", "/v1/documents", Some(&many));
    let listed = reply.body["documents"].as_array().unwrap().iter();
    let outcomes: Vec<&str> = listed.map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(
        outcomes,
        ["created", "refused", "created", "refused", "refused"]
    );
    let collections = socket(&set.home).get("/v1/collections").body;
    let names: Vec<&Value> = collections["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["default", "later", "ours", "vault"]);
    let vault = socket(&set.home).get("/v1/documents?collection=vault").body;
    assert_eq!(vault["documents"].as_array().unwrap().len(), 1);
}

#[test]
fn counts_and_status_are_of_its_own() {
    let set = set();
    let collections = set.ask("GET", "/v1/collections", None).body;
    let expected = json!({"collections": [{"name": "ours", "documents": 1, "chunks": 1}]});
    assert_eq!(collections, expected);
    let status = set.ask("GET", "/v1/status", None).body;
    let mut names: Vec<&String> = status.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "counts", "embedder", "missing", "ready", "uptime_s", "version"
        ]
    );
    let expected = json!({"documents": 1, "chunks": 1, "collections": 1});
    assert_eq!(status["counts"], expected);
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/v1/runs"),
        ("POST", "/v1/reload"),
    ] {
        assert_eq!(set.ask(method, path, None).status, 403, "{path}");
    }
    assert_eq!(set.daemon.stop(), 0);
}

#[test]
fn its_own_collection_is_all_its_own() {
    let set = set();
    let question = json!({"query": "otter", "collection": "ours", "mode": "text"});
    let reply = set.ask("POST", "/v1/query", Some(&question));
    assert_eq!(reply.body["citations"][0]["source"], "ours.md", "{reply:?}");
    let filtered = json!({"query": "otter", "collection": "ours", "filter": {"source": "*"}});
    let reply = set.ask("POST", "/v1/query", Some(&filtered));
    assert_eq!(reply.body["citations"].as_array().unwrap().len(), 1);
    let listed = set.ask("GET", "/v1/documents?collection=ours&source=*", None);
    assert_eq!(listed.body["documents"].as_array().unwrap().len(), 1);
    // A cursor of another collection leads nowhere else.
    let listed = set.ask("GET", "/v1/documents?collection=ours&cursor=61", None);
    assert_eq!(listed.body["documents"].as_array().unwrap().len(), 1);
    let deleted = set.ask("DELETE", "/v1/collections/ours", None);
    assert_eq!(
        (deleted.status, &deleted.body["documents"]),
        (200, &json!(1))
    );
    let left = socket(&set.home).get("/v1/collections").body.to_string();
    assert!(left.contains("vault"), "{left}");
    assert_eq!(set.daemon.stop(), 0);
}
