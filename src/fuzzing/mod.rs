//! What reads input from outside, one function a fuzz target: `fuzz/` calls them with what the fuzzer
//! makes up, the everyday tests with the kept corpus and with mutations of it. In no release.
//!
//! Each takes any bytes, returns when the input was read or refused as it should be, and panics when
//! a promise was broken: a panic of our own, a limit that does not hold, a reading that depends on how
//! the bytes arrived.

mod answers;
mod contained;
mod documents;
mod requests;
mod runs;
mod settings;

pub use answers::{model_files, provider_answers};
pub use documents::{html, markdown, pdf};
pub use requests::{filter, http_framing, query_json};
pub use runs::run_files;
pub use settings::{configuration, scenario};

/// A name, as of the target and of its folder of the corpus, and what it calls.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 11] = [
    ("configuration", configuration),
    ("filter", filter),
    ("html", html),
    ("http_framing", http_framing),
    ("markdown", markdown),
    ("model_files", model_files),
    ("pdf", pdf),
    ("provider_answers", provider_answers),
    ("query_json", query_json),
    ("run_files", run_files),
    ("scenario", scenario),
];

/// Longest message that a refusal may be made of, in bytes, whatever was sent.
const MESSAGE_MAX_BYTES: usize = 4_096;

#[track_caller]
fn assert_short(message: &str) {
    assert!(
        message.len() <= MESSAGE_MAX_BYTES,
        "a message of {} bytes: {}",
        message.len(),
        crate::domain::query::shorten(message, 200)
    );
}

/// The parts of an input for targets that read several files: NUL stands in none of them.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
