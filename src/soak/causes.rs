//! PURE: why requests failed, in words.

use crate::counted::{Counted, commonest};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why one request failed, in words without an address or a number of its own, so that equal causes
/// are equal texts.
pub type Cause = Cow<'static, str>;

/// How often each cause occurred: 16 of them, however many ways a target finds.
pub type Causes = Counted<16>;

/// The `most` commonest causes of a table, the commonest first: `connection refused × 600, …`.
#[must_use]
pub fn show(by_cause: &BTreeMap<String, u64>, most: usize) -> String {
    commonest(by_cause, most, |cause, times| {
        format!("{cause} × {}", super::units::show_count(times))
    })
}

/// What the system said, without its number: `connection refused`.
#[must_use]
pub fn of_system(error: &std::io::Error) -> Cause {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut rest = text.chars();
    let Some(first) = rest.next() else {
        return Cause::Borrowed("the system gave no reason");
    };
    // A capital that begins a sentence, not one of an abbreviation.
    let is_word = rest.clone().next().is_some_and(char::is_lowercase);
    let first = if is_word {
        first.to_ascii_lowercase()
    } else {
        first
    };
    Cause::Owned(format!("{first}{}", rest.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_causes_with_their_counts() {
        let mut causes = Causes::default();
        causes.count("status 503", 7);
        causes.count("connection refused", 1_200);
        assert_eq!(
            show(causes.by_name(), 2),
            "connection refused × 1,200, status 503 × 7"
        );
    }

    #[test]
    fn the_system_speaks_without_numbers() {
        let refused = std::io::Error::from_raw_os_error(111);
        assert_eq!(of_system(&refused), "connection refused");
        assert_eq!(
            of_system(&std::io::Error::other("DNS is down")),
            "DNS is down"
        );
    }
}
