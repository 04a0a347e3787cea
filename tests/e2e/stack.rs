//! `alfred up`, `down` and `ps` with programs that stand in for the engines, and the compose file by Docker
//! Compose's own reading of it. With real containers: `scripts/container-test`; with real units: `tests/system/stack.py`.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

mod file;
mod standin;
mod units;

use crate::support::{Home, finish};
use alfred::clock::{Clock as _, SystemClock};
use standin::{Engines, Listening};
use std::time::Duration;

/// The compose file of this checkout, which the program finds from where it was built.
fn compose_file() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("packaging/compose/compose.yaml");
    path.display().to_string()
}

#[test]
fn up_starts_with_docker_waits_and_prints_where() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    let (pg, redis) = (Listening::postgres(), Listening::redis());
    engines.running(&["pg", "redis"]);
    let done = finish(
        engines
            .alfred(&["up", "-d", "redis", "pg"])
            .env("ALFRED_PG_PORT", pg.port())
            .env("ALFRED_REDIS_PORT", redis.port())
            .env("OPENAI_API_KEY", "sk-not-in-argv")
            .spawn()
            .unwrap(),
    )
    .expect(0);
    let url = format!("postgresql://alfred:alfred@localhost:{}/alfred", pg.port());
    assert!(done.stdout.contains(&url), "{}", done.stdout);
    assert!(done.stderr.contains("pg is ready after"), "{}", done.stderr);
    let file = compose_file();
    assert_eq!(
        engines.calls(),
        [
            "docker compose version [sk-not-in-argv]".to_owned(),
            "docker version --format {{.Server.Version}} [sk-not-in-argv]".to_owned(),
            format!("docker compose -f {file} ps --all --format json [sk-not-in-argv]"),
            format!("docker compose -f {file} up -d pg redis [sk-not-in-argv]"),
        ]
    );
}

#[test]
fn what_the_server_needs_comes_along_with_podman_compose() {
    let home = Home::new();
    let engines = Engines::new(&home, &["podman", "podman-compose"]);
    let (pg, redis, server) = (
        Listening::postgres(),
        Listening::redis(),
        Listening::http("/readyz"),
    );
    engines.running(&["pg", "redis", "server"]);
    let done = finish(
        engines
            .alfred(&["up", "-d", "--json", "server"])
            .env("ALFRED_PG_PORT", pg.port())
            .env("ALFRED_REDIS_PORT", redis.port())
            .env("ALFRED_SERVER_PORT", server.port())
            .spawn()
            .unwrap(),
    )
    .expect(0);
    let answer = done.json();
    assert_eq!(answer["engine"], "podman-compose");
    assert_eq!(answer["file"], compose_file());
    let services = answer["services"].as_array().unwrap();
    let names: Vec<&str> = services
        .iter()
        .map(|one| one["service"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["pg", "redis", "server"]);
    assert_eq!(services[2]["ran_before"], true);
    let calls = engines.calls();
    let last = calls.last().unwrap();
    assert!(last.ends_with("up -d pg redis server []"), "{last}");
}

#[test]
fn without_d_the_logs_are_followed_until_ctrl_c_which_stops_what_was_started() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    let redis = Listening::redis();
    engines.running(&["redis"]);
    let child = engines
        .alfred(&["up", "redis"])
        .env("ALFRED_REDIS_PORT", redis.port())
        .spawn()
        .unwrap();
    let since = SystemClock.monotonic();
    while !engines.calls().iter().any(|call| call.contains("logs -f")) {
        assert!(SystemClock.monotonic() - since < Duration::from_mins(1));
        SystemClock.sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = finish(child).expect(0);
    assert!(done.stdout.contains("a line of redis"), "{}", done.stdout);
    let calls = engines.calls();
    assert!(calls.last().unwrap().contains("stop redis"), "{calls:?}");
}

#[test]
fn an_unknown_service_is_answered_with_the_list_before_any_engine_is_asked() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    let done = finish(engines.alfred(&["up", "-d", "postgres"]).spawn().unwrap()).expect(2);
    assert!(
        done.stderr
            .contains("the services are: pg redis minio server grafana prometheus loki"),
        "{}",
        done.stderr
    );
    assert!(engines.calls().is_empty());
}

#[test]
fn without_an_engine_it_is_said_what_to_install() {
    let home = Home::new();
    let engines = Engines::new(&home, &[]);
    for verb in [["up", "-d"], ["ps", "--json"], ["down", "--json"]] {
        let done = finish(engines.alfred(&verb).spawn().unwrap()).expect(1);
        for part in [
            "docker compose: not installed",
            "podman-compose: podman is not installed",
            "https://docs.docker.com/engine/install",
            "pipx install podman-compose",
            "`alfred up --engine systemd` needs none of them",
        ] {
            assert!(done.stderr.contains(part), "{part} in {}", done.stderr);
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_a_way_out() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    let redis = Listening::redis();
    let done = finish(
        engines
            .alfred(&["up", "-d", "redis"])
            .env("ALFRED_REDIS_PORT", redis.port())
            .spawn()
            .unwrap(),
    )
    .expect(1);
    let text = format!("port {} of redis is taken", redis.port());
    assert!(done.stderr.contains(&text), "{}", done.stderr);
    assert!(
        done.stderr.contains("ALFRED_REDIS_PORT="),
        "{}",
        done.stderr
    );
    assert!(!engines.calls().iter().any(|call| call.contains("up -d")));
    let bad = finish(
        engines
            .alfred(&["ps"])
            .env("ALFRED_REDIS_PORT", "web")
            .spawn()
            .unwrap(),
    );
    bad.expect(2);
}

#[test]
fn what_is_not_ready_in_time_is_named_with_its_cause_and_its_log() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    engines.running(&["prometheus"]);
    let silent = Listening::http("/elsewhere");
    let done = finish(
        engines
            .alfred(&["up", "-d", "--wait-timeout", "1", "prometheus"])
            .env("ALFRED_PROMETHEUS_PORT", silent.port())
            .spawn()
            .unwrap(),
    )
    .expect(1);
    for part in [
        "not ready after 1 s: prometheus: prometheus: 404",
        "a line of prometheus",
    ] {
        assert!(done.stderr.contains(part), "{part} in {}", done.stderr);
    }
}

#[test]
fn what_an_engine_cannot_start_is_its_own_words_and_how_to_repeat_it() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    engines.failing();
    let done = finish(
        engines
            .alfred(&["up", "-d", "redis"])
            .env("ALFRED_REDIS_PORT", "1")
            .spawn()
            .unwrap(),
    )
    .expect(1);
    for part in ["no such image", "`docker compose up -d` failed", "hint: "] {
        assert!(done.stderr.contains(part), "{part} in {}", done.stderr);
    }
}

#[test]
fn ps_says_what_runs_and_what_answers() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    engines.running(&["redis", "loki"]);
    let redis = Listening::redis();
    let ps = |arguments: &[&str]| {
        let mut command = engines.alfred(arguments);
        command.env("ALFRED_REDIS_PORT", redis.port());
        command.env("ALFRED_LOKI_PORT", "1");
        finish(command.spawn().unwrap()).expect(0)
    };
    let answer = ps(&["ps", "--json"]).json();
    let of = |name: &str| {
        let services = answer["services"].as_array().unwrap();
        let found = services.iter().find(|one| one["service"] == name);
        found.unwrap().clone()
    };
    assert_eq!(
        (&of("redis")["ready"], &of("redis")["state"]),
        (&true.into(), &"running".into())
    );
    assert_eq!(of("loki")["ready"], false);
    assert!(of("loki")["cause"].as_str().unwrap().contains("refused"));
    assert_eq!(of("pg")["state"], "absent");
    let text = ps(&["ps"]).stdout;
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn down_stops_all_or_what_is_named_and_deletes_data_when_told() {
    let home = Home::new();
    let engines = Engines::new(&home, &["docker"]);
    let file = compose_file();
    for (arguments, expected) in [
        (&["down"][..], "down"),
        (&["down", "grafana", "loki"], "down grafana loki"),
        (&["down", "--volumes"], "down --volumes"),
    ] {
        finish(engines.alfred(arguments).spawn().unwrap()).expect(0);
        let call = format!("docker compose -f {file} {expected} []");
        assert_eq!(engines.calls().last(), Some(&call));
    }
    let other = home.write("own/compose.yaml", "services: {}\n");
    let other = other.display().to_string();
    finish(engines.alfred(&["down", "--file", &other]).spawn().unwrap()).expect(0);
    let call = format!("docker compose -f {other} down []");
    assert_eq!(engines.calls().last(), Some(&call));
    finish(
        engines
            .alfred(&["down", "--file", "none.yaml"])
            .spawn()
            .unwrap(),
    )
    .expect(2);
}
