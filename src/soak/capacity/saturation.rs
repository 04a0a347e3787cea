//! PURE: what was at its limit, from what was sampled beside the steps.
//!
//! That something is at its limit at the rate that broke does not prove that it is the cause; that
//! it got there first, and at a lower rate than anything else, is the best that a look from outside
//! can say.

use super::answer;
use super::record::TryRecord;
use crate::soak::record::{VerdictRecord, WindowRecord};
use crate::soak::stats::numbers::size;
use crate::soak::tally::ratio;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A share of all processors that counts as all of them.
const CPU_SHARE: f64 = 0.93;
/// Processors that a unit with one busy thread uses.
const ONE_CORE: std::ops::Range<f64> = 0.93..1.05;
/// A share of windows, of requests, of time.
const MUCH: f64 = 0.5;
const SOME: f64 = 0.01;

/// What was used in a step; `None` is not sampled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processors that the unit or process under test kept busy.
    pub unit_cores: Option<f64>,
    /// Processors of the generator's machine that were busy.
    pub host_cores: Option<f64>,
    /// The share of time in which something waited for a processor (PSI).
    pub cpu_pressure: Option<f64>,
    /// The share of time in which something waited for a disk (PSI).
    pub io_pressure: Option<f64>,
    /// Processors that the generator kept busy.
    pub generator_cores: f64,
    /// The share of windows at whose end every connection of a pool was busy.
    pub pool_full: Option<f64>,
    /// Waits for a connection of a pool that timed out.
    pub pool_timeouts: Option<f64>,
    /// Answers of the target's provider with status 429.
    pub provider_429: Option<f64>,
    /// Errors of the target's provider, as the target counts them.
    pub provider_errors: Option<f64>,
    /// The share of requests that the target answered with status 503.
    pub status_503: f64,
    /// And with 429.
    pub status_429: f64,
}

/// Something that was at its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saturated {
    /// What, in words.
    pub what: String,
    /// The lowest rate at which it was, requests a second.
    pub rate_per_s: f64,
    /// By what that was seen.
    pub figure: String,
}

/// What a step used.
#[must_use]
pub fn usage(windows: &[WindowRecord], verdict: &VerdictRecord, warmup_s: f64) -> Usage {
    // Figures are since the reading before; that of the first window is from before the step.
    let rest = windows.get(1..).unwrap_or_default();
    let a_second = |value: &dyn Fn(&WindowRecord) -> Option<f64>| {
        let (mut sum, mut length_s) = (0.0, 0.0);
        for window in rest {
            if let Some(value) = value(window) {
                sum += value;
                length_s += window.length_s;
            }
        }
        (length_s > 0.0).then(|| sum / length_s)
    };
    let of_host = |value: fn(&crate::soak::record::HostSample) -> Option<f64>| {
        a_second(&|window| value(window.host.as_ref()?))
    };
    let status = |name: &str| {
        let count = verdict.errors_by_cause.get(name).copied().unwrap_or(0);
        ratio(count, verdict.counts.due).unwrap_or(0.0)
    };
    Usage {
        unit_cores: a_second(&|window| window.unit.as_ref()?.cpu_s),
        host_cores: of_host(|host| host.cpu_s),
        cpu_pressure: of_host(|host| host.cpu_pressure_s),
        io_pressure: of_host(|host| host.io_pressure_s),
        generator_cores: answer::generator_cores(verdict, warmup_s),
        pool_full: pool_full(windows),
        pool_timeouts: grown(windows, "db_pool_timeouts_total", ""),
        provider_429: grown(windows, "openai_requests_total", "status=\"429\""),
        provider_errors: grown(windows, "retrieval_errors_total", "kind=\"openai_error\""),
        status_503: status("status 503"),
        status_429: status("status 429"),
    }
}

/// By how much series of this name with this label grew; `None` when they are not sampled.
fn grown(windows: &[WindowRecord], name: &str, label: &str) -> Option<f64> {
    let sampled = windows.iter().filter(|window| !window.metrics.is_empty());
    let sums: Vec<f64> = sampled
        .filter_map(|window| sum(&window.metrics, name, label))
        .collect();
    // A restart begins from 0 again.
    (!sums.is_empty()).then(|| sums.windows(2).map(|two| (two[1] - two[0]).max(0.0)).sum())
}

fn sum(metrics: &BTreeMap<String, f64>, name: &str, label: &str) -> Option<f64> {
    let of_name = |series: &str| series.split('{').next() == Some(name) && series.contains(label);
    let values: Vec<f64> = metrics
        .iter()
        .filter(|(series, _)| of_name(series))
        .map(|(_, value)| *value)
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn pool_full(windows: &[WindowRecord]) -> Option<f64> {
    let state = |window: &WindowRecord, state: &str| {
        let label = format!("state=\"{state}\"");
        sum(&window.metrics, "db_pool_connections", &label)
    };
    let full: Vec<bool> = windows
        .iter()
        .filter_map(|window| Some(state(window, "busy")? >= state(window, "max")?.max(1.0)))
        .collect();
    (!full.is_empty()).then(|| size(full.iter().filter(|full| **full).count()) / size(full.len()))
}

/// What was at its limit in steps at rates up to `limit`, the first first: by the lowest rate at
/// which it was. `cpus` are those of the generator's machine.
#[must_use]
pub fn saturated(steps: &[TryRecord], cpus: u64, limit: f64) -> Vec<Saturated> {
    let mut found: Vec<Saturated> = Vec::new();
    let mut steps: Vec<&TryRecord> = steps
        .iter()
        .filter(|step| step.answer.is_some() && step.rate_per_s <= limit)
        .collect();
    steps.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    for step in steps {
        for (what, figure) in at_their_limit(&step.usage, cpus) {
            if found.iter().all(|known| known.what != what) {
                found.push(Saturated {
                    what: what.to_owned(),
                    rate_per_s: step.rate_per_s,
                    figure,
                });
            }
        }
    }
    found
}

fn at_their_limit(usage: &Usage, cpus: u64) -> Vec<(&'static str, String)> {
    let cores = crate::soak::units::float(cpus.max(1));
    let mut found = Vec::new();
    let mut at = |what, is_at_limit: bool, figure: String| {
        if is_at_limit {
            found.push((what, figure));
        }
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let of_all = |used: f64| format!("{used:.2} of {cores} cores");
    if let Some(unit) = usage.unit_cores {
        let is_all = unit >= CPU_SHARE * cores;
        at("the CPU of the unit", is_all, of_all(unit));
        let is_one = !is_all && ONE_CORE.contains(&unit);
        let figure = format!("{unit:.2} cores, as a single busy thread uses, of {cores}");
        at("one core of the unit", is_one, figure);
    }
    if let Some(host) = usage.host_cores {
        at(
            "the CPU of the generator's machine",
            host >= CPU_SHARE * cores,
            of_all(host),
        );
    }
    if let Some(full) = usage.pool_full {
        let figure = format!("every connection busy in {} of the windows", percent(full));
        at("the connection pool", full >= MUCH, figure);
    }
    if let Some(timeouts) = usage.pool_timeouts {
        let figure = format!("{timeouts:.0} waits for a connection timed out");
        at("waits for the connection pool", timeouts > 0.0, figure);
    }
    if let Some(refused) = usage.provider_429 {
        let figure = format!("{refused:.0} answers of it with status 429");
        at("the provider's rate limit", refused > 0.0, figure);
    }
    if let Some(errors) = usage.provider_errors {
        let figure = format!("{errors:.0} errors of it");
        at("the provider", errors > 0.0, figure);
    }
    let refusals = [
        ("the target's admission (status 503)", usage.status_503),
        ("the target's rate limit (status 429)", usage.status_429),
    ];
    for (what, share) in refusals {
        let figure = format!("{:.1} % of requests", share * 100.0);
        at(what, share >= SOME, figure);
    }
    if let Some(pressure) = usage.io_pressure {
        let figure = format!("something waited for one {} of the time", percent(pressure));
        at(
            "a disk of the generator's machine",
            pressure >= MUCH,
            figure,
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(usage: &Usage, cpus: u64) -> Vec<&'static str> {
        at_their_limit(usage, cpus)
            .into_iter()
            .map(|(what, _)| what)
            .collect()
    }

    #[test]
    fn names_what_is_at_its_limit() {
        let idle = Usage {
            unit_cores: Some(0.2),
            host_cores: Some(0.5),
            pool_full: Some(0.1),
            provider_429: Some(0.0),
            ..Usage::default()
        };
        assert!(named(&idle, 2).is_empty());
        let unit = |cores| Usage {
            unit_cores: Some(cores),
            ..Usage::default()
        };
        assert_eq!(named(&unit(1.9), 2), ["the CPU of the unit"]);
        assert_eq!(named(&unit(0.99), 1), ["the CPU of the unit"]);
        assert_eq!(named(&unit(0.99), 4), ["one core of the unit"]);
        assert!(named(&unit(1.4), 4).is_empty());
        let pool = Usage {
            pool_full: Some(0.8),
            status_503: 0.2,
            provider_429: Some(3.0),
            ..Usage::default()
        };
        let told = [
            "the connection pool",
            "the provider's rate limit",
            "the target's admission (status 503)",
        ];
        assert_eq!(named(&pool, 2), told);
    }

    #[test]
    fn reads_the_targets_own_figures() {
        let window = |busy: f64, refused: f64| {
            let mut window = crate::soak::capacity::testing::window(0.0, None);
            window.metrics = BTreeMap::from([
                ("db_pool_connections{state=\"busy\"}".to_owned(), busy),
                ("db_pool_connections{state=\"max\"}".to_owned(), 4.0),
                ("openai_requests_total{status=\"429\"}".to_owned(), refused),
                ("openai_requests_total{status=\"200\"}".to_owned(), 900.0),
            ]);
            window
        };
        let windows = [window(4.0, 7.0), window(4.0, 9.0), window(1.0, 2.0)];
        assert_eq!(pool_full(&windows), Some(2.0 / 3.0));
        assert_eq!(
            grown(&windows, "openai_requests_total", "status=\"429\""),
            Some(2.0),
            "a restart begins anew"
        );
        assert_eq!(grown(&windows, "db_pool_timeouts_total", ""), None);
    }
}
