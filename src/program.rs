//! Asks another program, with limits on time and on what it may say.
//!
//! The soak runner asks `systemctl` and `psql` so, the stack its engines.

use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A program, and what it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its name; looked for in `PATH`.
    pub program: &'a str,
    /// What it is given.
    pub arguments: &'a [&'a str],
    /// Variables besides those of this process.
    pub environment: &'a [(&'a str, &'a str)],
    /// Whether stderr is wanted too: then a failure is told in the program's own words.
    pub stderr: bool,
    /// It is killed after this.
    pub patience: Duration,
    /// No more than this is read.
    pub max_bytes: u64,
}

/// What the program wrote to stdout.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than `patience`; it is killed then.
pub fn ask(
    program: &str,
    arguments: &[&str],
    patience: Duration,
    max_bytes: u64,
) -> io::Result<String> {
    ask_all(Asked {
        program,
        arguments,
        environment: &[],
        stderr: false,
        patience,
        max_bytes,
    })
}

/// What the program wrote.
///
/// # Errors
/// As [`ask`].
pub fn ask_all(asked: Asked<'_>) -> io::Result<String> {
    tell(asked, String::new())
}

/// As [`ask_all`], with text on the program's stdin, which no list of processes shows.
///
/// # Errors
/// As [`ask`].
pub fn tell(asked: Asked<'_>, input: String) -> io::Result<String> {
    let program = asked.program;
    let (said, writer) = io::pipe()?;
    let stderr = if asked.stderr {
        Stdio::from(writer.try_clone()?)
    } else {
        Stdio::null()
    };
    let mut command = Command::new(program);
    command
        .args(asked.arguments)
        .envs(asked.environment.iter().copied())
        .stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(writer)
        .stderr(stderr);
    let mut child = command.spawn()?;
    // It holds the writing end, too: what is read would never end.
    drop(command);
    if let Some(mut stdin) = child.stdin.take() {
        // Beside the reading: a program may write before it has read everything.
        std::thread::Builder::new()
            .name("ask-stdin".to_owned())
            .spawn(move || drop(stdin.write_all(input.as_bytes())))?;
    }
    let (done, answer) = mpsc::channel();
    let max_bytes = asked.max_bytes;
    std::thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || {
            let mut text = Vec::new();
            let read = said.take(max_bytes).read_to_end(&mut text);
            // Nobody waits for it any more after the patience.
            let _ = done.send(read.map(|_| text));
        })?;
    let said = answer.recv_timeout(asked.patience);
    if said.is_err() {
        let _ = child.kill();
    }
    // What was cut off at `max_bytes` may still be writing: its pipe is closed, and it ends.
    let status = child.wait()?;
    let Ok(text) = said else {
        let waited = format!(
            "{program} did not answer within {} s",
            asked.patience.as_secs()
        );
        return Err(io::Error::new(io::ErrorKind::TimedOut, waited));
    };
    let text = String::from_utf8_lossy(&text?).into_owned();
    if !status.success() && (text.is_empty() || asked.stderr) {
        let why = text
            .split_whitespace()
            .fold(String::new(), |mut why, word| {
                why.push_str(if why.is_empty() { ": " } else { " " });
                why.push_str(word);
                why
            });
        return Err(io::Error::other(format!(
            "{program} ended with {status}{why}"
        )));
    }
    Ok(text)
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

    #[test]
    fn is_told_on_stdin() {
        let asked = Asked {
            program: "cat",
            arguments: &[],
            environment: &[],
            stderr: false,
            patience: Duration::from_secs(5),
            max_bytes: 1_000_000,
        };
        let text = "more than a pipe holds ".repeat(10_000);
        assert_eq!(tell(asked, text.clone()).unwrap(), text);
    }

    #[test]
    fn a_failure_is_told_in_the_programs_own_words() {
        let asked = Asked {
            program: "sh",
            arguments: &["-c", "echo $WHO; echo 'it is shut' >&2; exit 3"],
            environment: &[("WHO", "me")],
            stderr: true,
            patience: Duration::from_secs(5),
            max_bytes: 100,
        };
        let error = ask_all(asked).unwrap_err().to_string();
        assert!(error.contains("exit status: 3: me it is shut"), "{error}");
        let quiet = Asked {
            stderr: false,
            ..asked
        };
        assert_eq!(ask_all(quiet).unwrap(), "me\n");
    }
}
