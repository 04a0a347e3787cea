//! A file that only grows, by whole pieces: each is synced, or leaves nothing behind.

use super::run_log::RunLogError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Appended {
    path: PathBuf,
    file: File,
    /// What is known to be whole.
    length: u64,
    /// There may be more in the file than that.
    is_torn: bool,
}

impl Appended {
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, RunLogError> {
        let path = folder.join(name);
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self {
                path,
                file,
                length: 0,
                is_torn: false,
            }),
            Err(source) => Err(RunLogError { path, source }),
        }
    }

    /// Opens a file that may be there, as it is.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self, RunLogError> {
        let path = folder.join(name);
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((length, file)) => Ok(Self {
                path,
                file,
                length,
                is_torn: false,
            }),
            Err(source) => Err(RunLogError { path, source }),
        }
    }

    /// Holds the file for this process; `false` when another holds it.
    pub(super) fn lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes and syncs a piece. After an error the file is as before, or is made so before the
    /// next piece.
    pub(super) fn append(&mut self, piece: &[u8]) -> Result<(), RunLogError> {
        let written = self.mend().and_then(|()| {
            // It would be written, and be gone with this process.
            if self.file.metadata()?.nlink() == 0 {
                return Err(io::Error::new(io::ErrorKind::NotFound, "it was removed"));
            }
            self.is_torn = true;
            self.file.write_all(piece)?;
            self.file.sync_data()
        });
        match written {
            Ok(()) => {
                self.is_torn = false;
                self.length += piece.len() as u64;
                Ok(())
            }
            Err(source) => {
                let _ = self.mend();
                Err(self.failed(source))
            }
        }
    }

    /// Takes back what was appended after `length`.
    pub(super) fn take_back(&mut self, length: u64) {
        self.length = length;
        self.is_torn = true;
        let _ = self.mend();
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        Ok(())
    }

    pub(super) fn failed(&self, source: io::Error) -> RunLogError {
        RunLogError {
            path: self.path.clone(),
            source,
        }
    }
}
