//! How a store may be opened: to write, or, where this user or the medium allows no more, to read.
//!
//! SQLite's write-ahead log makes even a reader write, to the `-shm` file, unless another process
//! keeps that file, or nothing ever writes. So a store that may only be read is opened in one of two
//! ways: with the log that is there, or as a file that does not change. The second is right only
//! while there is no log; [`Access::still_holds`] looks for one after each read.

use super::admin::beside;
use super::fault::Location;
use crate::store::StoreError;
use rustix::fs::{Access as Permission, access};
use rustix::io::Errno;
use std::path::Path;

/// How connections to a store are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To read and write.
    Write,
    /// To read, with the log that another process has left or is writing.
    ReadWithLog,
    /// To read a file that does not change.
    ReadUnchanging,
}

impl Access {
    /// The most that this process may do with the store's file.
    ///
    /// # Errors
    /// When it may not even be read.
    pub(super) fn of(location: &Location) -> Result<Self, StoreError> {
        let file = location.path();
        let folder = file.parent().unwrap_or(Path::new("."));
        if let Err(errno) = access(file, Permission::READ_OK) {
            return Err(location.cannot_open(unreadable(errno)));
        }
        if access(file, Permission::WRITE_OK).is_ok()
            && access(folder, Permission::WRITE_OK).is_ok()
        {
            return Ok(Self::Write);
        }
        let (log, shared) = (beside(file, "-wal"), beside(file, "-shm"));
        if [&log, &shared]
            .iter()
            .all(|part| access(*part, Permission::READ_OK).is_ok())
        {
            return Ok(Self::ReadWithLog);
        }
        if length(&log) > 0 {
            let problem = "it may only be read, and its write-ahead log holds what only a process \
                           that may write can take in";
            return Err(location.cannot_open(problem));
        }
        Ok(Self::ReadUnchanging)
    }

    /// Whether what was read is sound: a file that was taken to be unchanging has no log yet.
    pub(super) fn still_holds(self, location: &Location) -> Result<(), StoreError> {
        let log = beside(location.path(), "-wal");
        if self == Self::ReadUnchanging && length(&log) > 0 {
            return Err(StoreError::Busy {
                location: location.text(),
                problem: "another process began to write it while it was read".to_owned(),
            });
        }
        Ok(())
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |found| found.len())
}

fn unreadable(errno: Errno) -> String {
    let user = rustix::process::geteuid().as_raw();
    match errno {
        Errno::NOENT | Errno::NOTDIR => "there is no store".to_owned(),
        Errno::ACCESS => format!("the user with id {user} may not read it"),
        other => other.to_string(),
    }
}
