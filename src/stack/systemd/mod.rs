//! The engine of units: the services of this machine, as its packages installed them.
//!
//! It starts what does not run, and notes what it started; `down` stops what is noted and leaves the rest, which
//! somebody else wanted. Nothing is enabled: what starts at boot is the machine's own affair.

pub mod provision;
mod record;
mod units;

use super::address::Addresses;
use super::engine::{Engine, Seen, State};
use super::probe::Asked;
use super::service::Service;
use crate::client::{Endpoint, Target};
use crate::failure::Failure;
use crate::program::{self, ask_all};
use record::Record;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use units::Unit;

/// Longest that systemd may take to say how units are.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// Longest that a unit may take to start or stop; systemd's own limit is 90 s, alfred's stop 45 s.
const WORK_PATIENCE: Duration = Duration::from_mins(3);
/// Most that is read of an answer.
const MAX_BYTES: u64 = 256 * 1024;
/// Lines of the journal that explain a failure.
const LAST_LINES: &str = "20";
/// The socket of the daemon that the package runs; it answers whatever its ports and certificates are.
const SERVER_SOCKET: &str = "/run/alfred/alfred.sock";

/// Units of this machine.
#[derive(Debug)]
pub struct Systemd {
    addresses: Addresses,
    record: Record,
}

impl Systemd {
    /// Services that listen as `addresses` says; what is started is noted in `folder`.
    #[must_use]
    pub fn new(addresses: Addresses, folder: &Path) -> Self {
        Self {
            addresses,
            record: Record::in_folder(folder),
        }
    }

    /// How to install each of these that is not on this machine.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn missing(&self, services: &[Service]) -> Result<Vec<(Service, &'static str)>, Failure> {
        let found = known()?;
        let is_missing = |service: &&Service| main_unit(**service, &found).is_none();
        Ok(services
            .iter()
            .filter(is_missing)
            .map(|service| (*service, units::how_to_install(*service)))
            .collect())
    }

    /// Restarts a service that runs, which then reads its configuration anew.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn restart(&self, service: Service) -> Result<(), Failure> {
        let found = known()?;
        match main_unit(service, &found) {
            Some(unit) if unit.state == State::Running => systemctl("restart", &[&unit.name]),
            _ => Ok(()),
        }
    }

    /// Units of a service that are there, those first that are started first.
    fn all_units(service: Service, found: &[Unit]) -> Vec<&Unit> {
        let beside = units::beside(service).iter();
        let beside = beside.filter_map(|name| found.iter().find(|unit| unit.name == **name));
        beside.chain(main_unit(service, found)).collect()
    }

    fn stop_noted(&self, services: &[Service]) -> Result<Vec<String>, Failure> {
        let found = known()?;
        let noted = self.record.units()?;
        let mut left = Vec::new();
        for &service in services.iter().rev() {
            let all = Self::all_units(service, &found);
            let runs = |unit: &&&Unit| matches!(unit.state, State::Running | State::Starting);
            let ours: Vec<&str> = all
                .iter()
                .filter(|unit| noted.contains(&unit.name))
                .map(|unit| unit.name.as_str())
                .collect();
            for unit in all
                .iter()
                .filter(runs)
                .filter(|unit| !noted.contains(&unit.name))
            {
                left.push(format!(
                    "{} ran before `alfred up`, or was started by somebody else: left alone (`systemctl stop {}`)",
                    unit.name, unit.name
                ));
            }
            if !ours.is_empty() {
                systemctl("stop", &ours)?;
            }
            let names: Vec<String> = ours.iter().map(|name| (*name).to_owned()).collect();
            self.record.remove(&names)?;
        }
        Ok(left)
    }
}

/// What systemd knows of all units that may be one of a service.
fn known() -> Result<Vec<Unit>, Failure> {
    let mut arguments = vec!["show", units::PROPERTIES, "--"];
    for service in Service::ALL {
        arguments.extend(units::names(service));
        arguments.extend(units::beside(service));
    }
    let said = ask("systemctl", &arguments, LOOK_PATIENCE).map_err(|error| {
        Failure::failed("systemd cannot be asked")
            .because(error)
            .hint("the engine systemd needs a machine that was booted by systemd; --engine compose does not")
    })?;
    Ok(units::parse(&said))
}

fn main_unit(service: Service, found: &[Unit]) -> Option<&Unit> {
    let mut names = units::names(service).iter();
    names.find_map(|name| found.iter().find(|unit| unit.name == *name))
}

fn ask(program: &str, arguments: &[&str], patience: Duration) -> std::io::Result<String> {
    ask_all(program::Asked {
        program,
        arguments,
        environment: &[],
        stderr: true,
        patience,
        max_bytes: MAX_BYTES,
    })
}

fn systemctl(verb: &str, names: &[&str]) -> Result<(), Failure> {
    let arguments = [&[verb, "--no-ask-password", "--"], names].concat();
    ask("systemctl", &arguments, WORK_PATIENCE)
        .map(drop)
        .map_err(|error| {
            let is_refused = error.to_string().contains("authentication required");
            let failure =
                Failure::failed(format!("cannot {verb} {}", names.join(" "))).because(error);
            failure.hint(if is_refused {
                "run it with sudo".to_owned()
            } else {
                format!("`journalctl -u {} -n 20` shows why", names.join(" -u "))
            })
        })
}

impl Engine for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn look(&self) -> Result<Vec<Seen>, Failure> {
        let found = known()?;
        let seen = |service: Service| {
            let unit = main_unit(service, &found);
            // Its socket is open: it starts with the first who connects, and its port is its own.
            let is_open = Self::all_units(service, &found)
                .iter()
                .any(|unit| unit.state == State::Running);
            let state = match unit.map_or(State::Absent, |unit| unit.state) {
                State::Stopped | State::Failed if is_open => State::Starting,
                state => state,
            };
            Seen {
                service,
                state,
                name: unit.map(|unit| unit.name.clone()).unwrap_or_default(),
            }
        };
        Ok(Service::ALL.map(seen).to_vec())
    }

    fn asked(&self, service: Service) -> Asked {
        let port = self.addresses.port(service);
        match service {
            Service::Pg => Asked::Postgres(port),
            Service::Redis => Asked::Redis(port),
            Service::Minio => Asked::http(port, "/minio/health/ready"),
            Service::Server => Asked::Http(Target {
                endpoint: Endpoint::Unix(PathBuf::from(SERVER_SOCKET)),
                path: "/readyz".to_owned(),
            }),
            Service::Grafana => Asked::http(port, "/api/health"),
            Service::Prometheus => Asked::http(port, "/-/ready"),
            Service::Loki => Asked::http(port, "/ready"),
        }
    }

    /// Nothing: the daemon of a machine may have its database anywhere.
    fn needs(&self, _: Service) -> &'static [Service] {
        &[]
    }

    fn start(&self, services: &[Service]) -> Result<(), Failure> {
        let found = known()?;
        for &service in services {
            let all = Self::all_units(service, &found);
            let new: Vec<&str> = all
                .iter()
                .filter(|unit| !matches!(unit.state, State::Running | State::Starting))
                .map(|unit| unit.name.as_str())
                .collect();
            if new.is_empty() {
                continue;
            }
            // Noted first: what is started and not noted would never be stopped.
            let names: Vec<String> = new.iter().map(|name| (*name).to_owned()).collect();
            self.record.add(&names)?;
            systemctl("start", &new)?;
        }
        Ok(())
    }

    fn stop(&self, services: &[Service]) -> Result<Vec<String>, Failure> {
        self.stop_noted(services)
    }

    fn down(&self, services: &[Service], volumes: bool) -> Result<Vec<String>, Failure> {
        if volumes {
            return Err(Failure::usage("--volumes: units have none")
                .hint("their data is removed with their packages (`apt purge`)"));
        }
        self.stop_noted(services)
    }

    fn follow(&self, services: &[Service]) -> Result<Child, Failure> {
        let found = known()?;
        let mut command = Command::new("journalctl");
        command.args(["--follow", "--lines=10", "--no-hostname", "--quiet"]);
        for unit in services
            .iter()
            .filter_map(|service| main_unit(*service, &found))
        {
            command.arg(format!("--unit={}", unit.name));
        }
        // The unit of PostgreSQL in Debian only starts those of its clusters.
        if services.contains(&Service::Pg) {
            command.arg("--unit=postgresql@*.service");
        }
        command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| Failure::failed("cannot follow the journal").because(error))
    }

    fn last_words(&self, service: Service) -> String {
        let found = known().unwrap_or_default();
        let Some(unit) = main_unit(service, &found) else {
            return String::new();
        };
        let arguments = ["--no-pager", "--quiet", "-n", LAST_LINES, "-u", &unit.name];
        ask("journalctl", &arguments, LOOK_PATIENCE).unwrap_or_default()
    }
}
