//! What one document may cost. Over a limit it is refused with a reason; it never takes the
//! process down.

use super::{ExtractError, Format};
use std::time::Duration;

/// Most text that one document may hold, in bytes: 30 times the King James Bible. Compressed
/// formats can hold far more than their size.
pub const TEXT_BYTES: usize = 128 << 20;

/// Most pages of a PDF.
pub const PAGES: usize = 20_000;

/// Largest file that is read, in bytes, by format. The tree of an HTML page takes some 30 times
/// the bytes of the page; a PDF is mostly pictures, which are not read.
#[must_use]
pub const fn file_bytes(format: Format) -> u64 {
    match format {
        Format::Markdown | Format::Text => 64 << 20,
        Format::Html => 32 << 20,
        Format::Pdf => 256 << 20,
    }
}

/// Most processor time for one document of `bytes`, in seconds: ten times and more what real
/// documents take, and little for a small one that is made to take long (the HTML parser is
/// quadratic in the depth of a page, for one).
#[must_use]
pub const fn processor_seconds(format: Format, bytes: u64) -> u64 {
    let mib = bytes >> 20;
    match format {
        Format::Markdown | Format::Text | Format::Html => 3 + mib,
        Format::Pdf => {
            let seconds = 20 + 10 * mib;
            if seconds < PDF_SECONDS {
                seconds
            } else {
                PDF_SECONDS
            }
        }
    }
}

/// Most processor time for any PDF, in seconds.
const PDF_SECONDS: u64 = 300;

/// Most time for one document of `bytes` by the clock: for a parser that waits for ever. One that
/// works for ever is stopped by its processor time, also on a busy machine.
#[must_use]
pub const fn wall_time(format: Format, bytes: u64) -> Duration {
    Duration::from_secs(30 + 10 * processor_seconds(format, bytes))
}

pub(super) fn check(format: Format, bytes: u64) -> Result<(), ExtractError> {
    let limit = file_bytes(format);
    if bytes > limit {
        return Err(ExtractError::TooLarge { bytes, limit });
    }
    Ok(())
}

pub(super) fn too_much_text() -> ExtractError {
    ExtractError::Malformed(format!("its text is over {} MiB", TEXT_BYTES >> 20))
}
