//! PURE: whether the server's own figures and the client's fit together.
//!
//! A percentile of the server is known as a bucket. The client's service time of the same percentile must lie in
//! it, give or take what explains the difference: the network, and scheduling on either machine. Counts need not
//! be the same: a scrape takes in requests of the warm-up, and a restart loses some. With `extra` queries in the
//! server's histogram, of which nobody knows how long they took, the run's r-th smallest is between its r-th and
//! its (r + extra)-th; with `missing` ones, between its (r - missing)-th and its r-th. The bounds of those buckets
//! are the interval, so what is not known makes it wider and never a disagreement.

use super::histogram::{Interval, of_ranks};
use super::increase::Counted;
use super::record::{
    AGREES, AllowanceRecord, DISAGREES, ServerPercentile, ServerRecord, ServerThreshold,
};
use crate::soak::figure::Figure;
use crate::soak::latency::{Series, value_at};
use crate::soak::stats::numbers::whole;
use crate::soak::tally::{ErrorKind, Tally};
use crate::soak::threshold::{Metric, Scope, Threshold};
use crate::soak::units::{float, milliseconds, show_count};

/// Scheduling, in milliseconds: as much as a run may always be late by (p99 of lag) without being judged for
/// it.
pub(super) const SCHEDULING_MS: f64 = 5.0;
/// A request costs at most the opening of a connection, and once more as much for itself on its way there and
/// back, which is a part of it.
const CONNECTS: f64 = 2.0;
/// Counts may differ by this share of the requests beyond what is known to be in one and not in the other.
const COUNT_SHARE: f64 = 0.05;
/// Errors by this share, as of requests that may be shed.
const ERROR_SHARE: f64 = 0.001;
/// What is compared always, and what is shown.
const COMPARED: [f64; 3] = [0.5, 0.95, 0.99];
const SHOWN: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// What the client measured.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Everything that was counted.
    pub tally: &'a Tally,
    /// What must hold.
    pub thresholds: &'a [Threshold],
    /// For how long was recorded, in seconds.
    pub measured_s: f64,
    /// For how long was planned, as shortened by an interrupt, in seconds.
    pub planned_s: f64,
    /// Length of the warm-up, in seconds.
    pub warmup_s: f64,
    /// Whether a status of 500 and above may be a good answer.
    pub expects_server_errors: bool,
}

impl Client<'_> {
    /// Requests that were sent and ended.
    pub(super) fn requests(&self) -> u64 {
        self.tally.latencies.of(Series::Service).len()
    }
}

/// Requests of the client, as the server may have counted them.
struct Requests {
    /// Sent and ended.
    ended: f64,
    /// The least that the server must have counted, and the most that it may have.
    least: f64,
    most: f64,
    /// Ended without an answer, so that the server may have counted them otherwise.
    unheard: f64,
}

impl Requests {
    fn of(client: &Client<'_>, counted: &Counted, from_s: f64) -> Self {
        let tally = client.tally;
        let of_kinds = |kinds: &[ErrorKind]| {
            let count = |kind: &ErrorKind| tally.errors_of(*kind);
            float(kinds.iter().map(count).sum())
        };
        let ended = float(client.requests());
        let never = of_kinds(&[ErrorKind::Connect, ErrorKind::Tls, ErrorKind::Local]);
        let cut_off = of_kinds(&[
            ErrorKind::Timeout,
            ErrorKind::Reset,
            ErrorKind::Protocol,
            ErrorKind::BodyTooLarge,
        ]);
        let unheard = cut_off + float(tally.counts.in_flight_at_end);
        let per_s = if client.measured_s > 0.0 {
            ended / client.measured_s
        } else {
            0.0
        };
        let early_s = (from_s - counted.from_s).clamp(0.0, client.warmup_s);
        let unrecorded_s = (client.planned_s - client.measured_s).max(0.0);
        Self {
            ended,
            least: ended - never - cut_off - counted.lost_s * per_s,
            most: ended + float(tally.counts.in_flight_at_end) + (early_s + unrecorded_s) * per_s,
            unheard,
        }
    }

    fn problem(&self, counted: f64) -> Option<String> {
        let slack = (self.ended * COUNT_SHARE).max(1.0);
        let (theirs, ours) = (show(counted), show(self.ended));
        if counted > self.most + slack {
            return Some(format!(
                "the server counted {theirs} queries and the soak made {ours}: other load, or series of other \
                 targets, are in its figures"
            ));
        }
        (counted + slack < self.least).then(|| {
            format!(
                "the server counted {theirs} queries and the soak made {ours}: the series are not this \
                 target's, or not all of them"
            )
        })
    }
}

/// The record of what was counted beside what the client measured; `from_s` is the start of the measured part by
/// the clock of Prometheus.
pub(super) fn compare(
    client: &Client<'_>,
    counted: &Counted,
    from_s: f64,
    allowance: AllowanceRecord,
) -> ServerRecord {
    let requests = Requests::of(client, counted, from_s);
    let (extra, missing) = (
        (counted.requests - requests.ended).max(0.0),
        (requests.ended - counted.requests).max(0.0),
    );
    let interval = |quantile: f64| {
        let rank = (quantile * requests.ended).ceil().max(1.0);
        of_ranks(&counted.buckets, (rank - missing, rank + extra))
    };
    let percentiles: Vec<ServerPercentile> = shown(client.thresholds)
        .into_iter()
        .filter_map(|quantile| {
            let interval = interval(quantile)?;
            Some(percentile(client, quantile, interval, &allowance))
        })
        .collect();
    let error_rate = (counted.requests >= 1.0).then(|| counted.server_errors / counted.requests);
    let mut reasons: Vec<String> = requests.problem(counted.requests).into_iter().collect();
    reasons.extend(percentiles.iter().filter_map(disagreement));
    reasons.extend(errors_problem(client, &requests, counted));
    let thresholds = client
        .thresholds
        .iter()
        .filter(|threshold| threshold.scope() == Scope::Run)
        .filter_map(|threshold| by_server(threshold, interval, error_rate));
    ServerRecord {
        status: if reasons.is_empty() {
            AGREES
        } else {
            DISAGREES
        }
        .to_owned(),
        reasons,
        from_s: Some(rounded(counted.from_s - from_s)),
        until_s: Some(rounded(counted.until_s - from_s)),
        scrapes: counted.scrapes,
        scrape_interval_s: counted.interval_s.map(rounded),
        processes: counted.processes,
        restarts: counted.restarts,
        requests: Some(count(counted.requests)),
        client_requests: count(requests.ended),
        server_errors: Some(count(counted.server_errors)),
        client_server_errors: client.tally.errors_of(ErrorKind::Status5xx),
        error_rate,
        allowance,
        percentiles,
        thresholds: thresholds.collect(),
        ..ServerRecord::default()
    }
}

/// Quantiles that are shown: the usual ones, and those that thresholds name, ascending.
fn shown(thresholds: &[Threshold]) -> Vec<f64> {
    let named = thresholds.iter().filter_map(named_quantile);
    let mut all: Vec<f64> = SHOWN.into_iter().chain(named).collect();
    all.sort_by(f64::total_cmp);
    all.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    all
}

/// The quantile of the target's latency that a threshold on the whole run names, the maximum aside.
fn named_quantile(threshold: &Threshold) -> Option<f64> {
    match threshold.metric() {
        Metric::Quantile(series, quantile)
            if series != Series::Lag && quantile < 1.0 && threshold.scope() == Scope::Run =>
        {
            Some(quantile)
        }
        _ => None,
    }
}

fn percentile(
    client: &Client<'_>,
    quantile: f64,
    interval: Interval,
    allowance: &AllowanceRecord,
) -> ServerPercentile {
    let of = |series| value_at(client.tally.latencies.of(series), quantile).map(milliseconds);
    let service_ms = of(Series::Service);
    let below_ms = allowance.given_ms.unwrap_or(allowance.scheduling_ms);
    // Who sends late reads late: it is one thread.
    let above_ms = allowance.given_ms.unwrap_or_else(|| {
        let connect_ms = allowance.connect_ms.unwrap_or(0.0);
        allowance.scheduling_ms + CONNECTS * connect_ms + of(Series::Lag).unwrap_or(0.0)
    });
    let is = |known: &f64| (*known - quantile).abs() < 1e-9;
    let named = client.thresholds.iter().filter_map(named_quantile);
    let is_compared = COMPARED.into_iter().chain(named).any(|known| is(&known));
    let agrees = service_ms.map(|service_ms| {
        service_ms >= interval.lower - below_ms && service_ms <= interval.upper + above_ms
    });
    ServerPercentile {
        quantile,
        lower_ms: interval.lower,
        upper_ms: finite(interval.upper),
        service_ms,
        allowance_ms: rounded(above_ms),
        agrees: agrees.filter(|_| is_compared),
    }
}

fn disagreement(one: &ServerPercentile) -> Option<String> {
    let service_ms = one.service_ms.filter(|_| one.agrees == Some(false))?;
    let percent = (one.quantile * 1e8).round() / 1e6;
    let show = |ms: f64| Figure::P95.show(ms);
    let server = match one.upper_ms {
        Some(upper_ms) => format!("{} to {}", show(one.lower_ms), show(upper_ms)),
        None => format!("above {}", show(one.lower_ms)),
    };
    let beyond = match one.upper_ms {
        Some(upper_ms) if service_ms > upper_ms => format!(
            "{} above it, and the network and scheduling explain {}",
            show(service_ms - upper_ms),
            show(one.allowance_ms)
        ),
        _ => format!("{} below it", show(one.lower_ms - service_ms)),
    };
    Some(format!(
        "p{percent} of the client's service time is {}, and the server's own is {server}: {beyond}",
        show(service_ms)
    ))
}

/// Answers of status 500 and above, as either counted them.
fn errors_problem(client: &Client<'_>, requests: &Requests, counted: &Counted) -> Option<String> {
    if client.expects_server_errors {
        return None;
    }
    let ours = float(client.tally.errors_of(ErrorKind::Status5xx));
    let theirs = counted.server_errors;
    let slack = (requests.ended * ERROR_SHARE).max(1.0);
    // Of what only one has counted nobody knows how it ended.
    let extra = (counted.requests - requests.ended).max(0.0);
    let missing = (requests.ended - counted.requests).max(0.0);
    let fits =
        theirs <= ours + requests.unheard + extra + slack && theirs + missing + slack >= ours;
    (!fits).then(|| {
        format!(
            "the server answered {} queries with a status of 500 and above, and the client saw {}",
            show(theirs),
            show(ours)
        )
    })
}

/// A threshold on the whole run by the server's own figures; `None` for what it has none of.
fn by_server(
    threshold: &Threshold,
    interval: impl Fn(f64) -> Option<Interval>,
    error_rate: Option<f64>,
) -> Option<ServerThreshold> {
    let bounds = match threshold.metric() {
        Metric::Quantile(series, quantile) if series != Series::Lag => interval(quantile)?,
        Metric::ErrorRate => error_rate.map(|rate| Interval {
            lower: rate,
            upper: rate,
        })?,
        _ => return None,
    };
    let held = [bounds.lower, bounds.upper].map(|value| threshold.holds(Some(value)));
    Some(ServerThreshold {
        expr: threshold.expr().to_owned(),
        lower: bounds.lower,
        upper: finite(bounds.upper),
        holds: (held[0] == held[1]).then_some(held[0]),
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn count(value: f64) -> u64 {
    whole(value.round()) as u64
}

fn show(value: f64) -> String {
    show_count(count(value))
}

/// To a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
