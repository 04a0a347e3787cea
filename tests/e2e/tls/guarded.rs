//! TLS and API keys in one daemon: who comes in over TLS, and both renewed by one reload.

use super::authority::Authority;
use super::client::{ANY, Secure};
use super::{port, put, reload};
use crate::access::key;
use crate::support::{Daemon, Done, Home, finish};
use serde_json::json;

/// Reached from beyond this machine, under one name alone.
const OPEN: &str = "[server]\nlisten = [\"0.0.0.0:0\"]\nallowed_hosts = [\"localhost\"]\n\
    tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";

struct Guarded {
    home: Home,
    authority: Authority,
}

impl Guarded {
    fn new() -> Self {
        let home = Home::new();
        let authority = Authority::new(&home.path().join("authority"));
        put(&home, &authority, "first");
        home.write("alfred.toml", OPEN);
        Self { home, authority }
    }

    fn serve(&self) -> Daemon {
        Daemon::start(self.home.command(&["serve", "--config", "alfred.toml"]))
    }

    fn connect(&self, daemon: &Daemon) -> Secure {
        Secure::connect(port(daemon), &self.authority.ca, &ANY).unwrap()
    }

    /// The status that the holder of a key gets over TLS, "" being no key.
    fn status(&self, daemon: &Daemon, key: &str) -> u16 {
        let headers = match key {
            "" => "host: localhost\r\n".to_owned(),
            key => format!("host: localhost\r\nauthorization: Bearer {key}\r\n"),
        };
        let mut client = self.connect(daemon);
        client.get_with("/v1/collections", &headers).unwrap()
    }

    /// A command with a key in its environment.
    fn with_key(&self, key: &str, arguments: &[&str]) -> Done {
        let mut command = self.home.command(arguments);
        command.env("ALFRED_API_KEY", key);
        finish(command.spawn().unwrap())
    }
}

#[test]
fn tls_alone_opens_the_daemon_to_nobody() {
    let guarded = Guarded::new();
    let home = &guarded.home;
    for verb in [&["serve"][..], &["serve", "--check"], &["config", "check"]] {
        let refused = home.alfred(&[verb, &["--config", "alfred.toml"]].concat());
        let told = refused.expect(78).stderr;
        assert!(told.contains("open to others"), "{verb:?}: {told}");
    }
    let app = key(home, "app", &[]);
    let daemon = guarded.serve();
    let status = |key: &str| guarded.status(&daemon, key);
    assert_eq!((status(""), status("wrong"), status(&app)), (401, 401, 200));
    let mut client = guarded.connect(&daemon);
    assert_eq!(client.get("/readyz").unwrap(), 200, "a probe");
    let elsewhere = format!("host: rebound.example\r\nauthorization: Bearer {app}\r\n");
    let refused = client.get_with("/v1/collections", &elsewhere).unwrap();
    assert_eq!(refused, 403, "under another name");

    std::fs::rename(
        home.path().join("store/keys.toml"),
        home.path().join("aside"),
    )
    .unwrap();
    let told = reload(home).expect(1).stderr;
    assert!(told.contains("open to others"), "{told}");
    // Another address waits for a start: until then others come in through this one.
    home.write("alfred.toml", OPEN.replace("0.0.0.0", "127.0.0.1"));
    let told = reload(home).expect(1).stderr;
    let where_it_is = format!("https://0.0.0.0:{} is open to others", port(&daemon));
    assert!(told.contains(&where_it_is), "{told}");
    assert_eq!((status(""), status(&app)), (401, 200));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn commands_say_whom_they_trust_and_who_they_are() {
    let guarded = Guarded::new();
    let home = &guarded.home;
    let loader = key(home, "loader", &["--role", "write"]);
    let daemon = guarded.serve();
    let url = format!("https://localhost:{}", port(&daemon));
    let ca = guarded.authority.ca.to_str().unwrap();
    home.write("key", &loader);
    home.write("docs/otters.md", "# Otters\n\nOtters hold hands.\n");
    let by_file = ["--url", &url, "--insecure", "--api-key-file", "key"];
    home.alfred(&[&["ingest", "docs"][..], &by_file].concat())
        .expect(0);
    let by_authority = ["--url", &url, "--ca-file", ca, "--json"];
    let query = [&["query", "who holds hands?"][..], &by_authority].concat();
    let answer = guarded.with_key(&loader, &query).expect(0).json();
    assert_eq!(
        answer["citations"][0]["source"], "docs/otters.md",
        "{answer}"
    );
    let status = [&["status"][..], &by_authority].concat();
    let told = guarded.with_key(&loader, &status).expect(0).json();
    assert_eq!(
        (&told["access"]["keys"], &told["tls"]["expires_in_days"]),
        (&json!(1), &json!(89))
    );
    let refused = home.alfred(&status).expect(1).stderr;
    assert!(
        refused.contains("401") && refused.contains("hint: give a key"),
        "{refused}"
    );
    let refused = guarded
        .with_key(&loader, &["status", "--url", &url])
        .expect(1)
        .stderr;
    assert!(refused.contains("hint: name the authority"), "{refused}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn certificate_and_keys_change_in_one_reload_or_neither_does() {
    let guarded = Guarded::new();
    let home = &guarded.home;
    let old = key(home, "old", &[]);
    let daemon = guarded.serve();
    let status = |key: &str| guarded.status(&daemon, key);
    let shown = || guarded.connect(&daemon).fingerprint();
    let first = shown();
    put(home, &guarded.authority, "second");
    let new = key(home, "new", &["--no-reload"]);
    home.alfred(&["key", "revoke", "old", "--no-reload"])
        .expect(0);
    assert_eq!((status(&old), status(&new)), (200, 401), "not yet");
    // A certificate without its key keeps the keys, too.
    let whole = std::fs::read(home.path().join("key.pem")).unwrap();
    home.write("key.pem", "half of a ke");
    let told = reload(home).expect(1).stderr;
    assert!(told.contains("key.pem holds no private key"), "{told}");
    assert_eq!((status(&old), status(&new)), (200, 401));
    assert_eq!(shown(), first);
    std::fs::write(home.path().join("key.pem"), whole).unwrap();
    let told = reload(home).expect(0).json();
    assert_eq!(
        told["changed"],
        json!(["server.keys_file", "server.tls_cert"]),
        "{told}"
    );
    assert_eq!((status(&old), status(&new)), (401, 200));
    assert_ne!(shown(), first);
    assert_eq!(daemon.stop(), 0);
}
