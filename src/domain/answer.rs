//! What a query returns.

use super::Metadata;
use uuid::Uuid;

/// An answer and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Text with footnotes `[^n]`, n being the 1-based citation; empty when nothing answers; `None`
    /// when none was wanted.
    pub text: Option<String>,
    /// Why `text` is quoted although a generated answer was wanted.
    pub fallback: Option<String>,
    /// Best first, at most `top_k`.
    pub citations: Vec<Citation>,
    /// Where the time went.
    pub timings: Timings,
    /// What it cost.
    pub usage: Usage,
}

/// One chunk that supports the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    /// The chunk.
    pub id: Uuid,
    /// The document it is part of.
    pub document_id: Uuid,
    /// The chunk's text.
    pub excerpt: String,
    /// Higher is better. Vector: cosine, -1 to 1. Text: BM25, from 0. Hybrid: 0 to 1, fused.
    pub score: f32,
    /// The document's source.
    pub source: String,
    /// The innermost heading above what the answer quotes of it, else above the chunk, else the
    /// document's title, else empty.
    pub title: String,
    /// 0-based position of the chunk in the document.
    pub chunk: u32,
    /// 1-based page, where the format has pages.
    pub page: Option<u32>,
    /// The document's metadata.
    pub metadata: Metadata,
}

/// Milliseconds by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Waiting for a place to run.
    pub queue_ms: f64,
    /// Embedding the query; 0 in text mode.
    pub embed_ms: f64,
    /// Searching and fusing.
    pub search_ms: f64,
    /// Everything.
    pub total_ms: f64,
}

/// What answering cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the query as the model counts them; 0 in text mode.
    pub embedding_tokens: u64,
    /// Whether the embedding came from the cache.
    pub embedding_cached: bool,
    /// What the chat model cost, where it answered.
    pub completion: Option<CompletionUsage>,
}

/// Tokens of a chat model, as it counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompletionUsage {
    /// Of the rules, the passages and the question.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}
