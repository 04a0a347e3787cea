//! PURE: what is there and what was found → what to do.

use super::coverage::Coverage;
use crate::domain::ContentHash;
use std::collections::BTreeSet;

/// What a file needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The store has this very content.
    Nothing,
    /// It is new or has changed.
    Store,
}

/// What a file needs, by its hash and the one in the store.
#[must_use]
pub fn need(found: ContentHash, stored: Option<ContentHash>) -> Need {
    if stored == Some(found) {
        Need::Nothing
    } else {
        Need::Store
    }
}

/// The stored sources that the arguments cover and whose files are gone.
#[must_use]
pub fn gone<'a>(
    stored: impl IntoIterator<Item = &'a str>,
    found: &BTreeSet<&str>,
    coverage: &Coverage,
) -> Vec<&'a str> {
    stored
        .into_iter()
        .filter(|source| coverage.covers(source) && !found.contains(source))
        .collect()
}
