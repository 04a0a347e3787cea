//! The provider of embeddings; the store is the embedded one.

use super::load::Kind;
use super::tunnel::Tunnel;
use super::watch::{Pace, Promise, RECOVERY, Seen, Watch};
use crate::failures::cases;
use crate::provider::Standin;
use crate::support::{Daemon, Home};
use crate::tls::Authority;
use serde_json::{Value, json};
use std::time::Duration;

cases! {
    refused: "Down: connections are refused",
    fails: "Answers 500",
    ten_times_slower: "Ten times slower: 500 ms a call instead of 50 ms",
    silent: "Silent: takes requests, answers none",
    rate_limited: "429 with `Retry-After`",
    cut: "Breaks the connection in the middle of the answer",
    wrong_dimension: "Vectors of the wrong dimension",
    expired: "Its TLS certificate has expired",
}

const DOWN: &str = "503 `openai_error`";
const BUSY: &str = "503 `overloaded`";
const LATE: &str = "504 `timeout`";

/// Only what needs the provider fails, and says that it was the provider.
const NEEDS_IT: &[(Kind, &[&str])] = &[(Kind::NewQuestion, &[DOWN]), (Kind::Write, &[DOWN, BUSY])];

/// Some wait for it until their time is over, before it is known to be silent.
const SILENT: &[(Kind, &[&str])] = &[
    (Kind::NewQuestion, &[DOWN, BUSY, LATE]),
    (Kind::Write, &[DOWN, BUSY, LATE]),
];

fn serve(home: &Home, standin: &Standin, pace: &Pace) -> Daemon {
    let mut command = standin.alfred(home, &["serve", "--listen", "127.0.0.1:0"]);
    command.envs(pace.environment());
    Daemon::start(command)
}

/// A provider that misbehaves as `fault` says.
fn misbehave(pace: &Pace, normal: &[&str], fault: &Value, promise: &Promise) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(normal));
    let daemon = serve(&home, &standin, pace);
    let mut watch = Watch::begin(&daemon, pace);
    standin.control(fault);
    pace.wait();
    standin.control(&json!({"reset": true}));
    watch.mended();
    watch.end(promise)
}

fn promise(may_say: &'static [(Kind, &'static [&'static str])]) -> Promise {
    Promise {
        may_say,
        recovery: RECOVERY,
    }
}

fn refused(pace: &Pace) -> Seen {
    let (home, mut standin) = (Home::new(), Standin::start(&[]));
    let daemon = serve(&home, &standin, pace);
    let mut watch = Watch::begin(&daemon, pace);
    standin.kill();
    pace.wait();
    standin.start_again(&[]);
    watch.mended();
    watch.end(&promise(NEEDS_IT))
}

fn fails(pace: &Pace) -> Seen {
    misbehave(pace, &[], &json!({"fail_status": 500}), &promise(NEEDS_IT))
}

fn ten_times_slower(pace: &Pace) -> Seen {
    let fault = json!({"latency_ms": 500});
    misbehave(pace, &["--latency-ms", "50"], &fault, &Promise::NOTHING)
}

fn silent(pace: &Pace) -> Seen {
    misbehave(pace, &[], &json!({"hang": true}), &promise(SILENT))
}

/// The provider's own wish is heeded: all is well again when it has passed.
fn rate_limited(pace: &Pace) -> Seen {
    let fault = json!({"fail_status": 429, "retry_after": pace.retry_after_s.to_string()});
    let promise = Promise {
        recovery: Duration::from_secs(pace.retry_after_s) + RECOVERY,
        ..promise(NEEDS_IT)
    };
    misbehave(pace, &[], &fault, &promise)
}

fn cut(pace: &Pace) -> Seen {
    misbehave(pace, &[], &json!({"cut": true}), &promise(NEEDS_IT))
}

fn wrong_dimension(pace: &Pace) -> Seen {
    let fault = json!({"wrong_dimension": true});
    misbehave(pace, &[], &fault, &promise(NEEDS_IT))
}

/// The provider is reached through a tunnel that speaks TLS, as everybody's is.
fn expired(pace: &Pace) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(&[]));
    let authority = Authority::new(&home.path().join("authority"));
    let (_, url) = standin.variables();
    let mut tunnel = Tunnel::to(&url, authority.issue("good", 90));
    let mut command = standin.alfred(&home, &["serve", "--listen", "127.0.0.1:0"]);
    command
        .envs(pace.environment())
        .env("SSL_CERT_FILE", &authority.ca)
        .env("OPENAI_BASE_URL", tunnel.url());
    let daemon = Daemon::start(command);
    let mut watch = Watch::begin(&daemon, pace);
    tunnel.show(authority.issue_for("expired", 2020, 2021));
    pace.wait();
    tunnel.show(authority.issue("renewed", 90));
    watch.mended();
    watch.end(&promise(NEEDS_IT))
}
