//! A primary with a streaming standby, both in the DSN. Replication is synchronous: what the primary
//! confirmed the standby has.

use super::load::Kind;
use super::postgres::{DOWN, Parts, promise};
use super::watch::{Pace, Promise, Seen, Watch};
use crate::failures::cases;
use crate::postgres_server::Server;
use crate::support::{PATIENCE, eventually};

cases! {
    primary_killed: "The primary killed for good, the standby promoted",
    standby_killed: "The standby killed and started again",
}

/// Reads go on, from the standby.
const WRITES_FAIL: &[(Kind, &[&str])] = &[(Kind::Write, &[DOWN, "503 `overloaded`"])];

fn pair(pace: &Pace, settings: &[&str]) -> (Parts, Server) {
    let primary = Server::new();
    let standby = Server::standby_of(&primary);
    for setting in settings {
        primary.execute(&format!("ALTER SYSTEM SET {setting}"));
    }
    primary.execute("SELECT pg_reload_conf()");
    let is_streaming = || {
        let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        (primary.execute(streaming) == ["1"]).then_some(())
    };
    eventually(PATIENCE, is_streaming);
    let dsn = format!(
        "host={},{} port={},{} user=alfred dbname=alfred",
        primary.folder().display(),
        standby.folder().display(),
        primary.port(),
        standby.port()
    );
    (Parts::over(primary, &dsn, pace), standby)
}

fn primary_killed(pace: &Pace) -> Seen {
    let synchronous = ["synchronous_standby_names = '*'"];
    let (mut parts, standby) = pair(pace, &synchronous);
    let mut watch = Watch::begin(&parts.daemon, pace);
    parts.server.kill();
    pace.wait();
    standby.promote();
    watch.mended();
    watch.end(&promise(WRITES_FAIL))
}

fn standby_killed(pace: &Pace) -> Seen {
    let (parts, mut standby) = pair(pace, &[]);
    let mut watch = Watch::begin(&parts.daemon, pace);
    standby.kill();
    pace.wait();
    standby.start();
    watch.mended();
    watch.end(&Promise::NOTHING)
}
