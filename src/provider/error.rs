//! Why a provider gave no answer.

use std::borrow::Cow;
use std::time::Duration;

/// Why a provider gave no answer; no key is in any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, is overloaded, or asked to come back later.
    #[error("the provider {provider} is not available: {problem}")]
    Unavailable {
        /// Its host.
        provider: String,
        /// What happened, after how many tries.
        problem: String,
        /// When it may be asked again, where that is known.
        retry_after: Option<Duration>,
    },
    /// It refused the request, or its answer is not what was asked for.
    #[error("the provider {provider}: {problem}")]
    Refused {
        /// Its host.
        provider: String,
        /// The status, where it is the reason.
        status: Option<u16>,
        /// What it said, or what is wrong with its answer.
        problem: String,
        /// What to try next.
        hint: Option<String>,
    },
    /// The caller's time was over.
    #[error("the provider {provider} did not answer in time: {problem}")]
    TimedOut {
        /// Its host.
        provider: String,
        /// What was waited for.
        problem: String,
    },
}

impl ProviderError {
    /// The status that it ended with, where that is the reason.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Unavailable { .. } | Self::TimedOut { .. } => None,
        }
    }

    /// What it was, in a word or as a status: of few kinds.
    pub(super) fn word(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable { .. } => Cow::Borrowed("unavailable"),
            Self::TimedOut { .. } => Cow::Borrowed("timeout"),
            Self::Refused { status: None, .. } => Cow::Borrowed("bad_answer"),
            Self::Refused {
                status: Some(status),
                ..
            } => Cow::Owned(status.to_string()),
        }
    }
}

/// What to try next after a refusal with `status`.
pub(super) fn hint(status: u16) -> Option<String> {
    let text = match status {
        300..=399 => "set the base URL to where it redirects: the key is sent to no other host",
        401 | 403 => "check OPENAI_API_KEY (or `embedding.api_key`), and what the key may do",
        404 | 405 => {
            "check `embedding.base_url`, which mostly ends in /v1, and that the provider has the \
             model"
        }
        413 => "lower `embedding.batch_max`",
        429 => "look at the quota and the billing of the provider's account",
        _ => return None,
    };
    Some(text.to_owned())
}
