//! PURE: texts to requests of bounded size.

use super::tokens;

/// Most tokens of one request, by the estimate. OpenAI's limit is 300,000; the rest is for texts
/// that have more tokens than estimated.
const REQUEST_MAX_TOKENS: usize = 250_000;

/// `text` as it may be sent: cut to the model's length, and never empty, which is refused.
pub(super) fn sendable(text: &str) -> &str {
    let text = tokens::cut(text);
    if text.trim().is_empty() { " " } else { text }
}

/// Splits `texts` into runs of at most `most` texts and [`REQUEST_MAX_TOKENS`] tokens.
pub(super) fn split<'a, 't>(texts: &'a [&'t str], most: usize) -> Vec<&'a [&'t str]> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut tokens = 0;
    for (at, text) in texts.iter().enumerate() {
        let more = tokens::estimate(text);
        let is_full = at - start == most || tokens + more > REQUEST_MAX_TOKENS;
        if is_full && at > start {
            batches.push(&texts[start..at]);
            start = at;
            tokens = 0;
        }
        tokens += more;
    }
    if start < texts.len() {
        batches.push(&texts[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_both_limits() {
        let texts: Vec<String> = (0..1_000).map(|n| format!("text {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let batches = split(&texts, 128);
        assert_eq!(batches.len(), 8);
        assert!(batches.iter().all(|batch| batch.len() <= 128));
        assert_eq!(batches.concat(), texts);
        assert!(split(&[], 128).is_empty());
    }

    #[test]
    fn texts_that_are_long_make_small_batches() {
        let long = "word ".repeat(4_000);
        let texts = vec![sendable(&long); 100];
        let batches = split(&texts, 128);
        assert_eq!(batches.concat().len(), 100);
        for batch in batches {
            let tokens: usize = batch.iter().map(|text| tokens::estimate(text)).sum();
            assert!(tokens <= REQUEST_MAX_TOKENS, "{tokens}");
        }
    }

    #[test]
    fn an_empty_text_is_sent_as_a_space() {
        assert_eq!(
            [sendable(""), sendable("\n"), sendable("a ")],
            [" ", " ", "a "]
        );
    }
}
