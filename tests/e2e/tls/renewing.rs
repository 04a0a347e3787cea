//! Another certificate while the daemon serves.

use super::authority::Authority;
use super::client::{ANY, Secure};
use super::{configure, configure_pair, port, put, reload, served};
use crate::soak_bench::Bench;
use crate::support::{Home, PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[test]
fn a_renewed_certificate_is_served_after_a_reload_and_connections_go_on() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "");
    let port = port(&daemon);
    let connect = || Secure::connect(port, &authority.ca, &ANY).unwrap();
    let mut before = connect();
    assert_eq!(before.get("/healthz").unwrap(), 200);
    assert_eq!(
        reload(&home).expect(0).json()["changed"],
        json!([]),
        "the same certificate is no change"
    );
    put(&home, &authority, "second");
    assert_eq!(
        connect().fingerprint(),
        before.fingerprint(),
        "nobody has asked for a reload yet"
    );
    let told = reload(&home).expect(0).json();
    assert_eq!(told["changed"], json!(["server.tls_cert"]), "{told}");
    let after = connect().fingerprint();
    assert_ne!(after, before.fingerprint());
    assert_eq!(before.get("/healthz").unwrap(), 200, "it goes on");

    // By signal, and from other files.
    authority.issue("third", 90);
    configure_pair(&home, "authority/third.pem", "authority/third.key");
    let pid = Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    eventually(PATIENCE, || {
        (connect().fingerprint() != after).then_some(())
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_broken_pair_is_refused_and_the_old_one_served() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "");
    let port = port(&daemon);
    let shown = || {
        Secure::connect(port, &authority.ca, &ANY)
            .unwrap()
            .fingerprint()
    };
    let first = shown();
    let other = authority.issue("other", 90);
    std::fs::copy(&other.certificate, home.path().join("cert.pem")).unwrap();
    let refused = reload(&home).expect(1).stderr;
    assert!(
        refused.contains("key.pem does not belong to the first certificate in cert.pem"),
        "{refused}"
    );
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert_eq!(status["reload"]["successful"], false, "{status}");
    assert_eq!(status["tls"]["sha256"], first.as_str(), "{status}");
    std::fs::write(home.path().join("key.pem"), "half of a ke").unwrap();
    let refused = reload(&home).expect(1).stderr;
    assert!(
        refused.contains("key.pem holds no private key"),
        "{refused}"
    );
    assert_eq!(shown(), first);
    std::fs::copy(&other.key, home.path().join("key.pem")).unwrap();
    reload(&home).expect(0);
    assert_ne!(shown(), first);
    // Without the keys it would be plain HTTP, which is for a start alone.
    home.write("alfred.toml", "[server]\nlisten = [\"127.0.0.1:0\"]\n");
    let told = reload(&home).expect(0).json();
    let both = json!(["server.tls_cert", "server.tls_key"]);
    assert_eq!(told["needs_restart"], both, "{told}");
    assert_ne!(shown(), first);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn renewals_under_load_fail_no_request() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "max_in_flight = 8\n");
    let bench = Bench::new();
    let url = format!("https://localhost:{}/v1/query", port(&daemon));
    let flags = format!(
        "--qps 40 --duration 6s --window 1s --connections 8 --ca-file {} --no-recorder \
         --threshold error_rate<0.0001% --threshold p95<5s",
        authority.ca.display()
    );
    let (ran, renewals, seen) = std::thread::scope(|scope| {
        let soak = scope.spawn(|| bench.soak("renewed", &url, &flags));
        let mut seen = std::collections::BTreeSet::new();
        let mut renewals = 0;
        while !soak.is_finished() {
            put(&home, &authority, &format!("renewal-{renewals}"));
            configure(&home, &format!("max_in_flight = {}\n", 8 + renewals % 2));
            reload(&home).expect(0);
            renewals += 1;
            let client = Secure::connect(port(&daemon), &authority.ca, &ANY).unwrap();
            seen.insert(client.fingerprint());
        }
        (soak.join().unwrap(), renewals, seen.len())
    });
    assert!(renewals >= 3 && seen == renewals, "{renewals}, {seen} seen");
    ran.assert_sound(240);
    assert_eq!(ran.count("ok"), 240, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(daemon.stop(), 0);
}
