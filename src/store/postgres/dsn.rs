//! What the user said of the database: a DSN as libpq has it.
//!
//! Both forms, several hosts, unix sockets, percent-encoding and quoting. What libpq knows and the
//! `postgres` crate does not is taken out here, and obeyed (`sslmode`, `target_session_attrs`, …),
//! refused with the reason (`service`, `replication`, `sslcrldir`, …) or left aside because nothing
//! depends on it (`gssencmode` other than `require`, `krbsrvname`, `sslcompression`, …). Differences from
//! libpq: the environment (`PGHOST`, …) is not read, `connect_timeout` is 2 s where not said, and
//! the last `@` before the path ends the password, so that one in it does no harm.

mod passfile;
mod said;
mod security;
mod servers;
mod words;

#[cfg(test)]
mod tests;

use crate::secret::Secret;
use said::Said;
pub(super) use security::{RootCertificates, SslMode, Tls, Versions, user_file};
use servers::encode;
pub(super) use servers::{Endpoint, Host};
use std::path::PathBuf;
use std::time::Duration;

/// A database that does not answer for this long is not one to wait for: a query's whole budget is
/// a few seconds.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What was sent and not acknowledged for this long will not be: with the kernel's default an
/// unplugged server is noticed after a quarter of an hour.
const DEFAULT_TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is asked for after this long, then twice more; with the kernel's default
/// firewalls drop it before.
const DEFAULT_KEEPALIVE: Keepalive = Keepalive {
    idle: Duration::from_mins(1),
    interval: Duration::from_secs(10),
    count: 3,
};

/// Why a DSN cannot be used; never shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DSN cannot be used: {problem}")]
pub(super) struct DsnError {
    problem: String,
}

impl DsnError {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionTarget {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// TCP keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
}

/// A parsed DSN. `Debug` and `Display` show no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dsn {
    pub(super) endpoints: Vec<Endpoint>,
    /// `None`: the user of the process.
    pub(super) user: Option<String>,
    password: Option<Secret>,
    passfile: Option<PathBuf>,
    pub(super) database: Option<String>,
    pub(super) application_name: String,
    pub(super) options: Option<String>,
    pub(super) tls: Tls,
    pub(super) channel_binding: postgres::config::ChannelBinding,
    pub(super) target: SessionTarget,
    /// Whether hosts are tried in random order; `None` where not said.
    pub(super) load_balance: Option<bool>,
    /// `None`: for ever.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tcp_user_timeout: Option<Duration>,
    /// `None`: off.
    pub(super) keepalive: Option<Keepalive>,
}

impl Dsn {
    /// Parses `text`, a URL or `key=value` pairs.
    ///
    /// # Errors
    /// When it makes no sense, or asks for what is not there.
    pub(super) fn parse(text: &Secret) -> Result<Self, DsnError> {
        let said = Said::new(words::settings(text.reveal())?)?;
        Ok(Self {
            endpoints: servers::endpoints(&said)?,
            user: said.text("user"),
            password: said
                .get("password")
                .filter(|text| !text.is_empty())
                .map(Secret::new),
            passfile: said.path("passfile"),
            database: said.text("dbname"),
            application_name: said
                .text("application_name")
                .or_else(|| said.text("fallback_application_name"))
                .unwrap_or_else(|| "alfred".to_owned()),
            options: said.text("options"),
            tls: security::tls(&said)?,
            channel_binding: said.choice(
                "channel_binding",
                &[
                    ("prefer", postgres::config::ChannelBinding::Prefer),
                    ("disable", postgres::config::ChannelBinding::Disable),
                    ("require", postgres::config::ChannelBinding::Require),
                ],
            )?,
            target: said.choice(
                "target_session_attrs",
                &[
                    ("any", SessionTarget::Any),
                    ("read-write", SessionTarget::ReadWrite),
                    ("read-only", SessionTarget::ReadOnly),
                    ("primary", SessionTarget::Primary),
                    ("standby", SessionTarget::Standby),
                    ("prefer-standby", SessionTarget::PreferStandby),
                ],
            )?,
            load_balance: said.choice(
                "load_balance_hosts",
                &[("", None), ("disable", Some(false)), ("random", Some(true))],
            )?,
            connect_timeout: said.timeout("connect_timeout", 1000, DEFAULT_CONNECT_TIMEOUT)?,
            tcp_user_timeout: said.timeout("tcp_user_timeout", 1, DEFAULT_TCP_USER_TIMEOUT)?,
            keepalive: keepalive(&said)?,
        })
    }

    /// Whether every host is this machine: a unix socket or a loopback address.
    pub(super) fn is_on_this_machine(&self) -> bool {
        self.endpoints.iter().all(|endpoint| match &endpoint.host {
            Host::Unix(_) => true,
            Host::Tcp {
                address: Some(address),
                ..
            } => address.is_loopback(),
            Host::Tcp { name, .. } => {
                let address = name.parse::<std::net::IpAddr>();
                name == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
        })
    }

    /// Searches the schemas of `path`, whatever `options` said.
    pub(super) fn search_in(&mut self, path: &str) {
        let said = self.options.take().unwrap_or_default();
        self.options = Some(format!("{said} -c search_path={path}").trim().to_owned());
    }

    /// The password for `endpoint`: of the DSN, else of the password file.
    pub(super) fn password(&self, endpoint: &Endpoint) -> Option<Secret> {
        self.password
            .clone()
            .or_else(|| passfile::look_up(self.passfile.as_deref(), self, endpoint))
    }
}

impl std::fmt::Display for Dsn {
    /// Where it is: `postgresql://user@host:port,host2/db`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            write!(formatter, "{}@", encode(user))?;
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{endpoint}")?;
        }
        match &self.database {
            Some(name) => write!(formatter, "/{}", encode(name)),
            None => Ok(()),
        }
    }
}

fn keepalive(said: &Said) -> Result<Option<Keepalive>, DsnError> {
    let seconds = |key, default| {
        let number = said.number(key)?.filter(|number| *number > 0);
        Ok(number.map_or(default, |number| Duration::from_secs(number.into())))
    };
    Ok(match said.number("keepalives")? {
        Some(0) => None,
        _ => Some(Keepalive {
            idle: seconds("keepalives_idle", DEFAULT_KEEPALIVE.idle)?,
            interval: seconds("keepalives_interval", DEFAULT_KEEPALIVE.interval)?,
            count: said
                .number("keepalives_count")?
                .filter(|number| *number > 0)
                .unwrap_or(DEFAULT_KEEPALIVE.count),
        }),
    })
}
