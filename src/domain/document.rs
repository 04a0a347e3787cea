//! What a document is before it is stored: a source, and text with its structure.

use super::LimitError;
use serde_json::{Map, Value};

/// What a document is known by inside its collection: a path relative to the ingest root, or a URL.
/// 1 to 1,024 bytes, no control characters, no surrounding white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(String);

impl SourceName {
    /// Longest source, in bytes.
    pub const MAX_BYTES: usize = 1_024;

    /// # Errors
    /// When empty, too long, or with control characters.
    pub fn new(source: &str) -> Result<Self, LimitError> {
        if source.is_empty() || source.len() > Self::MAX_BYTES {
            return Err(LimitError::new(
                "source",
                format!(
                    "must be 1 to {} bytes, got {}",
                    Self::MAX_BYTES,
                    source.len()
                ),
            ));
        }
        if source.chars().any(char::is_control) || source.trim() != source {
            return Err(LimitError::new(
                "source",
                "must have no control characters and no surrounding white space",
            ));
        }
        Ok(Self(source.to_owned()))
    }

    /// The source as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a caller attaches to a document: a flat JSON object of at most 64 keys and 16 KiB, whose
/// values are strings, numbers, booleans or null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Most keys of one document.
    pub const MAX_KEYS: usize = 64;
    /// Largest serialised size, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// # Errors
    /// When there are too many keys, too many bytes, a nested value, or a NUL.
    pub fn new(map: Map<String, Value>) -> Result<Self, LimitError> {
        if map.len() > Self::MAX_KEYS {
            let problem = format!("may have {} keys, got {}", Self::MAX_KEYS, map.len());
            return Err(LimitError::new("metadata", problem));
        }
        for (key, value) in &map {
            if value.is_array() || value.is_object() {
                let problem = format!(
                    "may hold strings, numbers, booleans and null, but {:?} is nested",
                    super::query::shorten(key, 80)
                );
                return Err(LimitError::new("metadata", problem));
            }
            if key.contains('\0') || value.as_str().is_some_and(|text| text.contains('\0')) {
                return Err(LimitError::new("metadata", "must not hold NUL characters"));
            }
        }
        let bytes: usize = map
            .iter()
            .map(|(key, value)| key.len() + value.to_string().len() + 4)
            .sum();
        if bytes > Self::MAX_BYTES {
            let problem = format!("may have {} bytes, got {bytes}", Self::MAX_BYTES);
            return Err(LimitError::new("metadata", problem));
        }
        Ok(Self(map))
    }

    /// The keys and values.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// BLAKE3 of everything that decides a document's chunks: content, title, metadata, and the
/// version and settings of extraction and chunking. Equal hashes mean nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// Text taken out of a document, in reading order.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExtractedText {
    /// The document's own title, when it states one.
    pub title: Option<String>,
    /// Its parts, none of them empty.
    pub blocks: Vec<Block>,
}

/// One structural part of a document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its text as a person would quote it: Markdown is kept as written, HTML and PDF as plain text.
    pub text: String,
    /// 1-based page, where the format has pages.
    pub page: Option<u32>,
}

/// What a block is; decides where chunks may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum BlockKind {
    /// A heading of level 1 to 6; `text` is the heading without its markup.
    Heading(u8),
    /// Running text; may be cut between sentences.
    Paragraph,
    /// One item of a list; kept whole where it fits.
    ListItem,
    /// A fenced or indented code block, fences included; kept whole where it fits.
    Code,
    /// A table, its header row first; cut between rows, the header repeated.
    Table,
}
