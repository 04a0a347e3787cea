//! The state of the daemon for the journal, on SIGUSR1: it is wanted most when no answer comes.

use super::attendant::Attendant;
use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::{events, logging};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long the daemon gets to say of itself what it says to others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes everything there is to know into the journal; blocks, not for long.
pub(super) fn write(attendant: &Attendant) {
    events::state_dump(&state(attendant).to_string());
}

fn state(attendant: &Attendant) -> Value {
    let app = attendant.live.app();
    let observer = app.observer();
    let pace = observer.pace(SystemClock.monotonic());
    let status = match attendant.own.get("/v1/status", PATIENCE) {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(silence) => json!({"no_answer": silence.to_string()}),
    };
    json!({
        "in_flight": observer.in_flight(),
        "connections": observer.connections(),
        "queries_per_s": pace.requests_per_s,
        "p95_ms": pace.p95.map(|p95| p95.as_secs_f64() * 1e3),
        "log_lines_dropped": logging::dropped(),
        "threads": threads(Path::new("/proc/self/task")),
        "descriptors": entries(Path::new("/proc/self/fd")),
        "status": status,
    })
}

/// How many threads of each name there are, by what they do: `tokio S` sleeps, `tokio D` waits for a
/// disk, `tokio R` runs.
fn threads(tasks: &Path) -> BTreeMap<String, usize> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        // proc_pid_stat(5): the name stands in parentheses and may hold anything.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
            continue;
        };
        let state = stat[close + 1..].trim_start().chars().next().unwrap_or('?');
        let name = format!("{} {state}", &stat[open + 1..close]);
        *threads.entry(name).or_default() += 1;
    }
    threads
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_by_name_and_state() {
        let threads = threads(Path::new("/proc/self/task"));
        assert!(threads.values().sum::<usize>() >= 1, "{threads:?}");
        assert!(threads.keys().all(|name| name.contains(' ')), "{threads:?}");
        assert!(entries(Path::new("/proc/self/fd")) > 2);
    }
}
