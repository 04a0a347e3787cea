//! `POST /v1/embeddings` and `GET /v1/models`.

use crate::behaviour::Behaviour;
use crate::reply::{Reply, error, error_about, json};
use crate::state::State;
use base64::Engine as _;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// Most inputs of one request, as OpenAI has it.
const INPUTS_MAX: usize = 2_048;
/// Most tokens of one input, as OpenAI has it.
const INPUT_MAX_TOKENS: u64 = 8_192;
/// Most tokens of one request, as OpenAI has it.
const REQUEST_MAX_TOKENS: u64 = 300_000;

#[derive(Deserialize)]
struct Request {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

pub(crate) fn answer(state: &State, behaviour: &Behaviour, body: &[u8]) -> Reply {
    match embed(state, behaviour, body) {
        Ok(body) => json(StatusCode::OK, &body),
        Err(refused) => *refused,
    }
}

#[expect(
    clippy::unnecessary_box_returns,
    reason = "it is the error of its callers, and large"
)]
fn bad(message: &str, param: &str) -> Box<Reply> {
    let status = StatusCode::BAD_REQUEST;
    Box::new(error_about(status, message, Some(param), None))
}

fn embed(state: &State, behaviour: &Behaviour, body: &[u8]) -> Result<Value, Box<Reply>> {
    let request: Request = serde_json::from_slice(body).map_err(|problem| {
        let message = format!("We could not parse the JSON body of your request: {problem}");
        Box::new(error(StatusCode::BAD_REQUEST, &message))
    })?;
    let base64 = encoding(&request, behaviour)?;
    let full = state.vectors.dimensions_of(&request.model);
    let wanted = dimensions(&request, behaviour, full)?;
    let inputs = match request.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    check(&inputs)?;
    let rest = json!({"model": request.model, "encoding_format": request.encoding_format,
        "dimensions": request.dimensions, "inputs": inputs.len()});
    state.count_inputs(&inputs, rest);
    let made = state.vectors.make(&inputs, full, wanted);
    let made =
        made.map_err(|problem| Box::new(error(StatusCode::INTERNAL_SERVER_ERROR, &problem)))?;
    let vectors = made.vectors.into_iter().enumerate();
    let mut data: Vec<Value> = vectors
        .map(|(index, vector)| item(index, vector, base64, behaviour))
        .collect();
    if behaviour.wrong_count {
        data.pop();
    }
    if behaviour.reversed {
        data.reverse();
    }
    Ok(
        json!({"object": "list", "data": data, "model": request.model,
        "usage": {"prompt_tokens": made.tokens, "total_tokens": made.tokens}}),
    )
}

fn encoding(request: &Request, behaviour: &Behaviour) -> Result<bool, Box<Reply>> {
    match request.encoding_format.as_deref() {
        None | Some("float") => Ok(false),
        Some("base64") if !behaviour.refuse_base64 => Ok(true),
        Some(other) => {
            let message = format!("encoding_format {other:?} is not supported");
            Err(bad(&message, "encoding_format"))
        }
    }
}

fn dimensions(request: &Request, behaviour: &Behaviour, full: usize) -> Result<usize, Box<Reply>> {
    let Some(wanted) = request.dimensions else {
        return Ok(full);
    };
    if behaviour.refuse_dimensions || request.model == "text-embedding-ada-002" {
        let message = "This model does not support specifying dimensions.";
        return Err(bad(message, "dimensions"));
    }
    if wanted == 0 || wanted > full {
        let message = format!("Invalid value for 'dimensions' = {wanted}. Must be at most {full}.");
        return Err(bad(&message, "dimensions"));
    }
    Ok(wanted)
}

fn check(inputs: &[String]) -> Result<(), Box<Reply>> {
    if inputs.is_empty() || inputs.iter().any(String::is_empty) {
        return Err(bad("'$.input' is invalid: it must not be empty.", "input"));
    }
    if inputs.len() > INPUTS_MAX {
        let message = format!(
            "'$.input' is too long: {} > {INPUTS_MAX} items",
            inputs.len()
        );
        return Err(bad(&message, "input"));
    }
    let tokens: Vec<u64> = inputs
        .iter()
        .map(|text| crate::vectors::tokens_of(text))
        .collect();
    if let Some(most) = tokens.iter().max().filter(|most| **most > INPUT_MAX_TOKENS) {
        let message = format!(
            "This model's maximum context length is {INPUT_MAX_TOKENS} tokens, however you \
             requested {most} tokens."
        );
        return Err(bad(&message, "input"));
    }
    let total: u64 = tokens.iter().sum();
    if total > REQUEST_MAX_TOKENS {
        let message =
            format!("Requested {total} tokens, max {REQUEST_MAX_TOKENS} tokens per request");
        return Err(bad(&message, "input"));
    }
    Ok(())
}

fn item(index: usize, mut vector: Vec<f32>, base64: bool, behaviour: &Behaviour) -> Value {
    if behaviour.wrong_dimension {
        vector.pop();
    }
    if let (true, Some(first)) = (behaviour.nan, vector.first_mut()) {
        *first = f32::NAN;
    }
    let embedding = if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|v| v.to_le_bytes()).collect();
        json!(base64::engine::general_purpose::STANDARD.encode(bytes))
    } else {
        // A NaN becomes null, as JSON has no other word for it.
        json!(vector)
    };
    let index = if behaviour.duplicate_index { 0 } else { index };
    let mut item = json!({"object": "embedding", "index": index, "embedding": embedding});
    if let (true, Some(item)) = (behaviour.no_index, item.as_object_mut()) {
        item.remove("index");
    }
    item
}

pub(crate) fn models() -> Reply {
    let names = [
        "text-embedding-3-small",
        "text-embedding-3-large",
        "text-embedding-ada-002",
        "gpt-4o-mini",
    ];
    let model = |id: &&str| json!({"id": id, "object": "model", "created": 1_705_948_997, "owned_by": "standin"});
    let data: Vec<Value> = names.iter().map(model).collect();
    json(StatusCode::OK, &json!({"object": "list", "data": data}))
}
