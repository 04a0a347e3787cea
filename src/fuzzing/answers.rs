//! What servers and publishers of models send.

use super::contained::contained;
use super::{assert_short, parts};
use crate::answering::generated::{self, Checked};
use crate::domain::Embedding;
use crate::embed::graph::Graph;
use crate::embed::model_folder::{About, FileAbout, GRAPH_FILE, Pooling, TOKENIZER_FILE};
use crate::embed::openai::answer;
use crate::embed::tokens::Tokens;
use crate::provider::exchange::Reply;
use crate::provider::{backoff, chat};
use http::{HeaderMap, HeaderValue};
use std::time::SystemTime;

/// Passages that a made-up answer may name.
const PASSAGES: usize = 3;

/// A reply of a provider: embeddings, a chat completion, an error, a header.
///
/// # Panics
/// When vectors are accepted that are none, or an answer names a passage that does not exist.
pub fn provider_answers(data: &[u8]) {
    for (count, dimensions) in [(1, Some(4)), (2, None)] {
        match answer::read(data, count, dimensions) {
            Ok((vectors, _)) => {
                assert_eq!(vectors.len(), count);
                let length = vectors.first().map_or(0, |vector| vector.as_slice().len());
                assert!((1..=Embedding::MAX_DIMENSIONS).contains(&length));
                assert!(dimensions.is_none_or(|dimensions| dimensions == length));
                for vector in &vectors {
                    assert_eq!(vector.as_slice().len(), length);
                    assert!(vector.as_slice().iter().all(|value| value.is_finite()));
                }
            }
            Err(problem) => assert_short(&problem),
        }
    }
    if let Ok(completion) = chat::read(data) {
        footnotes(&completion.text);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        footnotes(text);
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(data) {
        headers.insert("retry-after", value.clone());
        headers.insert("retry-after-ms", value);
    }
    let _ = backoff::retry_after(&headers, SystemTime::UNIX_EPOCH);
    headers.remove("retry-after-ms");
    let _ = backoff::retry_after(&headers, SystemTime::UNIX_EPOCH);
    let reply = Reply {
        status: 500,
        headers,
        body: data.to_owned(),
    };
    assert!(!reply.message().contains(['\n', '\r']));
    let _ = reply.code();
}

/// What is kept of an answer names passages that were given, and stays as it is when it is checked again.
fn footnotes(text: &str) {
    if let Checked::Answer(kept) = generated::check(text, PASSAGES) {
        assert_eq!(
            generated::check(&kept, PASSAGES),
            Checked::Answer(kept.clone()),
            "of {text:?}"
        );
    }
}

/// `model.json`, a tokenizer and a graph, with NUL between them; the graph, which may hold NUL itself,
/// is the rest. Panics of the libraries that read the last two are let pass: a model is opened on threads
/// whose end is looked at.
///
/// # Panics
/// When a description that makes no sense is accepted.
pub fn model_files(data: &[u8]) {
    let mut files = parts(data);
    let about = files.next().unwrap_or_default();
    let tokenizer = files.next().unwrap_or_default();
    let graph = data.get(about.len() + tokenizer.len() + 2..);
    let described: Result<About, _> = serde_json::from_slice(about);
    if let Ok(about) = &described
        && about.check().is_ok()
    {
        assert!(about.files.keys().all(|name| !name.contains('/')));
        assert!((1..=Embedding::MAX_DIMENSIONS).contains(&about.dimensions));
    }
    contained(|| tokenized(tokenizer));
    if let Some(graph) = graph {
        contained(|| Graph::load(graph.to_owned(), &plain_about()).is_ok());
    }
}

fn tokenized(tokenizer: &[u8]) {
    if let Ok(tokens) = Tokens::new(tokenizer, 16) {
        assert!(tokens.encode("").is_ok_and(|ids| ids.len() == 2));
        if let Ok(ids) = tokens.encode("How do I upgrade the Helm chart, übrigens?") {
            assert!(ids.len() <= 16);
        }
        let _ = tokens.count("Helm  charts\n");
    }
}

fn plain_about() -> About {
    let file = |name: &str| (name.to_owned(), FileAbout::of(b""));
    About {
        name: "made-up".to_owned(),
        dimensions: 4,
        max_tokens: 16,
        pooling: Pooling::Mean,
        license: "MIT".to_owned(),
        source: "nowhere".to_owned(),
        files: [GRAPH_FILE, TOKENIZER_FILE].map(file).into(),
    }
}
