//! What `--provision` is to make: read from `POSTGRES_DSN` and from the configuration of the daemon of this machine.

use crate::cli::Context;
use crate::config::{Config, Environment};
use crate::failure::Failure;
use crate::secret::Secret;
use crate::stack::systemd::Systemd;
use crate::stack::systemd::provision::{Psql, Wanted, database, settings};
use crate::stack::{Addresses, Service};
use crate::store::postgres::names_in_dsn;
use std::fmt::Write as _;
use std::path::Path;

/// The role that the system user of the daemon is, by peer authentication.
const OWN_ROLE: &str = "alfred";
/// The configuration of the daemon that the package runs.
const MAIN_FILE: &str = "/etc/alfred/alfred.toml";
/// What is written beside it.
const OWN_FILE: &str = "/etc/alfred/conf.d/stack.toml";

/// What is to be made.
pub(super) struct Plan {
    wanted: Wanted,
    port: u16,
    /// Settings for the daemon, or why there are none.
    settings: Result<String, String>,
}

impl Plan {
    /// # Errors
    /// When it makes no sense here.
    pub(super) fn of(
        services: &[Service],
        addresses: &Addresses,
        context: &Context,
    ) -> Result<Self, Failure> {
        if !services.contains(&Service::Pg) {
            return Err(Failure::usage(
                "--provision is for PostgreSQL, which is not among the services",
            )
            .hint("name pg as well"));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(
                Failure::failed("--provision needs root: it acts as the user postgres")
                    .hint("run it with sudo; --preserve-env=POSTGRES_DSN keeps that variable"),
            );
        }
        let wanted = wanted(context.environment.get("POSTGRES_DSN"))?;
        let port = addresses.port(Service::Pg);
        let settings = if services.contains(&Service::Server) {
            settings_for(&wanted, port, services, addresses)?
        } else {
            Err("the daemon is not among the services: its settings are as they were".to_owned())
        };
        Ok(Self {
            wanted,
            port,
            settings,
        })
    }

    /// Makes it; answers a line for each thing.
    pub(super) fn carry_out(self, systemd: &Systemd) -> Result<Vec<String>, Failure> {
        let mut done = database(&self.wanted, &Psql { port: self.port })?;
        match self.settings {
            Err(why) => done.push(why),
            Ok(text) => {
                let (line, is_new) = settings(Path::new(OWN_FILE), &text)?;
                done.push(line);
                if is_new {
                    systemd.restart(Service::Server)?;
                }
            }
        }
        Ok(done)
    }
}

fn wanted(dsn: Option<&str>) -> Result<Wanted, Failure> {
    let Some(dsn) = dsn else {
        return Ok(Wanted {
            role: OWN_ROLE.to_owned(),
            password: None,
            database: "alfred".to_owned(),
        });
    };
    let names = names_in_dsn(&Secret::new(dsn))
        .map_err(|why| Failure::configuration("POSTGRES_DSN cannot be read").because(why))?;
    if !names.is_on_this_machine {
        return Err(
            Failure::usage("POSTGRES_DSN names a database server elsewhere, and --provision works on this machine's")
                .hint("unset POSTGRES_DSN, or make the role and the database there by hand: docs/postgres.md"),
        );
    }
    let role = names.user.unwrap_or_else(|| OWN_ROLE.to_owned());
    Ok(Wanted {
        database: names.database.unwrap_or_else(|| role.clone()),
        password: names.password,
        role,
    })
}

/// The file by which the daemon finds the database and the cache, without a secret: the socket of PostgreSQL knows
/// its system user. What an administrator has set stays.
fn settings_for(
    wanted: &Wanted,
    port: u16,
    services: &[Service],
    addresses: &Addresses,
) -> Result<Result<String, String>, Failure> {
    if wanted.role != OWN_ROLE {
        return Ok(Err(format!(
            "the daemon's settings are as they were: its system user is {OWN_ROLE}, not {}; put the DSN into \
             /etc/credstore/alfred.postgres_dsn",
            wanted.role
        )));
    }
    let is_ours = Path::new(OWN_FILE).exists();
    let main = Path::new(MAIN_FILE);
    let config = Config::load(main.exists().then_some(main), &Environment::default(), &[])?;
    let is_said = |key| !is_ours && config.is_said(key);
    if is_said("store.kind") || is_said("store.dsn") {
        return Ok(Err(
            "the daemon's settings are as they were: they name a store already".to_owned(),
        ));
    }
    let database = &wanted.database;
    let port = if port == 5432 {
        String::new()
    } else {
        format!(" port={port}")
    };
    let dsn = toml_text(&format!(
        "host=/run/postgresql{port} user={OWN_ROLE} dbname={database}"
    ));
    let mut text = format!(
        "# Written by `alfred up --engine systemd --provision`; a later run writes it anew. No secret is in\n\
         # it: PostgreSQL knows the system user {OWN_ROLE} at its socket.\n\n\
         [store]\nkind = \"postgres\"\ndsn = {dsn}\n"
    );
    if services.contains(&Service::Redis) && !is_said("embedding.redis_url") {
        let url = toml_text(&format!(
            "redis://127.0.0.1:{}",
            addresses.port(Service::Redis)
        ));
        let _ = write!(text, "\n[embedding]\nredis_url = {url}\n");
    }
    Ok(Ok(text))
}

/// A basic string of TOML.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dsn_says_what_is_made() {
        let plain = wanted(None).unwrap();
        assert_eq!(
            (plain.role.as_str(), plain.database.as_str()),
            ("alfred", "alfred")
        );
        assert!(plain.password.is_none());
        let plans = "postgresql://alfred:alfred@localhost:5432/alfred?sslmode=disable";
        let said = wanted(Some(plans)).unwrap();
        assert_eq!(said.password.unwrap().reveal(), "alfred");
        let elsewhere = wanted(Some("postgresql://alfred:secret@db1/alfred")).unwrap_err();
        assert_eq!(elsewhere.kind().exit_code(), 2);
        assert!(!elsewhere.render().contains("secret"));
    }
}
