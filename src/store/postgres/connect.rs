//! One connection, to a server that does what is asked of it.
//!
//! Hosts of the DSN and the addresses of their names are tried one by one; those that failed a
//! moment ago come last, so that a frozen one is waited for once.
//!
//! **Session settings** (`statement_timeout`, `lock_timeout`,
//! `idle_in_transaction_session_timeout`) go with the start-up packet, as `options`: they cost no
//! round trip and hold for the session. PgBouncer refuses `options`; then the connection is made
//! without them, and for good, since a `SET` through a pooler in transaction mode would stay with a
//! server connection that others use. What is in force then is what the role has (`ALTER ROLE …
//! SET statement_timeout`), and one warning says so when that is nothing.
//!
//! **`jit` is off**: where the server can compile queries, as Debian's can, it did so for every search
//! of a small table that has no statistics yet: 320 ms, against 0.8 ms without.

use super::breaker::Breaker;
use super::dsn::{Dsn, Endpoint, Host, SessionTarget};
use super::fault::describe;
use super::open::{Attempt, OpenError};
use super::transport::Patience;
use crate::clock::Clock;
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};
use rand::seq::SliceRandom as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long a host that failed is tried after the others.
const DISTRUST: Duration = Duration::from_secs(30);

/// How much longer than `statement_timeout` a server may be silent before it is held to be frozen:
/// it has to notice, cancel and answer, and a commit on a busy disk is not under that limit.
const SILENCE_GRACE: Duration = Duration::from_secs(2);

/// A transaction that its client forgot must not hold back vacuum or locks for longer.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_mins(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(super) struct ConnectError {
    problem: String,
    /// The server is there, and full.
    full: bool,
}

impl ConnectError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            full: false,
        }
    }

    /// Tells `breaker`.
    pub(super) fn report(&self, breaker: &Breaker) {
        breaker.failed(&self.problem, !self.full);
    }

    /// Whether the server answered, and has no room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }
}

impl From<postgres::Error> for ConnectError {
    fn from(error: postgres::Error) -> Self {
        Self {
            problem: describe(&error),
            full: error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
        }
    }
}

impl From<OpenError> for ConnectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Local(problem) => Self::new(problem),
            OpenError::Server(error) => error.into(),
        }
    }
}

/// Makes connections to a server of one kind.
pub(super) struct Connector {
    dsn: Arc<Dsn>,
    target: SessionTarget,
    /// `None`: statements may take for ever.
    statement_timeout: Option<Duration>,
    /// Whether hosts are tried in random order.
    shuffled: bool,
    /// Whether a pooler refused the session settings.
    refuses_options: AtomicBool,
    /// Whether it was said that statements have no limit.
    warned: AtomicBool,
    /// When each host of the DSN failed last.
    failures: Mutex<Vec<Option<Instant>>>,
    clock: Arc<dyn Clock>,
}

/// A place to try: a host of the DSN and one of its addresses.
struct Candidate<'a> {
    endpoint: &'a Endpoint,
    address: Option<IpAddr>,
}

/// What a server says of itself.
struct Session {
    standby: bool,
    read_only: bool,
    statement_timeout: String,
}

impl Connector {
    pub(super) fn new(
        dsn: Arc<Dsn>,
        target: SessionTarget,
        statement_timeout: Option<Duration>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let spread = target == SessionTarget::PreferStandby || target == SessionTarget::Standby;
        Self {
            shuffled: dsn.load_balance.unwrap_or(spread),
            failures: Mutex::new(vec![None; dsn.endpoints.len()]),
            refuses_options: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            dsn,
            target,
            statement_timeout,
            clock,
        }
    }

    /// Where the database is, without password.
    pub(super) fn place(&self) -> String {
        self.dsn.to_string()
    }

    /// A connection to the first server that will do.
    pub(super) fn connect(&self) -> Result<Client, ConnectError> {
        let mut problems = Vec::new();
        let mut full = false;
        let mut second_choice = None;
        for index in self.order() {
            let endpoint = &self.dsn.endpoints[index];
            let candidates = match self.candidates(index) {
                Ok(candidates) => candidates,
                Err(error) => {
                    self.note(index, true);
                    problems.push(format!("{endpoint}: {error}"));
                    continue;
                }
            };
            for candidate in candidates {
                let tried = self.try_candidate(&candidate);
                self.note(index, tried.is_err());
                match tried {
                    Ok((client, None)) => return Ok(client),
                    Ok((client, Some(why))) => {
                        problems.push(format!("{endpoint}: {why}"));
                        second_choice = second_choice.or(Some(client));
                    }
                    Err(error) => {
                        full |= error.full;
                        problems.push(format!("{endpoint}: {error}"));
                    }
                }
            }
        }
        match second_choice {
            Some(client) if self.target == SessionTarget::PreferStandby => Ok(client),
            _ => Err(ConnectError {
                problem: problems.join("; "),
                full,
            }),
        }
    }

    /// Which hosts to try in which order.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dsn.endpoints.len()).collect();
        if self.shuffled {
            order.shuffle(&mut rand::rng());
        }
        let now = self.clock.monotonic();
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        order.sort_by_key(|index| {
            failures[*index].is_some_and(|at| now.saturating_duration_since(at) < DISTRUST)
        });
        order
    }

    fn note(&self, index: usize, failed: bool) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures[index] = failed.then(|| self.clock.monotonic());
    }

    fn candidates(&self, index: usize) -> Result<Vec<Candidate<'_>>, ConnectError> {
        let endpoint = &self.dsn.endpoints[index];
        let mut addresses = match &endpoint.host {
            Host::Unix(_) => vec![None],
            Host::Tcp {
                address: Some(address),
                ..
            } => vec![Some(*address)],
            Host::Tcp { name, .. } => (name.as_str(), endpoint.port)
                .to_socket_addrs()
                .map_err(|error| ConnectError::new(format!("its name is not known: {error}")))?
                .map(|address| Some(address.ip()))
                .collect(),
        };
        if self.shuffled {
            addresses.shuffle(&mut rand::rng());
        }
        Ok(addresses
            .into_iter()
            .map(|address| Candidate { endpoint, address })
            .collect())
    }

    /// A connection to `candidate`, and why it is not what was asked for.
    fn try_candidate(
        &self,
        candidate: &Candidate<'_>,
    ) -> Result<(Client, Option<&'static str>), ConnectError> {
        let patience = Patience::default();
        patience.set(self.dsn.connect_timeout);
        let mut client = self.open(candidate, &patience)?;
        let session = session(&mut client)?;
        patience.set(
            self.statement_timeout
                .map(|timeout| timeout + SILENCE_GRACE),
        );
        if self.statement_timeout.is_some() && session.statement_timeout == "0" {
            self.warn_of_missing_limit();
        }
        Ok((client, mismatch(self.target, &session)))
    }

    /// Opens with session settings, or without them where a pooler does not take them.
    fn open(&self, candidate: &Candidate<'_>, patience: &Patience) -> Result<Client, OpenError> {
        let attempt = |options: Option<&str>| {
            let attempt = Attempt {
                dsn: &self.dsn,
                endpoint: candidate.endpoint,
                address: candidate.address,
                options,
                patience,
            };
            attempt.open()
        };
        if !self.refuses_options.load(Ordering::Relaxed) {
            match attempt(Some(&self.options())) {
                Err(error) if error.is_refused_option() => {}
                result => return result,
            }
        }
        let client = attempt(self.dsn.options.as_deref())?;
        self.refuses_options.store(true, Ordering::Relaxed);
        Ok(client)
    }

    /// Session settings as the server's command line; what the DSN says comes later and wins.
    fn options(&self) -> String {
        let statement_ms = self.statement_timeout.map_or(0, |time| time.as_millis());
        let mut options = format!(
            "-c statement_timeout={statement_ms} -c lock_timeout={} \
             -c idle_in_transaction_session_timeout={} -c jit=off",
            // Sooner than the statement's end, so that the message names the lock.
            statement_ms / 2,
            if statement_ms == 0 {
                0
            } else {
                IDLE_IN_TRANSACTION_TIMEOUT.as_millis()
            },
        );
        if let Some(said) = &self.dsn.options {
            options.push(' ');
            options.push_str(said);
        }
        options
    }

    fn warn_of_missing_limit(&self) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "statements have no limit on the server: something between (a pooler?) dropped \
                 statement_timeout; set it on the role, with ALTER ROLE … SET statement_timeout"
            );
        }
    }
}

/// Asks the server what it is, in one round trip.
fn session(client: &mut Client) -> Result<Session, ConnectError> {
    let messages = client.simple_query(
        "SELECT pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('transaction_read_only'), \
         pg_catalog.current_setting('statement_timeout')",
    )?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |index| row.and_then(|row| row.get(index)).unwrap_or_default();
    Ok(Session {
        standby: text(0) == "t",
        read_only: text(1) == "on",
        statement_timeout: text(2).to_owned(),
    })
}

/// Why a server is not what was asked for.
fn mismatch(target: SessionTarget, session: &Session) -> Option<&'static str> {
    match target {
        SessionTarget::ReadWrite if session.standby => Some("it is a standby"),
        SessionTarget::ReadWrite if session.read_only => Some("it takes no writes"),
        SessionTarget::Any | SessionTarget::ReadWrite => None,
        SessionTarget::ReadOnly => (!session.read_only).then_some("it takes writes"),
        SessionTarget::Primary => session.standby.then_some("it is a standby"),
        SessionTarget::Standby | SessionTarget::PreferStandby => {
            (!session.standby).then_some("it is no standby")
        }
    }
}
