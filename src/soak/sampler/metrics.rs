//! Chosen series of the target's `/metrics`, in Prometheus' text format 0.0.4.

use super::record::UnitSample;
use crate::client::{Limits, Outgoing, Target, request_blocking};
use crate::soak::stats::numbers::whole;
use std::collections::BTreeMap;
use std::time::Duration;

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(2),
    max_response_bytes: 4 * 1024 * 1024,
};
/// Most series that are kept of a window.
const MAX_SERIES: usize = 64;

/// What is kept when nothing else is said: memory, CPU and descriptors as the target sees them, its
/// pool, its cache, its errors, its provider.
pub(super) const DEFAULT_SERIES: [&str; 10] = [
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_cpu_seconds_total",
    "process_threads",
    "db_pool_*",
    "embedding_cache_*_total",
    "retrieval_errors_total",
    "http_server_in_flight*",
    "openai_requests_total",
    "alfred_config_last_reload_success_timestamp_seconds",
];

/// Asks for the metrics and keeps those that are chosen.
pub(super) fn fetch(target: &Target, chosen: &[String]) -> Result<BTreeMap<String, f64>, String> {
    let response = request_blocking(target, Outgoing::default(), LIMITS)
        .map_err(|error| format!("{target}: {error}"))?;
    if !response.status.is_success() {
        return Err(format!("{target}: status {}", response.status.as_u16()));
    }
    Ok(parse(&String::from_utf8_lossy(&response.body), chosen))
}

/// What /proc did not show of a single process and its own metrics do: descriptors, which another
/// user or user namespace may not count.
pub(super) fn fill_in(unit: &mut UnitSample, metrics: &BTreeMap<String, f64>) {
    if unit.descriptors.is_none() && unit.processes == Some(1) {
        let counted = metrics.get("process_open_fds");
        unit.descriptors = counted.map(|count| whole(*count) as u64);
    }
}

pub(in crate::soak) fn parse(text: &str, chosen: &[String]) -> BTreeMap<String, f64> {
    text.lines()
        .filter_map(|line| sample(line.trim()))
        .filter(|(series, _)| {
            let name = series.split('{').next().unwrap_or_default();
            chosen.iter().any(|pattern| matches(name, pattern))
        })
        .take(MAX_SERIES)
        .map(|(series, value)| (series.to_owned(), value))
        .collect()
}

/// `name{labels} value [time]`: the series and its value, when that is a number.
fn sample(line: &str) -> Option<(&str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let end = match line.find('{') {
        Some(open) => open + end_of_labels(&line[open..])?,
        None => line.find([' ', '\t'])?,
    };
    let (series, rest) = line.split_at(end);
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((series, value))
}

/// Where labels end that begin with `{`; a brace in quotes ends nothing.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut in_quotes, mut escaped) = (false, false);
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_quotes => escaped = true,
            '"' => in_quotes = !in_quotes,
            '}' if !in_quotes => return Some(place + 1),
            _ => {}
        }
    }
    None
}

/// `pattern` may have one `*`.
fn matches(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_text_format() {
        let text = "# HELP x y\n# TYPE x counter\nprocess_open_fds 12\n\
                    db_pool_connections{state=\"idle\"} 4\n\
                    embedding_cache_hits_total{tier=\"a } \\\" b\"} 1.5e3 1700000000000\n\
                    embedding_cache_hits 7\nprocess_threads NaN\nhttp_requests_total 9\n\
                    broken{a=\"b\nbroken\n";
        let chosen: Vec<String> = DEFAULT_SERIES.map(str::to_owned).to_vec();
        let read = parse(text, &chosen);
        let expected = [
            ("db_pool_connections{state=\"idle\"}", 4.0),
            ("embedding_cache_hits_total{tier=\"a } \\\" b\"}", 1_500.0),
            ("process_open_fds", 12.0),
        ];
        assert_eq!(
            read,
            expected
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }

    #[test]
    fn descriptors_of_one_process_are_taken_from_its_metrics() {
        let metrics = BTreeMap::from([("process_open_fds".to_owned(), 12.0)]);
        let of = |processes, descriptors| {
            let mut unit = UnitSample {
                processes: Some(processes),
                descriptors,
                ..UnitSample::default()
            };
            fill_in(&mut unit, &metrics);
            unit.descriptors
        };
        assert_eq!(of(1, None), Some(12));
        assert_eq!(of(1, Some(7)), Some(7));
        assert_eq!(of(2, None), None);
    }

    #[test]
    fn is_bounded() {
        use std::fmt::Write as _;
        let mut text = String::new();
        for n in 0..1_000 {
            let _ = writeln!(text, "a{{n=\"{n}\"}} 1");
        }
        assert_eq!(parse(&text, &["a".to_owned()]).len(), MAX_SERIES);
    }
}
