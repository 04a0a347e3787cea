//! PURE: why requests failed, in words, counted in a table that stays small however many ways a
//! target finds.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why one request failed, in words without an address or a number of its own, so that equal causes
/// are equal texts.
pub type Cause = Cow<'static, str>;

/// Different causes that are kept; what comes after them is counted as [`OTHER`].
const MAX_CAUSES: usize = 16;
/// Longest cause, in characters.
const MAX_CHARS: usize = 120;
/// What the table has no room for.
pub const OTHER: &str = "other causes";

/// How often each cause occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(BTreeMap<String, u64>);

impl Causes {
    /// Counts `cause` `times` times.
    pub fn count(&mut self, cause: &str, times: u64) {
        if let Some(count) = self.0.get_mut(cause) {
            *count += times;
            return;
        }
        let has_room = self.0.len() < MAX_CAUSES && cause.chars().count() <= MAX_CHARS;
        let name = if has_room { cause } else { OTHER };
        *self.0.entry(name.to_owned()).or_default() += times;
    }

    /// Adds what another table, or a record of one, counted.
    pub fn add(&mut self, other: &BTreeMap<String, u64>) {
        for (cause, times) in other {
            self.count(cause, *times);
        }
    }

    /// The table by cause.
    #[must_use]
    pub fn by_cause(&self) -> &BTreeMap<String, u64> {
        &self.0
    }
}

/// The `most` commonest causes of a table, the commonest first: `connection refused × 600, …`.
#[must_use]
pub fn show(by_cause: &BTreeMap<String, u64>, most: usize) -> String {
    let mut causes: Vec<(&String, &u64)> = by_cause.iter().collect();
    causes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut shown: Vec<String> = causes
        .iter()
        .take(most)
        .map(|(cause, times)| format!("{cause} × {}", super::units::show_count(**times)))
        .collect();
    if causes.len() > most {
        shown.push(format!("and {} more causes", causes.len() - most));
    }
    shown.join(", ")
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
    fn the_table_is_bounded_and_loses_no_count() {
        let mut causes = Causes::default();
        for number in 0..100 {
            causes.count(&format!("cause {number}"), 1);
        }
        causes.count("cause 3", 5);
        causes.count(&"x".repeat(1_000), 2);
        assert_eq!(causes.by_cause().len(), MAX_CAUSES + 1);
        assert_eq!(causes.by_cause().values().sum::<u64>(), 107);
        assert_eq!(causes.by_cause()["cause 3"], 6);
        let mut twice = causes.clone();
        twice.add(causes.by_cause());
        assert_eq!(twice.by_cause().values().sum::<u64>(), 214);
        assert_eq!(twice.by_cause().len(), MAX_CAUSES + 1);
    }

    #[test]
    fn shows_the_commonest_first() {
        let mut causes = Causes::default();
        causes.count("status 503", 7);
        causes.count("connection refused", 1_200);
        causes.count("no answer within 1s", 7);
        assert_eq!(
            show(causes.by_cause(), 2),
            "connection refused × 1,200, no answer within 1s × 7, and 1 more causes"
        );
        assert_eq!(show(&BTreeMap::new(), 2), "");
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
