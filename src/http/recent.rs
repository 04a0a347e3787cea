//! How queries went in the last minutes, slot by slot: what a page that was just opened draws.
//!
//! A slot is closed when its time is over; then its histogram becomes a few figures, so that the last
//! quarter of an hour takes some 20 KB. Percentiles are those of each slot, never averages of others.

use crate::telemetry::metrics::ERROR_KINDS;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// Slots that are remembered: with 5 s each, a quarter of an hour.
const KEPT: usize = 180;

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End<'a> {
    /// It got what it was owed.
    Answered,
    /// The client was at fault: a 4xx.
    Rejected,
    /// The server owed something and did not give it: the kind, one of [`ERROR_KINDS`].
    Owed(&'a str),
}

/// What is counted in a slot beside its latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    rejected: u64,
    errors: [u64; ERROR_KINDS.len()],
}

impl Counts {
    /// Counts one that ended so.
    pub(super) fn add(&mut self, end: End<'_>) {
        match end {
            End::Answered => {}
            End::Rejected => self.rejected += 1,
            End::Owed(kind) => {
                // As in the metrics: a kind that is not known is a defect.
                let place = ERROR_KINDS.iter().position(|known| *known == kind);
                self.errors[place.unwrap_or(ERROR_KINDS.len() - 1)] += 1;
            }
        }
    }
}

/// A slot whose time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slot {
    requests: u64,
    counts: Counts,
    /// p50, p95 and p99 in µs; `None` without requests.
    percentiles_us: Option<[u64; 3]>,
}

/// Slots whose time is over, oldest first.
#[derive(Debug, Default)]
pub(super) struct Past(VecDeque<Slot>);

impl Past {
    /// Adds the slot that just ended, and `empty` after it in which nothing came.
    pub(super) fn close(&mut self, latencies: &Histogram<u64>, counts: Counts, empty: u64) {
        let requests = latencies.len();
        let at = |quantile| latencies.value_at_quantile(quantile);
        self.push(Slot {
            requests,
            counts,
            percentiles_us: (requests > 0).then(|| [at(0.5), at(0.95), at(0.99)]),
        });
        for _ in 0..empty.min(KEPT as u64) {
            self.push(Slot::default());
        }
    }

    fn push(&mut self, slot: Slot) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(slot);
    }

    /// As `GET /v1/status` has it; `slot` is the length of each, and the last one ended `ago`.
    pub(super) fn to_json(&self, slot: Duration, ago: Duration) -> Value {
        let slots = &self.0;
        let column = |of: &dyn Fn(&Slot) -> Value| Value::Array(slots.iter().map(of).collect());
        let percentile = |place: usize| {
            column(&|slot| {
                let us = slot.percentiles_us.map(|percentiles| percentiles[place]);
                json!(us.map(ms))
            })
        };
        let mut errors = Map::new();
        for (place, kind) in ERROR_KINDS.iter().enumerate() {
            // What did not happen is left out: the reply is asked for every few seconds.
            if slots.iter().any(|slot| slot.counts.errors[place] > 0) {
                let counted = column(&|slot| json!(slot.counts.errors[place]));
                errors.insert((*kind).to_owned(), counted);
            }
        }
        json!({
            "slot_s": slot.as_secs(),
            "ended_ms_ago": u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
            "requests": column(&|slot| json!(slot.requests)),
            "rejected": column(&|slot| json!(slot.counts.rejected)),
            "errors": errors,
            "p50_ms": percentile(0),
            "p95_ms": percentile(1),
            "p99_ms": percentile(2),
        })
    }
}

/// Microseconds, at most an hour, as milliseconds of few digits.
pub(super) fn ms(us: u64) -> f64 {
    f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(ms: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 2).unwrap();
        for ms in ms {
            histogram.record(ms * 1_000).unwrap();
        }
        histogram
    }

    #[test]
    fn slots_are_told_oldest_first_with_errors_by_kind() {
        let mut past = Past::default();
        let mut counts = Counts::default();
        counts.add(End::Answered);
        past.close(&latencies(&[10]), counts, 1);
        for end in [End::Rejected, End::Owed("timeout"), End::Owed("new word")] {
            counts.add(end);
        }
        past.close(&latencies(&[1, 2, 3]), counts, 0);
        let told = past.to_json(Duration::from_secs(5), Duration::from_millis(1_200));
        assert_eq!(told["requests"], json!([1, 0, 3]));
        assert_eq!(told["rejected"], json!([0, 0, 1]));
        let errors = json!({"timeout": [0, 0, 1], "internal": [0, 0, 1]});
        assert_eq!(told["errors"], errors);
        assert_eq!(told["p95_ms"][1], Value::Null);
        let p99 = told["p99_ms"][2].as_f64().unwrap();
        assert!((p99 - 3.0).abs() < 0.05, "{p99}");
        assert_eq!(
            (&told["slot_s"], &told["ended_ms_ago"]),
            (&json!(5), &json!(1_200))
        );
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_a_silence_empties_it() {
        let mut past = Past::default();
        for _ in 0..500 {
            past.close(&latencies(&[4]), Counts::default(), 0);
        }
        assert_eq!(past.0.len(), KEPT);
        past.close(&latencies(&[4]), Counts::default(), u64::MAX);
        assert_eq!(past.0.len(), KEPT);
        assert!(past.0.iter().all(|slot| slot.requests == 0));
    }
}
