//! A sentence-embedding model that runs in this process.
//!
//! Texts are cut at the model's `max_tokens`, sorted by length, and go through the network in runs
//! of bounded size ([`super::batcher`]), each on one thread. There are two sets of lanes
//! ([`super::lanes`]), each as wide as the threads that were granted: one for calls with a single
//! text, as queries are, one for everything else. So a query never waits behind an ingest; the
//! scheduler of the operating system shares the cores between them.

use super::batcher::{Plan, RunLimits, plan};
use super::graph::Graph;
use super::lanes::Lanes;
use super::model_folder::{GRAPH_FILE, ModelFolder, TOKENIZER_FILE};
use super::tokens::Tokens;
use super::{EmbedError, Embedded, Embedder};
use crate::domain::{Embedding, ModelId};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most tokens of one run, padding included: two long texts, or four of 128 tokens. Larger runs are
/// no faster per text on one thread, take more memory (this one some 12 MB at 384 dimensions), and
/// hold their lane longer.
const RUN_MAX_TOKENS: usize = 512;

/// A model loaded from its folder; shared by all threads.
pub struct LocalModel {
    id: ModelId,
    tokens: Tokens,
    graph: Graph,
    max_tokens: usize,
    queries: Lanes,
    bulk: Lanes,
}

impl LocalModel {
    /// Loads the model in `dir`, checking its files on the way; `threads` (at least 1) is how many
    /// runs go side by side.
    ///
    /// # Errors
    /// [`EmbedError::Model`] when a file is missing, damaged, or not a model of the kind that is
    /// understood here.
    pub fn open(dir: &Path, threads: usize) -> Result<Self, EmbedError> {
        let folder = ModelFolder::open(dir)?;
        let about = folder.about();
        let (tokens, graph) = std::thread::scope(|scope| {
            let tokens = scope.spawn(|| {
                let json = folder.read_checked(TOKENIZER_FILE)?;
                Tokens::new(&json, about.max_tokens)
                    .map_err(|problem| folder.problem(format!("{TOKENIZER_FILE}: {problem}")))
            });
            let graph = scope.spawn(|| {
                let onnx = folder.read_checked(GRAPH_FILE)?;
                Graph::load(onnx, about)
                    .map_err(|problem| folder.problem(format!("{GRAPH_FILE}: {problem}")))
            });
            // A file of another kind may make a library panic.
            let crashed = |file| folder.problem(format!("{file} cannot be understood"));
            let tokens = tokens
                .join()
                .unwrap_or_else(|_| Err(crashed(TOKENIZER_FILE)));
            let graph = graph.join().unwrap_or_else(|_| Err(crashed(GRAPH_FILE)));
            (tokens, graph)
        });
        let tokens = tokens?;
        Ok(Self {
            id: ModelId {
                name: about.name.clone(),
                dimensions: about.dimensions,
            },
            max_tokens: about.max_tokens - tokens.special_tokens(),
            tokens,
            graph: graph?,
            queries: Lanes::new(threads),
            bulk: Lanes::new(threads),
        })
    }

    fn failed(&self, texts: usize, problem: String) -> EmbedError {
        EmbedError::Inference {
            model: self.id.name.clone(),
            texts,
            problem,
        }
    }

    /// Runs `plan` on as many bulk lanes as it has work for; vectors by position in `ids`.
    fn run_all(&self, ids: &[Vec<i32>], plan: &Plan) -> Result<Vec<Embedding>, String> {
        let next = AtomicUsize::new(0);
        let workers = self.bulk.count().min(plan.runs.len());
        let work = || {
            let mut done = Vec::new();
            while let Some(run) = plan.runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let indices = &plan.order[run.clone()];
                let texts: Vec<&[i32]> = indices.iter().map(|i| ids[*i].as_slice()).collect();
                let lane = self.bulk.take();
                let vectors = self.graph.run(&texts, lane.pool())?;
                done.extend(indices.iter().copied().zip(vectors));
            }
            Ok(done)
        };
        let results: Vec<Result<Vec<(usize, Embedding)>, String>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let mut results = vec![work()];
            for other in others {
                let crashed = |_| Err("a run of the model crashed".to_owned());
                results.push(other.join().unwrap_or_else(crashed));
            }
            results
        });
        let mut vectors: Vec<Option<Embedding>> = vec![None; ids.len()];
        for result in results {
            for (index, vector) in result? {
                vectors[index] = Some(vector);
            }
        }
        let vectors: Option<Vec<Embedding>> = vectors.into_iter().collect();
        vectors.ok_or_else(|| "a text has no vector".to_owned())
    }
}

impl Embedder for LocalModel {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        let failed = |problem| self.failed(texts.len(), problem);
        let ids: Vec<Vec<i32>> = texts
            .iter()
            .map(|text| self.tokens.encode(text))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let tokens: usize = lengths.iter().sum();
        let vectors = if let [text] = ids.as_slice() {
            self.graph.run(&[text], self.queries.take().pool())
        } else {
            let limits = RunLimits {
                max_tokens: RUN_MAX_TOKENS,
                min_runs: self.bulk.count(),
            };
            self.run_all(&ids, &plan(&lengths, limits))
        };
        Ok(Embedded {
            vectors: vectors.map_err(failed)?,
            tokens: tokens as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::known::ReferenceVector;
    use crate::embed::testing::{model, model_dir};
    use crate::embed::verify::COSINE_MIN;

    fn references() -> Vec<ReferenceVector> {
        let json = include_str!("../../tests/data/reference_vectors.json");
        serde_json::from_str(json).unwrap()
    }

    fn assert_close(vector: &Embedding, reference: &ReferenceVector) {
        let expected = Embedding::normalised(reference.vector.clone()).unwrap();
        let cosine = vector.cosine(&expected);
        assert!(cosine >= COSINE_MIN, "{}: {cosine}", reference.label);
    }

    #[test]
    fn vectors_agree_with_another_implementation_one_by_one() {
        for reference in references() {
            let embedded = model().embed(&[&reference.text]).unwrap();
            assert_eq!(embedded.tokens, reference.tokens, "{}", reference.label);
            assert_close(&embedded.vectors[0], &reference);
        }
    }

    #[test]
    fn vectors_agree_with_another_implementation_in_a_mixed_batch() {
        let references = references();
        assert!(references.len() >= 20);
        let texts: Vec<&str> = references.iter().map(|r| r.text.as_str()).collect();
        let embedded = model().embed(&texts).unwrap();
        assert_eq!(
            embedded.tokens,
            references.iter().map(|r| r.tokens).sum::<u64>()
        );
        for (vector, reference) in embedded.vectors.iter().zip(&references) {
            assert_close(vector, reference);
        }
    }

    #[test]
    fn no_texts_give_no_vectors() {
        let embedded = model().embed(&[]).unwrap();
        assert_eq!((embedded.vectors.len(), embedded.tokens), (0, 0));
    }

    #[test]
    fn tokens_are_counted_without_a_limit_and_add_up_over_white_space() {
        assert_eq!(model().max_tokens(), 254);
        for reference in references() {
            let whole = model().count_tokens(&reference.text);
            let parts = reference.text.split_whitespace();
            let sum: usize = parts.map(|part| model().count_tokens(part)).sum();
            assert_eq!(whole, sum, "{}", reference.label);
            let read = usize::try_from(reference.tokens).unwrap() - 2;
            assert_eq!(whole.min(254), read, "{}", reference.label);
        }
        assert_eq!(model().count_tokens(&"word ".repeat(1_000)), 1_000);
    }

    #[test]
    fn many_threads_share_one_model() {
        let texts = ["one question", "another, rather longer question"];
        let expected: Vec<_> = texts
            .map(|text| model().embed(&[text]).unwrap().vectors)
            .into();
        std::thread::scope(|scope| {
            for caller in 0..16 {
                let (text, expected) = (texts[caller % 2], &expected[caller % 2]);
                let check = move |_| assert_eq!(&model().embed(&[text]).unwrap().vectors, expected);
                scope.spawn(move || (0..5).for_each(check));
            }
        });
    }

    /// A copy of the model folder, its files linked; `damage` replaces one of them.
    fn damaged(file: &str, damage: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> EmbedError {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("all-MiniLM-L6-v2");
        std::fs::create_dir(&dir).unwrap();
        for entry in std::fs::read_dir(model_dir()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if name != file {
                std::os::unix::fs::symlink(&path, dir.join(name)).unwrap();
            } else if let Some(bytes) = damage(std::fs::read(&path).unwrap()) {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
        let error = LocalModel::open(&dir, 1).err().expect("it must be refused");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("alfred model pull all-MiniLM-L6-v2"),
            "{hint}"
        );
        error
    }

    #[test]
    fn a_damaged_model_is_refused_with_the_file_and_the_way_out() {
        let cut = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.len() / 2);
            Some(bytes)
        };
        let flipped = |mut bytes: Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Some(bytes)
        };
        let cases = [
            (
                "model.onnx",
                damaged("model.onnx", cut),
                "model.onnx is cut",
            ),
            (
                "model.onnx",
                damaged("model.onnx", flipped),
                "model.onnx is damaged",
            ),
            (
                "model.onnx",
                damaged("model.onnx", |_| None),
                "No such file",
            ),
            (
                "tokenizer.json",
                damaged("tokenizer.json", flipped),
                "tokenizer.json is damaged",
            ),
            (
                "model.json",
                damaged("model.json", cut),
                "model.json is malformed",
            ),
            (
                "model.json",
                damaged("model.json", |_| None),
                "model.json: No such file",
            ),
        ];
        for (file, error, expected) in cases {
            let text = error.to_string();
            assert!(text.contains(expected), "{file}: {text}");
        }
        let missing = LocalModel::open(Path::new("/nonexistent/m"), 1)
            .err()
            .unwrap();
        assert!(missing.to_string().contains("no such folder"), "{missing}");
    }
}
