//! What the server or the connection said, as the store's errors.
//!
//! A message carries the server's own words and its SQLSTATE. The `DETAIL` of the server is left
//! out, since it may quote rows.

use crate::store::StoreError;
use postgres::error::{DbError, Severity, SqlState};
use std::error::Error;
use std::fmt::Write as _;

/// Why a piece of work on a connection failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server or the connection said so.
    Sql(postgres::Error),
    /// The work itself found out.
    Store(StoreError),
    /// Something that is stored is not what this program stores.
    Unsound(String),
}

/// Something that is stored is not what this program stores.
pub(super) fn unsound(what: &str, problem: &dyn std::fmt::Display) -> Fault {
    Fault::Unsound(format!("a stored {what}: {problem}"))
}

impl From<postgres::Error> for Fault {
    fn from(error: postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a fault says of the connection it happened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The connection is good; the statement was not.
    None,
    /// The connection is over, and with it probably every other one to this server.
    Lost,
    /// The server fell silent: it accepts what is sent and answers nothing.
    Silent,
    /// The connection is good, but leads to a server that takes no writes.
    ReadOnly,
}

impl Fault {
    /// What it says of the connection.
    pub(super) fn damage(&self) -> Damage {
        match self {
            Self::Sql(error) => damage(error),
            Self::Store(_) | Self::Unsound(_) => Damage::None,
        }
    }

    /// The store's error. `action` says what was being done, as "cannot read documents".
    pub(super) fn into_store(self, location: &str, action: &str) -> StoreError {
        match self {
            Self::Sql(error) => store_error(&error, location, action),
            Self::Store(error) => error,
            Self::Unsound(problem) => StoreError::Damaged {
                location: location.to_owned(),
                problem,
            },
        }
    }

    /// The server's SQLSTATE, where it said one.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Sql(error) => error.code().map(SqlState::code),
            Self::Store(_) | Self::Unsound(_) => None,
        }
    }

    /// Whether the schema is another than the one that was looked at: made anew, or for another
    /// model.
    pub(super) fn is_stale(&self) -> bool {
        let stale = [
            "42P01", // undefined_table
            "42883", // undefined_function
            "42703", // undefined_column
            "0A000", // a cached plan changed its type
            "26000", // a prepared statement is gone
            "22000", // different vector dimensions
        ];
        self.code().is_some_and(|code| stale.contains(&code))
    }

    /// Whether what was written was at fault, not the store: data exceptions, integrity, limits.
    pub(super) fn concerns_data(&self) -> bool {
        let classes = ["22", "23", "54"];
        !self.is_stale()
            && self
                .code()
                .is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
    }
}

/// What `error` says of the connection it happened on.
pub(super) fn damage(error: &postgres::Error) -> Damage {
    if let Some(database) = error.as_db_error() {
        let over = matches!(
            database.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        );
        return match database.code() {
            &SqlState::READ_ONLY_SQL_TRANSACTION => Damage::ReadOnly,
            code if over || is_gone(code) => Damage::Lost,
            _ => Damage::None,
        };
    }
    if error.is_closed() {
        return Damage::Lost;
    }
    match io_cause(error) {
        Some(cause) if cause.kind() == std::io::ErrorKind::TimedOut => Damage::Silent,
        Some(_) => Damage::Lost,
        None if error.to_string().starts_with("unexpected message") => Damage::Lost,
        None => Damage::None,
    }
}

/// The I/O error behind `error`; none for a value that could not be encoded, which the crate
/// reports as one too.
fn io_cause(error: &postgres::Error) -> Option<&std::io::Error> {
    if error.to_string().starts_with("error encoding") {
        return None;
    }
    error.source()?.downcast_ref::<std::io::Error>()
}

/// Connection exceptions, shutdown, crash, starting up, database dropped.
fn is_gone(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::DATABASE_DROPPED,
        ]
        .contains(code)
}

/// `error` as the store's, from a server or a connection.
pub(super) fn store_error(error: &postgres::Error, location: &str, action: &str) -> StoreError {
    let location = location.to_owned();
    let problem = describe(error);
    let Some(database) = error.as_db_error() else {
        return match damage(error) {
            Damage::None => StoreError::Failed {
                location,
                action: action.to_owned(),
                source: problem.into(),
            },
            _ => StoreError::Unavailable { location, problem },
        };
    };
    let code = database.code();
    match code.code() {
        "53300" | "25006" | "3D000" => StoreError::Unavailable { location, problem },
        class if class.starts_with("28") => StoreError::Unavailable { location, problem },
        "57014" | "55P03" | "40P01" | "40001" => StoreError::Busy {
            location,
            problem: format!("{}: {problem}", reason_of_wait(code)),
        },
        "53100" => StoreError::NotWritable { location, problem },
        "XX001" | "XX002" => StoreError::Damaged { location, problem },
        _ if damage(error) == Damage::Lost => StoreError::Unavailable { location, problem },
        _ => StoreError::Failed {
            location,
            action: action.to_owned(),
            source: problem.into(),
        },
    }
}

/// Which of the ways to wait in vain it was.
fn reason_of_wait(code: &SqlState) -> &'static str {
    match code.code() {
        "57014" => "a statement was cancelled",
        "55P03" => "a lock was not to be had",
        "40P01" => "a deadlock was broken up",
        _ => "a transaction met another one",
    }
}

/// The whole message of `error` in one line: of the server with its SQLSTATE, else of the causes.
pub(super) fn describe(error: &postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        return describe_database(database);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = inner.to_string();
        if !text.ends_with(&line) {
            let _ = write!(text, ": {line}");
        }
        cause = inner.source();
    }
    text
}

fn describe_database(error: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code().code());
    if let Some(hint) = error.hint() {
        let _ = write!(text, "; the server says: {hint}");
    }
    text
}
