//! Samples of the stacks that are running, taken by a timer that counts CPU time.
//!
//! Stacks are followed by frame pointers: unwinding by tables inside a signal handler crashed while
//! other threads panicked. The release build keeps frame pointers in all of Rust's code; without
//! them, stacks are short.

use super::{ProfileError, Turn, gzipped};
use inferno::flamegraph;
use pprof::protos::Message as _;
use pprof::{Frames, ProfilerGuard, Report};
use std::fmt::Write as _;

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
        let stacks: Vec<String> = report.data.iter().map(folded).collect();
        let stacks = stacks.iter().map(String::as_str);
        let mut svg = Vec::new();
        flamegraph::from_lines(&mut flamegraph::Options::default(), stacks, &mut svg)
            .map_err(ProfileError::failed)?;
        Ok(svg)
    }

    fn report(&self) -> Result<Report, ProfileError> {
        let report = self.guard.report().build();
        // Parsed debug data of the whole program, which nobody needs until the next profile.
        backtrace::clear_symbol_cache();
        report.map_err(ProfileError::failed)
    }
}

/// A stack as a line for a flame graph: its thread and its functions from the outermost to the innermost, with `;`
/// between them, and how often it was seen.
fn folded((stack, count): (&Frames, &isize)) -> String {
    let mut line = stack.thread_name_or_id();
    for symbol in stack
        .frames
        .iter()
        .rev()
        .flat_map(|frame| frame.iter().rev())
    {
        let _ = write!(line, ";{symbol}");
    }
    let _ = write!(line, " {count}");
    line
}

/// The flame graph of a process that did nothing.
const NOTHING: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"600\" height=\"60\">\
    <text x=\"20\" y=\"35\" font-family=\"sans-serif\">no samples: the process used no CPU time\
    </text></svg>\n";
