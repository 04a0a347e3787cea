//! Log lines: to the systemd journal with their fields, or on stderr, as text for people or JSON.
//!
//! Who logs never waits: a line is taken down, put into a bounded [`queue`], and written by one
//! thread. When a reader stands still (a full pipe, a frozen journal) the queue fills, further lines
//! are dropped and counted, and that is said once the reader moves. Fields are cut at
//! [`FIELD_BYTES`], a line at [`LINE_BYTES`].

mod journal;
mod line;
mod queue;
mod stderr;
#[cfg(test)]
mod tests;

pub use line::{CUT, FIELD_BYTES, LINE_BYTES};
pub use queue::{QUEUE_BYTES, QUEUE_LINES};

use queue::Queue;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Longest wait for lines to be written at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// The systemd journal, with fields; JSON on stderr while it is not there.
    Journal,
}

impl Format {
    /// The format that `log.format` means. `auto` is the journal where stderr already goes there,
    /// text on a terminal, else JSON.
    #[must_use]
    pub fn of_setting(setting: &str) -> Self {
        match setting {
            "text" => Self::Text,
            "json" => Self::Json,
            "journal" => Self::Journal,
            _ if is_journal(journal_stream().as_deref(), stderr_identity()) => Self::Journal,
            _ if std::io::stderr().is_terminal() => Self::Text,
            _ => Self::Json,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no setting: systemd says with it what stderr is connected to"
)]
fn journal_stream() -> Option<String> {
    std::env::var("JOURNAL_STREAM").ok()
}

/// Device and inode of stderr.
fn stderr_identity() -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(std::io::stderr()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Whether `JOURNAL_STREAM`, as `DEVICE:INODE`, names what stderr is. The variable alone says
/// nothing: children inherit it when their stderr goes elsewhere.
fn is_journal(stream: Option<&str>, stderr: Option<(u64, u64)>) -> bool {
    let named = stream
        .and_then(|stream| stream.split_once(':'))
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    named.is_some() && named == stderr
}

/// What was started, for the rest of the process.
struct Started {
    filter: reload::Handle<EnvFilter, Registry>,
    queue: Queue,
}

impl Started {
    fn set_level(&self, level: &str) -> Result<(), reload::Error> {
        self.filter.reload(filter(level))
    }
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// The level has to be one of `error`, `warn`, `info`, `debug` and `trace`, and logging started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log level cannot be set to {0:?}")]
pub struct LevelError(String);

/// Libraries are heard from `warn` on.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,alfred={level}"))
}

/// Starts logging at `level` (`error` to `trace`) for this process. Libraries are heard from
/// `warn` on. A second call changes nothing.
pub fn start(level: &str, format: Format) {
    let queue = match format {
        Format::Text => Queue::start(stderr::Stderr::text(), say_dropped),
        Format::Json => Queue::start(stderr::Stderr::json(), say_dropped),
        Format::Journal => Queue::start(journal::Journal::new(), say_dropped),
    };
    let Ok(queue) = queue else {
        // No thread: the machine is in such trouble that the next step will say so.
        return;
    };
    let (subscriber, started) = assemble(level, queue);
    if subscriber.try_init().is_ok() {
        let _ = STARTED.set(started);
    } else {
        tracing::debug!("logging was started before");
    }
}

fn assemble(level: &str, queue: Queue) -> (impl Subscriber + Send + Sync, Started) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(queue.clone());
    let filter = handle;
    (subscriber, Started { filter, queue })
}

/// Starts logging only where it goes to the journal, for verbs that talk to people otherwise;
/// `setting` is `log.format`. Whether it does: then what such a verb would say on stderr is logged
/// instead.
#[must_use]
pub fn start_in_journal(level: &str, setting: &str) -> bool {
    let is_journal = Format::of_setting(setting) == Format::Journal;
    if is_journal {
        start(level, Format::Journal);
    }
    is_journal
}

/// Logs from `level` on from now on.
///
/// # Errors
/// When there is no such level, or logging was not started.
pub fn set_level(level: &str) -> Result<(), LevelError> {
    let wrong = || LevelError(level.to_owned());
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return Err(wrong());
    }
    let started = STARTED.get().ok_or_else(wrong)?;
    started.set_level(level).map_err(|_| wrong())
}

/// Lines that were lost since whoever reads them stood still.
#[must_use]
pub fn dropped() -> u64 {
    STARTED.get().map_or(0, |started| started.queue.dropped())
}

/// Waits for the lines logged so far to be written, a second at most; for the end of the process.
/// Whether they were.
pub fn flush() -> bool {
    STARTED
        .get()
        .is_none_or(|started| started.queue.flush(LAST_LINES))
}

fn say_dropped(lines: u64) {
    tracing::warn!(lines, "{lines} lines were dropped: the log was not read");
}
