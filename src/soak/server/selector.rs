//! PURE: label matchers, as `job="alfred",instance=~"a.*"`, and the series that they choose.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// Longest text of matchers, in bytes: it becomes part of an address.
const MAX_BYTES: usize = 1_024;
/// Longest signs first: `=` begins `=~`.
const SIGNS: [&str; 4] = ["=~", "!~", "!=", "="];

/// Series that are asked for: the histogram, queries by status, and when the process was started.
const SERIES: [&str; 3] = [BUCKETS, REQUESTS, STARTED];
/// Buckets of the target's own histogram, in milliseconds.
pub(super) const BUCKETS: &str = "retrieval_latency_ms_bucket";
/// Queries by the status they got.
pub(super) const REQUESTS: &str = "retrieval_requests_total";
/// When the process was started: a restart shows here even where no counter falls.
pub(super) const STARTED: &str = "process_start_time_seconds";

/// Label matchers; none chooses every series of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(String);

impl Selector {
    /// All series that are asked for, as PromQL has it.
    pub(super) fn all(&self) -> String {
        let names = SERIES.join("|");
        self.with(&format!("__name__=~\"{names}\""))
    }

    /// How many queries there were.
    pub(super) fn counts(&self) -> String {
        self.with(&format!("__name__=\"{BUCKETS}\",le=\"+Inf\""))
    }

    fn with(&self, matchers: &str) -> String {
        let comma = if self.0.is_empty() { "" } else { "," };
        format!("{{{matchers}{comma}{}}}", self.0)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Selector {
    type Err = String;

    /// Braces around it may be there; what is kept has none, and no blanks between matchers.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem: &str| {
            format!(
                "{text:?} is no list of label matchers such as job=\"alfred\",instance=\"a:8080\": {problem}"
            )
        };
        if text.len() > MAX_BYTES {
            return Err(wrong("it is too long"));
        }
        let bare = text.trim();
        let inner = bare.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        let mut rest = inner.unwrap_or(bare).trim();
        let mut kept = String::new();
        while !rest.is_empty() {
            let (matcher, after) = matcher(rest).map_err(|problem| wrong(&problem))?;
            if !kept.is_empty() {
                kept.push(',');
            }
            kept.push_str(&matcher);
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(more) => more.trim_start(),
                None if rest.is_empty() => rest,
                None => return Err(wrong("a comma belongs between two matchers")),
            };
        }
        Ok(Self(kept))
    }
}

/// The first matcher of `text`, without blanks in it, and what follows.
fn matcher(text: &str) -> Result<(String, &str), String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a matcher begins with the name of a label".to_owned());
    }
    if ["__name__", "le"].contains(&name) {
        return Err(format!("the label {name} is not to be chosen by"));
    }
    let rest = rest.trim_start();
    let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
    let sign = sign.ok_or_else(|| format!("=, !=, =~ or !~ belongs after the label {name}"))?;
    let rest = rest[sign.len()..].trim_start();
    let value = quoted(rest).ok_or_else(|| format!("the value of {name} belongs in quotes"))?;
    let mut matcher = String::new();
    let _ = write!(matcher, "{name}{sign}{value}");
    Ok((matcher, &rest[value.len()..]))
}

/// The text in quotes that `text` begins with, quotes included.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let mut is_escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\n' => return None,
            end if end == quote => return Some(&text[..=place]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Selector>()
            .map(|selector| selector.to_string())
    }

    #[test]
    fn matchers_are_read_and_become_part_of_a_selector() {
        for (text, kept) in [
            ("", ""),
            ("{}", ""),
            ("job=\"alfred\"", "job=\"alfred\""),
            (
                "{ job = \"a\" , instance!~'b\\'.*' , }",
                "job=\"a\",instance!~'b\\'.*'",
            ),
            ("x=\"},{\"", "x=\"},{\""),
        ] {
            assert_eq!(read(text).unwrap(), kept, "{text}");
        }
        let selector: Selector = "job=\"a\"".parse().unwrap();
        assert_eq!(
            selector.counts(),
            "{__name__=\"retrieval_latency_ms_bucket\",le=\"+Inf\",job=\"a\"}"
        );
        assert!(
            Selector::default()
                .all()
                .ends_with("process_start_time_seconds\"}")
        );
    }

    #[test]
    fn nothing_but_matchers_gets_into_a_query() {
        for text in [
            "alfred",
            "job=alfred",
            "job=\"a",
            "job=\"a\" or vector(1)",
            "job=\"a\"}[1d",
            "job==\"a\"",
            "=\"a\"",
            "1a=\"b\"",
            "__name__=\"x\"",
            "le=\"1\"",
            "a=\"b\" c=\"d\"",
            "a=\"b\nc\"",
            &format!("a=\"{}\"", "x".repeat(2_000)),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
