//! Pure: the services of the stack, by the names of the plan, and which needs which.

use crate::failure::Failure;

/// A service of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// PostgreSQL with pgvector.
    Pg,
    /// Redis, the cache of embeddings that daemons share.
    Redis,
    /// MinIO, an S3 to ingest from.
    Minio,
    /// alfred itself.
    Server,
    /// Grafana with alfred's dashboards.
    Grafana,
    /// Prometheus, which scrapes alfred.
    Prometheus,
    /// Loki, for logs.
    Loki,
}

impl Service {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::Pg,
        Self::Redis,
        Self::Minio,
        Self::Server,
        Self::Grafana,
        Self::Prometheus,
        Self::Loki,
    ];

    /// Its name on the command line and in the compose file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pg => "pg",
            Self::Redis => "redis",
            Self::Minio => "minio",
            Self::Server => "server",
            Self::Grafana => "grafana",
            Self::Prometheus => "prometheus",
            Self::Loki => "loki",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Pg => "PostgreSQL with pgvector",
            Self::Redis => "Redis, the shared cache of embeddings",
            Self::Minio => "MinIO, an S3 to ingest from",
            Self::Server => "alfred itself",
            Self::Grafana => "Grafana with alfred's dashboards",
            Self::Prometheus => "Prometheus, which scrapes alfred",
            Self::Loki => "Loki, for logs",
        }
    }

    /// The service of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

/// The services of these names, each once, in the order of [`Service::ALL`]; all when none is named.
///
/// # Errors
/// A usage error that lists the services, when one is unknown.
pub fn chosen(names: &[String]) -> Result<Vec<Service>, Failure> {
    if names.is_empty() {
        return Ok(Service::ALL.to_vec());
    }
    let mut services = Vec::with_capacity(names.len());
    for name in names {
        services.push(Service::named(name).ok_or_else(|| unknown(name))?);
    }
    services.sort_unstable();
    services.dedup();
    Ok(services)
}

fn unknown(name: &str) -> Failure {
    let list = Service::ALL.map(Service::name).join(" ");
    let closest = Service::ALL
        .iter()
        .map(|service| (strsim::jaro_winkler(name, service.name()), service))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let meant = closest.map_or_else(String::new, |(_, service)| {
        format!("did you mean {service}? ")
    });
    Failure::usage(format!("there is no service {name}"))
        .hint(format!("{meant}the services are: {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn services_are_taken_once_and_in_order() {
        let services = chosen(&names("server pg server")).unwrap();
        assert_eq!(services, [Service::Pg, Service::Server]);
        assert_eq!(chosen(&[]).unwrap(), Service::ALL);
    }

    #[test]
    fn an_unknown_service_is_answered_with_the_list() {
        let failure = chosen(&names("pg prometeus")).unwrap_err();
        assert_eq!(failure.kind().exit_code(), 2);
        assert_eq!(
            failure.render(),
            "error: there is no service prometeus\nhint: did you mean prometheus? the services are: \
             pg redis minio server grafana prometheus loki"
        );
        assert!(
            !chosen(&names("mysql"))
                .unwrap_err()
                .render()
                .contains("mean")
        );
    }
}
