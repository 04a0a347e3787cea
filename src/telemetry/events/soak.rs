//! The events of a soak: a window that closed, and the verdict.

use super::{SOAK_VERDICT, SOAK_WINDOW};
use tracing::{error, info, warn};

/// A window of a soak that closed. What was not measured is left out of the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoakWindow<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// The run's folder.
    pub soak_run: &'a str,
    /// 1-based.
    pub window: u64,
    /// How many there will be.
    pub windows: u64,
    /// Requests that were due in it.
    pub due: u64,
    /// Of these, answered as expected.
    pub ok: u64,
    /// Sent, and not answered as expected.
    pub errors: u64,
    /// Not sent.
    pub shed: u64,
    /// The errors by kind, as `timeout 3, connect 1`; empty without any.
    pub errors_by_kind: &'a str,
    /// Of the response, in milliseconds.
    pub p50_ms: Option<f64>,
    /// Of the response, in milliseconds.
    pub p95_ms: Option<f64>,
    /// Of the response, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Of the response, in milliseconds.
    pub max_ms: Option<f64>,
    /// Resident memory of the unit under test.
    pub rss_bytes: Option<u64>,
    /// Processors that the unit under test kept busy.
    pub cpu_cores: Option<f64>,
}

/// A window closed.
pub fn soak_window(window: &SoakWindow<'_>) {
    let p95 = window
        .p95_ms
        .map_or_else(|| "unknown".to_owned(), |ms| format!("{ms} ms"));
    info!(
        message_id = SOAK_WINDOW,
        scenario = window.scenario,
        soak_run = window.soak_run,
        window = window.window,
        windows = window.windows,
        due = window.due,
        ok = window.ok,
        errors = window.errors,
        shed = window.shed,
        errors_by_kind = window.errors_by_kind,
        p50_ms = window.p50_ms,
        p95_ms = window.p95_ms,
        p99_ms = window.p99_ms,
        max_ms = window.max_ms,
        rss_bytes = window.rss_bytes,
        cpu_cores = window.cpu_cores,
        "soak {}: window {} of {}, due {}, ok {}, errors {}, p95 {p95}",
        window.scenario,
        window.window,
        window.windows,
        window.due,
        window.ok,
        window.errors,
    );
}

/// A soak that was judged. What was not measured is left out of the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoakVerdict<'a> {
    /// `PASS`, `FAIL` or `INVALID`.
    pub verdict: &'a str,
    /// The scenario's name.
    pub scenario: &'a str,
    /// Where requests went.
    pub target: &'a str,
    /// The run's folder; of a search for the capacity that of the search.
    pub run: &'a str,
    /// Why it is not PASS, in words.
    pub reason: &'a str,
    /// Requests that were due.
    pub due: u64,
    /// Of these, answered as expected.
    pub ok: u64,
    /// Sent, and not answered as expected.
    pub errors: u64,
    /// The share of due requests that did not end ok, 0 to 1.
    pub error_rate: Option<f64>,
    /// Of the response, in milliseconds.
    pub p50_ms: Option<f64>,
    /// Of the response, in milliseconds.
    pub p95_ms: Option<f64>,
    /// Of the response, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Seconds that were measured; of a search for the capacity those that it took.
    pub measured_s: f64,
    /// The highest rate held, of a search for the capacity.
    pub capacity_per_s: Option<f64>,
}

/// A soak was judged.
pub fn soak_verdict(judged: &SoakVerdict<'_>) {
    let SoakVerdict {
        verdict,
        scenario,
        reason,
        ..
    } = *judged;
    macro_rules! event {
        ($level:ident, $($message:tt)+) => {
            $level!(
                message_id = SOAK_VERDICT,
                verdict,
                scenario,
                target_url = judged.target,
                run = judged.run,
                soak_run = judged.run,
                reason,
                due = judged.due,
                ok = judged.ok,
                errors = judged.errors,
                error_rate = judged.error_rate,
                p50_ms = judged.p50_ms,
                p95_ms = judged.p95_ms,
                p99_ms = judged.p99_ms,
                measured_s = judged.measured_s,
                capacity_per_s = judged.capacity_per_s,
                $($message)+
            )
        };
    }
    match verdict {
        "PASS" => event!(info, "the soak {scenario} ended PASS"),
        "FAIL" => event!(error, "the soak {scenario} ended FAIL: {reason}"),
        _ => event!(warn, "the soak {scenario} ended {verdict}: {reason}"),
    }
}
