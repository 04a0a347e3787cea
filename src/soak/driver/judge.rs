//! What a request's answer, or the lack of one, counts as.

use crate::client::{Answer, BodyLimits, ClientError};
use crate::plain;
use crate::soak::causes::{self, Cause};
use crate::soak::check::{self, Check};
use crate::soak::scenario::Scenario;
use crate::soak::settings::StatusRange;
use crate::soak::tally::{ErrorKind, Outcome};

/// Largest answer; one that goes on longer is an error of its own kind.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;
/// Largest answer whose body is checked.
const MAX_CHECKED_BYTES: u64 = 1024 * 1024;
/// Largest answer that is searched for what it says of the target's cache.
const MAX_PROBED_BYTES: u64 = 64 * 1024;
/// So many answers without a word of the cache, and it is not looked for any more.
const PROBES: u32 = 100;

/// What answers are held against, and how much of them it takes.
pub(super) struct Judge {
    expected: Vec<StatusRange>,
    checks: Vec<Check>,
    max_bytes: u64,
    checked_bytes: u64,
    probe: CacheProbe,
}

impl Judge {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let checks = scenario.checks.clone();
        let sizes = checks.iter().filter_map(Check::max_bytes);
        let max_bytes = sizes.min().unwrap_or(MAX_BODY_BYTES);
        let reads_body = checks.iter().any(Check::reads_body);
        Self {
            expected: scenario.expected_status.clone(),
            checks,
            max_bytes,
            checked_bytes: if reads_body { MAX_CHECKED_BYTES } else { 0 },
            probe: CacheProbe::default(),
        }
    }

    /// How much of the next answer is read and kept: at least `keep_bytes`.
    pub(super) fn limits(&self, keep_bytes: u64) -> BodyLimits {
        let probed_bytes = if self.probe.looks() {
            MAX_PROBED_BYTES
        } else {
            0
        };
        BodyLimits {
            max_bytes: self.max_bytes,
            keep_bytes: probed_bytes.max(self.checked_bytes).max(keep_bytes),
        }
    }

    /// What a whole answer counts as.
    pub(super) fn outcome(&mut self, answer: &Answer) -> Outcome {
        let status = answer.status();
        if !self.expected.iter().any(|range| range.contains(status)) {
            return Outcome::Error(
                ErrorKind::of_status(status),
                format!("status {status}").into(),
            );
        }
        if let Some(failed) = self.failed_check(answer.body()) {
            return Outcome::Error(ErrorKind::Check, failed.into());
        }
        Outcome::Ok {
            cached: self.probe.cached(answer.body()),
        }
    }

    fn failed_check(&self, body: Option<&[u8]>) -> Option<String> {
        if self.checked_bytes == 0 {
            return None;
        }
        let Some(body) = body else {
            return Some(format!(
                "the answer is larger than {MAX_CHECKED_BYTES} bytes, and not checked"
            ));
        };
        check::first_failed(&self.checks, body)
    }
}

/// What an exchange without a whole answer counts as.
pub(super) fn failed(error: &ClientError) -> Outcome {
    Outcome::Error(kind_of(error), cause_of(error))
}

fn kind_of(error: &ClientError) -> ErrorKind {
    match error {
        ClientError::Connect { .. } | ClientError::Address { .. } => ErrorKind::Connect,
        ClientError::Tls { .. } => ErrorKind::Tls,
        ClientError::Local { .. } => ErrorKind::Local,
        ClientError::Timeout { .. } => ErrorKind::Timeout,
        ClientError::Reset { .. } => ErrorKind::Reset,
        ClientError::Protocol { .. } | ClientError::Request { .. } => ErrorKind::Protocol,
        ClientError::TooLarge { .. } => ErrorKind::BodyTooLarge,
    }
}

/// The cause in words that are the same for every request that failed so.
fn cause_of(error: &ClientError) -> Cause {
    match error {
        ClientError::Connect { source, .. } | ClientError::Local { source } => {
            causes::of_system(source)
        }
        // Names in a server's certificate are the server's words.
        ClientError::Protocol { source } => plain::one_line(&format!("{error}: {source}")).into(),
        other => plain::one_line(&other.to_string()).into(),
    }
}

/// Looks in answers for `usage.embedding_cached`, as alfred's own have it, and stops looking when
/// the target is another that never says.
#[derive(Default)]
struct CacheProbe {
    without: u32,
    found: bool,
}

#[derive(serde::Deserialize)]
struct Said {
    usage: Usage,
}

#[derive(serde::Deserialize)]
struct Usage {
    embedding_cached: bool,
}

impl CacheProbe {
    fn looks(&self) -> bool {
        self.found || self.without < PROBES
    }

    fn cached(&mut self, body: Option<&[u8]>) -> Option<bool> {
        if !self.looks() {
            return None;
        }
        let body = body.filter(|body| body.starts_with(b"{"));
        let said = body.and_then(|body| serde_json::from_slice::<Said>(body).ok());
        if said.is_some() {
            self.found = true;
        } else {
            self.without += 1;
        }
        said.map(|said| said.usage.embedding_cached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_reach_no_terminal_as_commands() {
        let error = ClientError::Tls {
            endpoint: "https://localhost:1".to_owned(),
            problem: "not valid for names \"\u{1b}[31mred\u{7}\"".to_owned(),
        };
        let cause = cause_of(&error);
        assert!(!cause.contains(char::is_control), "{cause:?}");
        assert!(cause.contains("·[31mred·"), "{cause}");
    }
}
