//! The engine of containers: `docker compose`, `podman compose` or `podman-compose` on one compose file.
//!
//! The file says which image, which limits and which health check; here is only how programs are called and
//! what they answer. Secrets go on to them in the environment, never in their arguments.

mod file;
mod find;
mod listing;

use super::address::Addresses;
use super::engine::{Engine, Seen, State};
use super::probe::Asked;
use super::service::Service;
use crate::failure::Failure;
use crate::program;
pub use file::find as find_file;
pub use find::{Flavour, Program, find as find_program};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest that a list or the end of a log may take. podman-compose is Python, and starts podman often.
const PATIENCE: Duration = Duration::from_mins(1);
/// Most that is read of a list or a log.
const MAX_BYTES: u64 = 4 << 20;
/// Lines of a log that explain a failure.
const LAST_LINES: &str = "20";

/// A program for compose files, and the file.
#[derive(Debug)]
pub struct Compose {
    program: Program,
    file: PathBuf,
    addresses: Addresses,
}

impl Compose {
    /// `program` on `file`, whose services listen as `addresses` says.
    #[must_use]
    pub fn new(program: Program, file: PathBuf, addresses: Addresses) -> Self {
        Self {
            program,
            file,
            addresses,
        }
    }

    /// The compose file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn command(&self, verb: &[&str], services: &[Service]) -> Command {
        let mut command = Command::new(self.program.executable());
        command
            .args(self.program.arguments())
            .arg("-f")
            .arg(&self.file)
            .args(verb)
            .args(services.iter().map(|service| service.name()))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end; what it prints is for people, and goes to stderr.
    fn run(&self, verb: &[&str], services: &[Service]) -> Result<(), Failure> {
        let name = self.name();
        let what = || format!("`{name} {}` failed", verb.join(" "));
        let stderr = std::io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Failure::failed(what()).because(error))?;
        let status = self
            .command(verb, services)
            .stdout(stderr)
            .status()
            .map_err(|error| Failure::failed(what()).because(error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::failed(what())
            .because(status.to_string())
            .hint(format!(
                "its own words are above; `{name} -f {} {}` tries again by hand. Where an image cannot be \
                 pulled, ALFRED_<SERVICE>_IMAGE names another one; scripts/container builds the server's",
                self.file.display(),
                verb.join(" ")
            )))
    }

    /// What it printed on stdout, and with `stderr` there as well.
    fn ask(&self, verb: &[&str], services: &[Service], stderr: bool) -> std::io::Result<String> {
        let file = self.file.display().to_string();
        let mut arguments: Vec<&str> = self.program.arguments().collect();
        arguments.extend(["-f", &file]);
        arguments.extend(verb);
        arguments.extend(services.iter().map(|service| service.name()));
        program::ask_all(program::Asked {
            program: self.program.executable(),
            arguments: &arguments,
            environment: &[],
            stderr,
            patience: PATIENCE,
            max_bytes: MAX_BYTES,
        })
    }
}

/// No services where all are meant, so that networks and what is no service go as well.
fn named(services: &[Service]) -> &[Service] {
    if services.len() == Service::ALL.len() {
        &[]
    } else {
        services
    }
}

impl Engine for Compose {
    fn name(&self) -> &str {
        self.program.name()
    }

    fn look(&self) -> Result<Vec<Seen>, Failure> {
        let verb: &[&str] = match self.program.flavour() {
            Flavour::Docker => &["ps", "--all", "--format", "json"],
            // It lists those that do not run anyway, and knows no flag for it.
            Flavour::Podman => &["ps", "--format", "json"],
        };
        let what = || Failure::failed(format!("`{} ps` failed", self.name()));
        let text = self
            .ask(verb, &[], false)
            .map_err(|error| what().because(error))?;
        let found = listing::parse(&text).map_err(|error| {
            what()
                .because(error)
                .hint("it prints something else than expected: is it another program of that name?")
        })?;
        let seen = |service: Service| {
            let known = found.iter().find(|one| one.service == service);
            known.cloned().unwrap_or_else(|| Seen {
                service,
                state: State::Absent,
                name: String::new(),
            })
        };
        Ok(Service::ALL.map(seen).to_vec())
    }

    fn asked(&self, service: Service) -> Asked {
        let port = self.addresses.port(service);
        match service {
            Service::Pg => Asked::Postgres(port),
            Service::Redis => Asked::Redis(port),
            Service::Minio => Asked::http(port, "/minio/health/ready"),
            Service::Server => Asked::http(port, "/readyz"),
            Service::Grafana => Asked::http(port, "/api/health"),
            Service::Prometheus => Asked::http(port, "/-/ready"),
            Service::Loki => Asked::http(port, "/ready"),
        }
    }

    /// As `depends_on` in the compose file.
    fn needs(&self, service: Service) -> &'static [Service] {
        match service {
            Service::Server => &[Service::Pg, Service::Redis],
            Service::Grafana => &[Service::Prometheus],
            _ => &[],
        }
    }

    fn start(&self, services: &[Service]) -> Result<(), Failure> {
        self.run(&["up", "-d"], services)
    }

    fn stop(&self, services: &[Service]) -> Result<Vec<String>, Failure> {
        self.run(&["stop"], named(services))?;
        Ok(Vec::new())
    }

    fn down(&self, services: &[Service], volumes: bool) -> Result<Vec<String>, Failure> {
        let verb: &[&str] = if volumes {
            &["down", "--volumes"]
        } else {
            &["down"]
        };
        self.run(verb, named(services))?;
        Ok(Vec::new())
    }

    fn follow(&self, services: &[Service]) -> Result<Child, Failure> {
        self.command(&["logs", "-f"], services)
            .spawn()
            .map_err(|error| {
                Failure::failed(format!("`{} logs -f` failed", self.name())).because(error)
            })
    }

    fn last_words(&self, service: Service) -> String {
        self.ask(&["logs", "--tail", LAST_LINES], &[service], true)
            .unwrap_or_default()
    }
}
