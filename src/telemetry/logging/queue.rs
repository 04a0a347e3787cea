//! Between those who log and whoever takes the lines: a bounded queue and one thread, so that a
//! reader that stands still costs lines and never a request. What did not fit is counted, and said
//! when the reader moves again.

use super::line::Line;
use crate::clock::{Clock as _, SystemClock};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Most lines that wait: seconds of a busy daemon at level `info`.
pub const QUEUE_LINES: usize = 4_096;
/// Most bytes of lines that wait: 64 of the longest lines there can be.
pub const QUEUE_BYTES: usize = 4 << 20;

/// Takes lines, one at a time; may block.
pub(super) trait Outlet: Send + 'static {
    fn take(&mut self, line: &Line);
}

enum Item {
    Line(Line),
    /// Everything before it was taken.
    Flush(Sender<()>),
}

/// The end that is logged to.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: Sender<Item>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    bytes: AtomicUsize,
}

impl Queue {
    /// Starts the thread, which hands lines to `outlet` and calls `report` with how many were
    /// dropped since the last time.
    pub(super) fn start(
        outlet: impl Outlet,
        report: impl Fn(u64) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = bounded(QUEUE_LINES);
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(&receiver, &theirs, outlet, report))?;
        Ok(Self { sender, counts })
    }

    /// Lines that were lost since the queue was full.
    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything logged so far was taken, `limit` at most; whether it was.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let end = SystemClock.monotonic() + limit;
        let (done, is_done) = bounded(1);
        self.sender.send_deadline(Item::Flush(done), end).is_ok()
            && is_done.recv_deadline(end).is_ok()
    }

    /// Never waits.
    pub(super) fn put(&self, line: Line) {
        let bytes = line.bytes();
        let before = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= QUEUE_BYTES {
            match self.sender.try_send(Item::Line(line)) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.put(Line::of(event, SystemClock.wall()));
    }
}

fn run(items: &Receiver<Item>, counts: &Counts, mut outlet: impl Outlet, report: impl Fn(u64)) {
    let mut reported = 0;
    for item in items {
        match item {
            Item::Line(line) => {
                outlet.take(&line);
                counts.bytes.fetch_sub(line.bytes(), Ordering::Relaxed);
            }
            // Nobody may be waiting any more.
            Item::Flush(done) => drop(done.send(())),
        }
        // Half empty, so that the report itself has a place.
        let dropped = counts.dropped.load(Ordering::Relaxed);
        if dropped > reported
            && items.len() < QUEUE_LINES / 2
            && counts.bytes.load(Ordering::Relaxed) < QUEUE_BYTES / 2
        {
            report(dropped - reported);
            reported = dropped;
        }
    }
}
