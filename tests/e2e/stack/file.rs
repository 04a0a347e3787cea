//! The compose file, as Docker Compose reads it: valid, bounded, pinned, on loopback, and agreeing with the program.

use crate::support::installed_by;
use alfred::stack::compose::{Compose, find_program};
use alfred::stack::{Addresses, Engine as _, Service};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What Docker Compose makes of the file, with these variables and no others. It checks the file against the
/// schema of the specification first.
fn read(variables: &[(&str, &str)]) -> Value {
    let done = Command::new(installed_by("docker-compose"))
        .args(["-f", &super::compose_file(), "config", "--format", "json"])
        .env_clear()
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(!said.contains("warn"), "{said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn every_service_is_checked_bounded_pinned_and_on_loopback_alone() {
    let project = read(&[]);
    assert_eq!(project["name"], "alfred");
    let services = project["services"].as_object().unwrap();
    assert_eq!(services.len(), Service::ALL.len());
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        let tag = image.rsplit_once(':').unwrap().1;
        assert!(tag.contains('.') && tag != "latest", "{name}: {image}");
        assert!(
            service["healthcheck"]["test"].is_array(),
            "{name} has no health check"
        );
        for limit in ["mem_limit", "cpus", "pids_limit"] {
            assert!(!service[limit].is_null(), "{name} has no {limit}");
        }
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(
            service["security_opt"][0], "no-new-privileges:true",
            "{name}"
        );
        for port in service["ports"].as_array().unwrap() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        let mounts = service["volumes"].as_array().unwrap();
        assert!(
            mounts.iter().any(|one| one["type"] == "volume"),
            "{name} keeps nothing"
        );
        for mount in mounts.iter().filter(|one| one["type"] == "bind") {
            let source = mount["source"].as_str().unwrap();
            assert!(Path::new(source).exists(), "{name}: {source}");
            assert_eq!(mount["read_only"], true, "{name}: {source}");
        }
    }
    for name in ["server", "prometheus", "loki"] {
        assert_eq!(services[name]["read_only"], true, "{name}");
        assert_eq!(services[name]["cap_drop"][0], "ALL", "{name}");
    }
}

#[test]
fn the_program_knows_the_files_ports_and_dependencies() {
    let project = read(&[]);
    let addresses = Addresses::of(|_| None).unwrap();
    let program = find_program(Some("docker-compose")).unwrap();
    let compose = Compose::new(program, super::compose_file().into(), addresses.clone());
    for service in Service::ALL {
        let written = &project["services"][service.name()];
        let ports: Vec<u16> = written["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["published"].as_str().unwrap().parse().unwrap())
            .collect();
        let known: Vec<u16> = addresses.ports(service).map(|port| port.number).collect();
        assert_eq!(known, ports, "{service}");
        let needed = written["depends_on"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let known: Vec<&str> = compose
            .needs(service)
            .iter()
            .map(|one| one.name())
            .collect();
        assert_eq!(
            needed.keys().map(String::as_str).collect::<Vec<_>>(),
            known,
            "{service}"
        );
        // And each port follows its variable.
        for port in addresses.ports(service) {
            let moved = read(&[(port.variable, "12345")]);
            let text = moved["services"][service.name()]["ports"].to_string();
            assert!(text.contains("12345"), "{service}: {text}");
        }
    }
}

#[test]
fn a_key_of_the_environment_goes_through_and_is_in_no_file() {
    let none = read(&[]);
    let server = |project: &Value| project["services"]["server"]["environment"].clone();
    assert_eq!(server(&none)["OPENAI_API_KEY"], Value::Null);
    let with = read(&[("OPENAI_API_KEY", "sk-of-the-environment")]);
    assert_eq!(server(&with)["OPENAI_API_KEY"], "sk-of-the-environment");
    assert_eq!(
        server(&none)["POSTGRES_DSN"],
        "postgresql://alfred:alfred@pg:5432/alfred?sslmode=disable"
    );
    let own = read(&[("POSTGRES_PASSWORD", "another")]);
    assert!(
        server(&own)["POSTGRES_DSN"]
            .as_str()
            .unwrap()
            .contains(":another@pg")
    );
    assert_eq!(
        own["services"]["pg"]["environment"]["POSTGRES_PASSWORD"],
        "another"
    );
    let owner = read(&[("ALFRED_OWNER", "example")]);
    assert_eq!(
        owner["services"]["server"]["image"],
        "ghcr.io/example/alfred:0.9.0"
    );
}

#[test]
fn the_image_is_that_of_this_version() {
    let project = read(&[]);
    let image = project["services"]["server"]["image"].as_str().unwrap();
    assert_eq!(
        image,
        format!("ghcr.io/alfred/alfred:{}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn podman_compose_takes_the_file_too() {
    let done = Command::new(installed_by("podman-compose"))
        .args(["-f", &super::compose_file(), "config"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("ghcr.io/alfred/alfred:"), "{text}");
}

#[test]
fn prometheus_of_the_stack_scrapes_the_server_with_the_rules_of_every_prometheus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    // As they lie in the container: the rules in a folder beside the file.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    std::fs::copy(root.join("compose/prometheus/prometheus.yml"), &file).unwrap();
    std::os::unix::fs::symlink(root.join("prometheus"), folder.path().join("alfred")).unwrap();
    let done = Command::new("promtool")
        .args(["check", "config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(
        said.contains("12 rules found") && said.contains("8 rules found"),
        "{said}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("job_name: alfred") && text.contains("\"server:8080\""));
}
