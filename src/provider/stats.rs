//! What providers were asked and what it cost, for metrics and the status.

use crate::telemetry::metrics::ProviderMetrics;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What tokens were for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Text that was embedded.
    Embedding,
    /// Prompts and answers of a chat model.
    Completion,
}

/// Counters, shared by all clients of a process.
#[derive(Debug, Default)]
pub struct Stats {
    embedding_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    /// By status; `timeout` and `unreachable` where there was none.
    requests: Mutex<BTreeMap<String, u64>>,
    metrics: ProviderMetrics,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Tokens of texts that were embedded, as the provider counts them.
    pub embedding_tokens: u64,
    /// Tokens of prompts and answers of chat models.
    pub completion_tokens: u64,
    /// HTTP requests by status; `timeout` and `unreachable` where there was none.
    pub requests: BTreeMap<String, u64>,
}

impl Stats {
    /// Counters from zero, which count in `metrics` too.
    #[must_use]
    pub fn counting(metrics: ProviderMetrics) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Adds what an answer's `usage` says.
    pub fn count_tokens(&self, kind: TokenKind, tokens: u64) {
        let (counter, label) = match kind {
            TokenKind::Embedding => (&self.embedding_tokens, "embedding"),
            TokenKind::Completion => (&self.completion_tokens, "completion"),
        };
        counter.fetch_add(tokens, Ordering::Relaxed);
        self.metrics.charged(label, tokens);
    }

    pub(super) fn count_status(&self, status: u16) {
        self.count_request(&status.to_string());
    }

    pub(super) fn count_request(&self, label: &str) {
        self.metrics.asked(label);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        match requests.get_mut(label) {
            Some(count) => *count += 1,
            None => drop(requests.insert(label.to_owned(), 1)),
        }
    }

    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            embedding_tokens: self.embedding_tokens.load(Ordering::Relaxed),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
            requests: requests.clone(),
        }
    }
}
