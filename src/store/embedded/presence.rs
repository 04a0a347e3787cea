//! Whether the file that is open is still the one at its path.
//!
//! Unix lets a file be deleted or replaced while it is open. What is written to it then is synced,
//! readable here, and gone when the process ends: acknowledging it would be a lie.

use crate::store::StoreError;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file as it was when it was opened.
pub(super) struct Presence {
    path: PathBuf,
    opened: (u64, u64),
    /// What the last look found.
    is_gone: AtomicBool,
}

impl Presence {
    /// Remembers the file at `path`, which has just been opened.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let opened = identity(path).map_err(|error| StoreError::Open {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            opened,
            is_gone: AtomicBool::new(false),
        })
    }

    /// Looks at the path: one `stat`.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        let found = identity(&self.path);
        let problem = match &found {
            Ok(found) if *found == self.opened => None,
            Ok(_) => Some("another file has taken its place".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some("its file was deleted".to_owned())
            }
            Err(error) => Some(format!("its file cannot be seen any more: {error}")),
        };
        let was_gone = self.is_gone.swap(problem.is_some(), Ordering::Relaxed);
        let Some(problem) = problem else {
            return Ok(());
        };
        let error = self.gone(problem);
        if !was_gone {
            tracing::error!(%error, "nothing is stored any more: {error}");
        }
        Err(error)
    }

    /// What the last look found; asks nobody.
    pub(super) fn last_seen(&self) -> Result<(), StoreError> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(self.gone("its file was deleted or replaced".to_owned()));
        }
        Ok(())
    }

    fn gone(&self, problem: String) -> StoreError {
        StoreError::Gone {
            location: self.path.display().to_string(),
            problem,
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
