//! The console and the runs behind it, with the real daemon, in a real browser.

use crate::access::key;
use crate::support::{Daemon, Home, PATIENCE, browse, eventually};
use crate::synthetic_run::{Synthetic, add_evidence};
use alfred::client::{Limits, Outgoing, Response, request_blocking};
use alfred::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const HOSTILE: &str =
    "</title><script>window.ran = 1</script><img src=x onerror=\"window.ran = 2\">";

fn get(daemon: &Daemon, path: &str) -> Response {
    let limits = Limits {
        timeout: PATIENCE,
        max_response_bytes: 64 << 20,
    };
    request_blocking(&daemon.endpoint.at(path), Outgoing::default(), limits).unwrap()
}

fn body(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

/// Writes a run into the home's folder of runs.
fn record(home: &Home, name: &str, run: &Synthetic) -> PathBuf {
    let folder = home.path().join("runs").join(name);
    run.write(&folder);
    folder
}

fn unfinished() -> Synthetic {
    Synthetic {
        has_ended: false,
        ..Synthetic::quiet(4)
    }
}

#[test]
fn recorded_runs_are_listed_newest_first_and_rendered() {
    let home = Home::new();
    let old = record(
        &home,
        "20261118T090640Z-nightly-1f0c2d3e",
        &Synthetic::quiet(3),
    );
    let failed = record(
        &home,
        "20261119T090640Z-nightly-77aa01b2",
        &Synthetic::troubled(),
    );
    add_evidence(&failed);
    record(&home, "20261120T090640Z-nightly-00aa01b2", &unfinished());
    let damaged = home.write("runs/20261121T090640Z-nightly-11aa01b2/run.json", "{");
    let hidden = record(&home, ".pruned-x", &Synthetic::quiet(3));
    std::os::unix::fs::symlink(&old, home.path().join("runs/link")).unwrap();
    let daemon = home.serve(&[]);

    let listed: Value = serde_json::from_str(&body(&get(&daemon, "/v1/runs"))).unwrap();
    let of = |field: &str| {
        let runs = listed["runs"].as_array().unwrap().iter();
        runs.map(|run| run[field].clone()).collect::<Vec<_>>()
    };
    let states = ["damaged", "unfinished", "finished", "finished"].map(|state| json!(state));
    assert_eq!(of("state"), states, "{listed}");
    let verdicts = [json!("damaged"), Value::Null, json!("FAIL"), json!("PASS")];
    assert_eq!(of("verdict"), verdicts);
    assert_eq!(of("requests")[3], 300);
    assert_eq!(listed["total"], 4);
    let two: Value = serde_json::from_str(&body(&get(&daemon, "/v1/runs?limit=2"))).unwrap();
    assert_eq!(
        (two["runs"].as_array().unwrap().len(), &two["total"]),
        (2, &json!(4))
    );

    let report = |name: &str| get(&daemon, &format!("/v1/runs/{name}/report.html"));
    let page_of_failed = body(&report("20261119T090640Z-nightly-77aa01b2"));
    assert!(page_of_failed.contains("<strong>FAIL</strong>"));
    assert!(page_of_failed.ends_with("</html>\n"));
    let page = body(&report("20261120T090640Z-nightly-00aa01b2"));
    assert!(
        page.contains("did not end: it has no verdict"),
        "{page:.200}"
    );
    let name = damaged
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let problem = report(name);
    assert_eq!(problem.status.as_u16(), 409);
    assert!(!body(&problem).contains(home.path().to_str().unwrap()));
    let hidden = hidden.file_name().unwrap().to_str().unwrap();
    for none in [hidden, "link", "..", "%2e%2e%2fruns", "nightly"] {
        assert_eq!(report(none).status.as_u16(), 404, "{none}");
    }
}

#[test]
fn files_of_evidence_are_served_and_nothing_beside_them() {
    let home = Home::new();
    let failed = record(
        &home,
        "20261119T090640Z-nightly-77aa01b2",
        &Synthetic::troubled(),
    );
    add_evidence(&failed);
    let daemon = home.serve(&[]);
    let page_of_failed = body(&get(
        &daemon,
        "/v1/runs/20261119T090640Z-nightly-77aa01b2/report.html",
    ));
    let evidence = |path: &str| {
        let run = "/v1/runs/20261119T090640Z-nightly-77aa01b2/evidence";
        get(&daemon, &format!("{run}/{path}"))
    };
    assert!(page_of_failed.contains("href=\"evidence/500-stall/profile.pb.gz\""));
    let profile = evidence("500-stall/profile.pb.gz");
    assert_eq!((profile.status.as_u16(), profile.body.len()), (200, 5));
    std::os::unix::fs::symlink(
        failed.join("run.json"),
        failed.join("evidence/500-stall/link.json"),
    )
    .unwrap();
    for none in ["500-stall/none", "500-stall/link.json", "../run.json"] {
        assert_eq!(evidence(none).status.as_u16(), 404, "{none}");
    }
}

#[test]
fn a_page_that_the_run_has_is_sent_as_it_is_unless_it_is_older_or_a_link() {
    let home = Home::new();
    let name = "20261118T090640Z-nightly-1f0c2d3e";
    let folder = record(&home, name, &Synthetic::quiet(3));
    let daemon = home.serve(&[]);
    let report = || body(&get(&daemon, &format!("/v1/runs/{name}/report.html")));
    let page = folder.join("report.html");
    assert!(report().contains("<strong>PASS</strong>"));
    assert!(!page.exists(), "the daemon writes nothing into a run");

    std::fs::write(&page, "made before").unwrap();
    assert_eq!(report(), "made before");
    let file = std::fs::File::options().write(true).open(&page).unwrap();
    let long_ago = SystemClock.wall() - Duration::from_hours(1);
    file.set_modified(long_ago).unwrap();
    assert!(report().contains("<strong>PASS</strong>"), "judged since");

    let secret = home.write("secret.txt", "not for anybody");
    std::fs::remove_file(&page).unwrap();
    std::os::unix::fs::symlink(secret, &page).unwrap();
    assert!(report().contains("<strong>PASS</strong>"));
}

/// A corpus of more than a page, markup in a document, and runs.
fn furnished(home: &Home) {
    for number in 1..=24 {
        let text = format!("# Note {number}\n\nThe kettle number {number} is in the kitchen.\n");
        home.write(&format!("docs/notes/{number:02}.md"), text);
    }
    home.write(
        "docs/otters.md",
        "# Otters\n\n## Sleep\n\nOtters sleep on their backs and hold hands, so that they do not drift \
         apart. Run `otter --sleep` to see one.\n",
    );
    let hostile = format!(
        "# Hostile\n\n    {HOSTILE}\n\nThe hostile page says that tea is served at four.\n"
    );
    home.write("docs/hostile.md", hostile);
    home.alfred(&["ingest", "docs", "--root", "docs"]).expect(0);
    record(
        home,
        "20261118T090640Z-nightly-1f0c2d3e",
        &Synthetic::quiet(70),
    );
    record(
        home,
        "20261119T090640Z-nightly-77aa01b2",
        &Synthetic::troubled(),
    );
    let named = Synthetic {
        name: HOSTILE.to_owned(),
        ..unfinished()
    };
    record(home, "20261117T090640Z-hostile-00aa01b2", &named);
}

fn url(daemon: &Daemon) -> String {
    daemon.endpoint.at("/").to_string()
}

/// Asks until a slot of the last minutes has ended with questions in it.
fn exercised(daemon: &Daemon) {
    for number in 0..40 {
        daemon.ask(&json!({"query": format!("Where is kettle {}?", number % 7)}));
    }
    let (status, _) = daemon.request("POST", "/v1/query", Some(&json!({"query": ""})));
    assert_eq!(status, 422);
    eventually(Duration::from_secs(20), || {
        let (_, status) = daemon.request("GET", "/v1/status", None);
        let requests = status["recent"]["requests"].as_array().unwrap();
        let counted: u64 = requests.iter().map(|count| count.as_u64().unwrap()).sum();
        (counted >= 41).then_some(())
    });
}

#[track_caller]
fn assert_has(text: &Value, parts: &[&str]) {
    let text = text.as_str().unwrap();
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// Nobody is shut out, and nothing is wider than the page.
fn assert_usable(look: &Value) {
    for part in ["full", "opened"] {
        let seen = &look[part];
        let (colours, width) = (&look["colorScheme"], &look["width"]);
        assert_eq!(seen["violations"], json!([]), "{part}, {colours}, {width}");
        assert!(
            seen["overflow"].as_i64().unwrap() <= 0,
            "{part}, {width}: {seen}"
        );
    }
}

#[test]
fn a_browser_shows_the_console_and_keys_lead_from_question_to_citation() {
    let home = Home::new();
    furnished(&home);
    let daemon = home.serve(&[]);
    exercised(&daemon);
    let found = browse("console.cjs", &[&url(&daemon), &daemon.pid().to_string()]);
    assert_eq!(found["requests"], json!([]));
    assert_eq!(found["errors"], json!([]));
    let speed = &found["speed"];
    assert!(
        speed["first_paint_ms"].as_f64().unwrap() < 1_000.0,
        "{speed}"
    );
    assert!(speed["paints"].as_u64().unwrap() >= 1, "{speed}");
    assert!(speed["bytes"].as_u64().unwrap() < 150_000, "{speed}");
    println!("{speed}");
    by_keys(&found["keys"]);
    corpus_and_runs(&found);
    figures(&found);
    let looks = found["looks"].as_array().unwrap();
    assert_eq!(looks.len(), 6);
    looks.iter().for_each(assert_usable);
}

/// Documents page by page, markup as text, runs and a report.
fn corpus_and_runs(found: &Value) {
    let documents = &found["documents"];
    assert_eq!(
        (&documents["first"], &documents["narrowed"]),
        (&json!(20), &json!(10))
    );
    assert_has(&documents["captions"][1], &["21 to 26"]);

    let hostile = &found["hostile"];
    assert_eq!(
        (&hostile["made"], &hostile["ran"]),
        (&json!(0), &Value::Null)
    );
    assert_has(&hostile["shown"], &[HOSTILE]);
    assert_has(&hostile["cited"], &["<img src=x"]);
    assert_has(
        &found["runs"],
        &[
            "FAIL",
            "PASS",
            "unfinished",
            "<script>window.ran = 1</script>",
        ],
    );
    let report = &found["report"];
    assert_has(&report["title"], &["FAIL"]);
    assert_eq!(
        (&report["origin"], &report["storage"]),
        (&json!("null"), &json!("closed"))
    );
    assert!(report["plots"].as_u64().unwrap() >= 10, "{report}");
}

/// Figures and plots, how often they are asked for, and what is said when something is wrong.
fn figures(found: &Value) {
    assert_has(&found["tiles"], &["p95", "Documents", "26", "Cache hits"]);
    assert_has(
        &found["facts"],
        &["all-MiniLM-L6-v2", "embedded", "none: nobody needs one"],
    );
    let plots = found["plots"].as_array().unwrap();
    assert_eq!(plots.len(), 3);
    assert_has(
        &plots[0]["words"],
        &["Latency of queries of the last 15 minutes: p50", "p99"],
    );
    assert_has(&plots[2]["words"], &["rejected (4xx)", "at most 1"]);
    for plot in plots {
        assert!(plot["colours"].as_u64().unwrap() > 10, "{plot}");
    }
    let polls = &found["polls"];
    assert!(
        (1..=4).contains(&polls["seen"].as_u64().unwrap()),
        "{polls}"
    );
    assert_eq!(polls["hidden"], 0, "a page that nobody sees asks nothing");
    assert_has(
        &found["mistake"],
        &[
            "422 Unprocessable",
            "`top_k` must be 1 to 100",
            "request id",
        ],
    );
    let snapshot = [
        "banner",
        "main:",
        "heading \"Overview\"",
        "navigation \"Sections\"",
        "img \"Latency of queries",
        "textbox \"Question\"",
        "combobox \"Collection\"",
        "table",
        "contentinfo",
    ];
    assert_has(&found["snapshot"], &snapshot);
    assert_has(&found["lost"][0], &["No answer", "trying again in 4 s"]);
    assert_has(&found["lost"][1], &["trying again in 8 s"]);
    assert_has(&found["unanswered"], &["the daemon cannot be reached"]);
}

fn by_keys(keys: &Value) {
    assert_has(&keys["skip"], &["A#.skip"]);
    assert_has(&keys["box"], &["TEXTAREA#question"]);
    assert_has(&keys["said"], &["An answer with", "citation"]);
    assert_has(&keys["answer"], &["hold hands", "[1]"]);
    assert_has(
        &keys["timings"],
        &["embedding", "search", "total", "request id"],
    );
    assert_ne!(keys["outline"], "none", "the focus can be seen");
    let citation = &keys["citation"];
    assert_eq!(
        (&citation["tag"], &citation["open"]),
        (&json!("SUMMARY"), &json!(true))
    );
    assert_has(&citation["item"], &["citation-"]);
    assert_has(&citation["excerpt"], &["drift"]);
    assert_has(&citation["score"], &["score ", "."]);
    assert_has(&keys["back"], &["A#.footnote"]);
}

#[test]
fn a_browser_gives_the_key_and_shows_what_the_key_may_see() {
    let home = Home::new();
    let reader = key(&home, "reader", &[]);
    let tenant = key(&home, "tenant", &["--collection", "theirs"]);
    record(
        &home,
        "20261118T090640Z-nightly-1f0c2d3e",
        &Synthetic::quiet(70),
    );
    let daemon = home.serve(&[]);
    for (collection, source) in [("default", "ours.md"), ("theirs", "theirs.md")] {
        home.write(source, format!("# {source}\n\nA kettle.\n"));
        home.alfred(&["ingest", source, "--collection", collection])
            .expect(0);
    }
    let page = get(&daemon, "/");
    assert!(body(&page).contains("data-keys=\"yes\""));
    let found = browse("console_keys.cjs", &[&url(&daemon), &reader, &tenant]);
    assert_eq!(found["errors_with_key"], json!([]), "{found}");
    assert_eq!(found["violations"], json!([]));
    assert_has(&found["asks"], &["This daemon asks for a key", "API key"]);
    assert_has(
        &found["before"],
        &[
            "Figures are shown for a key",
            "Questions are answered for a key",
            "Documents are shown for a key",
            "Soak runs are shown for a key",
        ],
    );
    assert_has(&found["after"], &["ours.md", "PASS", "p95"]);
    let kept = |name: &str| found[name].as_str().unwrap().contains(&reader);
    assert!(!kept("kept") && kept("kept_ticked") && !kept("kept_forgotten"));
    let forgotten = found["forgotten"].as_str().unwrap();
    assert!(
        !forgotten.contains("ours.md") && !forgotten.contains("PASS"),
        "{forgotten}"
    );
    assert_has(&found["report"]["title"], &["PASS"]);
    assert_eq!(found["report"]["origin"], "null");
    assert!(found["report"]["canvases"].as_u64().unwrap() >= 5);
    assert_has(&found["wrong"], &["The key was refused"]);
    let bound = &found["bound"];
    assert_has(&bound["overview"], &["bound to collections"]);
    assert_has(&bound["runs"], &["not shown"]);
    assert_has(&bound["documents"], &["theirs.md"]);
    assert_eq!(
        (&bound["errors"], &bound["violations"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn a_browser_says_what_is_missing_and_what_failed() {
    let home = Home::new();
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("POSTGRES_DSN", "postgresql://alfred@127.0.0.1:1/alfred");
    let daemon = Daemon::start(command);
    let found = browse("console_state.cjs", &[&url(&daemon)]);
    assert_has(&found["state"], &["Not ready: store:"]);
    assert_has(&found["title"], &["!"]);
    assert_has(&found["spoken"], &["Not ready: store:"]);
    assert_has(&found["store"], &["cannot be reached"]);
    assert_has(
        &found["documents"],
        &["503 Service Unavailable", "kind search_error", "request id"],
    );
}
