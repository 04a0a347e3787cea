//! The one place that writes to stdout and stderr.

use crate::failure::Failure;
use std::io::Write as _;

/// Prints text on stdout, with a line end.
///
/// # Errors
/// When stdout cannot be written; a closed pipe (`alfred … | head`) is not an error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", harmless(text.trim_end_matches('\n')))
        .and_then(|()| out.flush())
        .or_else(forgive_closed_pipe)
        .map_err(|error| Failure::failed("cannot write to stdout").because(error))
}

/// Text of documents and names of files may hold escape sequences, which a terminal would obey.
fn harmless(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

fn forgive_closed_pipe(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}

/// Prints a value as indented JSON on stdout.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("cannot print the result as JSON").because(error))?;
    print(&crate::plain::json(&text))
}

/// Prints a line on stderr; when even that fails there is nobody to tell.
pub(super) fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", harmless(text));
}

/// A reader that went away is no failure.
pub(super) fn ignore_closed_pipe(written: std::io::Result<()>) {
    if let Err(problem) = written.or_else(forgive_closed_pipe) {
        error(&format!("error: cannot write to stdout: {problem}"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_terminal_obeys_no_document() {
        assert_eq!(
            super::harmless("a\tb\n\u{1b}]0;x\u{7}é"),
            "a\tb\n\u{fffd}]0;x\u{fffd}é"
        );
    }
}
