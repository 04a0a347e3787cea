//! The server's own histogram beside what a soak measured, asked of a real Prometheus.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::monitoring::prometheus::{Prometheus, exporter};
use crate::soak_bench::{Bench, Ran, within_attempts};
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::{Home, PATIENCE, eventually};
use alfred::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A Prometheus that scrapes `address`, and has done so.
fn scraping(address: &str) -> Prometheus {
    let target = format!("      - targets: [\"{address}\"]");
    let prometheus = Prometheus::start(&[
        ("  scrape_interval: 15s", "  scrape_interval: 500ms"),
        ("      - targets: [\"127.0.0.1:8080\"]", &target),
    ]);
    eventually(PATIENCE, || {
        let seen = prometheus.values("count(retrieval_latency_ms_count{job=\"alfred\"})");
        (seen == [1.0]).then_some(())
    });
    prometheus
}

fn checked(prometheus: &Prometheus, flags: &str) -> String {
    let url = prometheus.url();
    format!("--no-recorder --prometheus {url} --prometheus-selector job=\"alfred\" {flags}")
}

/// A histogram as alfred has it with two bounds in ms: all queries took more than the first and at most the
/// second, and got 200.
fn histogram(queries: usize, bounds_ms: [f64; 2]) -> String {
    let mut text = "# TYPE retrieval_latency_ms histogram\n".to_owned();
    for (le, count) in bounds_ms.into_iter().zip([0, queries]) {
        writeln!(text, "retrieval_latency_ms_bucket{{le=\"{le}\"}} {count}").unwrap();
    }
    writeln!(
        text,
        "retrieval_latency_ms_bucket{{le=\"+Inf\"}} {queries}\nretrieval_latency_ms_sum {queries}\n\
         retrieval_latency_ms_count {queries}\n# TYPE retrieval_requests_total counter\n\
         retrieval_requests_total{{status=\"200\"}} {queries}\n\
         retrieval_requests_total{{status=\"503\"}} 0"
    )
    .unwrap();
    text
}

/// A target that answers after `delay`, and an exporter that says that each query took 1 to 5 ms.
fn claiming(delay: Duration) -> (Arc<TestTarget>, String) {
    let target = Arc::new(TestTarget::start(Behaviour::Steady { delay }));
    let asked = Arc::clone(&target);
    let address = exporter(move || histogram(asked.bodies().len(), [1.0, 5.0]));
    (target, address)
}

fn server(ran: &Ran) -> Value {
    ran.verdict()["server"].clone()
}

fn page(run: &Path) -> String {
    fs::read_to_string(run.join("report.html")).unwrap()
}

#[test]
fn a_daemon_and_its_soak_agree_and_every_report_shows_both() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let document = json!({"source": "a.md", "content": "# p95\n\np95 is the 95th percentile.\n"});
    let stored = daemon.request("POST", "/v1/documents", Some(&document));
    assert_eq!(stored.0, 200);
    let prometheus = scraping(&daemon.endpoint.authority());
    let bench = Bench::new();
    fs::write(bench.path("r.tsv"), "What is p95?\ta.md\n").unwrap();
    let scenario = format!(
        "relevance = \"r.tsv\"\n[prometheus]\nurl = \"{}\"\nselector = \'job=\"alfred\"\'\n",
        prometheus.url()
    );
    fs::write(bench.path("s.toml"), scenario).unwrap();
    let flags = "s.toml --qps 20 --duration 4s --window 1s --warmup 600ms --no-recorder --threshold p95<5s \
                 --threshold error_rate<1% --threshold hit_rate>=0.9";
    let url = daemon.endpoint.at("/v1/query").to_string();
    let mut agreed = None;
    // On a busy machine the client may be scheduled later than anything explains.
    within_attempts(3, |number| {
        let ran = bench.soak(&format!("agrees{number}"), &url, flags);
        let told = format!("{} {}{}", server(&ran), ran.stdout, ran.stderr);
        agreed = (ran.code == 0).then_some(ran);
        agreed.is_some().then_some(()).ok_or(told)
    });
    let ran = agreed.unwrap();
    let server = server(&ran);
    assert_eq!(server["status"], "agrees");
    let requests = server["requests"].as_u64().unwrap();
    assert_eq!(server["client_requests"], 80);
    assert!((80..=92).contains(&requests), "{server}");
    assert!(server["from_s"].as_f64().unwrap() <= 0.0, "{server}");
    assert!(server["until_s"].as_f64().unwrap() >= 4.0, "{server}");
    assert_eq!(
        (&server["restarts"], &server["processes"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(server["thresholds"][0]["holds"], true, "{server}");
    assert_eq!(ran.verdict()["hit_rate"], 1.0);
    let row = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("server    "));
    assert!(
        row.unwrap().contains("its own, by Prometheus"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("p95<5s held: "), "{}", ran.stdout);
    let page = page(&ran.run);
    assert!(page.contains("<h2 id=\"server\">") && page.contains("✓ agrees"));
    drop(prometheus);
    let again = bench
        .command(&["report", ran.run.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(again.stdout).unwrap(),
        ran.stdout,
        "from the folder alone"
    );
}

#[test]
fn a_server_that_says_it_was_quicker_makes_the_run_invalid() {
    let (target, metrics) = claiming(Duration::from_millis(200));
    let (bench, prometheus) = (Bench::new(), scraping(&metrics));
    let flags = "--qps 40 --duration 2s --window 1s --threshold p95<5s";
    let ran = bench.soak("quicker", &target.url(), &checked(&prometheus, flags));
    let server = server(&ran);
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"), "{server}");
    assert_eq!(server["status"], "disagrees");
    assert_eq!(server["requests"], 80, "{server}");
    let reasons = ran.verdict()["reasons"].to_string();
    for part in [
        "p95 of the client's service time is ",
        "server's own is 1.00 ms to 5.00 ms",
        "explain ",
    ] {
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
    assert!(page(&ran.run).contains("✗ disagrees"));
    // The same, with what explains it.
    let flags = format!("{flags} --prometheus-allowance 30s");
    let ran = bench.soak("explained", &target.url(), &checked(&prometheus, &flags));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    // And while somebody else asks it, too.
    let other = std::thread::scope(|scope| {
        let noise = scope.spawn(|| {
            let flags = "--qps 100 --duration 3s --threshold p95<5s --no-recorder";
            Bench::new().soak("noise", &target.url(), flags)
        });
        let ran = bench.soak("beside", &target.url(), &checked(&prometheus, &flags));
        assert_eq!(noise.join().unwrap().code, 0);
        ran
    });
    assert_eq!(other.code, 98);
    assert!(
        other.stderr.contains("and the soak made 80: other load"),
        "{}",
        other.stderr
    );
}

#[test]
fn a_check_that_cannot_be_made_makes_the_run_invalid() {
    let (target, metrics) = claiming(Duration::from_millis(2));
    let (bench, prometheus) = (Bench::new(), scraping(&metrics));
    let load = "--qps 40 --duration 1s --threshold p95<5s --no-recorder";
    let from = SystemClock.monotonic();
    let url = prometheus.url();
    let nobody = format!("{load} --prometheus {url} --prometheus-selector job=\"nobody\"");
    let ran = bench.soak("nobody", &target.url(), &nobody);
    assert_eq!(
        (ran.code, ran.last_line()),
        (98, "INVALID"),
        "{}",
        ran.stderr
    );
    let told = "were not checked: ";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("retrieval_latency_ms{job=\"nobody\"}"),
        "{}",
        ran.stderr
    );
    assert_eq!(server(&ran)["status"], "not checked");
    drop(prometheus);
    let ran = bench.soak("away", &target.url(), &format!("{load} --prometheus {url}"));
    assert_eq!((ran.code, ran.last_line()), (98, "INVALID"));
    assert!(ran.stderr.contains("(tried 4 times)"), "{}", ran.stderr);
    let other = format!("{load} --prometheus {}", target.url());
    let ran = bench.soak("other", &target.url(), &other);
    assert!(
        ran.stderr.contains("the answer is none of a Prometheus"),
        "{}",
        ran.stderr
    );
    let took = SystemClock.monotonic() - from;
    assert!(took < Duration::from_mins(3), "{took:?}");
    for (flags, told) in [
        (
            "--qps 1 --duration 1s --prometheus-selector job=\"a\"",
            "--prometheus URL",
        ),
        ("--prometheus http://a --prometheus-selector job", "label"),
        ("--prometheus http://a --find-capacity", "--find-capacity"),
    ] {
        let ran = bench.soak("never", &target.url(), flags);
        assert_eq!(ran.code, 2, "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{flags}: {}", ran.stderr);
    }
}

#[test]
fn neither_a_restart_of_the_target_nor_a_resumed_run_is_a_disagreement() {
    let target = Arc::new(TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(20),
    }));
    let (asked, forgotten) = (Arc::clone(&target), Arc::new(AtomicUsize::new(0)));
    let before = Arc::clone(&forgotten);
    let metrics = exporter(move || {
        let queries = asked.bodies().len() - before.load(Ordering::Relaxed);
        histogram(queries, [1.0, 5_000.0])
    });
    let (bench, prometheus) = (Bench::new(), scraping(&metrics));
    let flags = checked(
        &prometheus,
        "--qps 40 --duration 8s --window 250ms --queries queries.txt --threshold p95<5s",
    );
    let url = target.url();
    let mut child = bench
        .command(&["soak", "--target", &url, "--out", "cut"])
        .args(flags.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = bench.path("cut");
    eventually(PATIENCE, || {
        let windows = fs::read_to_string(run.join("windows.jsonl")).ok()?;
        (windows.lines().count() >= 8).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // Prometheus has seen the last of them: what it has not seen is lost in a restart.
    eventually(PATIENCE, || {
        let seen = prometheus.values("max(retrieval_latency_ms_count{job=\"alfred\"})");
        let sent = f64::from(u32::try_from(target.bodies().len()).unwrap());
        (seen == [sent]).then_some(())
    });
    forgotten.store(target.bodies().len(), Ordering::Relaxed);
    let resumed = bench
        .command(&["soak", "--resume", "cut"])
        .output()
        .unwrap();
    let ran = Ran::of(&resumed, run);
    let server = server(&ran);
    assert_eq!(server["status"], "agrees", "{server}\n{}", ran.stderr);
    assert_eq!(server["restarts"], 1, "{server}");
    let requests = server["requests"].as_u64().unwrap();
    assert_eq!(
        requests,
        target.bodies().len() as u64,
        "all that it was sent: {server}"
    );
}
