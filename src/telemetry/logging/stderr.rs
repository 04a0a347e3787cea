//! Lines on stderr, as text or as JSON.

use super::line::Line;
use super::queue::Outlet;
use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

type BoxedLayer = Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>;

/// Writes lines; on an error there is nobody to tell.
pub(super) struct Stderr {
    subscriber: tracing_subscriber::layer::Layered<BoxedLayer, Registry>,
    at: LineTime,
    /// JSON is for machines, which find events by it; people read the words.
    with_message_id: bool,
}

impl Stderr {
    pub(super) fn text() -> Self {
        Self::new(false, BoxMakeWriter::new(std::io::stderr))
    }

    pub(super) fn json() -> Self {
        Self::new(true, BoxMakeWriter::new(std::io::stderr))
    }

    pub(super) fn new(is_json: bool, writer: BoxMakeWriter) -> Self {
        let at = LineTime(Arc::new(Mutex::new(SystemTime::UNIX_EPOCH)));
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_target(false)
            .with_timer(at.clone())
            // It would tell stderr that stderr fails, and panic when that fails too.
            .log_internal_errors(false);
        let layer = if is_json {
            layer.json().flatten_event(true).boxed()
        } else {
            layer.with_ansi(std::io::stderr().is_terminal()).boxed()
        };
        Self {
            subscriber: Registry::default().with(layer),
            at,
            with_message_id: is_json,
        }
    }
}

impl Outlet for Stderr {
    fn take(&mut self, line: &Line) {
        *self.at.0.lock().unwrap_or_else(PoisonError::into_inner) = line.at();
        line.show(&self.subscriber, self.with_message_id);
    }
}

/// When the line was logged, which may be long before it is written.
#[derive(Clone)]
struct LineTime(Arc<Mutex<SystemTime>>);

const RFC_3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

impl FormatTime for LineTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = OffsetDateTime::from(at).format(RFC_3339);
        writer.write_str(&text.map_err(|_| fmt::Error)?)
    }
}
