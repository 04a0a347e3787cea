//! What the daemon does now: one line for `systemctl status`, and everything for the journal.

use super::reload::Reloader;
use super::tls;
use crate::clock::{Clock as _, SystemClock};
use crate::http::App;
use crate::telemetry::logging;
use std::fmt::Write as _;

/// What is served at what pace, and what is wrong.
pub(super) fn line(app: &App, reloader: &Reloader) -> String {
    let mut line = String::new();
    let missing = app.missing();
    if missing.is_empty() {
        line.push_str("serving");
    } else {
        let missing: Vec<String> = missing
            .into_iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        let _ = write!(line, "waiting for {}", missing.join("; "));
    }
    if let Some(documents) = documents(app) {
        let _ = write!(line, " {documents} documents");
    }
    let pace = app.observer().pace(SystemClock.monotonic());
    let _ = write!(line, "; {:.1} queries/s", pace.requests_per_s);
    if let Some(p95) = pace.p95 {
        let _ = write!(
            line,
            ", p95 {:.1} ms in the last minute",
            p95.as_secs_f64() * 1e3
        );
    }
    let dropped = logging::dropped();
    if dropped > 0 {
        let _ = write!(line, "; {dropped} lines of the log lost");
    }
    if let Some(remark) = tls::remark(app.tls()) {
        let _ = write!(line, "; {remark}");
    }
    if let Some(reason) = reloader.refused() {
        let _ = write!(line, "; reload refused: {reason}");
    }
    line
}

/// Documents in a store on this machine: a database is not asked for a line of status.
pub(super) fn documents(app: &App) -> Option<u64> {
    let repo = &app.cases().repo;
    if repo.pool().is_some() {
        return None;
    }
    let collections = repo.collections().ok()?;
    Some(
        collections
            .iter()
            .map(|collection| collection.documents)
            .sum(),
    )
}
