//! PURE: what happens to a run, in words.

use crate::plain;
use crate::soak::Failing;
use crate::soak::causes;
use crate::soak::driver::Interrupt;
use crate::soak::event::EventRecord;
use crate::soak::units::{float, show_count, show_latency_us};
use std::collections::BTreeMap;
use std::time::Duration;

/// A start at which nothing succeeds.
#[must_use]
pub fn failing_text(failing: &Failing) -> String {
    let requests = match failing.requests {
        1 => "the first request".to_owned(),
        more => format!("all of the first {} requests", show_count(more)),
    };
    let hint = causes::hint(&failing.cause, &failing.target)
        .map_or_else(String::new, |hint| format!("; {hint}"));
    plain::one_line(&format!(
        "warning: {requests} to {} failed: {}{hint}",
        failing.target, failing.cause
    ))
}

/// Something that happened beside the requests, with when.
#[must_use]
pub fn event_text(event: &EventRecord) -> String {
    let text = format!("soak {}: {}", clock(event.at_s.max(0.0)), event.event);
    plain::one_line(&text)
}

/// What a signal does.
#[must_use]
pub fn interrupt_text(interrupt: Interrupt) -> String {
    match interrupt {
        Interrupt::Stop => {
            "interrupted: ending with this window, then judging; interrupt again to abort"
                .to_owned()
        }
        Interrupt::Abort(signal) => format!("aborting: {signal}"),
    }
}

/// That requests went out too late for any verdict, where they did.
pub(super) fn late_text(lag_p99_ms: Option<f64>, limit_ms: f64) -> Option<String> {
    let lag_ms = lag_p99_ms.filter(|lag_ms| *lag_ms > limit_ms)?;
    Some(format!(
        "the generator is late: p99 of lag is {lag_ms:.1} ms, {limit_ms:.1} ms is the most"
    ))
}

/// `timeout 3, connect 1`.
pub(super) fn kinds(errors: &BTreeMap<String, u64>) -> String {
    let said: Vec<String> = errors
        .iter()
        .map(|(kind, count)| format!("{kind} {}", show_count(*count)))
        .collect();
    said.join(", ")
}

pub(super) fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), show_latency_us)
}

/// At most seven characters: `999,999`, `25.9M`.
pub(super) fn short(count: u64) -> String {
    match count {
        0..1_000_000 => show_count(count),
        1_000_000..1_000_000_000 => format!("{:.1}M", float(count) / 1e6),
        _ => format!("{:.1}G", float(count) / 1e9),
    }
}

/// `120.3 MiB`, `1.25 GiB`.
pub(super) fn memory(bytes: u64) -> String {
    let mib = float(bytes) / 1_048_576.0;
    if mib < 1_024.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.2} GiB", mib / 1_024.0)
    }
}

/// `0:42`, `12:30`, `1:02:03`; tenths where seconds are not whole.
pub(super) fn clock(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let (s, tenths) = (whole.as_secs(), whole.subsec_millis() / 100);
    let (hours, minutes, rest) = (s / 3_600, s / 60 % 60, s % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else if tenths > 0 && s < 60 {
        format!("{minutes}:{rest:02}.{tenths}")
    } else {
        format!("{minutes}:{rest:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0, 999_999, 25_920_000, 1_500_000_000].map(short);
        assert_eq!(counts, ["0", "999,999", "25.9M", "1.5G"]);
        assert_eq!(memory(126_134_272), "120.3 MiB");
        assert_eq!(memory(1_342_177_280), "1.25 GiB");
        let times = [0.0, 42.5, 750.0, 3_723.0, 259_199.0].map(clock);
        assert_eq!(times, ["0:00", "0:42.5", "12:30", "1:02:03", "71:59:59"]);
    }
}
