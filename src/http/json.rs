//! Bodies to JSON values, strictly: UTF-8, no duplicate keys, at most 128 levels; and the fields of
//! an object by name and type, each error naming the field.
//!
//! A byte order mark is skipped, as RFC 8259 section 8.1 allows. `null` for an optional field is
//! the same as leaving it out, as generated clients send it.

use super::problem::Problem;
use crate::domain::query::shorten;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Longest piece of the request that an error repeats, in characters.
const SHOWN_CHARS: usize = 60;
/// A field at least this similar to a known one (Jaro–Winkler) is taken for a misspelling of it.
const SIMILAR: f64 = 0.75;

/// Reads a whole body.
///
/// # Errors
/// 400 with line and column when it is not JSON; 422 naming a key that stands twice.
pub(super) fn parse(body: &[u8]) -> Result<Value, Problem> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::malformed(
            "not_json",
            "the body is empty, not JSON",
        ));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8: bad byte at {}", error.valid_up_to());
        Problem::malformed("not_json", detail)
    })?;
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) if error.is_data() && is_json(text) => {
            let message = error.to_string();
            let field = message.split('`').nth(1).unwrap_or_default().to_owned();
            Err(Problem::field(field, message))
        }
        Err(error) => {
            let detail = format!("the body is not JSON: {error}");
            Err(Problem::malformed("not_json", detail))
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<de::IgnoredAny>(text).is_ok()
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Strict)
    }
}

struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                let key = shorten(&key, SHOWN_CHARS);
                return Err(de::Error::custom(format_args!("`{key}` stands twice")));
            }
            let value = entries.next_value_seed(Self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The fields of one JSON object, taken out by name.
pub(super) struct Fields {
    map: Map<String, Value>,
    known: &'static [&'static str],
}

impl Fields {
    /// Takes `value` for an object with fields among `known`.
    ///
    /// # Errors
    /// 422 when it is no object, or has an unknown field.
    pub(super) fn new(
        value: Value,
        what: &str,
        known: &'static [&'static str],
    ) -> Result<Self, Problem> {
        let Value::Object(map) = value else {
            let detail = format!("{what} must be an object, got {}", show(&value));
            return Err(Problem::field("", detail));
        };
        if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(unknown_field(unknown, known));
        }
        Ok(Self { map, known })
    }

    /// A required string.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, Problem> {
        self.maybe_text(name)?.ok_or_else(|| {
            let fields = self.known.join(", ");
            let detail = format!("`{name}` is missing; the fields are: {fields}");
            Problem::field(name, detail)
        })
    }

    /// An optional string.
    pub(super) fn maybe_text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", &other)),
        }
    }

    /// An optional integer: `3`, not `3.0` or `"3"`.
    pub(super) fn maybe_integer(&mut self, name: &'static str) -> Result<Option<i64>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(name, "an integer", &value)),
        }
    }

    /// An optional object.
    pub(super) fn maybe_object(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(wrong(name, "an object", &other)),
        }
    }

    /// An optional word out of `choices`, else the default.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        let chosen = choices
            .iter()
            .find(|(word, _)| value.as_str() == Some(*word));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<String> = choices
                .iter()
                .map(|(word, _)| format!("{word:?}"))
                .collect();
            wrong(name, &words.join(" or "), &value)
        })
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }
}

/// 422 for a field nobody knows, with the one that was probably meant.
pub(super) fn unknown_field(name: &str, known: &[&str]) -> Problem {
    let shown = shorten(name, SHOWN_CHARS);
    let closest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let detail = match closest {
        Some((_, candidate)) => format!("`{shown}` is unknown; did you mean `{candidate}`?"),
        None => format!("`{shown}` is unknown; the fields are: {}", known.join(", ")),
    };
    Problem::field(shown, detail)
}

fn wrong(name: &str, expected: &str, got: &Value) -> Problem {
    Problem::field(
        name,
        format!("`{name}` must be {expected}, got {}", show(got)),
    )
}

/// A value as an error repeats it: scalars as written, the rest by type.
fn show(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => shorten(&scalar.to_string(), SHOWN_CHARS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(body: &str) -> (u16, String) {
        let problem = parse(body.as_bytes()).unwrap_err();
        (problem.status.as_u16(), problem.detail)
    }

    #[test]
    fn what_is_not_json_is_400_with_the_place() {
        assert_eq!(
            detail("{\"query\":\n  oops}"),
            (
                400,
                "the body is not JSON: expected value at line 2 column 3".to_owned()
            )
        );
        for body in [
            "",
            " \n",
            "{",
            "{\"a\":1,}",
            "nan",
            "{\"a\":1} x",
            "{\"a\":1e999}",
            "'a'",
        ] {
            assert_eq!(detail(body).0, 400, "{body}");
        }
        for body in [&b"{\"a\":\"\xff\"}"[..], b"\xff\xfe{\x00"] {
            let problem = parse(body).unwrap_err();
            assert!(problem.detail.contains("not UTF-8"), "{}", problem.detail);
        }
        assert_eq!(detail(r#"{"a":"\ud800"}"#).0, 400, "a lone surrogate");
        assert_eq!(detail(&"[".repeat(100_000)).0, 400, "deep and truncated");
        let deep = "[".repeat(200) + &"]".repeat(200);
        let (status, text) = detail(&deep);
        assert!(
            status == 400 && text.contains("recursion limit"),
            "{status} {text}"
        );
    }

    #[test]
    fn duplicate_keys_are_named_at_any_depth_unless_the_rest_is_not_json() {
        let (status, text) = detail(r#"{"filter":{"a":1,"a":2}}"#);
        assert_eq!(status, 422);
        assert!(text.starts_with("`a` stands twice at line 1"), "{text}");
        assert_eq!(detail(r#"{"a":1,"a":2"#).0, 400);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(parse(b"\xef\xbb\xbf[1]").unwrap(), serde_json::json!([1]));
    }

    #[test]
    fn unknown_fields_name_the_closest_known_one() {
        let known = &["query", "top_k", "mode"];
        assert_eq!(
            unknown_field("topk", known).detail,
            "`topk` is unknown; did you mean `top_k`?"
        );
        assert_eq!(
            unknown_field("zzz", known).detail,
            "`zzz` is unknown; the fields are: query, top_k, mode"
        );
        let long = unknown_field(&"x".repeat(10_000), known);
        assert!(long.detail.len() < 200, "{}", long.detail.len());
    }
}
