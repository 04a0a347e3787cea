//! How many errors and warnings a unit logged, counted by `journalctl`.

use crate::program::ask;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Most lines that are counted at a time; a unit that logs more has more than enough.
const MAX_LINES: &str = "10000";
/// What these lines take with a few fields each.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Where in the journal counting goes on.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    unit: String,
    cursor: String,
}

/// Lines by priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Logged {
    /// emerg, alert, crit, err.
    pub(super) errors: u64,
    /// warning.
    pub(super) warnings: u64,
}

impl Journal {
    /// From the end of the journal on.
    pub(super) fn from_now(unit: &str) -> Result<Self, String> {
        if !may_read() {
            let hint = "the journal of the system may not be read: be in the group systemd-journal";
            return Err(hint.to_owned());
        }
        let said = ask(
            "journalctl",
            &[
                "--quiet",
                "--lines=1",
                "--output=json",
                "--output-fields=PRIORITY",
            ],
            PATIENCE,
            MAX_BYTES,
        )
        .map_err(|error| format!("the journal: {error}"))?;
        let (_, cursor) = count(&said, None);
        let cursor = cursor.ok_or("the journal cannot be read, or is empty")?;
        Ok(Self {
            unit: unit.to_owned(),
            cursor,
        })
    }

    /// What was logged since the call before.
    pub(super) fn count(&mut self) -> Result<Logged, String> {
        let unit = format!("--unit={}", self.unit);
        // Not --after-cursor: before systemd 255 it leaves out the first line that matches, too
        // (systemd#30288).
        let from = format!("--cursor={}", self.cursor);
        let lines = format!("--lines={MAX_LINES}");
        let arguments = [
            "--quiet",
            "--output=json",
            "--output-fields=PRIORITY",
            "--priority=warning",
            &lines,
            &unit,
            &from,
        ];
        let said = ask("journalctl", &arguments, PATIENCE, MAX_BYTES).or_else(|error| {
            match error.kind() {
                // Some versions end with 1 when nothing matches.
                std::io::ErrorKind::Other => Ok(String::new()),
                _ => Err(format!("the journal: {error}")),
            }
        })?;
        let (logged, cursor) = count(&said, Some(&self.cursor));
        if let Some(cursor) = cursor {
            self.cursor = cursor;
        }
        Ok(logged)
    }
}

/// Whoever may not read it sees lines of their own alone, and would count none of the unit.
pub(in crate::soak) fn may_read() -> bool {
    let folders = ["/var/log/journal", "/run/log/journal"];
    let machines = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    machines
        .map(|machine| machine.join("system.journal"))
        .any(|journal| std::fs::File::open(journal).is_ok())
}

#[derive(serde::Deserialize)]
struct Line {
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "__CURSOR")]
    cursor: String,
}

/// The lines by priority, but for the one at `counted`, and the cursor of the last.
fn count(said: &str, counted: Option<&str>) -> (Logged, Option<String>) {
    let (mut logged, mut cursor) = (Logged::default(), None);
    for line in said.lines() {
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            continue;
        };
        if Some(line.cursor.as_str()) == counted {
            continue;
        }
        match line
            .priority
            .and_then(|priority| priority.parse::<u8>().ok())
        {
            Some(0..=3) => logged.errors += 1,
            Some(4) => logged.warnings += 1,
            _ => {}
        }
        cursor = Some(line.cursor);
    }
    (logged, cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_priority() {
        let said = "{\"__CURSOR\":\"a\",\"PRIORITY\":\"3\"}\n{\"__CURSOR\":\"b\",\"PRIORITY\":\"4\"}\n\
                    {\"__CURSOR\":\"c\"}\n{\"__CURS";
        let expected = Logged {
            errors: 1,
            warnings: 1,
        };
        assert_eq!(count(said, None), (expected, Some("c".to_owned())));
        assert_eq!(count(said, Some("c")), (expected, Some("b".to_owned())));
        assert_eq!(count("", Some("c")), (Logged::default(), None));
    }
}
