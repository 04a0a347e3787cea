//! Times every call to a model, those for queries as those for documents.

use super::{EmbedError, Embedded, Embedder};
use crate::clock::Deadline;
use crate::domain::ModelId;
use crate::telemetry::metrics::{EmbeddingMetrics, Timer};
use std::sync::Arc;
use std::time::Duration;

/// An embedder whose calls are timed.
pub struct TimedEmbedder {
    inner: Arc<dyn Embedder>,
    timer: Timer,
}

impl TimedEmbedder {
    /// Times the calls to `inner` in `metrics`, under its provider's name.
    #[must_use]
    pub fn new(inner: Arc<dyn Embedder>, metrics: &EmbeddingMetrics) -> Self {
        Self {
            timer: metrics.of(inner.provider()),
            inner,
        }
    }
}

impl Embedder for TimedEmbedder {
    fn model(&self) -> &ModelId {
        self.inner.model()
    }

    fn max_tokens(&self) -> usize {
        self.inner.max_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        self.timer.time(|| self.inner.embed(texts))
    }

    fn embed_within(&self, texts: &[&str], deadline: Deadline) -> Result<Embedded, EmbedError> {
        self.timer.time(|| self.inner.embed_within(texts, deadline))
    }

    fn unavailable_for(&self) -> Option<Duration> {
        self.inner.unavailable_for()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }
}
