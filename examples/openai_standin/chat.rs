//! `POST /v1/chat/completions`, not streamed. The answer quotes the first sentence of each of the
//! first two passages of the last message, a passage being what follows a line that begins with
//! `[^n]`; so a test sees what the model was given.

use crate::behaviour::Behaviour;
use crate::reply::{Reply, error, error_about, json};
use crate::state::State;
use crate::vectors::tokens_of;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Passages that are quoted.
const QUOTED: usize = 2;

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

pub(crate) fn answer(state: &State, behaviour: &Behaviour, body: &[u8]) -> Reply {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(problem) => {
            let message = format!("We could not parse the JSON body of your request: {problem}");
            return error(StatusCode::BAD_REQUEST, &message);
        }
    };
    let Some(last) = request.messages.last().filter(|_| !request.stream) else {
        let message = "messages must not be empty, and this server does not stream";
        return error_about(StatusCode::BAD_REQUEST, message, Some("messages"), None);
    };
    state.keep_chat(serde_json::from_slice(body).unwrap_or_default());
    let mut text = behaviour
        .chat_text
        .clone()
        .unwrap_or_else(|| quote(&last.content));
    for footnote in &behaviour.bogus_footnotes {
        let _ = write!(text, " [^{footnote}]");
    }
    let limit = request.max_completion_tokens.or(request.max_tokens);
    let (text, finish_reason) = cut(text, limit);
    let sent = request.messages.iter().map(|m| tokens_of(&m.content));
    json(
        StatusCode::OK,
        &reply(&request.model, &text, finish_reason, sent.sum()),
    )
}

fn reply(model: &str, text: &str, finish_reason: &str, prompt_tokens: u64) -> Value {
    let completion_tokens = if text.is_empty() { 0 } else { tokens_of(text) };
    json!({
        "id": "chatcmpl-standin", "object": "chat.completion", "created": 1_705_948_997,
        "model": model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null,
            "finish_reason": finish_reason,
        }],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    })
}

/// The first sentences of the first passages, each with its footnote.
fn quote(message: &str) -> String {
    let mut quotes = Vec::new();
    let mut lines = message.lines();
    while let Some(line) = lines.next() {
        let footnote = line
            .strip_prefix("[^")
            .and_then(|rest| rest.split_once(']'))
            .and_then(|(number, _)| number.parse::<u32>().ok());
        let Some(footnote) = footnote else { continue };
        let passage = lines.find(|line| !line.trim().is_empty()).unwrap_or("");
        let sentence = passage
            .split_inclusive(['.', '!', '?'])
            .next()
            .unwrap_or("");
        quotes.push(format!("{} [^{footnote}]", sentence.trim()));
        if quotes.len() == QUOTED {
            break;
        }
    }
    quotes.join(" ")
}

/// At most `limit` tokens of `text`, and why it ended there.
fn cut(text: String, limit: Option<u64>) -> (String, &'static str) {
    match limit {
        Some(limit) if tokens_of(&text) > limit => {
            let chars = usize::try_from(limit * 4).unwrap_or(usize::MAX);
            (text.chars().take(chars).collect(), "length")
        }
        _ => (text, "stop"),
    }
}
