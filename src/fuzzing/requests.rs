//! What comes over HTTP.

use super::assert_short;
use crate::domain::{AnswerKind, Filter, QueryText, TopK, glob};
use crate::http::parse::{self, Documents};
use crate::http::wire::framing::{Framing, Refusal, Step};
use serde_json::Value;

/// Bodies of `POST /v1/query` and `POST /v1/documents`.
///
/// # Panics
/// When a body is read that is over a limit, or refused in another way than is promised.
pub fn query_json(data: &[u8]) {
    match parse::query(data, AnswerKind::Extractive) {
        Ok(query) => {
            let text = query.text.as_str();
            assert!((1..=QueryText::MAX_BYTES).contains(&text.len()) && !text.contains('\0'));
            assert!((1..=TopK::MAX).contains(&query.top_k.get()));
            let body = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
            let plain: Result<Value, _> = serde_json::from_slice(body);
            assert!(
                plain.is_ok_and(|value| value["query"] == text),
                "another reader sees another query"
            );
        }
        Err(problem) => {
            assert!(matches!(problem.status.as_u16(), 400 | 422), "{problem:?}");
            assert_short(&problem.detail);
            assert_short(&problem.to_json("id").to_string());
        }
    }
    match parse::documents(data) {
        Ok(Documents::One(read)) => drop(read),
        Ok(Documents::Many(read)) => {
            for (source, item) in read {
                assert!(source.is_none_or(|source| source.chars().count() <= 1_025));
                if let Err(problem) = item {
                    assert_short(&problem.detail);
                }
            }
        }
        Err(problem) => {
            let status = problem.status.as_u16();
            assert!(matches!(status, 400 | 413 | 422), "{problem:?}");
            assert_short(&problem.detail);
        }
    }
}

/// The `filter` of a query, as both stores read it.
///
/// # Panics
/// When a filter is accepted that one of the stores cannot evaluate.
pub fn filter(data: &[u8]) {
    let Ok(Value::Object(conditions)) = serde_json::from_slice(data) else {
        return;
    };
    match Filter::new(conditions) {
        Ok(filter) => {
            assert!(filter.metadata.len() <= Filter::MAX_CONDITIONS);
            assert!(filter.metadata.is_sorted_by(|a, b| a.0 <= b.0));
            let Some(source) = &filter.source else { return };
            let matcher = filter.source_matcher();
            assert!(matcher.is_some(), "{source:?} was accepted");
            let _ = matcher.map(|matcher| matcher.is_match("docs/a.md"));
            let regex = glob::postgres_regex(source).unwrap_or_default();
            assert!(regex.starts_with('^') && !regex.contains('\0'));
            assert!(is_balanced(&regex), "{source:?} becomes {regex:?}");
        }
        Err(refused) => assert_short(&refused.to_string()),
    }
}

/// Whether every group and class of an expression of PostgreSQL ends.
fn is_balanced(regex: &str) -> bool {
    let (mut groups, mut in_class) = (0_usize, false);
    let mut characters = regex.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next().is_none() => return false,
            '[' if in_class => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => groups += 1,
            ')' if !in_class => match groups.checked_sub(1) {
                Some(left) => groups = left,
                None => return false,
            },
            _ => {}
        }
    }
    groups == 0 && !in_class
}

/// Where requests begin and end in the bytes of a connection. The first byte says in pieces of which
/// size the rest arrives.
///
/// # Panics
/// When the reading depends on how the bytes arrive: what is smuggled past one reader is found so.
pub fn http_framing(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    let whole = framed(bytes, bytes.len().max(1));
    let pieces = framed(bytes, usize::from(*size).max(1));
    assert_eq!(whole, pieces, "pieces of {size}");
    assert!(whole.heads + whole.bodies <= bytes.len());
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Framed {
    /// Bytes of heads.
    heads: usize,
    /// Requests.
    requests: usize,
    /// Bytes of whole bodies. How much of one that is refused went before depends on the pieces, and is
    /// of no consequence: whoever reads it sees it end early.
    bodies: usize,
    refused: Option<std::mem::Discriminant<Refusal>>,
}

fn framed(bytes: &[u8], size: usize) -> Framed {
    let mut framing = Framing::new(1_024);
    let mut seen = Framed::default();
    let (mut start, mut end, mut body) = (0, 0, 0);
    while end < bytes.len() {
        end = bytes.len().min(end + size);
        while start < end {
            match framing.advance(&bytes[start..end]) {
                Step::Head(length) => {
                    seen.requests += 1;
                    seen.heads += length;
                    start += length;
                }
                Step::Body(length) => {
                    body += length;
                    start += length;
                    if framing.at_head() {
                        seen.bodies += std::mem::take(&mut body);
                    }
                }
                Step::More => break,
                Step::Refuse(refused) => {
                    seen.refused = Some(std::mem::discriminant(&refused.why));
                    return seen;
                }
            }
        }
    }
    seen
}
