//! The neural network: token ids to unit vectors, through rten.

use super::model_folder::About;
use crate::domain::Embedding;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use std::sync::Arc;

/// A loaded encoder. Takes the inputs `input_ids`, `attention_mask` and, if the graph has it,
/// `token_type_ids`, each `[batch, sequence]`; gives `last_hidden_state`, `[batch, sequence,
/// dimensions]`, which is pooled and normalised here.
pub(crate) struct Graph {
    model: Model,
    ids: NodeId,
    mask: NodeId,
    types: Option<NodeId>,
    output: NodeId,
    dimensions: usize,
}

impl Graph {
    /// From the bytes of an ONNX file, of which nothing is believed that its size does not allow.
    pub(crate) fn load(onnx: Vec<u8>, about: &About) -> Result<Self, String> {
        super::onnx::check(&onnx)?;
        let model = ModelOptions::with_all_ops()
            // 40 MB and some milliseconds more, for runs of a third less time.
            .prepack_weights(true)
            .load(onnx)
            .map_err(|error| error.to_string())?;
        let node = |name: &str| model.find_node(name);
        let needed = |name: &str| node(name).ok_or_else(|| format!("it has no input `{name}`"));
        let (ids, mask) = (needed("input_ids")?, needed("attention_mask")?);
        let types = node("token_type_ids").filter(|id| model.input_ids().contains(id));
        let output = node("last_hidden_state")
            .filter(|id| model.output_ids().contains(id))
            .ok_or("it has no output `last_hidden_state`")?;
        Ok(Self {
            dimensions: about.dimensions,
            ids,
            mask,
            types,
            output,
            model,
        })
    }

    /// Embeds texts given as token ids, none empty, on `pool`.
    pub(super) fn run(
        &self,
        texts: &[&[i32]],
        pool: Arc<ThreadPool>,
    ) -> Result<Vec<Embedding>, String> {
        let (batch, longest) = (
            texts.len(),
            texts.iter().map(|text| text.len()).max().unwrap_or(0),
        );
        let mut ids = vec![0; batch * longest];
        let mut mask = vec![0; batch * longest];
        for (row, text) in texts.iter().enumerate() {
            let start = row * longest;
            ids[start..start + text.len()].copy_from_slice(text);
            mask[start..start + text.len()].fill(1);
        }
        let tensor = |data: Vec<i32>| NdTensor::from_data([batch, longest], data);
        let mut inputs: Vec<(NodeId, ValueOrView<'_>)> = vec![
            (self.ids, tensor(ids).into()),
            (self.mask, tensor(mask).into()),
        ];
        inputs.extend(
            self.types
                .map(|types| (types, tensor(vec![0; batch * longest]).into())),
        );
        let options = RunOptions::default().with_thread_pool(Some(pool));
        let [states] = self
            .model
            .run_n(inputs, [self.output], Some(options))
            .map_err(|error| error.to_string())?;
        let states: NdTensor<f32, 3> = states
            .try_into()
            .map_err(|_| "its output is not of shape [batch, sequence, dimensions]".to_owned())?;
        if states.shape() != [batch, longest, self.dimensions] {
            return Err(format!(
                "its output is of shape {:?}, not {:?}",
                states.shape(),
                [batch, longest, self.dimensions]
            ));
        }
        let states = states.to_contiguous();
        let rows = states.data().chunks_exact(longest * self.dimensions);
        rows.zip(texts)
            .map(|(row, text)| self.pool_mean(row, text.len()))
            .collect()
    }

    /// The mean of the first `tokens` states, normalised: the sum does, as length is scaled away.
    fn pool_mean(&self, states: &[f32], tokens: usize) -> Result<Embedding, String> {
        let mut sum = vec![0.0_f32; self.dimensions];
        for state in states.chunks_exact(self.dimensions).take(tokens) {
            for (total, value) in sum.iter_mut().zip(state) {
                *total += value;
            }
        }
        Embedding::normalised(sum).map_err(|error| error.to_string())
    }
}
