//! A question, within its limits.

use super::{CollectionName, Filter, LimitError};
use serde::{Deserialize, Serialize};

/// The text of a question: 1 to 8,192 bytes, not blank, no NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryText(String);

impl QueryText {
    /// Longest query, in bytes.
    pub const MAX_BYTES: usize = 8_192;

    /// # Errors
    /// When empty or blank, too long, or with a NUL character.
    pub fn new(text: &str) -> Result<Self, LimitError> {
        if text.trim().is_empty() || text.len() > Self::MAX_BYTES {
            let problem = format!(
                "must be 1 to {} bytes of text, got {} bytes{}",
                Self::MAX_BYTES,
                text.len(),
                if text.is_empty() || text.len() > Self::MAX_BYTES {
                    ""
                } else {
                    " of white space"
                }
            );
            return Err(LimitError::new("query", problem));
        }
        if text.contains('\0') {
            return Err(LimitError::new("query", "must not contain NUL characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many citations are wanted: 1 to 100, default 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK(usize);

impl TopK {
    /// Most citations of one answer.
    pub const MAX: usize = 100;

    /// # Errors
    /// Outside 1 to 100.
    pub fn new(top_k: i64) -> Result<Self, LimitError> {
        usize::try_from(top_k)
            .ok()
            .filter(|k| (1..=Self::MAX).contains(k))
            .map(Self)
            .ok_or_else(|| LimitError::new("top_k", format!("must be 1 to 100, got {top_k}")))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for TopK {
    fn default() -> Self {
        Self(3)
    }
}

/// What is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Vectors and text, fused.
    #[default]
    Hybrid,
    /// Vectors alone.
    Vector,
    /// Text alone: no embedding is made.
    Text,
}

/// How the answer is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// The sentences of the citations that answer best, quoted.
    #[default]
    Extractive,
    /// Written by a chat model from the citations.
    Generated,
    /// Citations only.
    None,
}

/// A question with everything that decides its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The text.
    pub text: QueryText,
    /// How many citations.
    pub top_k: TopK,
    /// What is searched.
    pub mode: Mode,
    /// Where.
    pub collection: CollectionName,
    /// Among which documents.
    pub filter: Filter,
    /// How the answer is made.
    pub answer: AnswerKind,
}

/// At most `max_chars` characters of `text`, with an ellipsis when cut; for messages.
#[must_use]
pub fn shorten(text: &str, max_chars: usize) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(max_chars).collect();
    if chars.next().is_some() {
        head + "…"
    } else {
        head
    }
}
