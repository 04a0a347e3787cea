//! PURE: what the target's own histogram said, in words: beside the client's service time in tables, and as
//! facts.

use super::Report;
use super::show_ms;
use crate::soak::latency::PERCENTILE_NAMES;
use crate::soak::record::ServerRecord;
use crate::soak::server::record::{ServerPercentile, ServerThreshold};
use crate::soak::threshold::Threshold;
use crate::soak::units::show_count;
use std::fmt::Write as _;

/// Quantiles of [`PERCENTILE_NAMES`]; a histogram knows no maximum.
const QUANTILES: [Option<f64>; PERCENTILE_NAMES.len()] = [
    Some(0.5),
    Some(0.9),
    Some(0.95),
    Some(0.99),
    Some(0.999),
    None,
];

/// What the server said in the run that this report is of; `None` of several runs.
pub(super) fn of(report: &Report) -> Option<&ServerRecord> {
    match report.runs.as_slice() {
        [_] => report.verdict.server.as_ref(),
        _ => None,
    }
}

/// Cells beside those of the service time, in the order of [`PERCENTILE_NAMES`]; `None` when the server was
/// not heard.
pub(super) fn cells(server: &ServerRecord) -> Option<[String; PERCENTILE_NAMES.len()]> {
    if server.percentiles.is_empty() {
        return None;
    }
    Some(QUANTILES.map(|quantile| {
        let found = quantile.and_then(|quantile| server.at(quantile));
        found.map_or_else(|| "-".to_owned(), bucket)
    }))
}

/// The bounds of a bucket: `5–10 ms`, `0.75–1 s`, `> 5 s`.
pub(super) fn bucket(one: &ServerPercentile) -> String {
    match one.upper_ms {
        None if one.lower_ms >= 1e3 => format!("> {} s", one.lower_ms / 1e3),
        None => format!("> {} ms", one.lower_ms),
        Some(upper_ms) if upper_ms >= 1e3 => {
            format!("{}–{} s", one.lower_ms / 1e3, upper_ms / 1e3)
        }
        Some(upper_ms) => format!("{}–{upper_ms} ms", one.lower_ms),
    }
}

/// Facts of a run, a line each: whether both agree, what was counted, and thresholds by the server's figures.
pub(super) fn lines(server: &ServerRecord) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, by {}{}",
        server.status,
        server.url,
        selected(server)
    )];
    if let (Some(requests), Some(errors)) = (server.requests, server.server_errors) {
        let mut counted = format!(
            "counted {} queries of {}, {} with status 5xx of {}",
            show_count(requests),
            show_count(server.client_requests),
            show_count(errors),
            show_count(server.client_server_errors)
        );
        if let (Some(from_s), Some(until_s)) = (server.from_s, server.until_s) {
            let _ = write!(
                counted,
                ", between the scrapes at {from_s:.1} s and {until_s:.1} s"
            );
        }
        if let Some(interval_s) = server.scrape_interval_s {
            let _ = write!(counted, ", {interval_s} s apart");
        }
        if server.restarts > 0 {
            let _ = write!(
                counted,
                "; began again {} times",
                show_count(server.restarts)
            );
        }
        lines.push(counted);
    }
    lines.extend(server.thresholds.iter().map(threshold));
    lines
}

fn selected(server: &ServerRecord) -> String {
    if server.selector.is_empty() {
        return String::new();
    }
    format!(" {{{}}}", server.selector)
}

/// `p95<300ms held: 5.00 ms to 10.00 ms`.
fn threshold(one: &ServerThreshold) -> String {
    format!("{} {}: {}", one.expr, held(one), value(one))
}

pub(super) fn held(one: &ServerThreshold) -> &'static str {
    match one.holds {
        Some(true) => "held",
        Some(false) => "crossed",
        None => "cannot be told, the limit is within the bucket",
    }
}

/// The bounds of what a threshold is held against, with its unit.
pub(super) fn value(one: &ServerThreshold) -> String {
    let Ok(threshold) = one.expr.parse::<Threshold>() else {
        return one.lower.to_string();
    };
    let show = |value| threshold.show(Some(value));
    match one.upper {
        None => format!("above {}", show(one.lower)),
        Some(upper) if upper > one.lower => format!("{} to {}", show(one.lower), show(upper)),
        Some(_) => show(one.lower),
    }
}

/// What the client's service time may lie outside of a bucket, and why.
pub(super) fn allowance(server: &ServerRecord) -> String {
    let allowance = &server.allowance;
    if let Some(given_ms) = allowance.given_ms {
        return format!("{given_ms} ms, as it was said");
    }
    let connect = match allowance.connect_ms {
        Some(_) => format!(
            "twice the time of a connection ({})",
            show_ms(allowance.connect_ms)
        ),
        None => "no connection could be timed".to_owned(),
    };
    format!(
        "{} ms for scheduling, {connect}, and the lag of the same percentile",
        allowance.scheduling_ms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_short() {
        let shown = |lower_ms, upper_ms| {
            bucket(&ServerPercentile {
                lower_ms,
                upper_ms,
                ..ServerPercentile::default()
            })
        };
        assert_eq!(shown(5.0, Some(10.0)), "5–10 ms");
        assert_eq!(shown(750.0, Some(1_000.0)), "0.75–1 s");
        assert_eq!(shown(1_000.0, Some(2_500.0)), "1–2.5 s");
        assert_eq!(shown(5_000.0, None), "> 5 s");
    }

    #[test]
    fn thresholds_are_told_with_what_is_known() {
        let told = |expr: &str, lower, upper, holds| {
            threshold(&ServerThreshold {
                expr: expr.to_owned(),
                lower,
                upper,
                holds,
            })
        };
        assert_eq!(
            told("p95<300ms", 5.0, Some(10.0), Some(true)),
            "p95<300ms held: 5.00 ms to 10.00 ms"
        );
        assert_eq!(
            told("error_rate<1%", 0.02, Some(0.02), Some(false)),
            "error_rate<1% crossed: 2.00 %"
        );
        assert_eq!(
            told("p99<6s", 5_000.0, None, None),
            "p99<6s cannot be told, the limit is within the bucket: above 5.00 s"
        );
    }
}
