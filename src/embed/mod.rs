//! Text to vectors.
//!
//! [`Embedder`] is what the rest of the house sees. Implementations block; they are called from
//! blocking threads only.

pub mod batcher;
pub mod cache;
mod flight;
pub mod gather;
pub(crate) mod graph;
mod hub;
pub mod known;
mod lanes;
pub mod local;
pub mod model_folder;
pub mod model_paths;
mod onnx;
pub mod openai;
pub mod pull;
pub mod shared;
#[cfg(test)]
pub(crate) mod testing;
mod timed;
pub(crate) mod tokens;
pub mod verify;

use crate::clock::Deadline;
use crate::domain::{Embedding, ModelId};
use std::time::Duration;

pub use cache::{CachedEmbedder, QueryEmbedding};
pub use gather::Gatherer;
pub use local::LocalModel;
pub use model_folder::{DEFAULT_MODEL, ModelFolder};
pub use model_paths::ModelPaths;
pub use shared::{RedisAddress, RedisCache};
pub use timed::TimedEmbedder;

/// What one call returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector a text, in the order of the texts.
    pub vectors: Vec<Embedding>,
    /// Tokens the model read, special tokens included.
    pub tokens: u64,
}

/// A model that turns text into unit vectors.
pub trait Embedder: Send + Sync {
    /// Which model this is; vectors of different models are never mixed.
    fn model(&self) -> &ModelId;

    /// Most tokens of one text that count, special tokens not counted; text beyond is cut.
    fn max_tokens(&self) -> usize;

    /// Tokens of `text`, special tokens not counted. Additive over parts split at white space.
    fn count_tokens(&self, text: &str) -> usize;

    /// Embeds `texts` (any number, any length).
    ///
    /// # Errors
    /// When the model or provider fails; nothing is returned for part of the texts.
    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError>;

    /// As [`Embedder::embed`], for a caller that has no use for vectors after `deadline`. A model
    /// on this machine runs to its end; a provider is not waited for longer.
    ///
    /// # Errors
    /// As [`Embedder::embed`], and [`EmbedError::TimedOut`].
    fn embed_within(&self, texts: &[&str], deadline: Deadline) -> Result<Embedded, EmbedError> {
        let _ = deadline;
        self.embed(texts)
    }

    /// For how long no text will be embedded, because the provider is known to be down; `None` when
    /// one would be tried.
    fn unavailable_for(&self) -> Option<Duration> {
        None
    }

    /// Who embeds, as metrics name it: `local` or `openai`.
    fn provider(&self) -> &'static str {
        "local"
    }
}

/// Why no vectors came back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EmbedError {
    /// The model's files are missing or do not match their digests.
    #[error("the embedding model {model} in {path}: {problem}")]
    Model {
        /// The model's name.
        model: String,
        /// The folder that was read.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The model ran and failed, or returned what is not a vector.
    #[error("embedding {texts} texts with {model}: {problem}")]
    Inference {
        /// The model's name.
        model: String,
        /// How many texts were in the call.
        texts: usize,
        /// What happened.
        problem: String,
    },
    /// The provider cannot be reached, is overloaded, or asked to come back later; nothing is
    /// wrong with the request.
    #[error("the provider {provider} is not available: {problem}")]
    Unavailable {
        /// Where it is, without credentials.
        provider: String,
        /// What happened, after how many tries.
        problem: String,
        /// When it may be asked again, where that is known.
        retry_after: Option<Duration>,
    },
    /// The provider refused the request, or what it answered is not what was asked for.
    #[error("the provider {provider}: {problem}")]
    Provider {
        /// Where it is, without credentials.
        provider: String,
        /// What it said, or what is wrong with its answer; no key in it.
        problem: String,
        /// What to try next.
        hint: Option<String>,
    },
    /// The caller's time was over.
    #[error("the provider {provider} did not answer in time: {problem}")]
    TimedOut {
        /// Where it is, without credentials.
        provider: String,
        /// What was waited for.
        problem: String,
    },
}

impl EmbedError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model { model, .. } => Some(format!(
                "run `alfred model pull {model}`, then `alfred model verify {model}`"
            )),
            Self::Unavailable { .. } => Some(
                "check `embedding.base_url` and that the provider is up; it is tried again by itself"
                    .to_owned(),
            ),
            Self::TimedOut { .. } => Some(
                "raise `server.request_timeout_ms` or `embedding.timeout_ms`, or look at the \
                 provider"
                    .to_owned(),
            ),
            Self::Provider { hint, .. } => hint.clone(),
            Self::Inference { .. } => None,
        }
    }
}
