//! What is served over TLS, and what stays as it is beside it.

use super::authority::Authority;
use super::client::{ANY, Offer, Secure};
use super::{configure, port, put, served};
use crate::metrics::Scrape;
use crate::support::{Daemon, Home, PATIENCE, eventually};
use crate::systemd::{Manager, passed};
use alfred::clock::{Clock as _, SystemClock};
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use rustls::version::{TLS12, TLS13};
use std::time::UNIX_EPOCH;

#[test]
fn https_is_spoken_in_both_versions_and_local_commands_go_on_as_before() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "");
    let port = port(&daemon);
    for (versions, version) in [(&TLS13, TLSv1_3), (&TLS12, TLSv1_2)] {
        let offer = Offer {
            versions: &[versions],
            ..ANY
        };
        let mut client = Secure::connect(port, &authority.ca, &offer).unwrap();
        assert_eq!(client.agreed(), (version, "http/1.1"));
        assert_eq!(client.get("/healthz").unwrap(), 200);
        assert_eq!(
            client.get("/readyz").unwrap(),
            200,
            "on the same connection"
        );
    }
    let only_h2 = Offer {
        protocols: &["h2"],
        ..ANY
    };
    let refused = Secure::connect(port, &authority.ca, &only_h2);
    let why = refused.err().expect("HTTP/2 is not spoken").to_string();
    assert!(why.to_lowercase().contains("protocol"), "{why}");

    // Over the socket, without TLS.
    home.write("docs/otters.md", "# Otters\n\nOtters hold hands.\n");
    home.alfred(&["ingest", "docs"]).expect(0);
    let status = home.alfred(&["status", "--json"]).expect(0).json();
    assert_eq!(status["tls"]["expires_in_days"], 89, "{status}");
    let shown = Secure::connect(port, &authority.ca, &ANY).unwrap();
    assert_eq!(status["tls"]["sha256"], shown.fingerprint().as_str());
    let expiry = Scrape::of(&daemon).get("alfred_tls_certificate_expiry_timestamp_seconds");
    let now = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap();
    let days = (expiry.unwrap() - now.as_secs_f64()) / 86_400.0;
    assert!((89.9..90.1).contains(&days), "{days}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_command_line_asks_over_https_whom_it_may_trust() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    let daemon = served(&home, &authority, "");
    let url = format!("https://localhost:{}", port(&daemon));
    let ca = authority.ca.to_str().unwrap();
    let asked = home.alfred(&["query", "otters", "--url", &url, "--ca-file", ca, "--json"]);
    assert!(asked.expect(0).json()["citations"].is_array());
    let status = home.alfred(&["status", "--url", &url, "--insecure"]);
    let told = status.expect(0).stdout;
    assert!(told.starts_with(&format!("alfred at {url}\n")), "{told}");
    let refused = home.alfred(&["status", "--url", &url]).expect(1).stderr;
    assert!(
        refused.contains("cannot speak TLS") && refused.contains("hint: name the authority"),
        "{refused}"
    );
    let plain = url.replace("https", "http");
    let refused = home.alfred(&["status", "--url", &plain]).expect(1).stderr;
    assert!(refused.contains("ask over https://"), "{refused}");
    home.alfred(&["status", "--ca-file", ca]).expect(2);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_watchdog_is_fed_though_tls_is_all_there_is() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    put(&home, &authority, "first");
    configure(&home, "");
    // A folder where the socket for local commands would be.
    std::fs::create_dir_all(home.path().join("store/alfred.sock/x")).unwrap();
    let manager = Manager::new(&home);
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.env("NOTIFY_SOCKET", &manager.path);
    command.env("WATCHDOG_USEC", "1000000");
    let daemon = Daemon::start(command);
    eventually(PATIENCE, || (manager.count("WATCHDOG=1") > 2).then_some(()));
    assert_eq!(manager.count("READY=1"), 1, "{:?}", manager.messages());
    assert_eq!(daemon.request("GET", "/readyz", None).0, 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn sockets_that_systemd_passes_speak_tls_too() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    put(&home, &authority, "first");
    configure(&home, "");
    let manager = Manager::new(&home);
    let socket = home.path().join("passed.sock");
    let daemon = passed(&home, &manager, &socket);
    let mut client = Secure::connect(port(&daemon), &authority.ca, &ANY).unwrap();
    assert_eq!(client.get("/readyz").unwrap(), 200);
    assert_eq!(crate::systemd::over(&socket, "/readyz"), 200, "without TLS");
    assert_eq!(daemon.stop(), 0);
}
