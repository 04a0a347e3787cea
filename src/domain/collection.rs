//! The name of a collection.

use super::LimitError;

/// A collection's name: 1 to 64 characters of `a-z`, `0-9`, `_` and `-`, starting with a letter or
/// digit. `default` always exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct CollectionName(String);

impl CollectionName {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 64;
    /// The collection that always exists.
    pub const DEFAULT: &'static str = "default";

    /// # Errors
    /// When the name is empty, too long, or has another character.
    pub fn new(name: &str) -> Result<Self, LimitError> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let chars_ok = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
        if !starts_well || !chars_ok || name.len() > Self::MAX_BYTES {
            return Err(LimitError::new(
                "collection",
                format!(
                    "must be 1 to 64 characters of a-z, 0-9, _ and -, starting with a letter or \
                     digit, got {:?}",
                    super::query::shorten(name, 80)
                ),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CollectionName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl std::fmt::Display for CollectionName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
