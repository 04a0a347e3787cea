//! The SQLite file: its tables, its settings, its versions.
//!
//! Rows of `documents`, `chunks` and `vectors` never change: replacing a document deletes its rows
//! and inserts new ones, and ids are never used twice (AUTOINCREMENT). So whoever keeps a copy in
//! memory catches up by reading `vectors` beyond the last chunk id it has seen and `tombstones`
//! beyond the last sequence number. A deleted collection takes its id with it and needs no
//! tombstones.
//!
//! Each collection has its text index, `fts_<collection id>`: contentless FTS5 whose rowid is the
//! chunk id, fed with the terms of [`crate::terms`].

use super::access::Access;
use super::fault::{BUSY_TIMEOUT_S, Fault, Location};
use crate::store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// Marks the file as alfred's (`PRAGMA application_id`): "alfr".
const APPLICATION_ID: i32 = 0x616c_6672;

/// The schema this build reads and writes (`PRAGMA user_version`): the number of migrations.
pub(super) const SCHEMA_VERSION: u32 = 2;

/// Step n takes a store from version n to n + 1. Never edited, only added to.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
];

/// Bytes of a page: five vectors of 384 dimensions fill one to 94 %, one of 1,536 to 75 %.
const PAGE_BYTES: u32 = 8_192;

/// The write-ahead log is cut back to this after a checkpoint, in bytes.
const WAL_LIMIT_BYTES: u32 = 64 * 1024 * 1024;

/// Page cache of one connection, in KiB.
const CACHE_KIB: i32 = 8 * 1024;

/// Prepared statements kept by one connection; some are per collection.
const STATEMENTS: usize = 64;

/// Opens the file, creates it when absent, and brings it to [`SCHEMA_VERSION`].
pub(super) fn open_and_migrate(location: &Location) -> Result<Connection, StoreError> {
    let explain = location.explain("opening it");
    let mut connection =
        connect(location.path(), OpenFlags::SQLITE_OPEN_CREATE).map_err(|fault| match fault {
            Fault::Sql(error) => open_error(location, error),
            other => explain(other),
        })?;
    let version = version_of(&connection, location)?;
    if version < SCHEMA_VERSION {
        migrate(&mut connection, version).map_err(explain)?;
    }
    Ok(connection)
}

/// Another connection to a file that [`open_and_migrate`] has opened before.
pub(super) fn connect(path: &Path, create: OpenFlags) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(BUSY_TIMEOUT_S))?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let problem = format!("the file system allows no write-ahead log (got {mode:?})");
        return Err(Fault::Unsound(problem));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)?;
    tune(&connection)?;
    Ok(connection)
}

/// A connection for reading, as the location allows.
pub(super) fn connect_reader(location: &Location) -> Result<Connection, Fault> {
    let unchanging = match location.access() {
        Access::Write => return connect(location.path(), OpenFlags::empty()),
        Access::ReadWithLog => "",
        Access::ReadUnchanging => "&immutable=1",
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let path = std::path::absolute(location.path()).unwrap_or_else(|_| location.path().to_owned());
    let uri = format!("file:{}?mode=ro{unchanging}", escaped(&path));
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(Duration::from_secs(BUSY_TIMEOUT_S))?;
    tune(&connection)?;
    Ok(connection)
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn tune(connection: &Connection) -> Result<(), Fault> {
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Savepoints and sorts in memory: both are small, and /tmp may be read-only.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Else SQLite, built with STAT4, plans a statement anew each time a value is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// The schema version, 0 for a new file.
///
/// # Errors
/// When the file is another program's, or a newer alfred's.
pub(super) fn version_of(connection: &Connection, location: &Location) -> Result<u32, StoreError> {
    let read = |sql: &str| -> Result<i64, StoreError> {
        connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| location.explain("reading its header")(error.into()))
    };
    let application = read("PRAGMA application_id")?;
    let version = read("PRAGMA user_version")?;
    let tables = read("SELECT COUNT(*) FROM sqlite_schema")?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(location.damaged("it is a SQLite database of another program"));
    }
    let version = u32::try_from(version).unwrap_or(u32::MAX);
    if version > SCHEMA_VERSION {
        let problem = format!(
            "its schema has version {version}, and this alfred knows versions up to \
             {SCHEMA_VERSION}: a newer alfred wrote it"
        );
        return Err(location.cannot_open(problem));
    }
    Ok(version)
}

/// Refuses a store that only a migration would make readable.
pub(super) fn check_reader(location: &Location) -> Result<(), StoreError> {
    let connection = connect_reader(location).map_err(location.explain("opening it"))?;
    match version_of(&connection, location)? {
        SCHEMA_VERSION => Ok(()),
        0 => Err(location.damaged("it is empty")),
        version => Err(location.cannot_open(format!(
            "it may only be read, and its schema has version {version}: a process that may write \
             must bring it to version {SCHEMA_VERSION} first"
        ))),
    }
}

fn migrate(connection: &mut Connection, seen: u32) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated while this one waited for the lock.
    let current: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for step in current.max(seen)..SCHEMA_VERSION {
        transaction.execute_batch(MIGRATIONS[step as usize])?;
        if step == 0 {
            create_default_collection(&transaction)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}

fn create_default_collection(transaction: &Transaction<'_>) -> Result<(), Fault> {
    let store_id = uuid::Uuid::new_v4().to_string();
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('store_id', ?1)",
        [store_id],
    )?;
    create_collection(transaction, crate::domain::CollectionName::DEFAULT)?;
    Ok(())
}

/// Adds a collection with its text index and returns its id.
pub(super) fn create_collection(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.execute("INSERT INTO collections (name) VALUES (?1)", [name])?;
    let id = connection.last_insert_rowid();
    create_text_index(connection, id)?;
    Ok(id)
}

/// Adds the text index of a collection.
pub(super) fn create_text_index(connection: &Connection, collection: i64) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE fts_{collection} USING fts5(
             terms, content = '', contentless_delete = 1, tokenize = \"ascii tokenchars '_'\")"
    ))
}

/// Removes the text index of a collection.
pub(super) fn drop_text_index(connection: &Connection, collection: i64) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("DROP TABLE IF EXISTS fts_{collection}"))
}

fn open_error(location: &Location, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure) => {
            location.cannot_open(error.to_string())
        }
        _ => location.explain("opening it")(error.into()),
    }
}
