//! PURE: times and sizes as the page says them.

pub(super) use crate::report::show_ms as milliseconds;
use crate::soak::figure::Figure;
use crate::soak::latency::Percentiles;
use crate::soak::units::{float, show_duration};
use std::time::Duration;

/// A time on the run: `0:02:03`, `2 d 3:04:05`, `-0:00:05`.
pub(super) fn clock(at_s: f64) -> String {
    let sign = if at_s <= -0.5 { "-" } else { "" };
    let whole = Duration::try_from_secs_f64(at_s.abs().round())
        .unwrap_or_default()
        .as_secs();
    let (days, rest) = (whole / 86_400, whole % 86_400);
    let days = if days > 0 {
        format!("{days} d ")
    } else {
        String::new()
    };
    let (hours, minutes, seconds) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{sign}{days}{hours}:{minutes:02}:{seconds:02}")
}

/// A length of time: `1h30m`.
pub(super) fn length(seconds: f64) -> String {
    show_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Bytes: `12.1 KiB`.
pub(super) fn size(bytes: u64) -> String {
    Figure::Rss.show(float(bytes))
}

/// Percentiles as the cells of a row.
pub(super) fn cells(percentiles: &Percentiles<f64>) -> impl Iterator<Item = String> {
    percentiles.values().into_iter().map(milliseconds)
}

/// A share as a percentage: `0.02 %`.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_on_a_clock() {
        assert_eq!(clock(0.0), "0:00:00");
        assert_eq!(clock(-4.7), "-0:00:05");
        assert_eq!(clock(3_723.4), "1:02:03");
        assert_eq!(clock(2.0 * 86_400.0 + 3_600.0), "2 d 1:00:00");
        assert_eq!(clock(f64::NAN), "0:00:00");
    }
}
