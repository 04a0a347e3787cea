//! PostgreSQL alone.

use super::load::Kind;
use super::watch::{Pace, Promise, RECOVERY, Seen, Watch};
use crate::failures::cases;
use crate::postgres_server::Server;
use crate::provider::Standin;
use crate::support::{Daemon, Home, PATIENCE, eventually};
use alfred::clock::{Clock as _, SystemClock};
use std::time::Duration;

cases! {
    killed: "Killed (SIGKILL to every process) and started again",
    restarted: "Restarted in order (fast shutdown)",
    paused: "Paused (SIGSTOP to every process)",
    connections_cut: "All connections cut, again and again (`pg_terminate_backend`)",
    full: "Full: `max_connections` taken by others, and our own connections cut",
    locked: "The table `documents` locked (ACCESS EXCLUSIVE)",
}

pub(super) const DOWN: &str = "503 `search_error`";
const BUSY: &str = "503 `overloaded`";

/// What needs the store fails, and says that it was the store.
const NEEDS_IT: &[(Kind, &[&str])] = &[
    (Kind::NewQuestion, &[DOWN]),
    (Kind::KnownQuestion, &[DOWN]),
    (Kind::Words, &[DOWN]),
    (Kind::Write, &[DOWN, BUSY]),
];

/// Those who wait for it hold their places for a while, so that there may be none for others.
const SILENT: &[(Kind, &[&str])] = &[
    (Kind::NewQuestion, &[DOWN, BUSY]),
    (Kind::KnownQuestion, &[DOWN, BUSY]),
    (Kind::Words, &[DOWN, BUSY]),
    (Kind::Write, &[DOWN, BUSY]),
];

/// Everything that one case needs.
pub(super) struct Parts {
    pub(super) daemon: Daemon,
    pub(super) server: Server,
    _standin: Standin,
    _home: Home,
}

impl Parts {
    fn new(pace: &Pace) -> Self {
        let server = Server::with_config(&["max_connections = 20"]);
        let dsn = server.dsn();
        Self::over(server, dsn.reveal(), pace)
    }

    /// A daemon with this DSN.
    pub(super) fn over(server: Server, dsn: &str, pace: &Pace) -> Self {
        let (home, standin) = (Home::new(), Standin::start(&[]));
        let mut command = standin.alfred(&home, &["serve", "--listen", "127.0.0.1:0"]);
        command.envs(pace.environment()).env("POSTGRES_DSN", dsn);
        let daemon = Daemon::start(command);
        is_ready(&daemon);
        Self {
            daemon,
            server,
            _standin: standin,
            _home: home,
        }
    }
}

pub(super) fn is_ready(daemon: &Daemon) {
    let ready = || daemon.request("GET", "/readyz", None).0 == 200;
    eventually(PATIENCE, || ready().then_some(()));
}

pub(super) fn promise(may_say: &'static [(Kind, &'static [&'static str])]) -> Promise {
    Promise {
        may_say,
        recovery: RECOVERY,
    }
}

fn killed(pace: &Pace) -> Seen {
    let mut parts = Parts::new(pace);
    let mut watch = Watch::begin(&parts.daemon, pace);
    parts.server.kill();
    pace.wait();
    parts.server.start();
    watch.mended();
    watch.end(&promise(NEEDS_IT))
}

fn restarted(pace: &Pace) -> Seen {
    let mut parts = Parts::new(pace);
    let mut watch = Watch::begin(&parts.daemon, pace);
    parts.server.shut_down();
    parts.server.start();
    watch.mended();
    watch.end(&promise(NEEDS_IT))
}

fn paused(pace: &Pace) -> Seen {
    let parts = Parts::new(pace);
    let mut watch = Watch::begin(&parts.daemon, pace);
    parts.server.pause();
    pace.wait();
    parts.server.resume();
    watch.mended();
    watch.end(&promise(SILENT))
}

/// Cuts every connection of the daemon.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'alfred'";

fn connections_cut(pace: &Pace) -> Seen {
    let parts = Parts::new(pace);
    let mut watch = Watch::begin(&parts.daemon, pace);
    let end = SystemClock.monotonic() + pace.fault;
    while SystemClock.monotonic() < end {
        parts.server.execute(CUT);
        SystemClock.sleep(Duration::from_millis(250));
    }
    watch.mended();
    watch.end(&promise(NEEDS_IT))
}

fn full(pace: &Pace) -> Seen {
    let parts = Parts::new(pace);
    let mut watch = Watch::begin(&parts.daemon, pace);
    let mut ours = vec![parts.server.client()];
    let end = SystemClock.monotonic() + pace.fault;
    while SystemClock.monotonic() < end {
        // Whatever the daemon got hold of meanwhile is taken from it.
        let _ = ours[0].simple_query(CUT);
        while let Some(client) = parts.server.try_connect() {
            ours.push(client);
        }
        SystemClock.sleep(Duration::from_millis(20));
    }
    assert!(
        ours.len() > 15,
        "only {} connections were taken",
        ours.len()
    );
    drop(ours);
    watch.mended();
    watch.end(&promise(SILENT))
}

fn locked(pace: &Pace) -> Seen {
    let parts = Parts::new(pace);
    let mut watch = Watch::begin(&parts.daemon, pace);
    let mut client = parts.server.client();
    client
        .batch_execute("BEGIN; LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    pace.wait();
    client.batch_execute("COMMIT").unwrap();
    watch.mended();
    watch.end(&promise(SILENT))
}
