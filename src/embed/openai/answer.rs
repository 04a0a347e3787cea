//! PURE: the reply to a request for embeddings, checked.

use crate::domain::Embedding;
use crate::domain::query::shorten;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Longest part of an odd value that an error repeats, in characters.
const SHOWN_CHARS: usize = 40;

#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    index: Option<usize>,
    embedding: Values,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Floats(Vec<f32>),
    Base64(String),
    Odd(Value),
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    total_tokens: u64,
}

/// The vectors of `count` texts in their order, and the tokens they cost (0 when that is not said).
/// `dimensions` is the length that they must have; all must have the same.
pub(crate) fn read(
    body: &[u8],
    count: usize,
    dimensions: Option<usize>,
) -> Result<(Vec<Embedding>, u64), String> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| {
        let end = if error.is_eof() {
            ", it is cut short"
        } else {
            ""
        };
        format!("its answer cannot be read as embeddings{end}: {error}")
    })?;
    if reply.data.len() != count {
        return Err(format!(
            "it returned {} vectors for {count} texts",
            reply.data.len()
        ));
    }
    let places = places(&reply.data)?;
    let mut dimensions = dimensions;
    let mut vectors: Vec<Option<Embedding>> = vec![None; count];
    for (item, place) in reply.data.into_iter().zip(places) {
        let vector = vector(item.embedding, place, &mut dimensions)?;
        vectors[place] = Some(vector);
    }
    let vectors: Option<Vec<Embedding>> = vectors.into_iter().collect();
    let vectors = vectors.ok_or_else(|| "a text has no vector".to_owned())?;
    let tokens = reply
        .usage
        .map_or(0, |usage| usage.prompt_tokens.max(usage.total_tokens));
    Ok((vectors, tokens))
}

/// The text that each item belongs to. Servers that leave all indexes out mean the order.
fn places(items: &[Item]) -> Result<Vec<usize>, String> {
    if items.iter().all(|item| item.index.is_none()) {
        return Ok((0..items.len()).collect());
    }
    let mut seen = vec![false; items.len()];
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let Some(index) = item.index else {
            return Err("one of its vectors has no index".to_owned());
        };
        match seen.get_mut(index) {
            None => {
                return Err(format!(
                    "it returned index {index} for {} texts",
                    items.len()
                ));
            }
            Some(true) => return Err(format!("it returned index {index} twice")),
            Some(seen) => *seen = true,
        }
        places.push(index);
    }
    Ok(places)
}

fn vector(
    values: Values,
    place: usize,
    dimensions: &mut Option<usize>,
) -> Result<Embedding, String> {
    let values = match values {
        Values::Floats(values) => values,
        Values::Base64(text) => {
            decode(&text).ok_or_else(|| format!("vector {place} is no base64 of 32-bit numbers"))?
        }
        Values::Odd(value) => {
            let null = value.as_array().and_then(|values| {
                let at = values.iter().position(|value| !value.is_number())?;
                Some(format!("vector {place} has {} at {at}", values[at]))
            });
            return Err(null.unwrap_or_else(|| {
                let shown = shorten(&value.to_string(), SHOWN_CHARS);
                format!("vector {place} is {shown}")
            }));
        }
    };
    let expected = *dimensions.get_or_insert(values.len());
    if values.len() != expected {
        return Err(format!(
            "vector {place} has {} dimensions, not {expected}",
            values.len()
        ));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!("vector {place} has {} at {at}", values[at]));
    }
    Embedding::normalised(values).map_err(|error| format!("vector {place}: {error}"))
}

/// Little-endian 32-bit floats.
fn decode(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (values, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        .then(|| values.iter().copied().map(f32::from_le_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(body: &Value, count: usize) -> Result<(Vec<Embedding>, u64), String> {
        read(body.to_string().as_bytes(), count, Some(2))
    }

    #[test]
    fn order_is_by_index_and_both_encodings_are_read() {
        let bytes: Vec<u8> = [0.0_f32, 2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let body = json!({"data": [
            {"index": 1, "embedding": STANDARD.encode(bytes)},
            {"index": 0, "embedding": [3, 0.0]},
        ], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
        let (vectors, tokens) = read_json(&body, 2).unwrap();
        assert_eq!(vectors[0].as_slice(), [1.0, 0.0]);
        assert_eq!(vectors[1].as_slice(), [0.0, 1.0]);
        assert_eq!(tokens, 7);
    }

    #[test]
    fn without_any_index_the_order_counts() {
        let body = json!({"data": [{"embedding": [1, 0]}, {"embedding": [0, 1]}]});
        let (vectors, tokens) = read_json(&body, 2).unwrap();
        assert_eq!(vectors[1].as_slice(), [0.0, 1.0]);
        assert_eq!(tokens, 0);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let item = |index: Value, embedding: Value| json!({"index": index, "embedding": embedding});
        let good = item(json!(0), json!([1, 0]));
        let nan: Vec<u8> = [f32::NAN, 1.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let cases = [
            (json!([good]), "1 vectors for 2 texts"),
            (json!([good, good]), "index 0 twice"),
            (
                json!([good, item(json!(5), json!([1, 0]))]),
                "index 5 for 2",
            ),
            (json!([good, {"embedding": [1, 0]}]), "no index"),
            (
                json!([good, item(json!(1), json!([1, 0, 0]))]),
                "vector 1 has 3 dimensions, not 2",
            ),
            (
                json!([good, item(json!(1), json!([1, null]))]),
                "vector 1 has null at 1",
            ),
            (
                json!([good, item(json!(1), json!(null))]),
                "vector 1 is null",
            ),
            (json!([good, item(json!(1), json!("AAA="))]), "no base64"),
            (
                json!([good, item(json!(1), json!(STANDARD.encode(nan)))]),
                "NaN at 0",
            ),
            (json!([good, item(json!(1), json!([0, 0]))]), "all zero"),
            (json!([good, item(json!(1), json!([1e39, 0]))]), "inf at 0"),
        ];
        for (data, says) in cases {
            let error = read_json(&json!({ "data": data }), 2).unwrap_err();
            assert!(error.contains(says), "{error}: {says}");
        }
    }

    #[test]
    fn no_json_and_half_of_it_are_told_apart() {
        let whole = json!({"data": [{"embedding": [1, 0]}]}).to_string();
        let half = read(&whole.as_bytes()[..whole.len() / 2], 1, None).unwrap_err();
        assert!(half.contains("cut short"), "{half}");
        for other in ["<html>", "[]", "{}", r#"{"data": [{"embedding": [NaN]}]}"#] {
            let error = read(other.as_bytes(), 1, None).unwrap_err();
            assert!(error.contains("cannot be read"), "{error}");
        }
    }
}
