//! Asks another program, with limits on time and on what it may say.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What the program wrote to stdout.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than `patience`; it is killed then.
pub(super) fn ask(
    program: &str,
    arguments: &[&str],
    patience: Duration,
    max_bytes: u64,
) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let Some(stdout) = child.stdout.take() else {
        return Err(io::Error::other("it has no stdout"));
    };
    let (done, answer) = mpsc::channel();
    std::thread::Builder::new()
        .name("soak-ask".to_owned())
        .spawn(move || {
            let mut text = Vec::new();
            let read = stdout.take(max_bytes).read_to_end(&mut text);
            // Nobody waits for it any more after the patience.
            let _ = done.send(read.map(|_| text));
        })?;
    let said = answer.recv_timeout(patience);
    if said.is_err() {
        let _ = child.kill();
    }
    // What was cut off at `max_bytes` may still be writing: its pipe is closed, and it ends.
    let status = child.wait()?;
    let Ok(text) = said else {
        let waited = format!("{program} did not answer within {} s", patience.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, waited));
    };
    let text = text?;
    if !status.success() && text.is_empty() {
        return Err(io::Error::other(format!("{program} ended with {status}")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_limits() {
        let second = Duration::from_secs(5);
        let said = ask("echo", &["one", "two"], second, 100).unwrap();
        assert_eq!(said, "one two\n");
        let cut = ask("yes", &[], second, 100).unwrap();
        assert_eq!(cut.len(), 100);
        let late = ask("sleep", &["60"], Duration::from_millis(50), 100).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert!(ask("false", &[], second, 100).is_err());
        assert!(ask("no-such-program-anywhere", &[], second, 100).is_err());
    }
}
