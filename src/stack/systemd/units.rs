//! Pure: which units a service is, what systemd says of them, and how to install one that is missing.

use super::super::engine::State;
use super::super::service::Service;

/// Names that the main unit of a service has in one distribution or another; the first that is there is it.
pub(super) const fn names(service: Service) -> &'static [&'static str] {
    match service {
        Service::Pg => &["postgresql.service"],
        Service::Redis => &[
            "redis-server.service",
            "redis.service",
            "valkey-server.service",
            "valkey.service",
        ],
        Service::Minio => &["minio.service"],
        Service::Server => &["alfred.service"],
        Service::Grafana => &["grafana-server.service"],
        Service::Prometheus => &["prometheus.service"],
        Service::Loki => &["loki.service"],
    }
}

/// Units that are started and stopped with the main one. A socket that stays open would start it again.
pub(super) const fn beside(service: Service) -> &'static [&'static str] {
    match service {
        Service::Server => &["alfred.socket"],
        _ => &[],
    }
}

/// How to install what is not there, for people.
pub(super) const fn how_to_install(service: Service) -> &'static str {
    match service {
        Service::Pg => {
            "apt install postgresql postgresql-17-pgvector (Debian 13; elsewhere pgvector is in PostgreSQL's own \
             repository, https://wiki.postgresql.org/wiki/Apt)"
        }
        Service::Redis => "apt install redis-server, or valkey-server",
        Service::Minio => {
            "MinIO is not in Debian; it is built from https://github.com/minio/minio and needs a minio.service. Any \
             other S3 serves as well, and `alfred up -d minio` runs it in a container"
        }
        Service::Server => "docs/install.md says how alfred is installed from its packages",
        Service::Grafana => {
            "Grafana is not in Debian; its own repository has the package grafana: \
             https://grafana.com/docs/grafana/latest/setup-grafana/installation/debian/"
        }
        Service::Prometheus => "apt install prometheus",
        Service::Loki => {
            "Grafana's Loki is not in Debian, whose package loki is another program; Grafana's repository has the \
             package loki: https://grafana.com/docs/loki/latest/setup/install/local/"
        }
    }
}

/// What `systemctl show` is asked for.
pub(super) const PROPERTIES: &str = "--property=Id,LoadState,ActiveState";

/// A unit that systemd knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) state: State,
}

/// Units of what `systemctl show` printed, in blocks that empty lines divide; those that are not there are left
/// out.
pub(super) fn parse(said: &str) -> Vec<Unit> {
    said.split("\n\n").filter_map(unit).collect()
}

fn unit(block: &str) -> Option<Unit> {
    let value = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    if value("LoadState")? != "loaded" {
        return None;
    }
    let state = match value("ActiveState")? {
        "active" | "reloading" | "refreshing" => State::Running,
        "activating" => State::Starting,
        "failed" => State::Failed,
        _ => State::Stopped,
    };
    Some(Unit {
        name: value("Id")?.to_owned(),
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_are_there_are_read() {
        let said = "Id=postgresql.service\nLoadState=loaded\nActiveState=active\n\n\
                    Id=redis.service\nLoadState=not-found\nActiveState=inactive\n\n\
                    Id=alfred.service\nLoadState=loaded\nActiveState=failed\n";
        let units: Vec<String> = parse(said)
            .iter()
            .map(|unit| format!("{} {}", unit.name, unit.state.name()))
            .collect();
        assert_eq!(
            units,
            ["postgresql.service running", "alfred.service failed"]
        );
        assert!(parse("").is_empty());
    }
}
