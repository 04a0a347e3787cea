//! argv to a verb: clap types and one file a verb; wiring only.

pub mod store;

use crate::failure::Failure;

/// What every verb gets besides its own arguments.
pub struct Context {
    /// Print one JSON document on stdout instead of text for people.
    pub json: bool,
}

/// What a verb returns; `main` maps it to an exit code.
pub type Outcome = Result<(), Failure>;
