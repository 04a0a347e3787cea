//! PURE: text with places for what a query set holds: `{{query}}`, or the name of a column.

use serde_json::Value;
use std::fmt::Write as _;

/// What stands before a name, and after it.
const OPEN: &str = "{{";
const CLOSE: &str = "}}";
/// The column of a set that has one text a query.
pub const QUERY: &str = "query";

/// A template, and once it is bound the columns that its places stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place { name: String, column: usize },
}

impl Template {
    /// # Errors
    /// When a place has no end or no name.
    pub fn new(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(OPEN) {
            let inside = &rest[at + OPEN.len()..];
            let end = inside
                .find(CLOSE)
                .ok_or_else(|| format!("the template {text:?} has a {OPEN} without {CLOSE}"))?;
            let name = inside[..end].trim();
            if name.is_empty() || name.contains(['{', '"', '\n']) {
                return Err(format!(
                    "the template {text:?} has a place without a name; write {OPEN}query{CLOSE}"
                ));
            }
            parts.push(Part::Text(rest[..at].to_owned()));
            parts.push(Part::Place {
                name: name.to_owned(),
                column: 0,
            });
            rest = &inside[end + CLOSE.len()..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its places.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place { name, .. } => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The names of all their places, each once.
    #[must_use]
    pub fn columns<'a>(templates: impl IntoIterator<Item = &'a Self>) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for name in templates.into_iter().flat_map(Self::names) {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        }
        columns
    }

    /// The template with its places bound to those of `columns`.
    #[must_use]
    pub fn bound(mut self, columns: &[String]) -> Self {
        for part in &mut self.parts {
            if let Part::Place { name, column } = part {
                *column = columns.iter().position(|known| known == name).unwrap_or(0);
            }
        }
        self
    }

    /// Filled for JSON: text with JSON's escapes and without quotes, anything else as JSON.
    pub(super) fn fill_json(&self, row: &[Value], mark: &str) -> String {
        self.fill(row, mark, |filled, value| {
            let json = value.to_string();
            match value {
                Value::String(_) => filled.push_str(&json[1..json.len() - 1]),
                _ => filled.push_str(&json),
            }
        })
    }

    /// Filled for a path: everything but letters, digits, `-`, `.`, `_` and `~` percent-encoded (RFC
    /// 3986, unreserved characters).
    pub(super) fn fill_path(&self, row: &[Value], mark: &str) -> String {
        self.fill(row, mark, |filled, value| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    filled.push(char::from(byte));
                } else {
                    let _ = write!(filled, "%{byte:02X}");
                }
            }
        })
    }

    fn fill(&self, row: &[Value], mark: &str, write: impl Fn(&mut String, &Value)) -> String {
        let mut filled = String::with_capacity(self.text.len() + 64);
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place { name, column } => {
                    let Some(value) = row.get(*column) else {
                        continue;
                    };
                    match value {
                        Value::String(text) if name == QUERY && !mark.is_empty() => {
                            write(&mut filled, &Value::from(format!("{text}{mark}")));
                        }
                        value => write(&mut filled, value),
                    }
                }
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_escaped_and_other_values_are_json() {
        let template =
            Template::new(r#"{"q": "{{query}}", "f": {{ filter }}, "n": {{top_k}}}"#).unwrap();
        let columns = Template::columns([&template]);
        assert_eq!(columns, ["query", "filter", "top_k"]);
        let row = [
            json!("say \"hi\"\\\t\u{1} {{query}}"),
            json!({"a": [1]}),
            json!(3),
        ];
        let filled = template.bound(&columns).fill_json(&row, "");
        let read: Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(read, json!({"q": row[0], "f": row[1], "n": 3}));
    }

    #[test]
    fn says_what_is_wrong() {
        for wrong in ["{{query", "{{}}", "{{ }}", "{\"a\":{{\"b\":1}}}"] {
            assert!(Template::new(wrong).is_err(), "{wrong}");
        }
        assert!(Template::new("{\"a\":{\"b\":1}}").is_ok());
    }
}
