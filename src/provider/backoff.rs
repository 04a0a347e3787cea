//! PURE: how long to wait before the next try.
//!
//! Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
//! 2015): uniform between nothing and a bound that doubles, so that callers who failed together do
//! not come back together.

use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::http::HeaderMap;
use ureq::http::header::RETRY_AFTER;

/// Bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The bound of the first wait.
    pub(crate) first: Duration,
    /// The bound of all waits.
    pub(crate) most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            most: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// The wait after `failures` further failures than the first; `fraction` is random, 0 to 1.
    pub(crate) fn delay(self, failures: u32, fraction: f64) -> Duration {
        let factor = 2_u32.checked_pow(failures.min(31)).unwrap_or(u32::MAX);
        let bound = self.first.saturating_mul(factor).min(self.most);
        bound.mul_f64(fraction.clamp(0.0, 1.0))
    }
}

/// The wait that a reply asks for: `retry-after-ms` (OpenAI's own), else `Retry-After` in seconds
/// or as an HTTP date (RFC 9110, section 10.2.3). What cannot be read asks for nothing.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return duration_ms(ms);
    }
    let text = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse::<f64>() {
        return duration_ms(seconds * 1e3);
    }
    // The obsolete name of the zone, which HTTP keeps.
    let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(
        SystemTime::from(date)
            .duration_since(now)
            .unwrap_or_default(),
    )
}

fn duration_ms(ms: f64) -> Option<Duration> {
    (ms >= 0.0)
        .then(|| Duration::try_from_secs_f64(ms / 1e3).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ureq::http::HeaderValue;

    proptest! {
        #[test]
        fn waits_are_within_bounds_that_grow(failures in 0_u32..100, fraction in 0.0_f64..=1.0) {
            let backoff = Backoff::default();
            let wait = backoff.delay(failures, fraction);
            prop_assert!(wait <= backoff.most);
            prop_assert!(wait <= backoff.delay(failures, 1.0));
            prop_assert!(backoff.delay(failures, 1.0) <= backoff.delay(failures + 1, 1.0));
        }
    }

    fn asked(name: &'static str, value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        // 1994-11-06 08:49:07 UTC
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747);
        retry_after(&headers, now)
    }

    #[test]
    fn retry_after_is_read_in_all_its_spellings() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked("retry-after", "20"), seconds(20));
        assert_eq!(asked("retry-after", " 0 "), seconds(0));
        assert_eq!(
            asked("retry-after", "1.5"),
            Some(Duration::from_millis(1_500))
        );
        assert_eq!(
            asked("retry-after-ms", "250"),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            asked("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            seconds(30)
        );
        assert_eq!(
            asked("retry-after", "Sun, 06 Nov 1994 08:40:00 GMT"),
            seconds(0)
        );
    }

    #[test]
    fn a_senseless_retry_after_asks_for_nothing() {
        for senseless in ["soon", "-3", "NaN", "1e300", ""] {
            assert_eq!(asked("retry-after", senseless), None, "{senseless}");
        }
    }
}
