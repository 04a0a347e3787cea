use super::*;
use crate::access::{Digest, Entry, Keys, Proxies, Quota};
use crate::domain::CollectionName;
use crate::http::routes::{ROUTES, find};

fn entry(name: &str, role: Role, collection: Option<&str>) -> Entry {
    let bound = collection.map(|name| Scope::bound_to([CollectionName::new(name).unwrap()].into()));
    Entry {
        name: name.to_owned(),
        role,
        scope: bound.unwrap_or_default(),
        digest: Digest::of(name.as_bytes()),
        created_at: None,
    }
}

/// Keys whose text is their name.
fn with_keys() -> Policy {
    Policy {
        keys: Some(Keys::new(vec![
            entry("query", Role::Query, None),
            entry("write", Role::Write, None),
            entry("admin", Role::Admin, None),
            entry("bound", Role::Admin, Some("docs")),
        ])),
        ..Policy::default()
    }
}

struct Ask<'a> {
    peer: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    at_loopback: bool,
}

fn from(peer: &str) -> Ask<'_> {
    Ask {
        peer,
        headers: vec![("host", "localhost:8080")],
        at_loopback: true,
    }
}

impl<'a> Ask<'a> {
    fn with(mut self, name: &'a str, value: &'a str) -> Self {
        if name == "host" {
            self.headers.clear();
        }
        self.headers.push((name, value));
        self
    }

    fn admit(&self, policy: &Policy, method: &str, path: &str) -> (Guest, Option<Problem>) {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let peer = self.peer.parse().map_or(Peer::Unix, Peer::Tcp);
        let arrival = Arrival {
            peer,
            at_loopback: self.at_loopback,
            uri: &path.parse().unwrap(),
            headers: &headers,
            route: find(path),
            method: &method.parse().unwrap(),
            now_ns: 0,
        };
        admit(policy, &arrival)
    }

    fn kind(&self, policy: &Policy, method: &str, path: &str) -> &'static str {
        let refused = self.admit(policy, method, path).1;
        refused.map_or("", |problem| problem.kind)
    }
}

const REMOTE: &str = "192.0.2.7:5";
const LOCAL: &str = "127.0.0.1:5";

/// What each route needs, for each method that it has.
#[test]
fn every_route_has_its_role() {
    use Needs::{Machine, NoKey, Nothing, Whole};
    let mut seen = Vec::new();
    for route in ROUTES {
        for method in route.allow.split(", ").filter(|method| *method != "HEAD") {
            let method = method.parse().unwrap();
            seen.push((route.template, needs(Some(route), &method)));
            if method == Method::GET {
                let head = needs(Some(route), &Method::HEAD);
                assert_eq!(needs(Some(route), &method), head);
            }
        }
    }
    let role = Needs::Role;
    let expected = [
        ("/v1/query", role(Role::Query)),
        ("/v1/documents", role(Role::Query)),
        ("/v1/documents", role(Role::Write)),
        ("/v1/documents/{id}", role(Role::Query)),
        ("/v1/documents/{id}", role(Role::Write)),
        ("/v1/collections", role(Role::Query)),
        ("/v1/collections/{name}", role(Role::Admin)),
        ("/v1/status", role(Role::Query)),
        ("/healthz", Nothing),
        ("/health", Nothing),
        ("/livez", Nothing),
        ("/readyz", Nothing),
        ("/metrics", Whole(Role::Query)),
        ("/debug/pprof/profile", Machine),
        ("/debug/pprof/flamegraph", Machine),
        ("/debug/pprof/heap", Machine),
        ("/v1/reload", Whole(Role::Admin)),
        ("/openapi.json", NoKey),
        ("/v1/runs", Whole(Role::Query)),
        ("/v1/runs/{name}/report.html", Whole(Role::Query)),
        ("/v1/runs/{name}/evidence/{moment}/{file}", Machine),
        ("/", NoKey),
        ("/console/{file}", NoKey),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn without_keys_all_but_profiles_is_open() {
    let policy = Policy::default();
    for (method, path) in [("POST", "/v1/query"), ("DELETE", "/v1/collections/a")] {
        assert_eq!(from(REMOTE).kind(&policy, method, path), "");
        let with_key = from(LOCAL).with("authorization", "Bearer whatever");
        assert_eq!(
            with_key.kind(&policy, method, path),
            "",
            "nobody looks at it"
        );
    }
    assert_eq!(from(LOCAL).kind(&policy, "GET", "/debug/pprof/heap"), "");
    assert_eq!(from("unix").kind(&policy, "GET", "/debug/pprof/heap"), "");
    assert_eq!(
        from(REMOTE).kind(&policy, "GET", "/debug/pprof/heap"),
        "forbidden"
    );
    assert!(from(LOCAL).admit(&policy, "GET", "/x").0.is_anonymous());
    assert!(!from("unix").admit(&policy, "GET", "/x").0.is_anonymous());
}

#[test]
fn with_keys_each_role_has_its_routes() {
    let policy = with_keys();
    // Route, and what each of: nobody, query, write, admin, and an administrator of one collection gets.
    let (none, no, yes) = ("unauthorized", "forbidden", "");
    for (method, path, expected) in [
        ("GET", "/readyz", [yes, yes, yes, yes, yes]),
        ("GET", "/openapi.json", [yes, yes, yes, yes, yes]),
        ("POST", "/v1/query", [none, yes, yes, yes, yes]),
        ("GET", "/v1/documents", [none, yes, yes, yes, yes]),
        ("HEAD", "/v1/documents/1", [none, yes, yes, yes, yes]),
        ("GET", "/v1/status/", [none, yes, yes, yes, yes]),
        ("GET", "/no/such/path", [none, yes, yes, yes, yes]),
        ("PATCH", "/v1/query", [none, yes, yes, yes, yes]),
        ("POST", "/v1/documents", [none, no, yes, yes, yes]),
        ("DELETE", "/v1/documents/1", [none, no, yes, yes, yes]),
        ("DELETE", "/v1/collections/a", [none, no, no, yes, yes]),
        ("GET", "/metrics", [none, yes, yes, yes, no]),
        ("GET", "/v1/runs", [none, yes, yes, yes, no]),
        ("GET", "/v1/runs/a/report.html", [none, yes, yes, yes, no]),
        (
            "GET",
            "/v1/runs/a/b/report.html",
            [none, yes, yes, yes, yes],
        ),
        ("GET", "/v1/runs/a/evidence/b/c", [none, no, no, yes, no]),
        ("GET", "/", [yes, yes, yes, yes, yes]),
        ("GET", "/console/main.js", [yes, yes, yes, yes, yes]),
        ("POST", "/v1/reload", [none, no, no, yes, no]),
        ("GET", "/debug/pprof/heap", [none, no, no, yes, no]),
    ] {
        let keys = ["", "query", "write", "admin", "bound"];
        let got = keys.map(|key| {
            let bearer = format!("Bearer {key}");
            let ask = from(REMOTE);
            let ask = if key.is_empty() {
                ask
            } else {
                ask.with("authorization", &bearer)
            };
            ask.kind(&policy, method, path)
        });
        assert_eq!(got, expected, "{method} {path}");
        assert_eq!(
            from("unix").kind(&policy, method, path),
            "",
            "{method} {path}"
        );
    }
}

#[test]
fn a_wrong_key_is_refused_wherever_it_is_looked_at() {
    let policy = with_keys();
    for shown in [
        "Bearer wrong",
        "Bearer",
        "Bearer ",
        "query",
        "Basic cXVlcnk=",
        "bearerquery",
        "",
    ] {
        for peer in [REMOTE, LOCAL, "unix"] {
            for path in ["/v1/query", "/openapi.json", "/debug/pprof/heap", "/none"] {
                let kind = from(peer)
                    .with("authorization", shown)
                    .kind(&policy, "GET", path);
                assert_eq!(kind, "unauthorized", "{peer} {path} {shown:?}");
            }
            let probe = from(peer)
                .with("authorization", shown)
                .kind(&policy, "GET", "/readyz");
            assert_eq!(probe, "");
        }
    }
    let twice = from(LOCAL)
        .with("authorization", "Bearer admin")
        .with("authorization", "Bearer query");
    assert_eq!(twice.kind(&policy, "GET", "/v1/status"), "unauthorized");
    for good in ["Bearer query", "bearer query", "BEARER  query "] {
        let ask = from(LOCAL).with("authorization", good);
        assert_eq!(ask.kind(&policy, "GET", "/v1/status"), "", "{good}");
    }
    // Who shows a key is taken at its word.
    let small = from("unix").with("authorization", "Bearer query");
    assert_eq!(small.kind(&policy, "POST", "/v1/documents"), "forbidden");
}

#[test]
fn profiles_are_for_this_machine_or_an_administrator() {
    let (policy, path) = (with_keys(), "/debug/pprof/heap");
    assert_eq!(from(LOCAL).kind(&policy, "GET", path), "");
    let proxied = from(LOCAL).with("x-forwarded-for", "127.0.0.1");
    assert_eq!(proxied.kind(&policy, "GET", path), "unauthorized");
    let admin = from(LOCAL)
        .with("x-forwarded-for", "127.0.0.1")
        .with("authorization", "Bearer admin");
    assert_eq!(admin.kind(&policy, "GET", path), "");
    // A proxy that says nothing of whom it asks for is known by its address.
    let behind = Policy {
        proxies: Proxies::parse(&["127.0.0.1".to_owned()]).unwrap(),
        ..with_keys()
    };
    assert_eq!(from(LOCAL).kind(&behind, "GET", path), "unauthorized");
}

#[test]
fn on_loopback_the_host_has_to_be_ours() {
    let mut policy = Policy::default();
    let host = |host| from(LOCAL).with("host", host);
    for good in ["localhost", "127.0.0.1:8080", "[::1]:8080", "LocalHost:1"] {
        assert_eq!(host(good).kind(&policy, "POST", "/v1/query"), "", "{good}");
    }
    for bad in [
        "evil.example",
        "127.0.0.1.nip.io:8080",
        "10.0.0.1",
        "",
        "a@localhost",
        "localhost@a",
    ] {
        assert_eq!(
            host(bad).kind(&policy, "POST", "/v1/query"),
            "misdirected",
            "{bad}"
        );
        assert_eq!(host(bad).kind(&policy, "GET", "/livez"), "", "{bad}");
    }
    let mut absolute = host("localhost");
    assert_eq!(
        absolute.kind(&policy, "GET", "http://evil.example/v1/status"),
        "misdirected"
    );
    absolute.headers.clear();
    assert_eq!(absolute.kind(&policy, "GET", "/v1/status"), "", "HTTP/1.0");
    // Beyond loopback any name may lead here, unless names are given.
    let elsewhere = |name| {
        let mut ask = from(REMOTE).with("host", name);
        ask.at_loopback = false;
        ask
    };
    assert_eq!(
        elsewhere("evil.example").kind(&policy, "GET", "/v1/status"),
        ""
    );
    policy.hosts = Hosts::parse(&["alfred.example".to_owned()]).unwrap();
    assert_eq!(
        elsewhere("evil.example").kind(&policy, "GET", "/v1/status"),
        "misdirected"
    );
    assert_eq!(
        elsewhere("alfred.example:80").kind(&policy, "GET", "/v1/status"),
        ""
    );
    assert_eq!(
        host("alfred.example").kind(&policy, "GET", "/v1/status"),
        ""
    );
    let unix = from("unix").with("host", "evil.example");
    assert_eq!(unix.kind(&policy, "GET", "/v1/status"), "");
}

#[test]
fn rates_are_of_keys_and_else_of_addresses() {
    let policy = Policy {
        quota: Quota::new(1, 2),
        proxies: Proxies::parse(&["127.0.0.1".to_owned()]).unwrap(),
        ..with_keys()
    };
    let ask = |ask: Ask<'_>| ask.kind(&policy, "GET", "/v1/status");
    let keyed = |peer, key| from(peer).with("authorization", key);
    for peer in [REMOTE, LOCAL] {
        assert_eq!(ask(keyed(peer, "Bearer query")), "");
    }
    assert_eq!(ask(keyed(REMOTE, "Bearer query")), "rate_limited");
    assert_eq!(ask(keyed(REMOTE, "Bearer write")), "", "another key");
    // Wrong keys are counted where they come from.
    assert_eq!(ask(keyed(REMOTE, "Bearer a")), "unauthorized");
    assert_eq!(ask(keyed(REMOTE, "Bearer b")), "unauthorized");
    let refused = from(REMOTE).admit(&policy, "GET", "/v1/status").1.unwrap();
    assert_eq!(refused.kind, "rate_limited");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(from(REMOTE).kind(&policy, "GET", "/healthz"), "");
    for _ in 0..9 {
        assert_eq!(ask(from("unix")), "");
    }
    for client in ["203.0.113.1", "203.0.113.2"] {
        let through = || from(LOCAL).with("x-forwarded-for", client);
        let got = [(); 3].map(|()| ask(through()));
        assert_eq!(got, ["unauthorized", "unauthorized", "rate_limited"]);
    }
}
