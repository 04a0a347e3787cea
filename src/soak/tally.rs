//! PURE: what is counted and measured of a set of requests: a window, a run, or several runs.
//!
//! Every due request ends in exactly one of four ways, so that always
//! `due = ok + error + shed + in_flight_at_end`. Tallies add without loss.

use super::causes::{Cause, Causes};
use super::latency::{Latencies, Percentiles, Series};
use super::relevance::RelevanceCounts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a request was an error. What no answer can say comes first, then the class of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No connection to the target.
    Connect,
    /// No whole answer within the request timeout.
    Timeout,
    /// The connection ended before the answer was complete.
    Reset,
    /// The answer was not HTTP/1.1, nor HTTP/1.0.
    Protocol,
    /// The body went on past the limit.
    BodyTooLarge,
    /// This machine had no descriptor or port left: the generator's limit, not the target's.
    Local,
    /// A connection, and no TLS over it.
    Tls,
    /// The status expected, and a check that failed.
    Check,
    /// A status below 200, or 2xx where the scenario expects another.
    StatusUnexpected,
    /// A status of 300 to 399.
    Status3xx,
    /// A status of 400 to 499.
    Status4xx,
    /// A status of 500 and above.
    Status5xx,
}

impl ErrorKind {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::BodyTooLarge,
        Self::Local,
        Self::Tls,
        Self::Check,
        Self::StatusUnexpected,
        Self::Status3xx,
        Self::Status4xx,
        Self::Status5xx,
    ];

    /// As it is written in run folders and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::BodyTooLarge => "body_too_large",
            Self::Local => "local",
            Self::Tls => "tls",
            Self::Check => "check",
            Self::StatusUnexpected => "status_unexpected",
            Self::Status3xx => "status_3xx",
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
        }
    }

    /// The kind of an answer whose status was not expected.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            300..400 => Self::Status3xx,
            400..500 => Self::Status4xx,
            500.. => Self::Status5xx,
            _ => Self::StatusUnexpected,
        }
    }
}

/// How due requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests whose time came.
    pub due: u64,
    /// Answered as expected.
    pub ok: u64,
    /// Sent, and not answered as expected.
    pub error: u64,
    /// Not sent, because too many were in flight.
    pub shed: u64,
    /// Not ended when the run was.
    pub in_flight_at_end: u64,
}

impl Counts {
    /// Whether every due request is accounted for.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.due == self.ok + self.error + self.shed + self.in_flight_at_end
    }

    /// The share of due requests that did not end ok, 0 to 1; `None` when nothing was due.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        ratio(self.due.saturating_sub(self.ok), self.due)
    }

    /// Adds the counts of others.
    pub fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.ok += other.ok;
        self.error += other.error;
        self.shed += other.shed;
        self.in_flight_at_end += other.in_flight_at_end;
    }
}

/// `part` of `whole`, `None` of nothing.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| super::units::float(part) / super::units::float(whole))
}

/// Answers that said whether their embedding came from the target's cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Answers that said so.
    pub answers: u64,
    /// Of these, from the cache.
    pub cached: u64,
}

/// How a sent request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As expected; `cached` is what the answer said of the target's cache, if it did.
    Ok {
        /// Whether its embedding came from the cache.
        cached: Option<bool>,
    },
    /// In another way, with the reason in words.
    Error(ErrorKind, Cause),
}

/// Everything that is known of a set of requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How they ended.
    pub counts: Counts,
    /// How often each kind of error, by the place of the kind in [`ErrorKind::ALL`].
    errors: [u64; ErrorKind::ALL.len()],
    /// The same errors by what is said of them.
    pub causes: Causes,
    /// What the answers said of the target's cache.
    pub cache: CacheCounts,
    /// Whether the answers were right, of queries with judgments.
    pub relevance: RelevanceCounts,
    /// How long they took.
    pub latencies: Latencies,
}

impl Tally {
    /// A request's time came.
    pub fn due(&mut self) {
        self.counts.due += 1;
    }

    /// A request was sent `lag_ns` after it was due.
    pub fn sent(&mut self, lag_ns: u64) {
        self.latencies.record(Series::Lag, lag_ns);
    }

    /// A sent request ended.
    pub fn ended(&mut self, times: Times, outcome: Outcome) {
        self.latencies.record(Series::Service, times.service_ns);
        match outcome {
            Outcome::Ok { cached } => {
                self.counts.ok += 1;
                self.latencies.record(Series::Ok, times.age_ns);
                self.latencies.record(Series::Response, times.age_ns);
                self.cache.answers += u64::from(cached.is_some());
                self.cache.cached += u64::from(cached == Some(true));
            }
            Outcome::Error(kind, cause) => {
                self.counts.error += 1;
                self.causes.count(&cause, 1);
                self.errors[kind as usize] += 1;
                self.failed(times.age_ns, times.timeout_ns);
            }
        }
    }

    /// A due request was not sent.
    pub fn shed(&mut self, timeout_ns: u64) {
        self.counts.shed += 1;
        self.failed(0, timeout_ns);
    }

    /// The run ended `age_ns` after the request was due, and before the request did.
    pub fn unfinished(&mut self, age_ns: u64, timeout_ns: u64) {
        self.counts.in_flight_at_end += 1;
        self.failed(age_ns, timeout_ns);
    }

    fn failed(&mut self, age_ns: u64, timeout_ns: u64) {
        self.latencies
            .record(Series::Response, age_ns.max(timeout_ns));
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (mine, theirs) in self.errors.iter_mut().zip(other.errors) {
            *mine += theirs;
        }
        self.causes.add(other.causes.by_name());
        self.cache.answers += other.cache.answers;
        self.cache.cached += other.cache.cached;
        self.relevance.add(&other.relevance);
        for series in Series::ALL {
            self.latencies.add(series, other.latencies.of(series));
        }
    }

    /// How many errors were of this kind.
    #[must_use]
    pub fn errors_of(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// The kinds that occurred, by name.
    #[must_use]
    pub fn errors_by_kind(&self) -> BTreeMap<String, u64> {
        ErrorKind::ALL
            .iter()
            .filter(|kind| self.errors_of(**kind) > 0)
            .map(|kind| (kind.as_str().to_owned(), self.errors_of(*kind)))
            .collect()
    }

    /// Adds errors by name; a name that this version does not know stays out of the kinds (the
    /// counts have it).
    pub fn add_errors(&mut self, by_kind: &BTreeMap<String, u64>) {
        for kind in ErrorKind::ALL {
            self.errors[kind as usize] += by_kind.get(kind.as_str()).copied().unwrap_or(0);
        }
    }

    /// The percentiles of one series, in microseconds.
    #[must_use]
    pub fn percentiles(&self, series: Series) -> Percentiles<u64> {
        Percentiles::of(self.latencies.of(series))
    }
}

/// The times of a request that ended.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From due to end.
    pub age_ns: u64,
    /// From send to end.
    pub service_ns: u64,
    /// What a failure counts as at least.
    pub timeout_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::latency::value_at;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_failure_counts_as_the_greater_of_age_and_timeout() {
        let mut tally = Tally::default();
        let times = |age_ns| Times {
            age_ns,
            service_ns: MS,
            timeout_ns: 1_000 * MS,
        };
        tally.ended(
            times(MS),
            Outcome::Error(ErrorKind::Connect, "refused".into()),
        );
        assert_eq!(
            value_at(tally.latencies.of(Series::Response), 1.0),
            Some(1_000_447)
        );
        tally.ended(
            times(5_000 * MS),
            Outcome::Error(ErrorKind::Timeout, "late".into()),
        );
        assert!(value_at(tally.latencies.of(Series::Response), 1.0) > Some(4_990_000));
        assert!(tally.latencies.of(Series::Ok).is_empty());
        assert_eq!(tally.latencies.of(Series::Service).len(), 2);
        let mut both = tally.clone();
        both.add(&tally);
        assert_eq!(both.causes.by_name()["late"], 2);
    }

    #[test]
    fn names_and_places_agree() {
        for (place, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
        assert_eq!(Tally::default().counts.error_rate(), None);
    }
}
