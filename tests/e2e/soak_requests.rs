//! What a soak sends, and what it holds answers against: stages, query sets, paths, https, checks.

use crate::soak_bench::{Bench, Ran};
use crate::soak_target::{Behaviour, TestTarget};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

fn at_once() -> TestTarget {
    let delay = Duration::ZERO;
    TestTarget::start(Behaviour::Steady { delay })
}

#[test]
fn stages_ramp_up_hold_and_step_down() {
    let (bench, target) = (Bench::new(), at_once());
    let flags = "--stage 2s:100 --stage 1s:100 --stage 0:20 --stage 1s:20 --window 500ms";
    let ran = bench.soak("stages", &target.url(), flags);
    ran.assert_sound(220);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let due: Vec<u64> = ran
        .windows()
        .iter()
        .map(|window| window["counts"]["due"].as_u64().unwrap())
        .collect();
    assert_eq!(due.len(), 8);
    assert!(
        due[..4].is_sorted() && due[0] <= 8 && due[3] >= 40,
        "{due:?}"
    );
    assert_eq!(due[4..], [50, 50, 10, 10], "{due:?}");
    assert!(
        ran.stdout.contains("stages 0 → 100 → 100 → 20 → 20/s"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_count_ends_the_run() {
    let (bench, target) = (Bench::new(), at_once());
    let ran = bench.soak("count", &target.url(), "--qps 200 --count 150");
    ran.assert_sound(150);
    assert_eq!((ran.code, target.bodies().len()), (0, 150));
}

#[test]
fn query_sets_of_json_and_csv_fill_bodies_and_paths() {
    let (bench, target) = (Bench::new(), at_once());
    fs::write(
        bench.path("set.jsonl"),
        "{\"query\": \"a \\\"b\\\"\", \"filter\": {\"lang\": \"en\"}}\n{\"query\": \"c\", \"filter\": null}\n",
    )
    .unwrap();
    fs::write(bench.path("set.csv"), "id,query\n7,x&y\n8,\"p, q\"\n").unwrap();
    let url = target.url();
    let run = |name: &str, more: &[&str]| {
        let path = bench.path(name);
        let mut arguments = vec!["soak", "--qps", "100", "--count", "4", "--out"];
        arguments.push(path.to_str().unwrap());
        arguments.extend(more);
        let output = bench.command(&arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(
        "json",
        &[
            "--target",
            &url,
            "--queries",
            "set.jsonl",
            "--body",
            "{\"q\": \"{{query}}\", \"f\": {{filter}}}",
        ],
    );
    let bodies: BTreeSet<String> = target.bodies().into_iter().collect();
    let expected = [
        "{\"q\": \"a \\\"b\\\"\", \"f\": {\"lang\":\"en\"}}",
        "{\"q\": \"c\", \"f\": null}",
    ];
    assert_eq!(bodies, expected.map(str::to_owned).into());

    let in_path = format!("{url}/{{{{id}}}}?q={{{{query}}}}");
    run(
        "csv",
        &[
            "--target",
            &in_path,
            "--queries",
            "set.csv",
            "--method",
            "GET",
            "--shuffle",
        ],
    );
    let paths: BTreeSet<String> = target.paths()[4..].iter().cloned().collect();
    let expected = [
        "GET /v1/query/7?q=x%26y HTTP/1.1",
        "GET /v1/query/8?q=p%2C%20q HTTP/1.1",
    ];
    assert_eq!(paths, expected.map(str::to_owned).into());
    assert!(target.bodies()[4..].iter().all(String::is_empty));
}

#[test]
fn answers_are_held_against_checks() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Alfred);
    let run = |name: &str, checks: &[&str]| {
        let path = bench.path(name);
        let mut arguments = vec!["soak", "--target"];
        let url = target.url();
        arguments.extend([
            url.as_str(),
            "--queries",
            "queries.txt",
            "--qps",
            "50",
            "--count",
            "20",
            "--out",
        ]);
        arguments.push(path.to_str().unwrap());
        for check in checks {
            arguments.extend(["--check", check]);
        }
        let output = bench.command(&arguments).output().unwrap();
        Ran::of(&output, path.clone())
    };
    let good = run(
        "good",
        &[
            "/usage/embedding_tokens >= 3",
            "/citations == []",
            "contains citations",
            "size <= 1KiB",
        ],
    );
    assert_eq!(good.code, 0, "{}", good.stderr);
    let bad = run("bad", &["/usage", "/answer"]);
    assert_eq!(bad.code, 99, "{}", bad.stderr);
    assert_eq!(bad.verdict()["errors_by_kind"]["check"], 20);
    assert_eq!(
        bad.verdict()["errors_by_cause"]["the answer fails the check /answer"],
        20
    );
    let half = run("half", &["/usage/embedding_cached == true"]);
    assert_eq!(half.verdict()["errors_by_kind"]["check"], 10);
    let large = run("large", &["size <= 10B"]);
    assert_eq!(large.verdict()["errors_by_kind"]["body_too_large"], 20);
}

#[test]
fn connections_are_limited_and_what_waits_for_one_is_charged_to_the_target() {
    let bench = Bench::new();
    let delay = Duration::from_millis(100);
    let target = TestTarget::start(Behaviour::Steady { delay });
    let ran = bench.soak(
        "limited",
        &target.url(),
        "--qps 40 --duration 2s --connections 2",
    );
    ran.assert_sound(80);
    assert_eq!(target.connections(), 2);
    // Two connections serve 20/s: half of what is due waits, up to 2 s.
    let verdict = ran.verdict();
    let p95_ms = verdict["response_ms"]["p95"].as_f64().unwrap();
    assert!(p95_ms > 1_000.0, "{p95_ms}");
    assert!(verdict["lag_ms"]["p99"].as_f64().unwrap() < 50.0);
    assert_eq!(ran.code, 99, "{}", ran.stderr);
}

#[test]
fn an_answer_that_is_cut_off_is_a_reset() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Half);
    let ran = bench.soak("half", &target.url(), "--qps 50 --count 20");
    ran.assert_sound(20);
    assert_eq!(ran.verdict()["errors_by_kind"]["reset"], 20);
}

#[test]
fn a_host_without_an_address_is_a_connect_error() {
    let bench = Bench::new();
    let ran = bench.soak("dns", "http://nonesuch.invalid/", "--qps 20 --count 10");
    ran.assert_sound(10);
    assert_eq!(
        ran.verdict()["errors_by_kind"]["connect"],
        10,
        "{}",
        ran.stderr
    );
}

/// The name of the target has an address, then none, then one again.
#[test]
fn a_name_whose_address_comes_and_goes_costs_what_was_due_meanwhile() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting another /etc/hosts needs root");
        return;
    }
    let bench = Bench::new();
    // Closes every connection, so that the name is looked up for each request.
    let target = TestTarget::start(Behaviour::Closing);
    let script = r#"
        echo '127.0.0.1 flapping.test' >known
        cat known >hosts
        mount --bind hosts /etc/hosts || exit 90
        "$ALFRED" soak --target "http://flapping.test:$PORT/" --queries queries.txt --qps 20 \
            --duration 3s --window 500ms --threshold p95\<30s --threshold error_rate\<99% --out run 2>said >told &
        pid=$!
        lines() { cat run/windows.jsonl 2>/dev/null | wc -l; }
        until [ "$(lines)" -ge 2 ]; do sleep 0.05; done
        : >hosts
        until grep -q '"connect"' run/windows.jsonl; do sleep 0.05; done
        cat known >hosts
        wait $pid
        echo "soak: $?"
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .current_dir(bench.path(""))
        .env("ALFRED", env!("CARGO_BIN_EXE_alfred"))
        .env("PORT", target.address.port().to_string())
        .output()
        .unwrap();
    let said = fs::read_to_string(bench.path("said")).unwrap_or_default();
    let ran = Ran::of(&output, bench.path("run"));
    assert!(ran.stdout.contains("soak: 0"), "{}\n{said}", ran.stdout);
    ran.assert_sound(60);
    assert_eq!(
        ran.verdict()["errors_by_kind"]["connect"],
        ran.count("error")
    );
    assert!((1..60).contains(&ran.count("error")), "{said}");
    let windows = ran.windows();
    let (first, last) = (&windows[0], &windows[5]);
    assert_eq!(
        (&first["counts"]["ok"], &last["counts"]["ok"]),
        (&10.into(), &10.into())
    );
}

#[test]
fn an_answer_after_the_timeout_is_given_to_no_other_request() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(300),
    });
    let flags = "--qps 20 --count 20 --timeout 100ms --connections 1";
    let ran = bench.soak("late", &target.url(), flags);
    ran.assert_sound(20);
    assert_eq!(ran.verdict()["errors_by_kind"]["timeout"], 20);
}

#[test]
fn a_query_set_of_one_huge_line_is_refused_at_once() {
    let bench = Bench::new();
    let file = fs::File::create(bench.path("huge.txt")).unwrap();
    file.set_len(1 << 30).unwrap();
    for name in ["huge.txt", "huge.csv", "huge.jsonl"] {
        fs::rename(bench.path("huge.txt"), bench.path(name)).unwrap();
        let flags = [
            "soak",
            "--target",
            "http://127.0.0.1:9/",
            "--qps",
            "1",
            "--count",
            "1",
            "--queries",
            name,
        ];
        let output = bench.command(&flags).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("is larger than"), "{stderr}");
        fs::rename(bench.path(name), bench.path("huge.txt")).unwrap();
    }
}

#[test]
fn a_template_that_is_wrong_is_refused() {
    let bench = Bench::new();
    for (body, problem) in [
        ("{{query", "without }}"),
        ("{{}}", "without a name"),
        ("{{nonesuch}}", "no column \"nonesuch\"; it has query"),
    ] {
        let flags = [
            "soak",
            "--target",
            "http://127.0.0.1:9/",
            "--qps",
            "1",
            "--count",
            "1",
            "--queries",
            "queries.txt",
            "--body",
            body,
        ];
        let output = bench.command(&flags).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(problem), "{stderr}");
    }
}

#[test]
fn https_trusts_whom_it_is_told_to() {
    let (bench, target) = (Bench::new(), at_once());
    let authority = Authority::new(&bench.path("our-authority"));
    let other = Authority::new(&bench.path("other-authority"));
    let front = TlsFront::start(&authority, &target);
    let url = front.url("localhost");
    let soak = |name: &str, url: &str, more: &str| {
        bench.soak(name, url, &format!("--qps 40 --count 20 {more}"))
    };
    let ca = authority.ca.display();
    let trusted = soak("trusted", &url, &format!("--ca-file {ca}"));
    trusted.assert_sound(20);
    assert_eq!(trusted.code, 0, "{}", trusted.stderr);
    assert_eq!(soak("insecure", &url, "--insecure").code, 0);
    let by_address = soak(
        "address",
        &front.url("127.0.0.1"),
        &format!("--ca-file {ca}"),
    );
    let refused = [
        by_address,
        soak("system", &url, ""),
        soak("other", &url, &format!("--ca-file {}", other.ca.display())),
    ];
    for ran in refused {
        assert_eq!(ran.code, 99, "{}", ran.stderr);
        assert_eq!(ran.verdict()["errors_by_kind"]["tls"], 20, "{}", ran.stdout);
    }
    let certificates = format!("--ca-file {}", authority.key.display());
    let key = soak("key", &url, &certificates);
    assert!(
        key.stderr.contains("holds no certificate in PEM")
            && key.stderr.contains("not that of a key"),
        "{}",
        key.stderr
    );
    let plain = soak("plain", &url.replace("https", "http"), "");
    let told = "where the server speaks TLS the address begins with https://";
    assert!(plain.stderr.contains(told), "{}", plain.stderr);
    let own = TlsFront::start(
        &Authority {
            ca: authority.ca.clone(),
            certificate: authority.ca.clone(),
            key: authority.ca.with_file_name("ca.key"),
        },
        &target,
    );
    let own = soak("own", &own.url("localhost"), &format!("--ca-file {ca}"));
    assert!(
        own.stderr.contains("(self-signed, CA:TRUE)") && own.stderr.contains("--insecure"),
        "{}",
        own.stderr
    );
    assert!(own.stdout.contains("CA:TRUE"), "{}", own.stdout);
    let missing = soak("missing", &url, "--ca-file none.pem");
    assert!(
        missing.stderr.contains("cannot read ca_file /") && missing.stderr.contains("/none.pem"),
        "{}",
        missing.stderr
    );
}

/// An authority that made a certificate for `localhost`.
struct Authority {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command.args(arguments.split(' ')).current_dir(folder);
            let done = command.output().expect("openssl is installed");
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {new_key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
        ));
        openssl(&format!(
            "req {new_key} -subj /CN=localhost -keyout key.pem -out request.pem"
        ));
        fs::write(folder.join("names"), "subjectAltName=DNS:localhost").unwrap();
        openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
             -out certificate.pem",
        );
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        }
    }
}

/// Speaks TLS before a server that does not.
struct TlsFront {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl TlsFront {
    fn start(authority: &Authority, target: &TestTarget) -> Self {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_file_iter(&authority.certificate).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&authority.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("localhost:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = target.address;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut outer = acceptor.accept(stream).await?;
                    let mut inner = tokio::net::TcpStream::connect(address).await?;
                    tokio::io::copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
        Self {
            port,
            _runtime: runtime,
        }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.port)
    }
}
