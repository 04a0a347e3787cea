//! Recorded soak runs, as this side asks for them.
//!
//! Whoever serves hands them in: `soak` is a client over HTTP, and nothing here knows its files.

use serde_json::Value;

/// Recorded soak runs, to be read. Everything blocks.
pub trait RecordedRuns: Send + Sync {
    /// The newest runs, at most `most`.
    ///
    /// # Errors
    /// When the folder of runs is there and cannot be listed.
    fn list(&self, most: usize) -> Result<RunList, RunsError>;

    /// The report of the run whose folder has this name, one component of a path, as a page of HTML that
    /// needs no network. `is_wanted` says whether anybody still waits for it.
    ///
    /// # Errors
    /// When there is no such run, it cannot be read, is too large, or nobody waits any more.
    fn report(&self, name: &str, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, RunsError>;

    /// A file that was taken in a bad moment of a run: the names of the run, of the moment and of the
    /// file, one component of a path each.
    ///
    /// # Errors
    /// When there is no such file, it cannot be read or is too large.
    fn evidence(&self, names: [&str; 3]) -> Result<Vec<u8>, RunsError>;
}

/// Some of the recorded runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunList {
    /// The newest first, each as `alfred runs list --json` has it.
    pub runs: Vec<Value>,
    /// How many there are.
    pub total: usize,
}

/// Why there is no list or no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    /// There is no run, or no file, of that name.
    #[error("there is no such run")]
    NotFound,
    /// It is larger than what is read here.
    #[error("it has {bytes} bytes, and at most {most} are read here")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// What is read.
        most: u64,
    },
    /// Whoever asked has left.
    #[error("nobody waits for it any more")]
    Abandoned,
    /// Its files, or the folder of runs, cannot be read: why, with paths.
    #[error("{0}")]
    Failed(String),
}

/// A server that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRuns;

impl RecordedRuns for NoRuns {
    fn list(&self, _: usize) -> Result<RunList, RunsError> {
        Ok(RunList::default())
    }

    fn report(&self, _: &str, _: &dyn Fn() -> bool) -> Result<Vec<u8>, RunsError> {
        Err(RunsError::NotFound)
    }

    fn evidence(&self, _: [&str; 3]) -> Result<Vec<u8>, RunsError> {
        Err(RunsError::NotFound)
    }
}
