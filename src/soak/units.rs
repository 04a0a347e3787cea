//! PURE: numbers as people write and read them, and the few casts they need.
//!
//! Times are integer nanoseconds inside the schedule and integer microseconds in histograms; only
//! what is shown or written for people and tools is a float.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// `value` as a float; exact below 2^53, which no count or duration here exceeds.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and durations are below 2^53"
)]
#[must_use]
pub fn float(value: u64) -> f64 {
    value as f64
}

/// A number that may be taken from another; what is beyond 2^63 counts as that.
#[must_use]
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Nanoseconds of `duration`, saturating after 584 years.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds of `nanoseconds`.
#[must_use]
pub fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e9
}

/// Milliseconds of `microseconds`.
#[must_use]
pub fn milliseconds(microseconds: u64) -> f64 {
    float(microseconds) / 1e3
}

/// Reads `500ms`, `10s`, `5m`, `2h`, `3d`, `1.5s`, and sums of them as `1h30m`.
///
/// # Errors
/// When it is something else, or longer than 1,000 days.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 500ms, 10s, 5m, 2h or 1h30m");
    let mut total_s = 0.0_f64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("{text:?} has no unit: write {text}s, {text}ms or {text}m"))?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        total_s += number * unit_in_seconds(&rest[..letters]).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
    }
    if total_s > 1_000.0 * 86_400.0 {
        return Err(format!("{text:?} is longer than 1000 days"));
    }
    Duration::try_from_secs_f64(total_s).map_err(|_| wrong())
}

/// As [`parse_duration`], and a bare number is seconds, as scripts write `DURATION=60`.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_duration_or_seconds(text: &str) -> Result<Duration, String> {
    let number = text.trim();
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_duration(&format!("{number}s"));
    }
    parse_duration(text)
}

fn unit_in_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

/// `10s`, `1m30s`, `2h`, `500ms`: what [`parse_duration`] reads back.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let whole = duration.as_secs();
    if duration.subsec_nanos() != 0 {
        return if whole == 0 {
            format!("{}ms", duration.as_secs_f64() * 1e3)
        } else {
            format!("{}s", duration.as_secs_f64())
        };
    }
    let parts = [
        (whole / 86_400, "d"),
        (whole / 3_600 % 24, "h"),
        (whole / 60 % 60, "m"),
        (whole % 60, "s"),
    ];
    let said = parts.iter().filter(|(count, _)| *count > 0);
    said.fold(String::new(), |mut text, (count, unit)| {
        let _ = write!(text, "{count}{unit}");
        text
    })
}

/// A latency with three significant digits and its unit: `812 us`, `5.31 ms`, `3.50 s`.
#[must_use]
pub fn show_latency_us(microseconds: u64) -> String {
    let value = float(microseconds);
    match microseconds {
        0..1_000 => format!("{microseconds} us"),
        1_000..10_000 => format!("{:.2} ms", value / 1e3),
        10_000..100_000 => format!("{:.1} ms", value / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", value / 1e3),
        1_000_000..10_000_000 => format!("{:.2} s", value / 1e6),
        _ => format!("{:.1} s", value / 1e6),
    }
}

/// A count with thousands apart: `1,234,567`.
#[must_use]
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Requests a second, exact to a millionth, above 0 and up to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    per_million_s: u64,
}

impl Rate {
    /// Requests in a million seconds.
    #[must_use]
    pub fn per_million_s(self) -> u64 {
        self.per_million_s
    }

    /// Requests a second.
    #[must_use]
    pub fn per_s(self) -> f64 {
        float(self.per_million_s) / 1e6
    }

    /// # Errors
    /// When it is not above 0 and at most 1,000,000.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within 0 and 1e12"
    )]
    pub fn new(per_s: f64) -> Result<Self, String> {
        let scaled = (per_s * 1e6).round();
        if !(1.0..=1e12).contains(&scaled) {
            return Err(format!(
                "a rate must be above 0 and at most 1000000 requests a second, got {per_s}"
            ));
        }
        Ok(Self {
            per_million_s: scaled as u64,
        })
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.trim().trim_end_matches("/s");
        let per_s: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not a number of requests a second"))?;
        Self::new(per_s)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.per_s())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_go_in_and_out() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("2h", 7_200_000),
            ("1.5s", 1_500),
            ("3d", 259_200_000),
            ("0s", 0),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration.as_millis(), ms, "{text}");
            assert_eq!(show_duration(duration), text);
        }
        for text in ["", "10", "s", "10x", "-1s", "1..2s", "2000d", "1 s!"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("60").unwrap_err().contains("60s"));
        assert_eq!(parse_duration_or_seconds(" 60 ").unwrap().as_secs(), 60);
        let empty = parse_duration_or_seconds("").unwrap_err();
        assert!(empty.starts_with("\"\" is not a duration"), "{empty}");
    }

    #[test]
    fn rates_have_limits() {
        assert_eq!("0.5".parse::<Rate>().unwrap().per_million_s(), 500_000);
        assert_eq!("100/s".parse::<Rate>().unwrap().to_string(), "100");
        for text in ["0", "-1", "1e9", "nan", "inf", "many"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn latencies_have_three_digits() {
        let shown = [812, 5_310, 53_100, 531_000, 3_500_000, 10_000_000].map(show_latency_us);
        assert_eq!(
            shown,
            ["812 us", "5.31 ms", "53.1 ms", "531 ms", "3.50 s", "10.0 s"]
        );
        assert_eq!(show_count(1_234_567), "1,234,567");
    }
}
