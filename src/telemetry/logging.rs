//! Log lines on stderr: readable on a terminal, JSON elsewhere.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The format that `log.format` means: `auto` is text on a terminal, else JSON.
    #[must_use]
    pub fn of_setting(setting: &str) -> Self {
        match setting {
            "text" => Self::Text,
            "json" => Self::Json,
            _ if std::io::stderr().is_terminal() => Self::Text,
            _ => Self::Json,
        }
    }
}

/// Starts logging at `level` (`error` to `trace`) for this process. Libraries are heard from
/// `warn` on. A second call changes nothing.
pub fn start(level: &str, format: Format) {
    let filter = EnvFilter::new(format!("warn,alfred={level}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
