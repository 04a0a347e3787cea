//! Files that cannot be served, and those that can though they should not be.

use super::authority::Authority;
use super::{configure, configure_pair, port, put};
use crate::support::{Daemon, Home, PATIENCE, eventually};
use std::process::Stdio;

#[test]
fn files_that_cannot_be_served_end_the_start_with_the_reason() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    authority.issue("good", 90);
    authority.issue("other", 90);
    authority.openssl("pkey -in good.key -aes256 -passout pass:x -out locked.key");
    home.write("authority/cut.pem", {
        let whole = std::fs::read_to_string(home.path().join("authority/good.pem")).unwrap();
        let line = whole.lines().nth(3).unwrap().to_owned();
        whole.replace(&line, "AAAA")
    });
    for (certificate, key, reason) in [
        (
            "missing.pem",
            "good.key",
            "cannot read authority/missing.pem",
        ),
        (
            "good.pem",
            "missing.key",
            "cannot read authority/missing.key",
        ),
        (
            "good.pem",
            "other.key",
            "other.key does not belong to the first certificate in",
        ),
        (
            "ca.pem",
            "good.key",
            "good.key does not belong to the first certificate in",
        ),
        (
            "good.key",
            "good.key",
            "good.key holds no certificate in PEM",
        ),
        (
            "good.pem",
            "good.pem",
            "good.pem holds no private key in PEM",
        ),
        ("good.pem", "locked.key", "locked.key is encrypted"),
        ("cut.pem", "good.key", "cut.pem is damaged"),
        ("", "good.key", "`server.tls_cert` is not set"),
        ("good.pem", "", "`server.tls_key` is not set"),
        (".", "good.key", "it is no regular file"),
    ] {
        let place = |name: &str| match name {
            "" => String::new(),
            name => format!("authority/{name}"),
        };
        configure_pair(&home, &place(certificate), &place(key));
        for command in [
            &["serve", "--config", "alfred.toml"][..],
            &["serve", "--check", "--config", "alfred.toml"],
            &["config", "check", "--config", "alfred.toml"],
        ] {
            let refused = home.alfred(command).expect(78).stderr;
            assert!(
                refused.contains(reason) && refused.contains("\nhint: "),
                "{certificate}, {key}: {refused}"
            );
        }
    }
}

#[test]
fn a_certificate_out_of_date_is_served_with_a_warning() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    for (from, until, warning) in [
        (2020, 2021, "the TLS certificate expired on 2021-01-01"),
        (
            2048,
            2049,
            "the TLS certificate is not valid before 2048-01-01",
        ),
    ] {
        let pair = authority.issue_for(&format!("of-{from}"), from, until);
        std::fs::copy(pair.certificate, home.path().join("cert.pem")).unwrap();
        std::fs::copy(pair.key, home.path().join("key.pem")).unwrap();
        configure(&home, "");
        let checked = home
            .alfred(&["config", "check", "--config", "alfred.toml"])
            .expect(0);
        assert!(
            checked.stderr.contains(&format!("warning: {warning}")),
            "{checked:?}"
        );
        let checked = home
            .alfred(&["serve", "--check", "--config", "alfred.toml"])
            .expect(0);
        assert!(
            checked.stderr.contains(&format!("warning: {warning}")),
            "{checked:?}"
        );
        let log = home.path().join("log");
        let mut command = home.command(&["serve", "--config", "alfred.toml"]);
        command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
        let mut child = command.spawn().unwrap();
        eventually(PATIENCE, || {
            let text = std::fs::read_to_string(&log).unwrap();
            text.contains("https://127.0.0.1:").then_some(())
        });
        let text = std::fs::read_to_string(&log).unwrap();
        let line = text.lines().find(|line| line.contains(warning));
        assert!(line.is_some_and(|line| line.contains("WARN")), "{text}");
        let status = eventually(PATIENCE, || {
            let asked = home.alfred(&["status", "--json"]);
            (asked.code == 0).then(|| asked.json())
        });
        let days = status["tls"]["expires_in_days"].as_i64().unwrap();
        assert_eq!(days < 0, from == 2020, "{status}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn credentials_of_systemd_are_served() {
    let home = Home::new();
    let authority = Authority::new(&home.path().join("authority"));
    put(&home, &authority, "first");
    home.write("alfred.toml", "[server]\nlisten = [\"127.0.0.1:0\"]\n");
    let given = home.path().join("credentials");
    std::fs::create_dir(&given).unwrap();
    std::fs::rename(home.path().join("cert.pem"), given.join("tls_cert")).unwrap();
    std::fs::rename(home.path().join("key.pem"), given.join("tls_key")).unwrap();
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.env("CREDENTIALS_DIRECTORY", &given);
    let daemon = Daemon::start(command);
    assert!(port(&daemon) > 0);
    assert_eq!(daemon.request("GET", "/healthz", None).0, 200);
    assert_eq!(daemon.stop(), 0);
}
