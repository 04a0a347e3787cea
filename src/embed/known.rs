//! The models that this binary knows by name: where they are published, and what they must be.

use super::model_folder::{About, DEFAULT_MODEL, Pooling};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A model as published.
#[derive(Debug)]
pub struct KnownModel {
    /// Its name.
    pub name: &'static str,
    /// `owner/name` on the publisher's hub.
    pub repository: &'static str,
    /// The graph's path there; its tokenizer is `tokenizer.json`.
    pub hub_graph: &'static str,
    /// Length of its vectors.
    pub dimensions: usize,
    /// Most tokens that it reads, special tokens included.
    pub max_tokens: usize,
    /// SPDX expression of the weights' licence.
    pub license: &'static str,
    /// The text of that licence, which the hub does not carry as a file.
    pub license_text: &'static str,
    /// SHA-256 of the graph that `scripts/model` writes from the published weights, whose own
    /// digest is pinned there. Other graphs of the same weights, as the publisher's `model.onnx`,
    /// are judged by their vectors.
    pub graph_sha256: &'static str,
    /// SHA-256 of the published tokenizer.
    pub tokenizer_sha256: &'static str,
    /// Texts with their vectors, as JSON, made by another implementation
    /// (`scripts/reference-vectors`).
    vectors_json: &'static str,
}

const MODELS: [KnownModel; 1] = [KnownModel {
    name: DEFAULT_MODEL,
    repository: "sentence-transformers/all-MiniLM-L6-v2",
    hub_graph: "onnx/model.onnx",
    dimensions: 384,
    max_tokens: 256,
    license: "Apache-2.0",
    license_text: include_str!("../../scripts/embedding/LICENSE"),
    graph_sha256: "74a052c4d2ab72786b5f8b1fd896c516d9baab1b92d704017b56e99fac70ed5a",
    tokenizer_sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    vectors_json: include_str!("self_test.json"),
}];

/// A text, and what the model must make of it.
#[derive(Debug, Deserialize)]
pub struct ReferenceVector {
    /// What the text is an example of.
    pub label: String,
    /// The text.
    pub text: String,
    /// Its tokens, special tokens included, cut at the model's maximum.
    pub tokens: u64,
    /// Its vector, of unit length.
    pub vector: Vec<f32>,
}

impl KnownModel {
    /// The model called `name`, if it is known.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }

    /// The names of all of them.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        MODELS.iter().map(|model| model.name).collect()
    }

    /// The texts that a sound copy of the model embeds to these vectors.
    #[must_use]
    pub fn reference_vectors(&self) -> Vec<ReferenceVector> {
        serde_json::from_str(self.vectors_json).unwrap_or_default()
    }

    /// What its `model.json` says, with no files listed yet.
    #[must_use]
    pub fn about(&self) -> About {
        About {
            name: self.name.to_owned(),
            dimensions: self.dimensions,
            max_tokens: self.max_tokens,
            pooling: Pooling::Mean,
            license: self.license.to_owned(),
            source: self.repository.to_owned(),
            files: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_model_has_vectors_to_judge_it_by() {
        for name in KnownModel::names() {
            let model = KnownModel::find(name).unwrap();
            let vectors = model.reference_vectors();
            assert!(vectors.len() >= 2, "{name}");
            assert!(vectors.iter().all(|v| v.vector.len() == model.dimensions));
        }
    }
}
