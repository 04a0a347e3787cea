//! What became of the spans of traces.

use super::{Collectors, counters};
use prometheus::{IntCounter, IntCounterVec};

/// Spans by what became of them; all 0 where no traces are exported.
#[derive(Clone, Debug)]
pub struct TraceMetrics {
    spans: IntCounterVec,
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
}

impl Default for TraceMetrics {
    fn default() -> Self {
        let spans = counters(
            "trace_spans_total",
            "Spans of traces: exported ones were taken by the collector, dropped ones found no place \
             in the queue before it, failed ones it refused, or it was away at the end.",
            "outcome",
        );
        Self {
            exported: spans.with_label_values(&["exported"]),
            dropped: spans.with_label_values(&["dropped"]),
            failed: spans.with_label_values(&["failed"]),
            spans,
        }
    }
}

impl TraceMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![Box::new(self.spans.clone())]
    }

    /// The collector took so many.
    pub fn exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    /// There was no place for so many.
    pub fn dropped(&self, spans: u64) {
        self.dropped.inc_by(spans);
    }

    /// The collector did not take so many.
    pub fn failed(&self, spans: u64) {
        self.failed.inc_by(spans);
    }

    /// Those that never arrived.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.get() + self.failed.get()
    }
}
