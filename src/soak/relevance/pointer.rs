//! PURE: where an answer has its sources: a JSON pointer (RFC 6901) in which `*` stands for each element
//! of a list, in order.

use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Where alfred's own answers have them.
pub const DEFAULT_POINTER: &str = "/citations/*/source";
/// Stands for each element of a list.
const EACH: &str = "*";

/// A pointer to the sources of an answer, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePointer {
    text: String,
    /// Unescaped.
    steps: Vec<String>,
}

impl SourcePointer {
    /// The first `most` sources of `answer`. A list's element that has none keeps its place, and so do
    /// values that are neither text nor number.
    pub(super) fn first(&self, answer: &Value, most: usize) -> Vec<String> {
        let mut found: Vec<Option<&Value>> = vec![Some(answer)];
        for step in &self.steps {
            let next = found.into_iter().flat_map(|value| match value {
                Some(Value::Array(list)) if step == EACH => {
                    list.iter().map(Some).collect::<Vec<_>>()
                }
                Some(Value::Array(list)) => {
                    let place = step.parse::<usize>().ok();
                    vec![place.and_then(|place| list.get(place))]
                }
                Some(Value::Object(map)) => vec![map.get(step)],
                _ => vec![None],
            });
            found = next.collect();
        }
        let text = |value: Option<&Value>| match value? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        found.into_iter().take(most).filter_map(text).collect()
    }
}

impl Default for SourcePointer {
    fn default() -> Self {
        Self::of(DEFAULT_POINTER)
    }
}

impl SourcePointer {
    /// `text` begins with `/`.
    fn of(text: &str) -> Self {
        let steps = text.split('/').skip(1);
        let steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~"));
        Self {
            text: text.to_owned(),
            steps: steps.collect(),
        }
    }
}

impl FromStr for SourcePointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with('/') && text.len() > 1 {
            return Ok(Self::of(text));
        }
        Err(format!(
            "{text:?} is not a JSON pointer to the sources of an answer such as {DEFAULT_POINTER}"
        ))
    }
}

impl fmt::Display for SourcePointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn first(pointer: &str, answer: &Value) -> Vec<String> {
        let pointer: SourcePointer = pointer.parse().unwrap();
        pointer.first(answer, 3)
    }

    #[test]
    fn the_first_sources_are_found_wherever_they_are() {
        let answer = json!({"citations": [{"source": "a"}, {}, {"source": "c"}, {"source": "d"}]});
        assert_eq!(
            first(DEFAULT_POINTER, &answer),
            ["a", "c"],
            "the second keeps its place"
        );
        assert_eq!(first("/citations/3/source", &answer), ["d"]);
        let answer = json!({"hits": {"hits": [{"_id": 7}, {"_id": "x"}]}, "a/b": ["p", ["q"]]});
        assert_eq!(first("/hits/hits/*/_id", &answer), ["7", "x"]);
        assert_eq!(first("/a~1b/*", &answer), ["p"]);
        let nested = json!([[], [], [], [1, 2], [3, 4]]);
        assert_eq!(first("/*/*", &nested), ["1", "2", "3"]);
        for none in [json!(null), json!({"citations": null}), json!([])] {
            assert!(first(DEFAULT_POINTER, &none).is_empty(), "{none}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["", "/", "citations", "$.citations[*].source"] {
            assert!(text.parse::<SourcePointer>().is_err(), "{text}");
        }
        let kept: SourcePointer = " /a/*/b ".parse().unwrap();
        assert_eq!(kept.to_string(), "/a/*/b");
    }
}
