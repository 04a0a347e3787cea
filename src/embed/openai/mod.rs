//! Embeddings of OpenAI, or of any server that speaks its API: `POST {base_url}/embeddings`.
//!
//! Texts go in requests of bounded size (`batches`), and what comes back is checked value by value
//! (`answer`). Vectors are asked for as base64, a quarter of the bytes of JSON; a server that
//! refuses that is asked for numbers from then on, and one that refuses `dimensions` for its own
//! length, which is then checked.

pub(crate) mod answer;
mod batches;
mod models;
mod tokens;

use super::{EmbedError, Embedded, Embedder};
use crate::clock::Deadline;
use crate::domain::ModelId;
use crate::provider::{Call, Provider, ProviderError, TokenKind};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

pub use models::{DEFAULT_MODEL, own_dimensions};

/// Bytes of a reply beside its vectors.
const REPLY_EXTRA_BYTES: u64 = 1 << 20;
/// Most bytes of one value of a vector: digits of a float in JSON, indented.
const VALUE_MAX_BYTES: u64 = 40;
/// Longest vector that a model is believed to have while its length is not known.
const DIMENSIONS_MAX: usize = crate::domain::Embedding::MAX_DIMENSIONS;

/// Which model, and how its texts are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiSettings {
    /// The model's name.
    pub model: String,
    /// Length of its vectors; 0: the model's own.
    pub dimensions: usize,
    /// Most texts of one request.
    pub batch_max: usize,
}

/// A model of a provider.
pub struct OpenAiEmbedder {
    id: ModelId,
    provider: Arc<Provider>,
    batch_max: usize,
    /// What requests say as `dimensions`, if anything.
    sent_dimensions: Option<usize>,
    /// Whether the model's own length is known here: then `dimensions` is no guess.
    is_known: bool,
    refuses_dimensions: AtomicBool,
    /// A [`Base64`].
    base64: AtomicU8,
}

/// What is known of a server and `encoding_format: base64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Base64 {
    Untried,
    Accepted,
    Refused,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

impl OpenAiEmbedder {
    /// The model of `settings`. Nothing is sent, unless the length of its vectors is neither said
    /// nor known: then one text is embedded to learn it.
    ///
    /// # Errors
    /// When the length cannot be learnt.
    pub fn open(provider: Arc<Provider>, settings: &OpenAiSettings) -> Result<Self, EmbedError> {
        let own = own_dimensions(&settings.model);
        let said = Some(settings.dimensions).filter(|dimensions| *dimensions > 0);
        let mut embedder = Self {
            id: ModelId {
                name: settings.model.clone(),
                dimensions: said.or(own).unwrap_or(0),
            },
            provider,
            batch_max: settings.batch_max.max(1),
            sent_dimensions: said.filter(|said| own != Some(*said)),
            is_known: own.is_some(),
            refuses_dimensions: AtomicBool::new(false),
            base64: AtomicU8::new(Base64::Untried as u8),
        };
        if embedder.id.dimensions == 0 {
            embedder.id.dimensions = embedder.learn_dimensions()?;
        }
        Ok(embedder)
    }

    fn learn_dimensions(&self) -> Result<usize, EmbedError> {
        let body = self.send(&["dimensions"], Deadline::NONE)?;
        let (vectors, tokens) = answer::read(&body, 1, None).map_err(|bad| self.bad(bad))?;
        self.count(tokens);
        Ok(vectors
            .first()
            .map_or(0, crate::domain::Embedding::dimensions))
    }

    fn count(&self, tokens: u64) {
        let stats = self.provider.stats();
        stats.count_tokens(TokenKind::Embedding, tokens);
    }

    fn bad(&self, problem: String) -> EmbedError {
        EmbedError::Provider {
            provider: self.provider.host().to_owned(),
            problem,
            hint: Some(
                "check `embedding.model`, `embedding.dimensions` and `embedding.base_url`"
                    .to_owned(),
            ),
        }
    }

    /// Embeds what fits one request.
    fn embed_batch(&self, texts: &[&str], deadline: Deadline) -> Result<Embedded, EmbedError> {
        let body = self.send(texts, deadline)?;
        let read = answer::read(&body, texts.len(), Some(self.id.dimensions));
        let (vectors, tokens) = read.map_err(|problem| self.bad(problem))?;
        self.count(tokens);
        Ok(Embedded { vectors, tokens })
    }

    /// Sends a request, again without what the server does not know.
    fn send(&self, texts: &[&str], deadline: Deadline) -> Result<Vec<u8>, EmbedError> {
        loop {
            let base64 = self.base64.load(Ordering::Relaxed);
            let asks_base64 = base64 != Base64::Refused as u8;
            let refused_dimensions = self.refuses_dimensions.load(Ordering::Relaxed);
            let dimensions = self.sent_dimensions.filter(|_| !refused_dimensions);
            let sent = self.post(texts, asks_base64, dimensions, deadline);
            let Err(ProviderError::Refused {
                status: Some(400 | 422),
                problem,
                ..
            }) = &sent
            else {
                if sent.is_ok() && base64 == Base64::Untried as u8 {
                    self.base64.store(Base64::Accepted as u8, Ordering::Relaxed);
                }
                return sent.map_err(EmbedError::from);
            };
            if dimensions.is_some() && !self.is_known && is_about_dimensions(problem) {
                self.refuses_dimensions.store(true, Ordering::Relaxed);
            } else if base64 == Base64::Untried as u8 {
                // The reason may be another one: only when numbers are accepted is it this one.
                let sent = self.post(texts, false, dimensions, deadline)?;
                self.base64.store(Base64::Refused as u8, Ordering::Relaxed);
                return Ok(sent);
            } else {
                return sent.map_err(EmbedError::from);
            }
        }
    }

    fn post(
        &self,
        texts: &[&str],
        base64: bool,
        dimensions: Option<usize>,
        deadline: Deadline,
    ) -> Result<Vec<u8>, ProviderError> {
        let request = Request {
            model: &self.id.name,
            input: texts,
            encoding_format: if base64 { "base64" } else { "float" },
            dimensions,
        };
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let length = match self.id.dimensions {
            0 => DIMENSIONS_MAX,
            known => known,
        };
        let values = (texts.len() as u64).saturating_mul(length as u64);
        self.provider.post(Call {
            path: "embeddings",
            body: &body,
            max_reply_bytes: values.saturating_mul(VALUE_MAX_BYTES) + REPLY_EXTRA_BYTES,
            deadline,
        })
    }
}

fn is_about_dimensions(problem: &str) -> bool {
    let problem = problem.to_lowercase();
    problem.contains("dimension") || problem.contains("matryoshka")
}

impl Embedder for OpenAiEmbedder {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn max_tokens(&self) -> usize {
        tokens::INPUT_MAX
    }

    /// An estimate that is rather too high: the provider's tokenizer is not at hand.
    fn count_tokens(&self, text: &str) -> usize {
        tokens::estimate(text)
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        self.embed_within(texts, Deadline::NONE)
    }

    fn embed_within(&self, texts: &[&str], deadline: Deadline) -> Result<Embedded, EmbedError> {
        let texts: Vec<&str> = texts.iter().map(|text| batches::sendable(text)).collect();
        let mut all = Embedded {
            vectors: Vec::with_capacity(texts.len()),
            tokens: 0,
        };
        for batch in batches::split(&texts, self.batch_max) {
            let made = self.embed_batch(batch, deadline)?;
            all.vectors.extend(made.vectors);
            all.tokens += made.tokens;
        }
        Ok(all)
    }

    fn unavailable_for(&self) -> Option<Duration> {
        self.provider.closed_for()
    }

    fn provider(&self) -> &'static str {
        "openai"
    }
}

impl From<ProviderError> for EmbedError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unavailable {
                provider,
                problem,
                retry_after,
            } => Self::Unavailable {
                provider,
                problem,
                retry_after,
            },
            ProviderError::Refused {
                provider,
                problem,
                hint,
                ..
            } => Self::Provider {
                provider,
                problem,
                hint,
            },
            ProviderError::TimedOut { provider, problem } => Self::TimedOut { provider, problem },
        }
    }
}

#[cfg(test)]
mod tests;
