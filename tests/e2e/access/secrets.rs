//! A key is nowhere but where it was printed.

use super::key;
use crate::support::{Home, PATIENCE, eventually};
use alfred::client::Endpoint;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fmt::Write as _;
use std::process::Stdio;

#[test]
fn no_key_is_in_logs_dumps_status_metrics_or_configuration() {
    let home = Home::new();
    let good = key(&home, "named-in-logs", &[]);
    home.write(
        "alfred.toml",
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[log]\nlevel = \"trace\"\nformat = \"json\"\n",
    );
    let log = home.path().join("log");
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let mut child = command.spawn().unwrap();
    let logged = || std::fs::read_to_string(&log).unwrap();
    let url = eventually(PATIENCE, || {
        let text = logged();
        let line = text
            .lines()
            .find(|line| line.contains("listening on http"))?;
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(event["address"].as_str()?.to_owned())
    });
    let endpoint: Endpoint = url.parse().unwrap();
    let ask = |key, method, path, body: Option<&serde_json::Value>| {
        let ask = super::Ask {
            endpoint: endpoint.clone(),
            key,
            headers: Vec::new(),
        };
        ask.send(method, path, body)
    };
    let wrong = "alfred_WrongWrongWrongWrongWrongWrongWrongWrongWro";
    let mut said = String::new();
    for (key, method, path) in [
        (good.as_str(), "POST", "/v1/documents"),
        (&good, "POST", "/v1/query"),
        (&good, "GET", "/v1/status"),
        (&good, "GET", "/nowhere"),
        (&good, "POST", "/v1/reload"),
        (wrong, "POST", "/v1/query"),
        (wrong, "GET", "/openapi.json"),
    ] {
        let body = json!({"query": ""});
        let reply = ask(key, method, path, (method == "POST").then_some(&body));
        write!(said, "{reply:?}").unwrap();
    }
    home.alfred(&["reload", "--socket", "store/alfred.sock"])
        .expect(0);
    kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
    eventually(PATIENCE, || logged().contains("\"state\"").then_some(()));
    for verb in [
        &["config", "show", "--config", "alfred.toml"][..],
        &["config", "show", "--config", "alfred.toml", "--json"],
        &["key", "list"],
        &["key", "list", "--json"],
        &["status"],
        &["status", "--json"],
    ] {
        let done = home.alfred(verb).expect(0);
        said.push_str(&done.stdout);
        said.push_str(&done.stderr);
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    said.push_str(&logged());
    said.push_str(&std::fs::read_to_string(home.path().join("store/keys.toml")).unwrap());
    assert!(said.contains("named-in-logs"), "the name is there");
    for secret in [&good["alfred_".len()..], "WrongWrong"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn the_name_of_a_key_and_the_address_are_in_the_log_of_a_refusal() {
    let home = Home::new();
    let reader = key(&home, "reader", &[]);
    home.write("alfred.toml", "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\n[log]\nformat = \"json\"\n");
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    let log = home.path().join("log");
    // Once through a file, since the helper that finds the address reads the pipe.
    command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let mut child = command.spawn().unwrap();
    let find = |what: &str| {
        eventually(PATIENCE, || {
            let text = std::fs::read_to_string(&log).unwrap();
            let line = text.lines().find(|line| line.contains(what))?;
            serde_json::from_str::<serde_json::Value>(line).ok()
        })
    };
    let url = find("listening on http")["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = super::Ask {
        endpoint: url.parse().unwrap(),
        key: &reader,
        headers: vec![("x-forwarded-for", "203.0.113.9")],
    };
    let document = json!({"source": "a.md", "content": "x"});
    assert_eq!(
        ask.send("POST", "/v1/documents", Some(&document)).status,
        403
    );
    let event = find("needs the role write");
    assert_eq!(event["key"], "reader", "{event}");
    assert_eq!(event["client"], "203.0.113.9", "{event}");
    assert!(event["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
