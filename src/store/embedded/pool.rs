//! Connections for reading: as many as there are callers at once, a few kept between calls.
//!
//! Callers are bounded by the daemon's semaphore for blocking work, so that no second limit stands
//! here; one connection costs three descriptors and its page cache.

use super::fault::{Fault, Location};
use super::schema;
use rusqlite::Connection;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that stay open while nobody reads: as many as questions run at once by default, since
/// opening one costs more than a question.
const MAX_IDLE: usize = 32;

/// Page cache of one connection, in KiB: 64 MiB for all of them. What is not in it is mostly in the
/// system's.
const CACHE_KIB: i32 = 2 * 1024;

pub(super) struct ReaderPool {
    location: Location,
    idle: Mutex<Vec<Connection>>,
}

impl ReaderPool {
    pub(super) fn new(location: Location) -> Self {
        Self {
            location,
            idle: Mutex::default(),
        }
    }

    /// Runs `read` inside one read transaction: everything it sees is of one moment.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let taken = self.idle().pop();
        let connection = match taken {
            Some(connection) => connection,
            None => self.connect()?,
        };
        connection.prepare_cached("BEGIN")?.execute([])?;
        let result = read(&connection);
        self.location.access().still_holds(&self.location)?;
        // A connection whose transaction cannot be ended is dropped, not kept.
        let ended = connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]));
        if ended.is_ok() {
            let mut idle = self.idle();
            if idle.len() < MAX_IDLE {
                idle.push(connection);
            }
        }
        result
    }

    fn connect(&self) -> Result<Connection, Fault> {
        let connection = schema::connect_reader(&self.location)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
