//! The engine of units, over a `systemctl` that stands in.

use super::standin::{Engines, Listening};
use crate::support::{Home, finish};

#[test]
fn the_first_unit_that_is_there_is_the_service_and_its_port_has_to_be_free() {
    let home = Home::new();
    let engines = Engines::new(&home, &["systemctl", "journalctl"]);
    engines.unit("postgresql.service", "active");
    engines.unit("valkey-server.service", "inactive");
    let (pg, redis) = (Listening::postgres(), Listening::redis());
    let alfred = |arguments: &[&str]| {
        let mut command = engines.alfred(arguments);
        command
            .env("ALFRED_ENGINE", "systemd")
            .env("ALFRED_PG_PORT", pg.port())
            .env("ALFRED_REDIS_PORT", redis.port());
        finish(command.spawn().unwrap())
    };
    // The port is held while the unit does not run: by another program.
    let taken = alfred(&["up", "-d", "redis"]).expect(1);
    assert!(
        taken.stderr.contains("of redis is taken"),
        "{}",
        taken.stderr
    );
    engines.unit("redis.service", "activating");
    let up = alfred(&["up", "-d", "--json", "pg", "redis"])
        .expect(0)
        .json();
    assert_eq!(up["services"][0]["ran_before"], true);
    assert_eq!(up["services"][1]["ran_before"], false);
    let ps = alfred(&["ps", "--json"]).expect(0).json();
    assert_eq!(ps["engine"], "systemd");
    assert_eq!(ps["services"][1]["name"], "redis.service");
    assert_eq!(ps["services"][4]["state"], "absent");
}

#[test]
fn down_leaves_what_ran_before() {
    let home = Home::new();
    let engines = Engines::new(&home, &["systemctl", "journalctl"]);
    engines.unit("postgresql.service", "active");
    engines.unit("grafana-server.service", "inactive");
    let pg = Listening::postgres();
    let alfred = |arguments: &[&str]| {
        let mut command = engines.alfred(arguments);
        command
            .env("ALFRED_PG_PORT", pg.port())
            .env("ALFRED_GRAFANA_PORT", "1");
        finish(command.spawn().unwrap())
    };
    // Nobody listens on the port of Grafana, so it is started and never ready.
    let up = [
        "up",
        "--engine",
        "systemd",
        "-d",
        "--wait-timeout",
        "1",
        "pg",
        "grafana",
    ];
    let late = alfred(&up).expect(1);
    assert!(
        late.stderr.contains("not ready after 1 s: grafana"),
        "{}",
        late.stderr
    );
    assert!(
        late.stderr.contains("a line of the journal"),
        "{}",
        late.stderr
    );
    assert_eq!(engines.state_of("grafana-server.service"), "active");

    let down = alfred(&["down", "--engine", "systemd"]).expect(0);
    assert!(
        down.stderr
            .contains("postgresql.service ran before `alfred up`"),
        "{}",
        down.stderr
    );
    assert_eq!(engines.state_of("postgresql.service"), "active");
    assert_eq!(engines.state_of("grafana-server.service"), "inactive");
    let volumes = alfred(&["down", "--engine", "systemd", "--volumes"]);
    volumes.expect(2);
}

#[test]
fn what_is_not_installed_is_said_with_where_it_comes_from() {
    let home = Home::new();
    let engines = Engines::new(&home, &["systemctl", "journalctl"]);
    let redis = Listening::redis();
    engines.unit("redis-server.service", "active");
    let alfred = |arguments: &[&str]| {
        let mut command = engines.alfred(arguments);
        command.env("ALFRED_REDIS_PORT", redis.port());
        finish(command.spawn().unwrap())
    };
    let named = [
        "up", "--engine", "systemd", "-d", "redis", "grafana", "loki", "minio",
    ];
    let done = alfred(&named).expect(1);
    for part in [
        "not installed on this machine: minio grafana loki",
        "whose package loki is another program",
        "https://grafana.com/docs/grafana/latest/setup-grafana/installation/debian/",
        "MinIO is not in Debian",
    ] {
        assert!(done.stderr.contains(part), "{part} in {}", done.stderr);
    }
    assert!(!engines.calls().iter().any(|call| call.contains(" start ")));
    // Where everything is meant, what is there is started.
    let all = alfred(&["up", "--engine", "systemd", "-d"]).expect(0);
    assert!(
        all.stderr.contains("not installed, left out: pg:"),
        "{}",
        all.stderr
    );
    assert!(all.stdout.contains("redis"), "{}", all.stdout);
    // What makes no sense is usage.
    alfred(&["up", "--provision", "-d", "pg"]).expect(2);
    alfred(&["up", "--json", "pg"]).expect(2);
    alfred(&["ps", "--engine", "systemd", "--file", "x.yaml"]).expect(2);
}
