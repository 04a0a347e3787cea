//! Connections for reading: as many as there are callers at once, a few kept between calls.
//!
//! Callers are bounded by the daemon's semaphore for blocking work, so that no second limit stands
//! here; one connection costs three descriptors and its page cache.

use super::fault::{Fault, Location};
use super::schema;
use rusqlite::Connection;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that stay open while nobody reads.
const MAX_IDLE: usize = 32;

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
            None => schema::connect_reader(&self.location)?,
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

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
