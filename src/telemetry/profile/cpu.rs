//! Samples of the stacks that are running, taken by a timer that counts CPU time.
//!
//! Stacks are followed by frame pointers: unwinding by tables inside a signal handler crashed while
//! other threads panicked. The release build keeps frame pointers in all of Rust's code; without
//! them, stacks are short.

use super::{ProfileError, Turn, gzipped};
use pprof::protos::Message as _;
use pprof::{ProfilerGuard, Report};

/// Most samples a second of CPU time.
pub const MAX_FREQUENCY_HZ: u32 = 99;

/// A profile that is being taken; it stops, and is lost, when it is dropped.
pub struct CpuProfile {
    // Before the turn, so that the timer is off when the next one begins.
    guard: ProfilerGuard<'static>,
    _turn: Turn,
}

impl CpuProfile {
    /// Begins to take `frequency` samples for each second of CPU time, 1 to [`MAX_FREQUENCY_HZ`].
    /// Blocks for some milliseconds.
    ///
    /// # Errors
    /// When the system refuses the timer or a temporary file for samples.
    pub fn start(turn: Turn, frequency: u32) -> Result<Self, ProfileError> {
        let frequency = frequency.clamp(1, MAX_FREQUENCY_HZ);
        let guard = ProfilerGuard::new(frequency.cast_signed()).map_err(ProfileError::failed)?;
        Ok(Self { guard, _turn: turn })
    }

    /// What was taken until now, as a gzipped `profile.proto`. Blocks while names are looked up,
    /// some seconds the first time.
    ///
    /// # Errors
    /// When the samples cannot be read.
    pub fn pprof(self) -> Result<Vec<u8>, ProfileError> {
        let profile = self.report()?.pprof().map_err(ProfileError::failed)?;
        gzipped(&profile.encode_to_vec())
    }

    /// What was taken until now, as an SVG that a browser shows; otherwise as
    /// [`CpuProfile::pprof`].
    ///
    /// # Errors
    /// When the samples cannot be read.
    pub fn flamegraph(self) -> Result<Vec<u8>, ProfileError> {
        let report = self.report()?;
        if report.data.is_empty() {
            return Ok(NOTHING.as_bytes().to_vec());
        }
        let mut svg = Vec::new();
        report.flamegraph(&mut svg).map_err(ProfileError::failed)?;
        Ok(svg)
    }

    fn report(&self) -> Result<Report, ProfileError> {
        let report = self.guard.report().build();
        // Parsed debug data of the whole program, which nobody needs until the next profile.
        backtrace::clear_symbol_cache();
        report.map_err(ProfileError::failed)
    }
}

/// The flame graph of a process that did nothing.
const NOTHING: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"600\" height=\"60\">\
    <text x=\"20\" y=\"35\" font-family=\"sans-serif\">no samples: the process used no CPU time\
    </text></svg>\n";
