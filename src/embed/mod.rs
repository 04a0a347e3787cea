//! Text to vectors.
//!
//! [`Embedder`] is what the rest of the house sees. Implementations block; they are called from
//! blocking threads only.

pub mod batcher;
pub mod cache;
mod graph;
mod hub;
pub mod known;
mod lanes;
pub mod local;
pub mod model_folder;
pub mod model_paths;
pub mod pull;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
pub mod verify;

use crate::domain::{Embedding, ModelId};

pub use cache::{CachedEmbedder, QueryEmbedding};
pub use local::LocalModel;
pub use model_folder::{DEFAULT_MODEL, ModelFolder};
pub use model_paths::ModelPaths;

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
}

impl EmbedError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model { model, .. } => Some(format!(
                "run `alfred model pull {model}`, then `alfred model verify {model}`"
            )),
            Self::Inference { .. } => None,
        }
    }
}
