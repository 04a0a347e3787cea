//! Where the daemon listens, as what it is asked for, and how often.

use super::{key, reload, socket, to};
use crate::support::{Daemon, Home};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

fn config(home: &Home, text: &str) {
    home.write("alfred.toml", format!("[server]\n{text}\n"));
}

fn serve(home: &Home) -> Daemon {
    Daemon::start(home.command(&["serve", "--config", "alfred.toml"]))
}

fn port(daemon: &Daemon) -> u16 {
    let url = daemon.endpoint.to_string();
    url.rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .parse()
        .unwrap()
}

/// Status and text of a request with this `Host`.
fn asked_as(daemon: &Daemon, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port(daemon))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[test]
fn beyond_loopback_there_are_keys_or_the_word_that_there_need_be_none() {
    let home = Home::new();
    config(&home, "listen = [\"0.0.0.0:0\"]");
    for verb in [&["serve"][..], &["serve", "--check"], &["config", "check"]] {
        let mut all = verb.to_vec();
        all.extend(["--config", "alfred.toml"]);
        let refused = home.alfred(&all).expect(78);
        for says in ["open to others", "alfred key new", "allow_anonymous"] {
            assert!(
                refused.stderr.contains(says),
                "{verb:?}: {}",
                refused.stderr
            );
        }
    }
    let app = key(&home, "app", &[]);
    let daemon = serve(&home);
    let here = format!("http://127.0.0.1:{}", port(&daemon));
    let ask = |key| {
        let mut ask = to(&daemon).with(key);
        ask.endpoint = here.parse().unwrap();
        ask.get("/v1/collections").status
    };
    assert_eq!((ask(""), ask(&app)), (401, 200));
    // Without its keys it would be open.
    let file = home.path().join("store/keys.toml");
    let aside = home.path().join("aside.toml");
    std::fs::rename(&file, &aside).unwrap();
    let refused = reload(&home).expect(1);
    assert!(
        refused.stderr.contains("open to others"),
        "{}",
        refused.stderr
    );
    assert_eq!((ask(""), ask(&app)), (401, 200));
    config(&home, "listen = [\"0.0.0.0:0\"]\nallow_anonymous = true");
    reload(&home).expect(0);
    assert_eq!((ask(""), ask(&app)), (200, 200));
    config(&home, "listen = [\"0.0.0.0:0\"]");
    let refused = reload(&home).expect(1);
    assert!(
        refused.stderr.contains("open to others"),
        "{}",
        refused.stderr
    );
    std::fs::rename(&aside, &file).unwrap();
    reload(&home).expect(0);
    assert_eq!((ask(""), ask(&app)), (401, 200));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_name_that_leads_to_loopback_is_no_way_in() {
    let home = Home::new();
    config(&home, "listen = [\"127.0.0.1:0\"]");
    let daemon = serve(&home);
    let status = |host: &str| asked_as(&daemon, host, "/v1/status").0;
    for good in ["localhost", "127.0.0.1:1", "[::1]"] {
        assert_eq!(status(good), 200, "{good}");
    }
    let (refused, text) = asked_as(&daemon, "rebound.example", "/v1/status");
    assert_eq!(refused, 403);
    assert!(
        text.contains("\"kind\":\"misdirected\"") && text.contains("server.allowed_hosts"),
        "{text}"
    );
    assert_eq!(
        asked_as(&daemon, "rebound.example", "/readyz").0,
        200,
        "a probe"
    );
    config(
        &home,
        "listen = [\"127.0.0.1:0\"]\nallowed_hosts = [\"alfred.example\"]",
    );
    reload(&home).expect(0);
    assert_eq!(
        (status("alfred.example"), status("rebound.example")),
        (200, 403)
    );
    config(
        &home,
        "listen = [\"127.0.0.1:0\"]\nallowed_hosts = [\"http://alfred.example\"]",
    );
    let refused = reload(&home).expect(1);
    assert!(
        refused.stderr.contains("server.allowed_hosts"),
        "{}",
        refused.stderr
    );
    assert_eq!(status("alfred.example"), 200, "the old ones stay");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn over_the_rate_is_429_with_when_to_come_again() {
    let home = Home::new();
    let keys = [key(&home, "a", &[]), key(&home, "b", &[])];
    let listen = "listen = [\"127.0.0.1:0\"]";
    // So slow that no test machine catches up: one a second after three.
    config(
        &home,
        &format!("{listen}\nrate_limit = 1\nrate_limit_burst = 3"),
    );
    let daemon = serve(&home);
    let took = |key: &str| {
        let replies = (0..9).map(|_| to(&daemon).with(key).get("/v1/collections"));
        let replies: Vec<_> = replies.collect();
        let over = replies.iter().find(|reply| reply.status == 429).unwrap();
        assert_eq!(over.kind(), "rate_limited");
        let wait: u64 = over.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(wait, 1);
        replies.iter().filter(|reply| reply.status == 200).count()
    };
    for key in &keys {
        let took = took(key);
        assert!((3..9).contains(&took), "{took} of 9");
    }
    // An address is counted by itself, wherever the limit came from.
    let none: Vec<u16> = (0..9)
        .map(|_| to(&daemon).get("/v1/collections").status)
        .collect();
    assert!(none.contains(&401) && none.contains(&429), "{none:?}");
    for _ in 0..9 {
        assert_eq!(
            to(&daemon).get("/readyz").status,
            200,
            "probes are not counted"
        );
        assert_eq!(
            socket(&home).get("/v1/collections").status,
            200,
            "nor the socket"
        );
    }
    // What was used up is known after a reload.
    config(
        &home,
        &format!("{listen}\nrate_limit = 1\nrate_limit_burst = 2"),
    );
    reload(&home).expect(0);
    let after: Vec<u16> = (0..6)
        .map(|_| to(&daemon).with(&keys[1]).get("/v1/collections").status)
        .collect();
    assert!(after.contains(&429), "{after:?}");
    config(&home, listen);
    reload(&home).expect(0);
    for _ in 0..20 {
        assert_eq!(
            to(&daemon).with(&keys[0]).get("/v1/collections").status,
            200
        );
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_trusted_proxy_says_for_whom_it_asks() {
    let home = Home::new();
    let limits = "listen = [\"127.0.0.1:0\"]\nrate_limit = 1\nrate_limit_burst = 1";
    config(&home, limits);
    let daemon = serve(&home);
    let burst = |clients: [&str; 4]| {
        clients.map(|client| {
            to(&daemon)
                .and("x-forwarded-for", client)
                .get("/v1/collections")
                .status
        })
    };
    // Nobody is believed: all four are the same address.
    let got = burst(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    assert!(got.contains(&429), "{got:?}");
    config(
        &home,
        &format!("{limits}\ntrusted_proxies = [\"127.0.0.0/8\"]"),
    );
    reload(&home).expect(0);
    let got = burst(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    assert_eq!(got, [200; 4]);
    // What a client writes in front is not believed.
    let got = burst([
        "1.1.1.1, 192.0.2.9",
        "2.2.2.2, 192.0.2.9",
        "3.3.3.3, 192.0.2.9",
        "4.4.4.4, 192.0.2.9",
    ]);
    assert!(got.contains(&429), "{got:?}");
    config(&home, &format!("{limits}\ntrusted_proxies = [\"nginx\"]"));
    let refused = reload(&home).expect(1);
    assert!(
        refused.stderr.contains("server.trusted_proxies"),
        "{}",
        refused.stderr
    );
    assert_eq!(daemon.stop(), 0);
}
