//! PURE: what an answer must hold besides its status, as `/citations/0`, `/status == "ok"`,
//! `/hits >= 3`, `contains "done"` or `size <= 64KiB`.

use super::threshold::parse_bytes;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A check of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// As it was written.
    text: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// The value at a JSON pointer (RFC 6901) is there and not null.
    Present(String),
    /// It compares so with another.
    Compares(String, Comparison, Value),
    /// The body holds this text.
    Contains(String),
    /// The body is at most so large.
    Size(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Longest first: `<=` is not `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

impl Check {
    /// The most bytes that a body may have, when this is what it checks.
    #[must_use]
    pub fn max_bytes(&self) -> Option<u64> {
        match self.what {
            What::Size(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it needs the body.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        !matches!(self.what, What::Size(_))
    }

    fn reads_json(&self) -> bool {
        matches!(self.what, What::Present(_) | What::Compares(..))
    }

    fn holds(&self, body: &[u8], json: Option<&Value>) -> bool {
        let at = |pointer: &str| json.and_then(|json| json.pointer(pointer));
        match &self.what {
            What::Present(pointer) => at(pointer).is_some_and(|value| !value.is_null()),
            What::Compares(pointer, comparison, value) => {
                at(pointer).is_some_and(|found| comparison.holds(found, value))
            }
            What::Contains(text) => memchr::memmem::find(body, text.as_bytes()).is_some(),
            What::Size(bytes) => body.len() as u64 <= *bytes,
        }
    }
}

impl Comparison {
    fn holds(self, found: &Value, value: &Value) -> bool {
        let ordering = match (found.as_f64(), value.as_f64()) {
            (Some(found), Some(value)) => found.partial_cmp(&value),
            _ => found
                .as_str()
                .zip(value.as_str())
                .map(|(found, value)| found.cmp(value)),
        };
        match self {
            Self::Equal => ordering.map_or(found == value, std::cmp::Ordering::is_eq),
            Self::Unequal => !Self::Equal.holds(found, value),
            Self::Below => ordering.is_some_and(std::cmp::Ordering::is_lt),
            Self::AtMost => ordering.is_some_and(std::cmp::Ordering::is_le),
            Self::Above => ordering.is_some_and(std::cmp::Ordering::is_gt),
            Self::AtLeast => ordering.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

/// The first of `checks` that `body` does not meet, in words that are the same each time.
#[must_use]
pub fn first_failed(checks: &[Check], body: &[u8]) -> Option<String> {
    let reads_json = checks.iter().any(Check::reads_json);
    let json: Option<Value> = reads_json
        .then(|| serde_json::from_slice(body).ok())
        .flatten();
    if reads_json && json.is_none() {
        return Some("the answer is not JSON".to_owned());
    }
    let failed = checks
        .iter()
        .find(|check| !check.holds(body, json.as_ref()))?;
    Some(format!("the answer fails the check {failed}"))
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let what = parse(text).map_err(|problem| format!("the check {text:?}: {problem}"))?;
        Ok(Self {
            text: text.to_owned(),
            what,
        })
    }
}

fn parse(text: &str) -> Result<What, String> {
    if let Some(wanted) = text.strip_prefix("contains ") {
        let wanted = wanted.trim();
        let quoted = wanted.starts_with('"');
        let wanted = if quoted {
            serde_json::from_str(wanted).map_err(|error| error.to_string())?
        } else {
            wanted.to_owned()
        };
        return if wanted.is_empty() {
            Err("it looks for nothing".to_owned())
        } else {
            Ok(What::Contains(wanted))
        };
    }
    if let Some(limit) = text.strip_prefix("size") {
        let limit = limit.trim_start().strip_prefix("<=");
        let limit = limit.ok_or("a size is checked as size <= 64KiB")?;
        return parse_bytes(limit.trim()).map(What::Size);
    }
    if !text.starts_with('/') {
        return Err(
            "it is none of /json/pointer, /json/pointer == value, contains \"text\", size <= 64KiB"
                .to_owned(),
        );
    }
    let comparison = COMPARISONS
        .iter()
        .filter_map(|(sign, comparison)| {
            Some((text.find(&format!(" {sign} "))?, sign, *comparison))
        })
        .min_by_key(|(at, ..)| *at);
    let pointer = comparison.map_or(text, |(at, ..)| &text[..at]);
    if let Some(at) = pointer.find(['=', '<', '>', '!', '"']) {
        return Err(mistyped(text, at));
    }
    let Some((at, sign, comparison)) = comparison else {
        return Ok(What::Present(text.to_owned()));
    };
    let value = text[at + sign.len() + 2..].trim();
    let value = serde_json::from_str(value)
        .map_err(|error| format!("{value:?} is not a JSON value ({error}); text needs quotes"))?;
    Ok(What::Compares(
        text[..at].trim().to_owned(),
        comparison,
        value,
    ))
}

/// What is wrong with a comparison that is none, whose sign begins at `at`, and how it is written. A
/// pointer with such a sign in it would never be found.
fn mistyped(text: &str, at: usize) -> String {
    let (pointer, rest) = (text[..at].trim_end(), &text[at..]);
    let is_sign = |c: char| "=<>!".contains(c);
    let value = rest.trim_start_matches(is_sign).trim();
    let sign = match &rest[..rest.len() - rest.trim_start_matches(is_sign).len()] {
        "=>" | ">=" => ">=",
        "=<" | "<=" => "<=",
        "<>" | "!=" | "!==" => "!=",
        "<" => "<",
        ">" => ">",
        _ => "==",
    };
    let value = match serde_json::from_str::<Value>(value) {
        _ if value.is_empty() => "VALUE".to_owned(),
        Ok(value) => value.to_string(),
        Err(_) => Value::from(value.trim_matches('"')).to_string(),
    };
    format!(
        "a value is compared by ==, !=, <, <=, > or >= with a blank on either side: write {pointer} \
         {sign} {value}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"status":"ok","hits":3,"none":null,"list":[{"a/b":"x < y"}],"big":1e3}"#;

    fn passes(check: &str) -> bool {
        first_failed(&[check.parse().unwrap()], BODY).is_none()
    }

    #[test]
    fn what_holds_passes_and_what_does_not_fails() {
        for holds in [
            "/status",
            "/status == \"ok\"",
            "/status != \"error\"",
            "/hits == 3.0",
            "/hits >= 3",
            "/hits <= 3",
            "/hits > 2",
            "/hits < 4",
            "/big == 1000",
            "/list/0/a~1b == \"x < y\"",
            "/list == [{\"a/b\": \"x < y\"}]",
            "contains \"status\"",
            "contains x < y",
            "size <= 1KiB",
        ] {
            assert!(passes(holds), "{holds}");
        }
        for fails in [
            "/none",
            "/missing",
            "/missing == null",
            "/missing != 1",
            "/status == \"OK\"",
            "/hits == \"3\"",
            "/hits < 3",
            "/status > 1",
            "/list/1",
            "contains \"Status\"",
            "size <= 10B",
        ] {
            assert!(!passes(fails), "{fails}");
        }
    }

    #[test]
    fn says_which_check_failed() {
        let checks: Vec<Check> = ["/status", "/hits > 5"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let failed = first_failed(&checks, BODY).unwrap();
        assert_eq!(failed, "the answer fails the check /hits > 5");
        let failed = first_failed(&checks, b"<html>").unwrap();
        assert_eq!(failed, "the answer is not JSON");
        assert_eq!(first_failed(&checks[..0], b"<html>"), None);
    }

    #[test]
    fn a_mistyped_comparison_is_refused_with_the_right_one() {
        for (wrong, right) in [
            ("/status = \"ok\"", "write /status == \"ok\""),
            ("/status = ok", "write /status == \"ok\""),
            ("/hits => 3", "write /hits >= 3"),
            ("/hits==3", "write /hits == 3"),
            ("/hits<=3", "write /hits <= 3"),
            ("/hits <> 3", "write /hits != 3"),
            ("/a == ", "write /a == VALUE"),
            ("/a =", "write /a == VALUE"),
            ("/status \"ok\"", "write /status == \"ok\""),
            ("/a=b == 3", "write /a == "),
        ] {
            let error = wrong.parse::<Check>().unwrap_err();
            assert!(error.contains(right), "{wrong}: {error}");
        }
        assert!("/first name".parse::<Check>().is_ok());
        assert!("/first name == \"a = b\"".parse::<Check>().is_ok());
    }

    #[test]
    fn refuses_what_is_no_check() {
        for text in [
            "status",
            "",
            "contains ",
            "contains \"\"",
            "contains \"x",
            "size < 5",
            "size <= big",
            "/a == ok",
        ] {
            assert!(text.parse::<Check>().is_err(), "{text}");
        }
    }
}
