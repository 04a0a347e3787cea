//! Between requests and a collector: a bounded queue and one thread, so that a collector that stands
//! still costs spans and never a request. What is lost is counted.

use super::context::TraceId;
use super::delivery::{Delivery, Stop};
use super::span::Span;
use super::target::Target;
use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::metrics::TraceMetrics;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most spans that wait, some 1 MiB: those of 400 queries.
pub const QUEUE_SPANS: usize = 2_048;
/// Most spans of one request to the collector.
const BATCH_SPANS: usize = 512;
/// Longest time that a span waits for others to go with it.
const BATCH_EVERY: Duration = Duration::from_secs(1);
/// How long the last spans may take to be delivered at the end of the process.
pub const LAST_SPANS: Duration = Duration::from_secs(2);
/// How much later the thread may end than it was told to.
const GRACE: Duration = Duration::from_millis(200);

/// Which traces that begin here are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling(u64);

impl Sampling {
    /// This share of all, 0 to 1, by trace id: daemons with the same share take the same traces.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 2^63, which u64 holds"
    )]
    pub fn of_ratio(ratio: f64) -> Self {
        Self((ratio.clamp(0.0, 1.0) * 2_f64.powi(63)) as u64)
    }

    /// As `TraceIdRatioBased` of OpenTelemetry's libraries.
    pub(super) fn takes(self, trace: TraceId) -> bool {
        trace.random_part() >> 1 < self.0
    }
}

enum Item {
    Span(Box<Span>),
    /// Look whether it is to end.
    Wake,
}

/// Hands spans to a collector. When the last one who holds it lets go, what waits is delivered, within
/// [`LAST_SPANS`], and its thread ends.
pub struct Exporter {
    items: Sender<Item>,
    closing: Sender<Instant>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    sampling: Sampling,
    metrics: TraceMetrics,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts the thread. Nothing is sent before there are spans.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        target: Target,
        sampling: Sampling,
        metrics: TraceMetrics,
    ) -> std::io::Result<Arc<Self>> {
        let (items, received) = bounded(QUEUE_SPANS);
        let (closing, is_closing) = bounded(1);
        let (living, ended) = bounded::<()>(0);
        let delivery = Delivery::new(target, metrics.clone());
        std::thread::Builder::new()
            .name("alfred-traces".to_owned())
            .spawn(move || {
                run(&received, Stop::when(is_closing), delivery);
                // In this order: who hears of the end finds nobody who takes spans.
                drop(received);
                drop(living);
            })?;
        Ok(Arc::new(Self {
            items,
            closing,
            ended,
            sampling,
            metrics,
        }))
    }

    /// Which traces that begin here are exported.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Never waits: without room the span is lost, and counted.
    pub(super) fn offer(&self, span: Span) {
        if self.items.try_send(Item::Span(Box::new(span))).is_err() {
            self.metrics.dropped(1);
        }
    }

    /// Delivers what waits and ends the thread, within `limit`; whether that was enough.
    #[must_use]
    pub fn finish(&self, limit: Duration) -> bool {
        let end = SystemClock.monotonic() + limit;
        // Full, both are heard all the same: the thread has something to do, and looks after it.
        let _ = self.closing.try_send(end);
        let _ = self.items.try_send(Item::Wake);
        self.ended.recv_deadline(end + GRACE) == Err(RecvTimeoutError::Disconnected)
    }
}

fn run(items: &Receiver<Item>, mut stop: Stop, mut delivery: Delivery) {
    let mut batch = Vec::with_capacity(BATCH_SPANS);
    while gather(items, &mut stop, &mut batch) {
        if !batch.is_empty() {
            delivery.deliver(&batch, &mut stop);
            batch.clear();
        }
        if stop.is_said() && items.is_empty() {
            break;
        }
    }
}

/// Waits for a span and then a little for more; whether there may be others after these.
fn gather(items: &Receiver<Item>, stop: &mut Stop, batch: &mut Vec<Span>) -> bool {
    match items.recv() {
        Ok(Item::Span(span)) => batch.push(*span),
        Ok(Item::Wake) => {}
        Err(_) => return false,
    }
    let until = SystemClock.monotonic() + BATCH_EVERY;
    while batch.len() < BATCH_SPANS {
        let next = if stop.is_said() {
            items.try_recv().ok()
        } else {
            items.recv_deadline(until).ok()
        };
        match next {
            Some(Item::Span(span)) => batch.push(*span),
            Some(Item::Wake) => {}
            None => break,
        }
    }
    true
}
