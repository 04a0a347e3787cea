//! Pure: where the services listen on this machine, and the variables that say otherwise.

use super::service::Service;
use crate::failure::Failure;

/// A port of a service on this machine's loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// The environment variable that sets it.
    pub variable: &'static str,
}

/// Ports of a service: variable and default, the one that is asked whether it is ready first.
const fn defaults(service: Service) -> &'static [(&'static str, u16)] {
    match service {
        Service::Pg => &[("ALFRED_PG_PORT", 5432)],
        Service::Redis => &[("ALFRED_REDIS_PORT", 6379)],
        Service::Minio => &[
            ("ALFRED_MINIO_PORT", 9000),
            ("ALFRED_MINIO_CONSOLE_PORT", 9001),
        ],
        Service::Server => &[("ALFRED_SERVER_PORT", 8080)],
        Service::Grafana => &[("ALFRED_GRAFANA_PORT", 3000)],
        Service::Prometheus => &[("ALFRED_PROMETHEUS_PORT", 9090)],
        Service::Loki => &[("ALFRED_LOKI_PORT", 3100)],
    }
}

/// Where the services listen.
#[derive(Clone, Debug)]
pub struct Addresses {
    ports: Vec<(Service, Port)>,
    /// Whether the password of PostgreSQL is another than the one in the compose file.
    own_password: bool,
}

impl Addresses {
    /// As the environment says, which `variable` looks up.
    ///
    /// # Errors
    /// A usage error, when a port is no number from 1 to 65535.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut ports = Vec::new();
        for service in Service::ALL {
            for &(name, default) in defaults(service) {
                let number = match variable(name) {
                    None => default,
                    Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                        Failure::usage(format!("{name}={text} is no port"))
                            .hint("a number from 1 to 65535")
                    })?,
                };
                let port = Port {
                    number,
                    variable: name,
                };
                ports.push((service, port));
            }
        }
        let own_password = variable("POSTGRES_PASSWORD").is_some();
        Ok(Self {
            ports,
            own_password,
        })
    }

    /// The same for a database whose password is not the one in the compose file.
    #[must_use]
    pub fn with_own_password(mut self) -> Self {
        self.own_password = true;
        self
    }

    /// The ports of a service, the one that is asked first at the front.
    pub fn ports(&self, service: Service) -> impl Iterator<Item = Port> + '_ {
        self.ports
            .iter()
            .filter(move |(of, _)| *of == service)
            .map(|(_, port)| *port)
    }

    /// The port that is asked whether the service is ready.
    #[must_use]
    pub fn port(&self, service: Service) -> u16 {
        self.ports(service).next().map_or(0, |port| port.number)
    }

    /// What a person opens or sets: a URL, or a DSN. A password of one's own is left out.
    #[must_use]
    pub fn url(&self, service: Service) -> String {
        let port = self.port(service);
        match service {
            Service::Pg if self.own_password => {
                format!("postgresql://alfred@localhost:{port}/alfred?sslmode=disable")
            }
            Service::Pg => {
                format!("postgresql://alfred:alfred@localhost:{port}/alfred?sslmode=disable")
            }
            Service::Redis => format!("redis://localhost:{port}"),
            _ => format!("http://localhost:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_plans_unless_the_environment_says_otherwise() {
        let plain = Addresses::of(|_| None).unwrap();
        assert_eq!(
            plain.url(Service::Pg),
            "postgresql://alfred:alfred@localhost:5432/alfred?sslmode=disable"
        );
        assert_eq!(plain.url(Service::Server), "http://localhost:8080");
        assert_eq!(plain.ports(Service::Minio).count(), 2);
        let moved = Addresses::of(|name| match name {
            "ALFRED_PG_PORT" => Some("5433".to_owned()),
            "POSTGRES_PASSWORD" => Some("secret".to_owned()),
            _ => None,
        });
        let url = moved.unwrap().url(Service::Pg);
        assert_eq!(
            url,
            "postgresql://alfred@localhost:5433/alfred?sslmode=disable"
        );
        for bad in ["0", "65536", "web"] {
            let failure = Addresses::of(|_| Some(bad.to_owned())).unwrap_err();
            assert_eq!(failure.kind().exit_code(), 2, "{bad}");
        }
    }
}
