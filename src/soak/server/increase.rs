//! PURE: from raw samples of counters to what was counted in a run.
//!
//! Samples come in pieces, in the order of time. Counters of one process share their labels (but for `le` and
//! `status`) and are followed together, scrape by scrape: what counts is the difference between the last scrape
//! at or before the start and the first one at or after the end. When any counter of a process falls, or
//! it says that it was started anew, all of them began again from 0: then a scrape counts whole, and what was
//! counted between the scrape before and the restart is lost. `lost_s` says for how long that may have been.

use super::selector::{BUCKETS, REQUESTS, STARTED};
use crate::soak::stats::numbers::median;
use std::collections::BTreeMap;

/// Scrapes of which the distance is remembered.
const MAX_GAPS: usize = 4_096;

/// Samples of one series: seconds since 1970, and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) samples: Vec<(f64, f64)>,
}

/// Between which two moments is counted, in seconds since 1970 by the clock of Prometheus.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The start of the measured part.
    pub(super) from_s: f64,
    /// When the last request had ended.
    pub(super) done_s: f64,
}

/// One counter of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counter {
    /// Queries that took at most this: the text of `le`.
    Bucket(String),
    /// Queries that got this status.
    Status(String),
    /// No counter: when the process was started.
    Started,
}

/// Labels that tell processes apart.
type Process = Vec<(String, String)>;

/// A scrape: its counters.
type Scrape = BTreeMap<Counter, f64>;

#[derive(Clone, Debug, Default)]
struct Followed {
    /// The scrape from which it is counted.
    base_s: Option<f64>,
    last_s: f64,
    last: Scrape,
    sums: Scrape,
    scrapes: u64,
    restarts: u64,
    lost_s: f64,
    /// The scrape up to which it is counted; `None` until it comes.
    until_s: Option<f64>,
}

/// Follows all processes through the samples.
#[derive(Clone, Debug)]
pub(super) struct Increase {
    span: Span,
    processes: BTreeMap<Process, Followed>,
    gaps_s: Vec<f64>,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    /// Upper bounds of buckets in milliseconds, ascending, the last infinite, and how often each alone.
    pub(super) buckets: Vec<(f64, f64)>,
    /// All queries.
    pub(super) requests: f64,
    /// Those among them with a status of 500 and above.
    pub(super) server_errors: f64,
    /// The scrapes between which was counted, in seconds since 1970; of several processes the outermost.
    pub(super) from_s: f64,
    /// See `from_s`.
    pub(super) until_s: f64,
    /// How many of them of the process that had most.
    pub(super) scrapes: u64,
    /// The usual distance of two; `None` of one.
    pub(super) interval_s: Option<f64>,
    /// Processes whose queries are in it.
    pub(super) processes: u64,
    /// How often one began again.
    pub(super) restarts: u64,
    /// For how long queries may not have been counted.
    pub(super) lost_s: f64,
}

impl Increase {
    pub(super) fn new(span: Span) -> Self {
        Self {
            span,
            processes: BTreeMap::new(),
            gaps_s: Vec::new(),
        }
    }

    /// Takes in a piece of the samples; what is there a second time is left out.
    pub(super) fn add(&mut self, series: Vec<Series>) {
        let mut scrapes: BTreeMap<Process, BTreeMap<i64, Scrape>> = BTreeMap::new();
        for Series { labels, samples } in series {
            let Some((counter, process)) = counter(labels) else {
                continue;
            };
            let of_process = scrapes.entry(process).or_default();
            for (at_s, value) in samples {
                let scrape = of_process.entry(in_ms(at_s)).or_default();
                scrape.insert(counter.clone(), value);
            }
        }
        for (process, scrapes) in scrapes {
            let is_counted = |scrape: &Scrape| scrape.keys().any(|key| *key != Counter::Started);
            // Whatever else has the labels that were asked for, and answers no queries.
            if !self.processes.contains_key(&process) && !scrapes.values().any(is_counted) {
                continue;
            }
            let followed = self.processes.entry(process).or_default();
            for (at_ms, scrape) in scrapes.into_iter().filter(|(_, s)| is_counted(s)) {
                let gap_s = followed.see(self.span, in_s(at_ms), scrape);
                if self.gaps_s.len() < MAX_GAPS {
                    self.gaps_s.extend(gap_s);
                }
            }
        }
    }

    /// Whether every process has its last scrape.
    pub(super) fn is_whole(&self) -> bool {
        let mut all = self.processes.values();
        !self.processes.is_empty() && all.all(|process| process.until_s.is_some())
    }

    /// What was counted; `None` when no process had a scrape at or after the end, or none before it.
    pub(super) fn counted(mut self) -> Option<Counted> {
        let interval_s = median(&mut self.gaps_s);
        let mut counted = Counted {
            from_s: f64::INFINITY,
            until_s: f64::NEG_INFINITY,
            interval_s,
            ..Counted::default()
        };
        let mut sums = Scrape::new();
        let mut has_ended = false;
        for followed in self.processes.into_values() {
            let Some(base_s) = followed.base_s else {
                continue;
            };
            has_ended |= followed.until_s.is_some();
            if followed.until_s.is_none() {
                // It is gone, with what it counted after its last scrape.
                counted.lost_s += interval_s.unwrap_or(0.0);
            }
            counted.lost_s += followed.lost_s + (base_s - self.span.from_s).max(0.0);
            counted.from_s = counted.from_s.min(base_s);
            counted.until_s = counted.until_s.max(followed.last_s);
            counted.scrapes = counted.scrapes.max(followed.scrapes);
            counted.restarts += followed.restarts;
            counted.processes += 1;
            for (counter, sum) in followed.sums {
                *sums.entry(counter).or_default() += sum;
            }
        }
        counted.fill(&sums);
        has_ended.then_some(counted)
    }
}

impl Followed {
    /// The next scrape; the distance from the one before, when that is of the run.
    fn see(&mut self, span: Span, at_s: f64, scrape: Scrape) -> Option<f64> {
        let is_known = self.base_s.is_some() && at_s <= self.last_s;
        if is_known || self.until_s.is_some() {
            return None;
        }
        let gap_s = self.base_s.map(|_| at_s - self.last_s);
        if at_s <= span.from_s {
            self.base_s = Some(at_s);
            self.scrapes = 0;
        } else if self.base_s.is_none() {
            // Of a process that was started meanwhile everything is of the run.
            let started = scrape.get(&Counter::Started);
            let is_born = started.is_some_and(|started_s| *started_s > span.from_s);
            self.base_s = Some(if is_born { span.from_s } else { at_s });
            if is_born {
                self.restarts += 1;
                self.count(&scrape);
            }
        } else {
            if self.has_begun_again(&scrape) {
                self.restarts += 1;
                self.lost_s += at_s - self.last_s;
                self.last.clear();
            }
            self.count(&scrape);
        }
        self.scrapes += 1;
        self.last_s = at_s;
        self.last = scrape;
        self.until_s = (at_s >= span.done_s).then_some(at_s);
        gap_s
    }

    fn has_begun_again(&self, scrape: &Scrape) -> bool {
        scrape.iter().any(|(counter, value)| {
            let Some(before) = self.last.get(counter) else {
                return false;
            };
            match counter {
                // Computed anew at each scrape by some, and so a little off.
                Counter::Started => *value - *before > 0.5,
                Counter::Bucket(_) | Counter::Status(_) => value < before,
            }
        })
    }

    fn count(&mut self, scrape: &Scrape) {
        for (counter, value) in scrape {
            if *counter != Counter::Started {
                let before = self.last.get(counter).copied().unwrap_or(0.0);
                *self.sums.entry(counter.clone()).or_default() += value - before;
            }
        }
    }
}

impl Counted {
    fn fill(&mut self, sums: &Scrape) {
        let mut cumulative = Vec::new();
        for (counter, sum) in sums {
            match counter {
                Counter::Bucket(le) => {
                    let bound = le.parse::<f64>().ok().filter(|bound| !bound.is_nan());
                    cumulative.extend(bound.map(|bound| (bound, *sum)));
                }
                Counter::Status(status) if status.starts_with('5') => self.server_errors += sum,
                Counter::Status(_) | Counter::Started => {}
            }
        }
        cumulative.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0.0_f64;
        for (bound, sum) in cumulative {
            self.buckets.push((bound, (sum - below).max(0.0)));
            below = below.max(sum);
        }
        self.requests = below;
    }
}

/// Which counter of which process a series is.
fn counter(mut labels: BTreeMap<String, String>) -> Option<(Counter, Process)> {
    let name = labels.remove("__name__")?;
    let counter = match name.as_str() {
        BUCKETS => Counter::Bucket(labels.remove("le")?),
        REQUESTS => Counter::Status(labels.remove("status")?),
        STARTED => Counter::Started,
        _ => return None,
    };
    Some((counter, labels.into_iter().collect()))
}

/// Prometheus keeps time in milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn in_ms(at_s: f64) -> i64 {
    (at_s * 1e3).round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn in_s(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}

#[cfg(test)]
#[path = "increase_tests.rs"]
mod tests;
