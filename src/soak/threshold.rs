//! PURE: thresholds as `p95<300ms`, `error_rate<1%`, `throughput>9.9/s`, in k6's spirit.

use super::latency::{Series, value_at};
use super::tally::Tally;
use super::units::{float, milliseconds, seconds};
use std::fmt;
use std::str::FromStr;

/// What a threshold looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// A quantile of `response`, 0 to 1; 1 is the maximum.
    Quantile(f64),
    /// The mean of `response`.
    Mean,
    /// The share of due requests that did not end ok.
    ErrorRate,
    /// Requests that ended ok, a second.
    Throughput,
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
    /// As it was written.
    expr: String,
    metric: Metric,
    comparison: Comparison,
    /// Milliseconds, a share of 1, or requests a second, as the metric has it.
    limit: f64,
}

impl Threshold {
    /// What it looks at.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Its limit in milliseconds when it bounds a latency.
    #[must_use]
    pub fn latency_limit_ms(&self) -> Option<f64> {
        matches!(self.metric, Metric::Quantile(_) | Metric::Mean).then_some(self.limit)
    }

    /// The value of its metric, in the unit of the limit; `None` when nothing was measured.
    #[must_use]
    pub fn value(&self, tally: &Tally, measured_ns: u64) -> Option<f64> {
        let response = tally.latencies.of(Series::Response);
        match self.metric {
            Metric::Quantile(quantile) => value_at(response, quantile).map(milliseconds),
            Metric::Mean => (!response.is_empty()).then(|| response.mean() / 1e3),
            Metric::ErrorRate => tally.counts.error_rate(),
            Metric::Throughput => {
                (measured_ns > 0).then(|| float(tally.counts.ok) / seconds(measured_ns))
            }
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

    /// `value` with the metric's unit.
    #[must_use]
    pub fn show(&self, value: Option<f64>) -> String {
        let Some(value) = value else {
            return "nothing measured".to_owned();
        };
        match self.metric {
            Metric::Quantile(_) | Metric::Mean if value >= 1_000.0 => {
                format!("{:.2} s", value / 1_000.0)
            }
            Metric::Quantile(_) | Metric::Mean => format!("{value:.2} ms"),
            Metric::ErrorRate => format!("{:.2} %", value * 100.0),
            Metric::Throughput => format!("{value:.2}/s"),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.expr)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expr: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let at = expr.find(['<', '>']).ok_or_else(|| {
            format!(
                "{text:?} is not a threshold such as p95<300ms, error_rate<1% or throughput>9.9/s"
            )
        })?;
        let metric = metric(&expr[..at])
            .ok_or_else(|| format!("{text:?}: {:?} is none of p50, p90, p95, p99, p99.9 or another percentile, max, mean, error_rate, throughput", &expr[..at]))?;
        let (comparison, limit) = match (&expr[at..=at], expr[at + 1..].strip_prefix('=')) {
            ("<", Some(limit)) => (Comparison::AtMost, limit),
            ("<", None) => (Comparison::Below, &expr[at + 1..]),
            (_, Some(limit)) => (Comparison::AtLeast, limit),
            (_, None) => (Comparison::Above, &expr[at + 1..]),
        };
        let limit = parse_limit(metric, limit).map_err(|problem| format!("{text:?}: {problem}"))?;
        Ok(Self {
            expr,
            metric,
            comparison,
            limit,
        })
    }
}

fn metric(name: &str) -> Option<Metric> {
    Some(match name {
        "max" => Metric::Quantile(1.0),
        "mean" => Metric::Mean,
        "error_rate" => Metric::ErrorRate,
        "throughput" => Metric::Throughput,
        _ => {
            let digits = name.strip_prefix('p')?;
            let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
            let percent: f64 = digits.parse().ok().filter(|_| plain)?;
            (0.0..=100.0).contains(&percent).then_some(())?;
            // Rounded, as 99.9 / 100 is a little more than 0.999 and would look one rank too high.
            Metric::Quantile((percent * 1e7).round() / 1e9)
        }
    })
}

fn parse_limit(metric: Metric, text: &str) -> Result<f64, String> {
    let (units, example): (&[(&str, f64)], _) = match metric {
        Metric::Quantile(_) | Metric::Mean => {
            (&[("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("", 1.0)], "300ms")
        }
        Metric::ErrorRate => (&[("%", 0.01), ("", 1.0)], "1%"),
        Metric::Throughput => (&[("/s", 1.0), ("", 1.0)], "9.9/s"),
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("{text:?} is not a limit such as {example}");
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?
        .1;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Ok(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> (Metric, f64) {
        let threshold: Threshold = text.parse().unwrap();
        (threshold.metric, threshold.limit)
    }

    #[test]
    fn reads_every_metric_and_unit() {
        assert_eq!(limit("p95<300ms"), (Metric::Quantile(0.95), 300.0));
        assert_eq!(limit("p99.9 <= 2s"), (Metric::Quantile(0.999), 2_000.0));
        assert_eq!(limit("max<800us"), (Metric::Quantile(1.0), 0.8));
        assert_eq!(limit("mean<5"), (Metric::Mean, 5.0));
        assert_eq!(limit("error_rate<1%"), (Metric::ErrorRate, 0.01));
        assert_eq!(limit("error_rate<=0.5"), (Metric::ErrorRate, 0.5));
        assert_eq!(limit("throughput>9.9/s"), (Metric::Throughput, 9.9));
        assert_eq!(
            "p95 < 300ms".parse::<Threshold>().unwrap().to_string(),
            "p95<300ms"
        );
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
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn compares_as_written_and_nothing_measured_fails() {
        let holds = |text: &str, value| text.parse::<Threshold>().unwrap().holds(value);
        assert!(!holds("p95<300ms", Some(300.0)));
        assert!(holds("p95<=300ms", Some(300.0)));
        assert!(!holds("throughput>9.9/s", Some(9.9)));
        assert!(holds("throughput>=9.9/s", Some(9.9)));
        assert!(!holds("error_rate<1%", None));
        assert!(!holds("error_rate<1%", Some(f64::NAN)));
    }
}
