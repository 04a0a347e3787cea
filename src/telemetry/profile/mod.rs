//! Profiles of this process, for `go tool pprof`: where CPU time goes, and who holds memory.
//!
//! A process has one profiling timer and one heap, so there is one profile at a time, whoever asks:
//! who has the [`Turn`] may take one.

mod cpu;
mod heap;

pub use cpu::{CpuProfile, MAX_FREQUENCY_HZ};
pub use heap::heap;

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The right to take a profile, until it is dropped.
#[derive(Debug)]
pub struct Turn(());

impl Turn {
    /// The turn, unless somebody has it.
    #[must_use]
    pub fn take() -> Option<Self> {
        let was_taken = IS_TAKEN.swap(true, Ordering::AcqRel);
        // Only then is one made: it gives the turn back when it is dropped.
        (!was_taken).then(|| Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The profiler did not start, or what it took cannot be read.
    #[error("the profile could not be taken: {0}")]
    Failed(String),
    /// The allocator was told not to take samples.
    #[error("the allocator takes no samples of the heap")]
    HeapIsOff,
}

impl ProfileError {
    fn failed(cause: impl std::fmt::Display) -> Self {
        Self::Failed(cause.to_string())
    }
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>, ProfileError> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer
        .write_all(bytes)
        .and_then(|()| writer.finish())
        .map_err(ProfileError::failed)
}
