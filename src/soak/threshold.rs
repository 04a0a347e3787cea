//! PURE: thresholds as `p95<300ms`, `error_rate<1%`, `throughput>9.9/s`, `p99<1s in every 5m`,
//! `rss_growth<1MiB/h`, in k6's spirit.

use super::figure::{Figure, Unit};
use super::latency::Series;
use super::stats::numbers::whole;
use super::units::{parse_duration, show_duration};
use super::view::View;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a threshold looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// A quantile of a latency, 0 to 1; 1 is the maximum.
    Quantile(Series, f64),
    /// The mean of a latency.
    Mean(Series),
    /// The share of due requests that did not end ok.
    ErrorRate,
    /// The share of due requests that were not sent.
    Shed,
    /// The share of judged answers with a relevant source among the first three.
    HitRate,
    /// Requests that ended ok, a second.
    Throughput,
    /// How much a figure rises an hour, as the drift test has it.
    Growth(Figure),
}

/// What a threshold is applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the run.
    #[default]
    Run,
    /// Every stretch of this length, from window to window; 0 is one window.
    Every(Duration),
    /// The last quarter of the run.
    LastQuarter,
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => formatter.write_str("run"),
            Self::Every(length) if length.is_zero() => formatter.write_str("every window"),
            Self::Every(length) => write!(formatter, "every {}", show_duration(*length)),
            Self::LastQuarter => formatter.write_str("last quarter"),
        }
    }
}

/// How a value is compared with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// A condition that a run must meet to pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// As it was written, without the scope.
    expr: String,
    metric: Metric,
    comparison: Comparison,
    /// Milliseconds, bytes, a share of 1, or a number, as the metric has it; of growth, an hour.
    limit: f64,
    scope: Scope,
}

impl Threshold {
    /// What it looks at.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// What it is applied to.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// As it was written, without the scope.
    #[must_use]
    pub fn expr(&self) -> &str {
        &self.expr
    }

    /// Its limit, in milliseconds, bytes, a share of 1, or a number, as the metric has it; of
    /// growth, an hour.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Its limit in milliseconds when it bounds a latency of the target.
    #[must_use]
    pub fn latency_limit_ms(&self) -> Option<f64> {
        match self.metric {
            Metric::Quantile(series, _) | Metric::Mean(series) if series != Series::Lag => {
                Some(self.limit)
            }
            _ => None,
        }
    }

    /// The figure whose growth it bounds, and the budget an hour.
    #[must_use]
    pub fn budget(&self) -> Option<(Figure, f64)> {
        match self.metric {
            Metric::Growth(figure) => Some((figure, self.limit)),
            _ => None,
        }
    }

    /// The value of its metric, in the unit of the limit; `None` when nothing was measured, and of
    /// growth, which no sum of requests shows.
    #[must_use]
    pub fn value<V: View + ?Sized>(&self, view: &V) -> Option<f64> {
        match self.metric {
            Metric::Quantile(series, quantile) => view.quantile_ms(series, quantile),
            Metric::Mean(series) => view.mean_ms(series),
            Metric::ErrorRate => view.counts().error_rate(),
            Metric::Shed => super::tally::ratio(view.counts().shed, view.counts().due),
            Metric::HitRate => view.relevance().hit_rate(),
            Metric::Throughput => view.throughput_per_s(),
            Metric::Growth(_) => None,
        }
    }

    /// Whether `value` meets it. What was not measured does not.
    #[must_use]
    pub fn holds(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
        })
    }

    /// The one of two values that is further beyond the limit, or nearer to it; nothing measured is
    /// worst of all.
    #[must_use]
    pub fn worse(&self, a: Option<f64>, b: Option<f64>) -> Option<f64> {
        let (a, b) = (a?, b?);
        Some(match self.comparison {
            Comparison::Below | Comparison::AtMost => a.max(b),
            Comparison::Above | Comparison::AtLeast => a.min(b),
        })
    }

    /// How far `value` is from the limit, as a share of the limit; above 0 it is greater. Of a limit
    /// of 0, `None`.
    #[must_use]
    pub fn distance(&self, value: f64) -> Option<f64> {
        (self.limit > 0.0).then(|| value / self.limit - 1.0)
    }

    /// By how much of the limit `value` is beyond it; below 0 it is within. Of a limit of 0, `None`.
    #[must_use]
    pub fn excess(&self, value: f64) -> Option<f64> {
        let distance = self.distance(value)?;
        Some(match self.comparison {
            Comparison::Below | Comparison::AtMost => distance,
            Comparison::Above | Comparison::AtLeast => -distance,
        })
    }

    /// The distance in words: `98 % below`, `3.5 % above`, `at the limit`.
    #[must_use]
    pub fn show_distance(&self, value: f64) -> String {
        let percent = match self.distance(value) {
            Some(distance) => distance * 100.0,
            None if value > 0.0 => return "above".to_owned(),
            None => 0.0,
        };
        let side = if percent > 0.0 { "above" } else { "below" };
        match percent.abs() {
            0.0..0.05 => "at the limit".to_owned(),
            few @ 0.05..10.0 => format!("{few:.1} % {side}"),
            more => format!("{more:.0} % {side}"),
        }
    }

    /// `value` with the metric's unit.
    #[must_use]
    pub fn show(&self, value: Option<f64>) -> String {
        let Some(value) = value else {
            return "nothing measured".to_owned();
        };
        match self.metric {
            Metric::Quantile(..) | Metric::Mean(_) => Figure::P95.show(value),
            Metric::ErrorRate | Metric::Shed | Metric::HitRate => format!("{:.2} %", value * 100.0),
            Metric::Throughput => format!("{value:.2}/s"),
            Metric::Growth(figure) => format!("{} an hour", figure.show_change(value)),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            Scope::Run => formatter.write_str(&self.expr),
            Scope::Every(_) | Scope::LastQuarter => {
                write!(formatter, "{} in {}", self.expr, self.scope)
            }
        }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (condition, scope) = match text.split_once(" in ") {
            Some((condition, scope)) => (
                condition,
                parse_scope(scope).map_err(|problem| format!("{text:?}: {problem}"))?,
            ),
            None => (text, Scope::Run),
        };
        let expr: String = condition.chars().filter(|c| !c.is_whitespace()).collect();
        let at = expr.find(['<', '>']).ok_or_else(|| {
            format!(
                "{text:?} is not a threshold such as p95<300ms, error_rate<1% or throughput>9.9/s"
            )
        })?;
        let metric = metric(&expr[..at]).ok_or_else(|| {
            format!(
                "{text:?}: {:?} is none of p50, p90, p95, p99, p99.9 or another percentile, max, \
                 mean, each also of ok, service and lag (ok_p99), error_rate, throughput, shed, \
                 hit_rate, and the growth of a figure (rss_growth)",
                &expr[..at]
            )
        })?;
        let (comparison, limit) = match (&expr[at..=at], expr[at + 1..].strip_prefix('=')) {
            ("<", Some(limit)) => (Comparison::AtMost, limit),
            ("<", None) => (Comparison::Below, &expr[at + 1..]),
            (_, Some(limit)) => (Comparison::AtLeast, limit),
            (_, None) => (Comparison::Above, &expr[at + 1..]),
        };
        if matches!(metric, Metric::Growth(_)) {
            let rises = matches!(comparison, Comparison::Below | Comparison::AtMost);
            if !rises || scope != Scope::Run {
                return Err(format!(
                    "{text:?}: growth has an upper limit, on the whole run"
                ));
            }
        }
        let limit = parse_limit(metric, limit).map_err(|problem| format!("{text:?}: {problem}"))?;
        Ok(Self {
            expr,
            metric,
            comparison,
            limit,
            scope,
        })
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    match text.trim() {
        "last quarter" | "the last quarter" => Ok(Scope::LastQuarter),
        "every window" => Ok(Scope::Every(Duration::ZERO)),
        other => other
            .strip_prefix("every ")
            .and_then(|length| parse_duration(length).ok())
            .filter(|length| !length.is_zero())
            .map(Scope::Every)
            .ok_or_else(|| format!("{other:?} is none of every window, every 5m, last quarter")),
    }
}

fn metric(name: &str) -> Option<Metric> {
    if let Some(figure) = name.strip_suffix("_growth") {
        return Figure::named(figure).map(Metric::Growth);
    }
    match name {
        "error_rate" => return Some(Metric::ErrorRate),
        "throughput" => return Some(Metric::Throughput),
        "shed" => return Some(Metric::Shed),
        "hit_rate" | "hit_rate@3" => return Some(Metric::HitRate),
        _ => {}
    }
    let (series, name) = match name.split_once('_') {
        Some((series, name)) => {
            let named = |known: &Series| known.as_str() == series;
            (Series::ALL.into_iter().find(named)?, name)
        }
        None => (Series::Response, name),
    };
    match name {
        "max" => Some(Metric::Quantile(series, 1.0)),
        "mean" => Some(Metric::Mean(series)),
        _ => {
            let digits = name.strip_prefix('p')?;
            let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
            let percent: f64 = digits.parse().ok().filter(|_| plain)?;
            (0.0..=100.0).contains(&percent).then_some(())?;
            // Rounded, as 99.9 / 100 is a little more than 0.999 and would look one rank too high.
            Some(Metric::Quantile(series, (percent * 1e7).round() / 1e9))
        }
    }
}

/// Names of units, and what one is worth.
type Units = &'static [(&'static str, f64)];

const TIMES: Units = &[("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("", 1.0)];
const SHARES: Units = &[("%", 0.01), ("", 1.0)];
const RATES: Units = &[("/s", 1.0), ("", 1.0)];
const BYTES: Units = &[
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("KiB", 1_024.0),
    ("GB", 1e9),
    ("MB", 1e6),
    ("kB", 1e3),
    ("B", 1.0),
];
const COUNTS: Units = &[("", 1.0)];

/// A size as `64KiB`, in bytes.
///
/// # Errors
/// When it is none.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bytes = parse_amount(BYTES, text);
    bytes
        .map(|bytes| whole(bytes) as u64)
        .ok_or_else(|| format!("{text:?} is not a size such as 64KiB"))
}

/// A number and its unit.
fn parse_amount(units: Units, text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some(number.parse::<f64>().ok()? * factor)
}

fn parse_limit(metric: Metric, text: &str) -> Result<f64, String> {
    let (units, example) = match metric {
        Metric::Quantile(..) | Metric::Mean(_) => (TIMES, "300ms"),
        Metric::ErrorRate | Metric::Shed | Metric::HitRate => (SHARES, "1%"),
        Metric::Throughput => (RATES, "9.9/s"),
        Metric::Growth(figure) => match figure.unit() {
            Unit::Ms => (TIMES, "5ms/h"),
            Unit::Bytes => (BYTES, "1MiB/h"),
            Unit::Count => (COUNTS, "1/h"),
        },
    };
    let wrong = || format!("{text:?} is not a limit such as {example}");
    let amount = match metric {
        Metric::Growth(_) => text.strip_suffix("/h").ok_or_else(wrong)?,
        _ => text,
    };
    parse_amount(units, amount).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> (Metric, f64) {
        let threshold: Threshold = text.parse().unwrap();
        (threshold.metric, threshold.limit)
    }

    const RESPONSE: Series = Series::Response;

    #[test]
    fn reads_every_metric_and_unit() {
        let p = Metric::Quantile;
        assert_eq!(limit("p95<300ms"), (p(RESPONSE, 0.95), 300.0));
        assert_eq!(limit("p99.9 <= 2s"), (p(RESPONSE, 0.999), 2_000.0));
        assert_eq!(limit("max<800us"), (p(RESPONSE, 1.0), 0.8));
        assert_eq!(limit("ok_p99<1s"), (p(Series::Ok, 0.99), 1_000.0));
        assert_eq!(limit("lag_max<1s"), (p(Series::Lag, 1.0), 1_000.0));
        assert_eq!(limit("mean<5"), (Metric::Mean(RESPONSE), 5.0));
        assert_eq!(limit("error_rate<1%"), (Metric::ErrorRate, 0.01));
        assert_eq!(limit("error_rate<=0.5"), (Metric::ErrorRate, 0.5));
        assert_eq!(limit("shed<0.05%"), (Metric::Shed, 0.05 * 0.01));
        assert_eq!(limit("throughput>9.9/s"), (Metric::Throughput, 9.9));
        assert_eq!(limit("hit_rate>=90%"), (Metric::HitRate, 0.9));
        assert_eq!(limit("hit_rate@3 >= 0.9"), (Metric::HitRate, 0.9));
        let growth = |figure| Metric::Growth(figure);
        assert_eq!(
            limit("rss_growth<1MiB/h"),
            (growth(Figure::Rss), 1_048_576.0)
        );
        assert_eq!(limit("p95_growth<5ms/h"), (growth(Figure::P95), 5.0));
        assert_eq!(limit("fds_growth<=0.5/h"), (growth(Figure::Fds), 0.5));
        assert_eq!(
            "p95 < 300ms".parse::<Threshold>().unwrap().to_string(),
            "p95<300ms"
        );
    }

    #[test]
    fn reads_every_scope_and_writes_it_back() {
        for (text, scope) in [
            ("p95<300ms", Scope::Run),
            (
                "p95<300ms in every 5m",
                Scope::Every(Duration::from_mins(5)),
            ),
            ("p95<300ms in every window", Scope::Every(Duration::ZERO)),
            ("error_rate<1% in last quarter", Scope::LastQuarter),
        ] {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(threshold.scope(), scope);
            assert_eq!(threshold.to_string(), text);
        }
        let spaced: Threshold = "p95 < 1s in the last quarter".parse().unwrap();
        assert_eq!(spaced.to_string(), "p95<1s in last quarter");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in [
            "",
            "p95",
            "p95=300ms",
            "p101<1s",
            "q95<1s",
            "p95<",
            "p95<1m",
            "p95<-1ms",
            "p95<ms",
            "error_rate<1ms",
            "throughput>1%",
            "p<1s",
            "pinf<1s",
            "p95<<1s",
            "late_p95<1s",
            "p95<1s in every",
            "p95<1s in every 0s",
            "p95<1s in first quarter",
            "rss_growth<1MiB",
            "rss_growth<1ms/h",
            "rss_growth>1MiB/h",
            "rss_growth<1MiB/h in last quarter",
            "cat_growth<1/h",
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn compares_as_written_and_nothing_measured_fails() {
        let read = |text: &str| text.parse::<Threshold>().unwrap();
        let holds = |text: &str, value| read(text).holds(value);
        assert!(!holds("p95<300ms", Some(300.0)));
        assert!(holds("p95<=300ms", Some(300.0)));
        assert!(!holds("throughput>9.9/s", Some(9.9)));
        assert!(holds("throughput>=9.9/s", Some(9.9)));
        assert!(!holds("error_rate<1%", None));
        assert!(!holds("error_rate<1%", Some(f64::NAN)));
        assert_eq!(read("p95<1s").worse(Some(1.0), Some(2.0)), Some(2.0));
        assert_eq!(
            read("throughput>1/s").worse(Some(1.0), Some(2.0)),
            Some(1.0)
        );
        assert_eq!(read("p95<1s").worse(Some(1.0), None), None);
    }
    #[test]
    fn distances_are_told_in_words() {
        let told = |text: &str, value| text.parse::<Threshold>().unwrap().show_distance(value);
        assert_eq!(told("p95<300ms", 4.9), "98 % below");
        assert_eq!(told("p95<300ms", 291.0), "3.0 % below");
        assert_eq!(told("p95<300ms", 300.0), "at the limit");
        assert_eq!(told("p95<300ms", 3_600.0), "1100 % above");
        assert_eq!(told("throughput>9.9/s", 9.8), "1.0 % below");
        assert_eq!(told("error_rate<=0%", 0.0), "at the limit");
        assert_eq!(told("error_rate<=0%", 0.01), "above");
    }
}
