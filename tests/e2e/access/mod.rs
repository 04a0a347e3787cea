//! Who may come in: keys, roles, collections, hosts and rates, with the real daemon and the real commands.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod collections;
mod commands;
mod network;
mod proxy;
mod roles;
mod rotation;
mod secrets;

use crate::support::{Daemon, Home, PATIENCE};
use alfred::client::{Endpoint, Limits, Outgoing, request_blocking};
use http::HeaderMap;
use serde_json::Value;

/// A whole answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn kind(&self) -> &str {
        self.body["kind"].as_str().unwrap_or_default()
    }

    /// The body without what differs from request to request.
    fn steady(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.remove("request_id");
        }
        body
    }
}

/// A request with a key and further headers.
struct Ask<'a> {
    endpoint: Endpoint,
    key: &'a str,
    headers: Vec<(&'static str, &'a str)>,
}

fn to(daemon: &Daemon) -> Ask<'_> {
    Ask {
        endpoint: daemon.endpoint.clone(),
        key: "",
        headers: Vec::new(),
    }
}

/// Over the socket of the home's daemon.
fn socket(home: &Home) -> Ask<'_> {
    Ask {
        endpoint: Endpoint::Unix(home.path().join("store/alfred.sock")),
        key: "",
        headers: Vec::new(),
    }
}

impl<'a> Ask<'a> {
    fn with(mut self, key: &'a str) -> Self {
        self.key = key;
        self
    }

    fn and(mut self, name: &'static str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let mut outgoing = Outgoing {
            method: method.parse().unwrap(),
            ..Outgoing::default()
        };
        for (name, value) in &self.headers {
            outgoing.headers.insert(*name, value.parse().unwrap());
        }
        if !self.key.is_empty() {
            let bearer = format!("Bearer {}", self.key).parse().unwrap();
            outgoing.headers.insert("authorization", bearer);
        }
        if let Some(body) = body {
            outgoing.body = body.to_string().into();
            let json = "application/json".parse().unwrap();
            outgoing.headers.insert("content-type", json);
        }
        let limits = Limits {
            timeout: PATIENCE,
            max_response_bytes: 64 << 20,
        };
        let reply = request_blocking(&self.endpoint.at(path), outgoing, limits).unwrap();
        Reply {
            status: reply.status.as_u16(),
            headers: reply.headers,
            body: serde_json::from_slice(&reply.body).unwrap_or_default(),
        }
    }

    fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }
}

/// Makes a key with the command.
pub(crate) fn key(home: &Home, name: &str, more: &[&str]) -> String {
    let mut arguments = vec!["key", "new", name];
    arguments.extend_from_slice(more);
    home.alfred(&arguments).expect(0).stdout.trim().to_owned()
}

fn reload(home: &Home) -> crate::support::Done {
    home.alfred(&["reload", "--socket", "store/alfred.sock"])
}
