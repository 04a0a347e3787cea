//! A run while it goes on: a screen that is drawn anew in place on a terminal, a line a window
//! elsewhere. Both on stderr; stdout is for the report.
//!
//! [`frame`] is PURE: from what is known now and the size of the terminal to lines. [`screen`] puts
//! them on the terminal. What is kept does not grow with the run, so a drawing costs the same in the
//! first minute and after 72 hours.

mod frame;
mod glyphs;
mod lines;
mod margin;
mod screen;
mod words;

pub use words::{event_text, failing_text, interrupt_text};

use crate::soak::Watch;
use crate::soak::threshold::Threshold;
use console::Term;

/// What the environment says of the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `TERM` is `dumb` or not set: the cursor cannot be moved.
    pub is_dumb: bool,
    /// The locale has no UTF-8: what is shown is ASCII.
    pub is_ascii: bool,
}

impl Surroundings {
    /// Reads `TERM`, and the locale as setlocale(3) does: the first of `LC_ALL`, `LC_CTYPE` and
    /// `LANG` that is set. None of them says nothing, and UTF-8 is taken for granted.
    #[must_use]
    pub fn of<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(&variable);
        let is_ascii = locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            !(locale.contains("utf-8") || locale.contains("utf8"))
        });
        Self {
            is_dumb: variable("TERM").is_none_or(|term| term == "dumb"),
            is_ascii,
        }
    }
}

/// Whether stderr is a terminal on which [`view`] draws.
#[must_use]
pub fn is_drawn(surroundings: Surroundings) -> bool {
    Term::stderr().features().is_attended() && !surroundings.is_dumb
}

/// The live view for stderr: a screen on a terminal, lines elsewhere.
#[must_use]
pub fn view(thresholds: Vec<Threshold>, surroundings: Surroundings) -> Box<dyn Watch> {
    let term = Term::buffered_stderr();
    if is_drawn(surroundings) {
        Box::new(screen::Screen::new(term, thresholds, surroundings.is_ascii))
    } else {
        Box::new(lines::Lines::new(term, &thresholds))
    }
}

#[cfg(test)]
mod tests {
    use super::Surroundings;

    #[test]
    fn the_terminal_is_what_the_environment_says() {
        let of = |said: &[(&str, &'static str)]| {
            let said: Vec<(String, &'static str)> = said
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect();
            Surroundings::of(|name| said.iter().find(|(n, _)| n == name).map(|(_, v)| *v))
        };
        let modern = of(&[("TERM", "xterm-256color"), ("LANG", "en_GB.UTF-8")]);
        assert_eq!(modern, Surroundings::default());
        assert!(!of(&[("TERM", "xterm")]).is_ascii, "nothing is said");
        assert!(of(&[("TERM", "xterm"), ("LANG", "C")]).is_ascii);
        let overruled = of(&[("LC_ALL", "C.utf8"), ("LANG", "POSIX"), ("TERM", "vt100")]);
        assert_eq!(overruled, Surroundings::default());
        assert!(of(&[("TERM", "dumb")]).is_dumb && of(&[]).is_dumb);
    }
}
