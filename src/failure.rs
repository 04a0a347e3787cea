//! What a verb ends with when it does not end well.
//!
//! A [`Failure`] says what failed and with which input, carries its cause, and hints at what to
//! try next. `main` alone turns it into text on stderr and an exit code; the codes are part of the
//! public contract (sysexits(3) for 78, k6 for 99).

use std::error::Error;
use std::fmt::Write as _;

/// The reason class of a failure; each has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The work was tried and did not succeed: exit 1.
    Failed,
    /// The command line makes no sense: exit 2.
    Usage,
    /// The configuration is wrong: exit 78 (`EX_CONFIG`).
    Configuration,
    /// A soak threshold was crossed: exit 99.
    ThresholdCrossed,
    /// A soak run cannot be judged: exit 98.
    Invalid,
}

impl FailureKind {
    /// The process exit code of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 78,
            Self::ThresholdCrossed => 99,
            Self::Invalid => 98,
        }
    }
}

/// A failure as a person reads it: what, why, and what to try next.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
    is_told: bool,
}

impl Failure {
    /// `what` is one line without a full stop: what failed, with which input.
    pub fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            cause: None,
            hint: None,
            is_told: false,
        }
    }

    /// The work was tried and did not succeed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, what)
    }

    /// The command line makes no sense.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, what)
    }

    /// The configuration is wrong.
    pub fn configuration(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Configuration, what)
    }

    /// The error that led here.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What to try next, as an imperative sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As [`Failure::hint`], where there may be none.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Somebody has told it already, if `is_told`: it is for the exit code alone.
    #[must_use]
    pub fn told(mut self, is_told: bool) -> Self {
        self.is_told |= is_told;
        self
    }

    /// Whether it is for the exit code alone.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// Which class of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The text for stderr: `error: what: cause: cause`, then `hint: …`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", self.what);
        let mut cause: Option<&(dyn Error + 'static)> = self
            .cause
            .as_deref()
            .map(|error| error as &(dyn Error + 'static));
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.ends_with(&line) {
                let _ = write!(text, ": {line}");
            }
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\nhint: {hint}");
        }
        text
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
            .as_deref()
            .map(|error| error as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_cause_and_hint() {
        let failure = Failure::failed("cannot open store /x/alfred.db")
            .because(std::io::Error::from(std::io::ErrorKind::PermissionDenied))
            .hint("run as the user alfred");
        assert_eq!(
            failure.render(),
            "error: cannot open store /x/alfred.db: permission denied\nhint: run as the user alfred"
        );
    }

    #[test]
    fn exit_codes_are_the_contract() {
        let codes = [
            FailureKind::Failed,
            FailureKind::Usage,
            FailureKind::Configuration,
            FailureKind::ThresholdCrossed,
            FailureKind::Invalid,
        ]
        .map(FailureKind::exit_code);
        assert_eq!(codes, [1, 2, 78, 99, 98]);
    }
}
