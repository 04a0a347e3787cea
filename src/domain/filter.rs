//! Which documents a query may see.

use super::{LimitError, SourceGlob};
use serde_json::Value;

/// Metadata equality, and a glob on the source. Every condition must hold.
///
/// In the source glob `*` and `?` stay within one path segment, `**` crosses segments, `[ab]` and
/// `{a,b}` are alternatives; see [`SourceGlob`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Glob on the source, as written.
    pub source: Option<String>,
    /// Metadata keys and the scalar each must equal, sorted by key.
    pub metadata: Vec<(String, Value)>,
}

impl Filter {
    /// Most conditions in one filter.
    pub const MAX_CONDITIONS: usize = 16;
    /// Longest key, glob or string value, in bytes.
    pub const MAX_BYTES: usize = 1_024;

    /// `conditions`: the `filter` object of a query; `source` is the glob, all else metadata.
    ///
    /// # Errors
    /// When there are too many conditions, a value is nested or too long, or the glob is malformed.
    pub fn new(conditions: impl IntoIterator<Item = (String, Value)>) -> Result<Self, LimitError> {
        let mut filter = Self::default();
        for (key, value) in conditions {
            check_condition(&key, &value)?;
            if key == "source" {
                let glob = value.as_str().ok_or_else(|| {
                    LimitError::new("filter", "`source` must be a string holding a glob")
                })?;
                SourceGlob::new(glob)
                    .map_err(|problem| LimitError::new("filter", format!("`source`: {problem}")))?;
                filter.source = Some(glob.to_owned());
            } else {
                filter.metadata.push((key, value));
            }
            if filter.metadata.len() > Self::MAX_CONDITIONS {
                let problem = format!("may have {} conditions", Self::MAX_CONDITIONS);
                return Err(LimitError::new("filter", problem));
            }
        }
        filter.metadata.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(filter)
    }

    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.is_none() && self.metadata.is_empty()
    }

    /// A matcher for the source glob; `None` if there is none, or if it is malformed, as it can be only where
    /// [`Filter::new`] did not make the filter.
    #[must_use]
    pub fn source_matcher(&self) -> Option<SourceGlob> {
        SourceGlob::new(self.source.as_deref()?).ok()
    }
}

fn check_condition(key: &str, value: &Value) -> Result<(), LimitError> {
    if value.is_array() || value.is_object() {
        let problem = format!(
            "takes strings, numbers, booleans and null, but {:?} is nested",
            super::query::shorten(key, 80)
        );
        return Err(LimitError::new("filter", problem));
    }
    let longest = key.len().max(value.as_str().map_or(0, str::len));
    if longest > Filter::MAX_BYTES || key.is_empty() {
        let problem = format!(
            "keys and values must be 1 to {} bytes, got {longest}",
            Filter::MAX_BYTES
        );
        return Err(LimitError::new("filter", problem));
    }
    if key.contains('\0') || value.as_str().is_some_and(|text| text.contains('\0')) {
        return Err(LimitError::new("filter", "must not hold NUL characters"));
    }
    Ok(())
}
