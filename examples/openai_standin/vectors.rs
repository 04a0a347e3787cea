//! Vectors of texts: sums of hashed words, so that texts with the same words are near each other,
//! or the local model's.

use alfred::embed::{EmbedError, Embedder as _, LocalModel};
use std::path::Path;

/// Where vectors come from.
pub(crate) struct Vectors {
    local: Option<LocalModel>,
    dimensions: usize,
}

/// Unit vectors, and the tokens they cost.
pub(crate) struct Made {
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) tokens: u64,
}

impl Vectors {
    /// `dimensions` is for models that are not OpenAI's, and for hashing alone.
    pub(crate) fn open(model_dir: Option<&Path>, dimensions: usize) -> Result<Self, EmbedError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let local = model_dir.map(|dir| LocalModel::open(dir, threads));
        Ok(Self {
            local: local.transpose()?,
            dimensions,
        })
    }

    /// The dimensions of a model's full vectors.
    pub(crate) fn dimensions_of(&self, model: &str) -> usize {
        match (&self.local, model) {
            (Some(local), _) => local.model().dimensions,
            (None, "text-embedding-3-small" | "text-embedding-ada-002") => 1_536,
            (None, "text-embedding-3-large") => 3_072,
            _ => self.dimensions,
        }
    }

    /// Embeds; shorter vectors are the beginnings of longer ones, scaled, as OpenAI makes them.
    pub(crate) fn make(
        &self,
        texts: &[String],
        full: usize,
        wanted: usize,
    ) -> Result<Made, String> {
        let (mut vectors, tokens) = if let Some(local) = &self.local {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let made = tokio::task::block_in_place(|| local.embed(&texts));
            let made = made.map_err(|error| error.to_string())?;
            let vectors = made.vectors.iter().map(|v| v.as_slice().to_vec());
            (vectors.collect(), made.tokens)
        } else {
            let vectors: Vec<Vec<f32>> = texts.iter().map(|text| hashed(text, full)).collect();
            (vectors, texts.iter().map(|text| tokens_of(text)).sum())
        };
        for vector in &mut vectors {
            vector.truncate(wanted);
            normalise(vector);
        }
        Ok(Made { vectors, tokens })
    }
}

/// Some four bytes a token, as English has.
pub(crate) fn tokens_of(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4).max(1)
}

fn hashed(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; dimensions];
    let mut bytes = vec![0_u8; dimensions];
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    // A text without a word has a vector too.
    for word in words.filter(|word| !word.is_empty()).chain([""]) {
        let weight = if word.is_empty() { 0.01 } else { 1.0 };
        blake3::Hasher::new()
            .update(word.as_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        for (value, byte) in sum.iter_mut().zip(&bytes) {
            *value += weight * (f32::from(*byte) - 127.5);
        }
    }
    sum
}

fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    for value in vector {
        *value /= norm;
    }
}
