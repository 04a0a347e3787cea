//! PURE: why requests failed, in words.

use crate::client::{CA_AS_SERVER, NOT_TLS, UNTRUSTED};
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

/// What to try where nothing but `cause` comes from `target`, as an imperative; `None` where the cause says
/// it all.
#[must_use]
pub fn hint(cause: &str, target: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 6] = [
        (
            CA_AS_SERVER,
            "give the server a certificate that an authority signed, and name the authority with \
             --ca-file; or take any certificate with --insecure",
        ),
        (
            UNTRUSTED,
            "name the authority that signed it with --ca-file FILE, or take any certificate with --insecure",
        ),
        (
            "holds no certificate",
            "name the file with the certificate of the authority, not that of a key",
        ),
        (
            "certificate not valid for name",
            "use a name that the certificate is for, or take any certificate with --insecure",
        ),
        (
            "certificate expired",
            "have it renewed, or take any certificate with --insecure",
        ),
        (
            NOT_TLS,
            "where the server speaks no TLS the address begins with http://",
        ),
    ];
    let said = HINTS.iter().find(|(part, _)| cause.contains(part));
    let may_be_tls = target.starts_with("http://")
        && (cause.contains("closed before the answer") || cause.contains("is not HTTP/1"));
    said.map(|(_, hint)| *hint).or_else(|| {
        may_be_tls.then_some("where the server speaks TLS the address begins with https://")
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
    fn what_can_be_done_is_hinted_at() {
        let hinted = |cause: &str, target: &str| hint(cause, target).unwrap_or_default();
        let tls = |problem: &str| format!("cannot speak TLS with https://x:1: {problem}");
        for (problem, way) in [
            (CA_AS_SERVER, "--insecure"),
            (UNTRUSTED, "--ca-file FILE"),
            ("ca_file key.pem holds no certificate", "not that of a key"),
            (NOT_TLS, "http://"),
        ] {
            assert!(
                hinted(&tls(problem), "https://x:1/").contains(way),
                "{problem}"
            );
        }
        let closed = "the connection was closed before the answer was complete";
        assert!(hinted(closed, "http://x:1/").contains("https://"));
        assert_eq!(hint(closed, "unix:/a.sock:/"), None);
        assert_eq!(hint("status 503", "http://x:1/"), None);
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
