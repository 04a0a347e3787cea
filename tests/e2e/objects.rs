//! Objects of S3: against moto, a real server of its protocol, and against servers that misbehave.

mod servers;

use crate::support::{Done, Home, PATIENCE, finish};
use alfred::clock::{Clock as _, SystemClock};
use serde_json::json;
use servers::{Moto, SECRET, listing, response, server, signed};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The counts of a run: created, replaced, unchanged, deleted, empty, failed.
#[track_caller]
fn counts(done: Done, code: i32) -> [u64; 6] {
    let summary = done.expect(code).json();
    [
        "created",
        "replaced",
        "unchanged",
        "deleted",
        "empty",
        "failed",
    ]
    .map(|name| summary[name].as_u64().unwrap())
}

fn corpus(moto: &Moto) {
    moto.put(
        "docs/otter.md",
        "# Otters\n\nAn otter holds hands while it sleeps.\n",
    );
    moto.put("docs/badger.txt", "A badger digs its sett in the evening.");
    moto.put(
        "docs/deep/er/heron.html",
        "<title>Herons</title><p>A heron waits in the water.",
    );
    moto.put("docs/pic.png", "x");
    moto.put("docs/empty.md", "");
    moto.put(
        "docs/.git/hidden.md",
        "# Hidden\n\nNobody asked for this.\n",
    );
    moto.put("docs-old/stale.md", "# Stale\n\nThis is another folder.\n");
}

#[test]
fn objects_are_found_by_their_url_and_fetched_once() {
    let home = Home::new();
    let moto = Moto::with_bucket("corpus");
    corpus(&moto);
    moto.requests();
    let run = ["ingest", "s3://corpus/docs/", "--json"];
    let done = moto.alfred(&home, &run);
    assert!(
        done.stderr
            .contains("warning: s3://corpus/docs/empty.md: there is no text")
    );
    assert_eq!(done.json()["skipped_by_ending"], json!({".png": 1}));
    assert_eq!(counts(done, 0), [3, 0, 0, 0, 1, 0]);
    assert_eq!(
        moto.fetched(),
        [
            "docs/badger.txt",
            "docs/deep/er/heron.html",
            "docs/otter.md"
        ]
    );
    let reply = home.alfred(&["query", "what do otters do asleep", "--json"]);
    let reply = reply.expect(0).json();
    assert_eq!(reply["citations"][0]["source"], "s3://corpus/docs/otter.md");

    assert_eq!(counts(moto.alfred(&home, &run), 0), [0, 0, 3, 0, 1, 0]);
    assert_eq!(moto.fetched(), [""; 0], "nothing has changed");

    moto.put(
        "docs/otter.md",
        "# Otters\n\nAn otter keeps a stone in a pocket.\n",
    );
    moto.requests();
    assert_eq!(counts(moto.alfred(&home, &run), 0), [0, 1, 2, 0, 1, 0]);
    assert_eq!(moto.fetched(), ["docs/otter.md"]);

    // Other settings are other chunks.
    let mut other = moto.command(&home, &run);
    other.env("ALFRED__INGEST__CHUNK_TOKENS", "128");
    let other = finish(other.spawn().unwrap());
    assert_eq!(counts(other, 0), [0, 3, 0, 0, 1, 0]);
    assert_eq!(moto.fetched().len(), 3);
}

#[test]
fn what_is_gone_is_pruned_where_it_was_covered() {
    let home = Home::new();
    let moto = Moto::with_bucket("corpus");
    corpus(&moto);
    home.write("notes/local.md", "# Local\n\nThis one is a file.\n");
    let all = [
        "ingest",
        "s3://corpus/docs",
        "s3://corpus/docs-old/stale.md",
        "notes",
        "--json",
    ];
    assert_eq!(counts(moto.alfred(&home, &all), 0), [5, 0, 0, 0, 1, 0]);
    // A folder of files covers no object, not even the root does.
    let local = ["ingest", ".", "--prune", "--json"];
    assert_eq!(counts(moto.alfred(&home, &local), 0), [0, 0, 1, 0, 0, 0]);
    let plain = moto.alfred(&home, &["ingest", "s3://corpus/docs/otter.md", "--prune"]);
    assert!(plain.expect(2).stderr.contains("--prune with a plain list"));

    for key in ["docs/badger.txt", "docs-old/stale.md"] {
        moto.send("DELETE", &format!("/corpus/{key}"), b"");
    }
    moto.put("docs/new.md", "# New\n\nJust arrived.\n");
    moto.requests();
    let dry = [
        "ingest",
        "s3://corpus/docs",
        "--prune",
        "--dry-run",
        "--json",
    ];
    assert_eq!(counts(moto.alfred(&home, &dry), 0), [1, 0, 2, 1, 1, 0]);
    assert_eq!(moto.fetched(), [""; 0], "a dry run fetches nothing");
    let html = [
        "ingest",
        "s3://corpus/docs/**/*.{htm,html}",
        "--prune",
        "--json",
    ];
    assert_eq!(counts(moto.alfred(&home, &html), 0), [0, 0, 1, 0, 0, 0]);
    let prune = ["ingest", "s3://corpus/docs/", "--prune", "--json"];
    assert_eq!(counts(moto.alfred(&home, &prune), 0), [1, 0, 2, 1, 1, 0]);
    let whole = ["ingest", "s3://corpus", "--prune", "--json"];
    assert_eq!(counts(moto.alfred(&home, &whole), 0), [0, 0, 3, 1, 1, 0]);
    let info = home.alfred(&["store", "info", "--json"]).expect(0).json();
    assert_eq!(info["documents"], 4);
}

#[test]
fn a_daemon_remembers_versions_too() {
    let home = Home::new();
    let moto = Moto::with_bucket("corpus");
    corpus(&moto);
    moto.requests();
    let daemon = home.serve(&[]);
    let run = [
        "ingest",
        "s3://corpus/docs/*.{md,txt}",
        "--collection",
        "zoo",
        "--json",
    ];
    assert_eq!(counts(moto.alfred(&home, &run), 0), [2, 0, 0, 0, 1, 0]);
    assert_eq!(moto.fetched(), ["docs/badger.txt", "docs/otter.md"]);
    assert_eq!(counts(moto.alfred(&home, &run), 0), [0, 0, 2, 0, 1, 0]);
    assert_eq!(moto.fetched(), [""; 0], "nothing has changed");
    moto.put("docs/badger.txt", "A badger sleeps all day.");
    moto.send("DELETE", "/corpus/docs/otter.md", b"");
    let prune = [&run[..], &["--prune"]].concat();
    assert_eq!(counts(moto.alfred(&home, &prune), 0), [0, 1, 0, 1, 1, 0]);
    let question = json!({"query": "When do badgers sleep?", "collection": "zoo"});
    let reply = daemon.ask(&question);
    assert_eq!(
        reply["citations"][0]["source"],
        "s3://corpus/docs/badger.txt"
    );
    // Without the daemon, the store says the same of them.
    assert_eq!(daemon.stop(), 0);
    moto.requests();
    assert_eq!(counts(moto.alfred(&home, &run), 0), [0, 0, 1, 0, 1, 0]);
    assert_eq!(moto.fetched(), [""; 0]);
}

#[test]
fn three_thousand_objects_are_listed_by_the_page() {
    let home = Home::new();
    let moto = Moto::with_bucket("corpus");
    std::thread::scope(|scope| {
        for part in 0..4 {
            let moto = &moto;
            scope.spawn(move || {
                for n in (part..3_000).step_by(4) {
                    moto.put(&format!("many/{n:04}.md"), format!("# Note {n}\n"));
                }
            });
        }
    });
    moto.requests();
    let run = ["ingest", "s3://corpus/many/", "--dry-run", "--json"];
    let started = SystemClock.monotonic();
    assert_eq!(counts(moto.alfred(&home, &run), 0), [3_000, 0, 0, 0, 0, 0]);
    assert!(SystemClock.monotonic() - started < PATIENCE);
    let (lists, bodies) = moto.requests();
    assert_eq!((lists, bodies.len()), (3, 0));

    // Keys that cannot be asked for cost a line each, and none of their neighbours.
    moto.put("many/1500//x.md", "# X\n");
    moto.put("many/../y.md", "# Y\n");
    let done = moto.alfred(&home, &run);
    for key in ["many/1500//x.md", "many/../y.md"] {
        let line = format!("error: s3://corpus/{key}: its key has an empty part");
        assert!(done.stderr.contains(&line), "{}", done.stderr);
    }
    assert_eq!(counts(done, 1), [3_000, 0, 0, 0, 0, 2]);
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nETag: \"e\"\r\nLast-Modified: Mon, 23 \
                    Nov 2026 00:00:00 GMT\r\nConnection: close\r\n\r\nA sound object is 20";

#[track_caller]
fn assert_no_secret(done: &Done) {
    let all = format!("{}{}", done.stdout, done.stderr);
    assert!(!all.contains(SECRET), "{all}");
}

#[test]
fn a_failing_object_costs_a_line_and_no_other() {
    let home = Home::new();
    let url = server(|line| {
        let is = |key| line.starts_with(&format!("GET /b/{key} "));
        Some(if line.contains("list-type=2") {
            listing(&["cut.md", "denied.md", "good.md", "gone.md"])
        } else if is("good.md") {
            GOOD.to_owned()
        } else if is("cut.md") {
            GOOD.replace("20\r\nETag", "4000\r\nETag")
        } else if is("gone.md") {
            response("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>")
        } else {
            let echo = format!(
                "<Error><Code>AccessDenied</Code><Message>Not you.</Message><CanonicalRequest>\
                 x-amz-security-token:{SECRET}</CanonicalRequest></Error>"
            );
            response("403 Forbidden", &echo)
        })
    });
    let run = ["ingest", "s3://b/", "--json"];
    let done = finish(signed(&home, &url, &run).spawn().unwrap());
    assert_no_secret(&done);
    let line = |source: &str| {
        let line = done.stderr.lines().find(|line| line.contains(source));
        line.unwrap_or_else(|| panic!("{source} in {}", done.stderr))
    };
    assert!(line("gone.md").starts_with("warning: s3://b/gone.md: it was deleted"));
    assert!(
        line("cut.md").starts_with("error: s3://b/cut.md: the object broke off"),
        "{}",
        line("cut.md")
    );
    let denied = line("denied.md");
    assert!(
        denied.contains("is denied") && denied.contains("Not you (AccessDenied)"),
        "{denied}"
    );
    assert_eq!(done.json()["vanished"], 1);
    assert_eq!(counts(done, 1), [1, 0, 0, 0, 0, 2]);
}

#[test]
fn a_list_that_fails_stores_and_deletes_nothing() {
    let home = Home::new();
    home.write("notes/a.md", "# A\n\nA file.\n");
    let moto = Moto::with_bucket("corpus");
    let wrong = |endpoint: &str, bucket: &str| {
        let url = format!("s3://{bucket}/docs/");
        let mut command = signed(&home, endpoint, &["ingest", "notes", &url, "--prune"]);
        command.env("AWS_READ_TIMEOUT", "300ms");
        let done = finish(command.spawn().unwrap()).expect(1);
        assert_no_secret(&done);
        assert!(done.stderr.contains("\nhint: "), "{}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 2, "{}", done.stderr);
        done.stderr
    };
    let no_bucket = wrong(&moto.url, "nobody");
    assert!(
        no_bucket.contains("there is no bucket nobody at http://127.0.0.1"),
        "{no_bucket}"
    );
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let down = wrong(&format!("http://{closed}"), "b");
    assert!(
        down.contains("cannot reach http://") && down.contains("refused"),
        "{down}"
    );
    let slow = wrong(&server(|_| None), "b");
    assert!(slow.contains("did not answer in time"), "{slow}");
    let denied = wrong(
        &server(|_| {
            let body =
                "<Error><Code>InvalidAccessKeyId</Code><Message>Unknown key.</Message></Error>";
            Some(response("403 Forbidden", body))
        }),
        "b",
    );
    assert!(
        denied.contains("Unknown key (InvalidAccessKeyId)"),
        "{denied}"
    );
    assert!(denied.contains("check AWS_ACCESS_KEY_ID"), "{denied}");
    let moved = wrong(
        &server(|_| {
            let body = "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message></Error>";
            Some(response("301 Moved Permanently", body))
        }),
        "b",
    );
    assert!(moved.contains("set AWS_REGION"), "{moved}");
    let web = wrong(
        &server(|_| Some(response("200 OK", "<html>hello</html>"))),
        "b",
    );
    assert!(web.contains("not S3's list of objects"), "{web}");
    assert!(web.contains("check AWS_ENDPOINT_URL"), "{web}");
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let cut = wrong(&server(|_| Some(response("200 OK", page))), "b");
    assert!(cut.contains("is cut short"), "{cut}");
    let info = home.alfred(&["store", "info", "--json"]);
    assert!(info.code != 0 || info.json()["documents"] == 0);
}

#[test]
fn a_server_that_is_gone_is_not_tried_for_every_object() {
    let home = Home::new();
    let keys: Vec<String> = (0..60).map(|n| format!("{n}.md")).collect();
    let url = server(move |line| {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        line.contains("list-type=2").then(|| listing(&keys))
    });
    let mut command = signed(&home, &url, &["ingest", "s3://b/", "--json"]);
    command.env("AWS_READ_TIMEOUT", "100ms");
    let started = SystemClock.monotonic();
    let done = finish(command.spawn().unwrap());
    assert!(done.stderr.contains("it was not tried"), "{}", done.stderr);
    assert_eq!(counts(done, 1), [0, 0, 0, 0, 0, 60]);
    assert!(SystemClock.monotonic() - started < Duration::from_secs(30));
}

#[test]
fn mistakes_in_urls_and_variables_are_named() {
    let home = Home::new();
    let run = |url: &str, endpoint: &str| {
        finish(signed(&home, endpoint, &["ingest", url]).spawn().unwrap())
    };
    for (url, says) in [
        ("gs://b/x", "neither a local path nor a URL of s3://"),
        ("https://b/x.md", "neither a local path nor a URL of s3://"),
        ("s3://", "is no name of a bucket"),
        ("s3://b/[x", "the pattern s3://b/[x is malformed"),
    ] {
        let done = run(url, "http://127.0.0.1:9").expect(2);
        assert!(done.stderr.contains(says), "{}", done.stderr);
        assert!(done.stderr.contains("\nhint: "), "{}", done.stderr);
    }
    let done = run("s3://b/x", "127.0.0.1:9000").expect(78);
    assert!(
        done.stderr
            .contains("AWS_ENDPOINT_URL must begin with http://"),
        "{}",
        done.stderr
    );
    let moto = Moto::with_bucket("corpus");
    let missing = moto
        .alfred(&home, &["ingest", "s3://corpus/misspelt.md"])
        .expect(2);
    assert!(
        missing
            .stderr
            .contains("no such file or folder: s3://corpus/misspelt.md")
    );
    let empty = moto
        .alfred(&home, &["ingest", "s3://corpus/nothing/"])
        .expect(0);
    assert!(
        empty
            .stderr
            .contains("warning: s3://corpus/nothing/: matches nothing")
    );
}

#[test]
fn a_server_with_a_certificate_of_its_own_is_believed_when_it_is_named() {
    let home = Home::new();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=alfred test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(home.path())
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let file = |name| home.path().join(name).display().to_string();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let moto = Moto::start(&["-s", "-c", &certificate, "-k", &key]);
    assert!(moto.url.starts_with("https://"));
    // Nothing is there, and to know that is to have been let in.
    let run = ["ingest", "s3://corpus/"];
    let stranger = moto.alfred(&home, &run).expect(1);
    assert!(
        stranger.stderr.contains("invalid peer certificate"),
        "{stranger:?}"
    );
    assert!(stranger.stderr.contains("AWS_CA_BUNDLE"), "{stranger:?}");
    let mut known = moto.command(&home, &run);
    known.env("AWS_CA_BUNDLE", &certificate);
    let known = finish(known.spawn().unwrap()).expect(1);
    assert!(
        known.stderr.contains("there is no bucket corpus"),
        "{known:?}"
    );
}
