//! A chat model of a provider: `POST {base_url}/chat/completions`, not streamed.

use super::{Call, Provider, ProviderError, TokenKind};
use crate::clock::Deadline;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Longest reply that is read: some hundred times what the token budget allows for.
const REPLY_MAX_BYTES: u64 = 4 << 20;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system` or `user`.
    pub role: &'static str,
    /// Its text.
    pub content: String,
}

/// What a chat model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The text; may be empty.
    pub text: String,
    /// Tokens of the messages, as the provider counts them; 0 when it does not say.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
}

/// Something that continues a conversation; blocks.
pub trait Chat: Send + Sync {
    /// The answer to `messages`, waited for until `deadline`.
    ///
    /// # Errors
    /// When there is none.
    fn complete(
        &self,
        messages: &[Message],
        deadline: Deadline,
    ) -> Result<Completion, ProviderError>;
}

/// A chat model of a provider.
pub struct ChatModel {
    provider: Arc<Provider>,
    model: String,
    max_tokens: u32,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Choice {
    message: Answer,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl ChatModel {
    /// The chat model `model` of `provider`, whose answers have at most `max_tokens` tokens.
    #[must_use]
    pub fn new(provider: Arc<Provider>, model: String, max_tokens: u32) -> Self {
        Self {
            provider,
            model,
            max_tokens,
        }
    }

    /// The body of a request. `max_tokens` is the name that every compatible server knows, and
    /// newer models of OpenAI's refuse: they want `max_completion_tokens`, and no temperature.
    fn body(&self, messages: &[Message], is_new: bool) -> Result<Vec<u8>, ProviderError> {
        let request = Request {
            model: &self.model,
            messages,
            max_tokens: (!is_new).then_some(self.max_tokens),
            max_completion_tokens: is_new.then_some(self.max_tokens),
            temperature: (!is_new).then_some(0.0),
        };
        serde_json::to_vec(&request).map_err(|error| self.refused(error.to_string()))
    }

    fn send(
        &self,
        messages: &[Message],
        deadline: Deadline,
        is_new: bool,
    ) -> Result<Vec<u8>, ProviderError> {
        self.provider.post(Call {
            path: "chat/completions",
            body: &self.body(messages, is_new)?,
            max_reply_bytes: REPLY_MAX_BYTES,
            deadline,
        })
    }

    fn refused(&self, problem: String) -> ProviderError {
        ProviderError::Refused {
            provider: self.provider.host().to_owned(),
            status: None,
            problem,
            hint: None,
        }
    }
}

impl Chat for ChatModel {
    fn complete(
        &self,
        messages: &[Message],
        deadline: Deadline,
    ) -> Result<Completion, ProviderError> {
        let is_new = takes_max_completion_tokens(&self.model);
        let body = match self.send(messages, deadline, is_new) {
            Err(ProviderError::Refused {
                status: Some(400),
                problem,
                ..
            }) if !is_new && problem.contains("max_completion_tokens") => {
                self.send(messages, deadline, true)?
            }
            sent => sent?,
        };
        let completion = read(&body).map_err(|problem| self.refused(problem))?;
        let tokens = completion
            .prompt_tokens
            .saturating_add(completion.completion_tokens);
        self.provider
            .stats()
            .count_tokens(TokenKind::Completion, tokens);
        Ok(completion)
    }
}

/// The first choice of a reply.
pub(crate) fn read(body: &[u8]) -> Result<Completion, String> {
    let reply: Reply = serde_json::from_slice(body)
        .map_err(|error| format!("its answer is not a chat completion: {error}"))?;
    let choice = reply.choices.into_iter().next();
    let content = choice.and_then(|choice| choice.message.content);
    Ok(Completion {
        text: content.unwrap_or_default(),
        prompt_tokens: reply.usage.prompt_tokens,
        completion_tokens: reply.usage.completion_tokens,
    })
}

/// OpenAI's reasoning models and those since GPT-5.
fn takes_max_completion_tokens(model: &str) -> bool {
    ["o1", "o3", "o4", "gpt-5"]
        .iter()
        .any(|family| model.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::provider::testing::{Say, TestProvider};
    use serde_json::json;

    fn complete(server: &TestProvider, model: &str) -> Result<Completion, ProviderError> {
        let provider = server.client(0, Arc::new(SystemClock));
        let messages = [Message {
            role: "user",
            content: "Why?".to_owned(),
        }];
        ChatModel::new(provider, model.to_owned(), 77).complete(&messages, Deadline::NONE)
    }

    fn said(content: &serde_json::Value) -> Say {
        let choices = json!([{"message": {"role": "assistant", "content": content}}]);
        Say::json(
            200,
            &json!({"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}),
        )
    }

    #[test]
    fn answers_come_with_their_tokens_and_may_be_empty() {
        let server = TestProvider::start(|n, _| said(&[json!("Because."), json!(null)][n]));
        let answer = complete(&server, "any").unwrap();
        assert_eq!(answer.text, "Because.");
        assert_eq!((answer.prompt_tokens, answer.completion_tokens), (5, 2));
        assert_eq!(complete(&server, "any").unwrap().text, "");
        let request = server.seen()[0].body.clone();
        assert_eq!(
            (&request["max_tokens"], &request["model"]),
            (&json!(77), &json!("any"))
        );
    }

    #[test]
    fn a_model_that_wants_the_new_name_of_the_limit_gets_it() {
        let server = TestProvider::start(|_, request| {
            if request.body.get("max_tokens").is_some() {
                let message = "Unsupported parameter: use 'max_completion_tokens' instead.";
                Say::json(400, &json!({"error": {"message": message}}))
            } else {
                said(&json!("Yes."))
            }
        });
        assert_eq!(complete(&server, "newer").unwrap().text, "Yes.");
        assert_eq!(complete(&server, "gpt-5-mini").unwrap().text, "Yes.");
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[2].body["max_completion_tokens"], 77);
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        let server = TestProvider::start(|_, _| Say::json(200, &json!({"text": "?"})));
        let error = complete(&server, "any").unwrap_err().to_string();
        assert!(error.contains("not a chat completion"), "{error}");
    }
}
