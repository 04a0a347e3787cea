//! One attempt to open a connection, at one address.

use super::dsn::{Dsn, Endpoint, Host, SslMode};
use super::fault::{Damage, damage};
use super::tls;
use super::transport::{self, Patience, Security, Transport};
use postgres::Client;
use postgres::error::SqlState;
use std::net::IpAddr;
use std::path::Path;

/// Why one attempt on one server failed.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Before the server was asked, or without it.
    Local(String),
    /// The connection or the server.
    Server(postgres::Error),
}

impl OpenError {
    /// Whether a pooler refused the start-up `options`: PgBouncer says "unsupported startup
    /// parameter: options", or "… in options: statement_timeout".
    pub(super) fn is_refused_option(&self) -> bool {
        let Self::Server(error) = self else {
            return false;
        };
        let database = error.as_db_error();
        database.is_some_and(|database| database.message().contains("startup parameter"))
    }

    /// Whether the server was there and did not want this kind of connection: another kind may do.
    fn is_refusal(&self) -> bool {
        let Self::Server(error) = self else {
            return false;
        };
        let tls = error.to_string().contains("TLS");
        let timed_out = damage(error) == Damage::Silent;
        let not_allowed = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        !timed_out && (tls || not_allowed)
    }
}

impl From<postgres::Error> for OpenError {
    fn from(error: postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// Where and how.
pub(super) struct Attempt<'a> {
    pub(super) dsn: &'a Dsn,
    pub(super) endpoint: &'a Endpoint,
    /// `None` for a unix socket.
    pub(super) address: Option<IpAddr>,
    /// For the start-up packet.
    pub(super) options: Option<&'a str>,
    pub(super) patience: &'a Patience,
}

impl Attempt<'_> {
    /// Opens with what `sslmode` allows, in its order.
    pub(super) fn open(&self) -> Result<Client, OpenError> {
        let mut config = self.config();
        let (name, address) = match (&self.endpoint.host, self.address) {
            (Host::Tcp { name, .. }, Some(address)) => (name, address),
            (Host::Tcp { name, .. }, None) => {
                return Err(OpenError::Local(format!("no address of {name}")));
            }
            (Host::Unix(folder), _) => {
                return self.open_unix(config, folder);
            }
        };
        config.host(name).hostaddr(address);
        // Told to the crate so that it leaves the stream to the transport.
        config
            .ssl_mode(postgres::config::SslMode::Require)
            .ssl_negotiation(postgres::config::SslNegotiation::Direct);
        let settings = &self.dsn.tls;
        let secured = |required| -> Result<Security, OpenError> {
            let tls = tls::connector(settings).map_err(OpenError::Local)?;
            Ok(if settings.direct {
                Security::Direct(tls)
            } else {
                Security::Asked { tls, required }
            })
        };
        let dial = |security| {
            let patience = self.patience.clone();
            let client = config.connect(Transport { security, patience })?;
            Ok::<_, OpenError>(client)
        };
        match settings.mode {
            SslMode::Disable => dial(Security::Plain),
            SslMode::Allow => match dial(Security::Plain) {
                Err(error) if error.is_refusal() => dial(secured(true)?).map_err(|_| error),
                result => result,
            },
            SslMode::Prefer => match dial(secured(false)?) {
                Err(error) if error.is_refusal() => dial(Security::Plain).map_err(|_| error),
                result => result,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => dial(secured(true)?),
        }
    }

    fn open_unix(&self, mut config: postgres::Config, folder: &Path) -> Result<Client, OpenError> {
        if let Some(limit) = self.dsn.connect_timeout {
            transport::ping(folder, self.endpoint.port, limit)
                .map_err(|error| OpenError::Local(error.to_string()))?;
        }
        config
            .host_path(folder)
            .ssl_mode(postgres::config::SslMode::Disable);
        Ok(config.connect(postgres::NoTls)?)
    }

    fn config(&self) -> postgres::Config {
        let dsn = self.dsn;
        let mut config = postgres::Config::new();
        config
            .port(self.endpoint.port)
            .application_name(&dsn.application_name)
            .channel_binding(dsn.channel_binding)
            .keepalives(dsn.keepalive.is_some());
        if let Some(options) = self.options {
            config.options(options);
        }
        if let Some(user) = &dsn.user {
            config.user(user);
        }
        if let Some(name) = &dsn.database {
            config.dbname(name);
        }
        if let Some(password) = dsn.password(self.endpoint) {
            config.password(password.reveal());
        }
        if let Some(timeout) = dsn.connect_timeout {
            config.connect_timeout(timeout);
        }
        if let Some(timeout) = dsn.tcp_user_timeout {
            config.tcp_user_timeout(timeout);
        }
        if let Some(keepalive) = dsn.keepalive {
            config
                .keepalives_idle(keepalive.idle)
                .keepalives_interval(keepalive.interval)
                .keepalives_retries(keepalive.count);
        }
        config
    }
}
