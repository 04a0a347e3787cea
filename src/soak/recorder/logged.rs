//! Evidence from the journal: what the unit logged around the moment, with priorities.

use super::piece::{Piece, plain, plain_lines};
use crate::program::ask;
use crate::soak::sampler::journal::may_read;
use crate::soak::units::show_count;
use serde::Deserialize;
use std::fmt::Write as _;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const WHAT: &str = "journal of the unit";
const PATIENCE: Duration = Duration::from_secs(5);
/// Most lines; the newest.
const MAX_LINES: &str = "--lines=500";
/// What these take as JSON, at most.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Longest message that is kept, in characters.
const MAX_MESSAGE: usize = 4_000;

/// A line of `journalctl --output=json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime_us: String,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<String>,
    #[serde(rename = "_PID")]
    pid: Option<String>,
    /// Text; bytes, where it is not UTF-8.
    #[serde(rename = "MESSAGE")]
    message: serde_json::Value,
}

impl Line {
    fn is_error(&self) -> bool {
        matches!(self.priority.as_deref(), Some("0" | "1" | "2" | "3"))
    }

    fn message(&self) -> String {
        match &self.message {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(bytes) => {
                let byte = |value: &serde_json::Value| u8::try_from(value.as_u64()?).ok();
                let bytes: Vec<u8> = bytes.iter().filter_map(byte).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => String::new(),
        }
    }
}

/// `journal.txt`: what `unit` logged since `since_s` (seconds since 1970).
pub(super) fn take(unit: &str, since_s: u64, max_bytes: u64) -> Piece {
    if !may_read() {
        let why = "the journal of the system may not be read: be in the group systemd-journal";
        return Piece::missing(WHAT, why);
    }
    let (unit, since) = (format!("--unit={unit}"), format!("--since=@{since_s}"));
    let arguments = [
        "--quiet",
        "--output=json",
        "--output-fields=PRIORITY,SYSLOG_IDENTIFIER,_PID,MESSAGE",
        "--all",
        // The newest first: what is beyond the limit is old.
        "--reverse",
        MAX_LINES,
        &unit,
        &since,
    ];
    let said = match ask("journalctl", &arguments, PATIENCE, MAX_BYTES) {
        Ok(said) => said,
        // Some versions end with 1 when nothing matches.
        Err(error) if error.kind() == std::io::ErrorKind::Other => String::new(),
        Err(error) => return Piece::missing(WHAT, &error.to_string()),
    };
    piece(&said, max_bytes)
}

fn piece(said: &str, max_bytes: u64) -> Piece {
    let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut lines: Vec<(Line, String)> = Vec::new();
    let mut length = 0;
    for line in said.lines() {
        // The last one may be cut short.
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            continue;
        };
        let text = show(&line);
        length += text.len();
        if length > most {
            break;
        }
        lines.push((line, text));
    }
    lines.reverse();
    let text: String = lines.iter().map(|(_, text)| text.as_str()).collect();
    let mut piece = Piece::file("journal.txt", WHAT, text.into_bytes(), max_bytes);
    let errors: Vec<&Line> = lines
        .iter()
        .map(|(line, _)| line)
        .filter(|l| l.is_error())
        .collect();
    let all = show_count(lines.len() as u64);
    piece.say(&match errors.first() {
        None => format!("journal: {all} lines, no errors"),
        Some(first) => format!(
            "journal: {} among {all} lines; the first: {}",
            match errors.len() {
                1 => "1 error".to_owned(),
                more => format!("{} errors", show_count(more as u64)),
            },
            first.message()
        ),
    });
    piece
}

/// `2026-11-24T00:00:00.000001Z alfred[7] err: message`.
fn show(line: &Line) -> String {
    let us: i128 = line.realtime_us.parse().unwrap_or(0);
    let moment = OffsetDateTime::from_unix_timestamp_nanos(us * 1_000).ok();
    let moment = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    let mut text = moment.unwrap_or_default();
    let _ = write!(
        text,
        " {}",
        plain(line.identifier.as_deref().unwrap_or("-"), 64)
    );
    if let Some(pid) = &line.pid {
        let _ = write!(text, "[{}]", plain(pid, 16));
    }
    let level = match line.priority.as_deref() {
        Some("0") => " emerg",
        Some("1") => " alert",
        Some("2") => " crit",
        Some("3") => " err",
        Some("4") => " warning",
        Some("7") => " debug",
        _ => "",
    };
    let message: String = line.message().chars().take(MAX_MESSAGE).collect();
    let message = plain_lines(message.trim_end()).replace('\n', "\n    ");
    let _ = writeln!(text, "{level}: {message}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = concat!(
        r#"{"__REALTIME_TIMESTAMP":"1700000002000000","PRIORITY":"3","SYSLOG_IDENTIFIER":"alfred","_PID":"7","MESSAGE":"store\u001b[31m is slow\nsecond line"}"#,
        "\n",
        r#"{"__REALTIME_TIMESTAMP":"1700000001000000","PRIORITY":"6","SYSLOG_IDENTIFIER":"alfred","MESSAGE":[104,105,255]}"#,
        "\n",
        r#"{"__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":null}"#,
        "\n{\"__REALTIME_TIMES"
    );

    #[test]
    fn lines_are_in_the_order_of_time_and_errors_stand_out() {
        let piece = piece(SAID, 1 << 20);
        let text = String::from_utf8(piece.files[0].1.clone()).unwrap();
        let expected = "2023-11-14T22:13:20Z -: \n\
                        2023-11-14T22:13:21Z alfred: hi\u{fffd}\n\
                        2023-11-14T22:13:22Z alfred[7] err: store·[31m is slow\n    second line\n";
        assert_eq!(text, expected);
        let line = "journal: 1 error among 3 lines; the first: store·[31m is slow·second line";
        assert_eq!(piece.summary, [line]);
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let one = piece(SAID, 80);
        assert_eq!(one.summary[0].matches("among 1 lines").count(), 1);
        assert_eq!(piece("", 100).summary, ["journal: 0 lines, no errors"]);
    }
}
