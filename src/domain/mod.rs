//! PURE: the words alfred thinks in, as types that check their limits once.
//!
//! A value of one of these types is valid by construction; nothing downstream checks again.

pub mod answer;
pub mod chunk;
pub mod collection;
pub mod document;
pub mod embedding;
pub mod filter;
pub mod glob;
pub mod query;
pub mod stored;

pub use answer::{Answer, Citation, CompletionUsage, Timings, Usage};
pub use chunk::Chunk;
pub use collection::CollectionName;
pub use document::{Block, BlockKind, ContentHash, ExtractedText, Metadata, SourceName};
pub use embedding::{Embedding, ModelId};
pub use filter::Filter;
pub use glob::SourceGlob;
pub use query::{AnswerKind, Mode, Query, QueryText, TopK};
pub use stored::{CollectionInfo, EmbeddedDocument, StoredDocument, UpsertStatus, Upserted};

/// A value that breaks a documented limit: which field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct LimitError {
    /// The name of the field as the API spells it.
    pub field: &'static str,
    /// What is wrong, so that "`field` problem" is a sentence: "must be …, got …".
    pub problem: String,
}

impl LimitError {
    /// An error on `field`; `problem` continues the sentence.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            problem: problem.into(),
        }
    }
}
