//! PURE: terms as PostgreSQL's text index takes them.
//!
//! A `tsvector` counts occurrences as positions; where they are is of no use here, so a term with
//! n occurrences has the positions 1 to n. Terms hold letters, digits and `_` only
//! ([`crate::terms`]), so nothing needs escaping.

use std::collections::HashMap;
use std::fmt::Write as _;

/// Occurrences that are told apart; the ranking reads back no more (`0002_ranking.sql`).
const MAX_OCCURRENCES: usize = 30;

/// The terms of one chunk: as a `tsvector` in text form, and how many there are.
pub(super) fn lexemes(terms: &[String]) -> (String, i32) {
    let mut counts: HashMap<&str, usize> = HashMap::with_capacity(terms.len());
    for term in terms {
        *counts.entry(term).or_default() += 1;
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_unstable();
    let mut text = String::with_capacity(terms.len() * 10);
    for (term, count) in sorted {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "'{term}'");
        if count > 1 {
            for position in 1..=count.min(MAX_OCCURRENCES) {
                let separator = if position == 1 { ':' } else { ',' };
                let _ = write!(text, "{separator}{position}");
            }
        }
    }
    (text, i32::try_from(terms.len()).unwrap_or(i32::MAX))
}

/// One term of a question as a `tsquery` in text form.
pub(super) fn query_term(term: &str) -> String {
    format!("'{term}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_positions() {
        let terms = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(lexemes(&terms), ("'a' 'b':1,2".to_owned(), 3));
        assert_eq!(lexemes(&[]), (String::new(), 0));
        let many = vec!["x".to_owned(); 1_000];
        let (text, count) = lexemes(&many);
        assert!(text.ends_with(",29,30"), "{text}");
        assert_eq!(count, 1_000);
    }
}
