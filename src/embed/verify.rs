//! Whether a model folder holds the model that it says it does.

use super::known::KnownModel;
use super::local::LocalModel;
use super::model_folder::{GRAPH_FILE, ModelFolder, TOKENIZER_FILE};
use super::{EmbedError, Embedder};
use crate::domain::Embedding;
use std::path::Path;

/// Least cosine between a vector and its reference. Rounding in another order of operations stays
/// within 1e-6 of 1; another model, pooling or tokenizer is far below.
pub const COSINE_MIN: f32 = 0.9999;

/// What was found, when nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Verified {
    /// How the graph was judged.
    pub graph: GraphOrigin,
    /// The lowest cosine with a reference vector; `None` for a model that is not known.
    pub cosine_min: Option<f32>,
}

/// How a graph was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphOrigin {
    /// It is the pinned one, bit for bit, and its vectors are right.
    Pinned,
    /// It is another graph of a known model, as the publisher's own, and its vectors are right.
    ByVectors,
    /// Nothing is known of this model but what its own `model.json` says.
    Unknown,
}

/// Checks the digests of all files, those that are pinned, and the vectors of a known model.
///
/// # Errors
/// [`EmbedError::Model`] with the first thing that is wrong.
pub fn verify(path: &Path) -> Result<Verified, EmbedError> {
    let folder = ModelFolder::open(path)?;
    folder.check_digests()?;
    let Some(known) = KnownModel::find(&folder.about().name) else {
        return Ok(Verified {
            graph: GraphOrigin::Unknown,
            cosine_min: None,
        });
    };
    let files = &folder.about().files;
    let tokenizer = &files[TOKENIZER_FILE].sha256;
    if tokenizer != known.tokenizer_sha256 {
        return Err(folder.problem(format!(
            "{TOKENIZER_FILE} is not the published one: its SHA-256 digest is {tokenizer}, not {}",
            known.tokenizer_sha256
        )));
    }
    let graph = if files[GRAPH_FILE].sha256 == known.graph_sha256 {
        GraphOrigin::Pinned
    } else {
        GraphOrigin::ByVectors
    };
    let cosine_min = check_vectors(&folder, known)?;
    Ok(Verified {
        graph,
        cosine_min: Some(cosine_min),
    })
}

/// Embeds the model's reference texts together; the lowest cosine.
fn check_vectors(folder: &ModelFolder, known: &KnownModel) -> Result<f32, EmbedError> {
    let model = LocalModel::open(folder.path(), 1)?;
    let references = known.reference_vectors();
    let texts: Vec<&str> = references.iter().map(|r| r.text.as_str()).collect();
    let vectors = model.embed(&texts)?.vectors;
    let mut cosine_min = 1.0_f32;
    for (vector, reference) in vectors.iter().zip(references) {
        let expected = Embedding::normalised(reference.vector)
            .map_err(|error| folder.problem(error.to_string()))?;
        let cosine = if expected.dimensions() == vector.dimensions() {
            vector.cosine(&expected)
        } else {
            0.0
        };
        if cosine < COSINE_MIN {
            return Err(folder.problem(format!(
                "it is not the published model: the vector of {:?} has cosine {cosine:.4} with the \
                 right one, {COSINE_MIN} is needed",
                reference.text
            )));
        }
        cosine_min = cosine_min.min(cosine);
    }
    Ok(cosine_min)
}
