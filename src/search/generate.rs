//! An answer by a chat model, within its time; or the reason why there is none.

use crate::answering::generated::{self, Checked, Passage};
use crate::clock::{Clock, Deadline};
use crate::domain::{Citation, CompletionUsage};
use crate::provider::ProviderError;
use crate::provider::chat::{Chat, Message};
use crate::telemetry::trace;
use std::sync::Arc;
use std::time::Duration;

/// What is left of a request's time for the extractive answer, should the chat model not answer.
const MARGIN: Duration = Duration::from_millis(250);

/// Writes answers with a chat model.
pub struct Generator {
    chat: Arc<dyn Chat>,
    timeout: Duration,
}

/// What the chat model wrote.
pub(super) struct Generated {
    /// The answer; empty when the passages do not hold it.
    pub(super) text: String,
    pub(super) usage: CompletionUsage,
}

impl Generator {
    /// A generator that waits for `chat` no longer than `timeout`.
    #[must_use]
    pub fn new(chat: Arc<dyn Chat>, timeout: Duration) -> Self {
        Self { chat, timeout }
    }

    /// The answer to `question` from `citations`.
    ///
    /// # Errors
    /// Why there is none, as a sentence for the reply; the log gets the cause, with the request.
    pub(super) fn generate(
        &self,
        question: &str,
        citations: &[Citation],
        deadline: Deadline,
        clock: &dyn Clock,
    ) -> Result<Generated, String> {
        let passages: Vec<Passage<'_>> = citations
            .iter()
            .map(|citation| Passage {
                source: &citation.source,
                title: &citation.title,
                text: &citation.excerpt,
            })
            .collect();
        let prompt = generated::prompt(question, &passages);
        let message = |role, content| Message { role, content };
        let messages = [
            message("system", prompt.system),
            message("user", prompt.user),
        ];
        let left = deadline.remaining(clock);
        let time = left.map_or(self.timeout, |left| {
            left.saturating_sub(MARGIN).min(self.timeout)
        });
        let completion = self
            .chat
            .complete(&messages, Deadline::after(clock, time))
            .map_err(|error| say(&error, time))?;
        let text = match generated::check(&completion.text, prompt.passages) {
            Checked::Answer(text) => text,
            Checked::NoAnswer => String::new(),
            Checked::Nothing => return Err("the chat model answered nothing".to_owned()),
            Checked::Unfounded => {
                return Err("the chat model named only passages that do not exist".to_owned());
            }
        };
        Ok(Generated {
            text,
            usage: CompletionUsage {
                prompt_tokens: completion.prompt_tokens,
                completion_tokens: completion.completion_tokens,
            },
        })
    }
}

/// The failure in words for the reply; the line on the request gets all of it.
fn say(error: &ProviderError, time: Duration) -> String {
    trace::remark(&error.to_string());
    match error {
        ProviderError::TimedOut { .. } => format!(
            "the chat model did not answer within {} ms",
            time.as_millis()
        ),
        ProviderError::Unavailable { .. } => "the chat model is not available".to_owned(),
        ProviderError::Refused {
            status: Some(429), ..
        } => "the provider answered 429: the quota of its account is used up".to_owned(),
        ProviderError::Refused { .. } => {
            "the chat model refused the request, or its answer cannot be read".to_owned()
        }
    }
}
