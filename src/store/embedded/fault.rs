//! What goes wrong inside, and how it is told outside.

use super::access::Access;
use crate::store::StoreError;
use rusqlite::ErrorCode;
use rusqlite::ffi;
use std::path::{Path, PathBuf};

/// A failure before it is known what was being done.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite's.
    Sql(rusqlite::Error),
    /// What is stored cannot be read back; says what.
    Unsound(String),
    /// Already a store's error.
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where the store is, for messages, and how it may be opened.
#[derive(Clone, Debug)]
pub(super) struct Location {
    file: PathBuf,
    access: Access,
}

impl Location {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            access: Access::Write,
        }
    }

    /// With the most that this process may do there.
    pub(super) fn for_reading(file: &Path) -> Result<Self, StoreError> {
        let location = Self::new(file);
        let access = Access::of(&location)?;
        Ok(Self { access, ..location })
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    pub(super) fn text(&self) -> String {
        self.file.display().to_string()
    }

    /// Turns a fault into an error that says where it happened and, where that helps, while doing
    /// what: `action` as "listing documents".
    pub(super) fn explain(&self, action: &'static str) -> impl Fn(Fault) -> StoreError {
        let location = self.text();
        move |fault| match fault {
            Fault::Store(error) => error,
            Fault::Unsound(problem) => StoreError::Damaged {
                location: location.clone(),
                problem,
            },
            Fault::Sql(error) => explain_sql(location.clone(), action, error),
        }
    }

    pub(super) fn damaged(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Damaged {
            location: self.text(),
            problem: problem.into(),
        }
    }

    pub(super) fn cannot_open(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Open {
            path: self.file.clone(),
            problem: problem.into(),
        }
    }
}

/// What SQLite says where tables are not as they were made; it has no code for that.
const DAMAGE_WORDS: [&str; 4] = ["fts5", "no such", "vtable", "malformed"];

/// Whether what is stored is not what was stored, in type or shape.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as Sql;
    match error {
        Sql::FromSqlConversionFailure(..)
        | Sql::IntegralValueOutOfRange(..)
        | Sql::Utf8Error(..)
        | Sql::InvalidColumnType(..) => true,
        Sql::SqliteFailure(code, Some(message)) => {
            let is_plain = code.extended_code == ffi::SQLITE_ERROR;
            is_plain && DAMAGE_WORDS.iter().any(|word| message.contains(word))
        }
        _ => false,
    }
}

fn explain_sql(location: String, action: &str, error: rusqlite::Error) -> StoreError {
    if is_damage(&error) {
        return StoreError::Damaged {
            location,
            problem: format!("{error} while {action}"),
        };
    }
    let rusqlite::Error::SqliteFailure(code, _) = &error else {
        return StoreError::Failed {
            location,
            action: action.to_owned(),
            source: Box::new(error),
        };
    };
    match code.code {
        ErrorCode::DiskFull => StoreError::NotWritable {
            location,
            problem: format!("the disk is full while {action}"),
        },
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            StoreError::NotWritable {
                location,
                problem: format!("{error} while {action}"),
            }
        }
        ErrorCode::SystemIoFailure if is_write_failure(code.extended_code) => {
            StoreError::NotWritable {
                location,
                problem: format!("{error} while {action}"),
            }
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged {
            location,
            problem: format!("{error} while {action}"),
        },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy {
            location,
            problem: format!("another process was still writing after {BUSY_TIMEOUT_S} s"),
        },
        _ => StoreError::Failed {
            location,
            action: action.to_owned(),
            source: Box::new(error),
        },
    }
}

/// How long a write waits for another process's, in seconds: an ingest's transaction takes
/// milliseconds, deleting a large collection a few seconds.
pub(super) const BUSY_TIMEOUT_S: u64 = 15;

fn is_write_failure(extended_code: i32) -> bool {
    matches!(
        extended_code,
        ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_FSYNC
            | ffi::SQLITE_IOERR_DIR_FSYNC
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMOPEN
    )
}
