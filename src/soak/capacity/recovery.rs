//! Asks the target one request at a time: whether it is there at all, and between steps whether it
//! is as quick again as it was before any load.

use super::halt::Halt;
use crate::client::{Limits, Outgoing, request_blocking};
use crate::clock::Clock;
use crate::soak::queries::Requests;
use crate::soak::run::SoakError;
use crate::soak::scenario::Scenario;
use http::header::CONTENT_TYPE;
use std::fmt;
use std::time::Duration;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// So many in a row are as quick as before.
const CALM: u32 = 3;
/// As before: this much slower, or within this time.
const SLACK: u32 = 5;
const ALWAYS_CALM: Duration = Duration::from_millis(50);
/// A target that does not answer at first is asked so often.
const FIRST_TRIES: u32 = 3;
/// Longest wait for one answer.
const MAX_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// Asks single requests of a scenario.
pub(super) struct Prober<'a> {
    scenario: &'a Scenario,
    requests: Requests,
    clock: &'a dyn Clock,
    asked: u64,
    calm: Duration,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Calm,
    TooLong(Restless),
    Halted,
}

/// A target that was asked one request at a time, and did not become as it was before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Restless {
    asked: u64,
    failed: u64,
    /// Why the last one that failed did.
    why: String,
}

impl Restless {
    /// Whether it fails without any load, rather than answering late.
    pub(super) fn is_failing(&self) -> bool {
        self.failed > 0
    }
}

impl fmt::Display for Restless {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, failed, why } = self;
        if self.is_failing() {
            return write!(
                formatter,
                "of {asked} single requests after it {failed} failed, the last with: {why}"
            );
        }
        write!(
            formatter,
            "none of {asked} single requests after it failed, and no {CALM} in a row were quick"
        )
    }
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        mark: &str,
        clock: &'a dyn Clock,
    ) -> Result<Self, SoakError> {
        Ok(Self {
            scenario,
            requests: scenario.requests(scenario.query_set()?, mark)?,
            clock,
            asked: 0,
            calm: ALWAYS_CALM,
        })
    }

    /// Whether the target answers as expected; if not, why.
    pub(super) fn first(&mut self) -> Result<(), String> {
        let mut last = Err(String::new());
        for attempt in 0..FIRST_TRIES {
            if attempt > 0 {
                self.clock.sleep(PAUSE);
            }
            last = self.ask();
            match &last {
                Ok(took) => self.calm = (*took * SLACK).max(ALWAYS_CALM),
                Err(_) => continue,
            }
            break;
        }
        last.map(|_| ())
    }

    /// Waits until the target is as quick as it was at first, `longest` at most.
    pub(super) fn wait(&mut self, longest: Duration, halt: &Halt) -> Waited {
        let from = self.clock.monotonic();
        let mut calm = 0;
        let mut restless = Restless::default();
        loop {
            if halt.is_asked() {
                return Waited::Halted;
            }
            restless.asked += 1;
            calm = match self.ask() {
                Ok(took) if took <= self.calm => calm + 1,
                Ok(_) => 0,
                Err(why) => {
                    restless.failed += 1;
                    restless.why = why;
                    0
                }
            };
            if calm >= CALM {
                return Waited::Calm;
            }
            if self.clock.monotonic().saturating_duration_since(from) >= longest {
                return Waited::TooLong(restless);
            }
            self.clock.sleep(PAUSE);
        }
    }

    fn ask(&mut self) -> Result<Duration, String> {
        let scenario = self.scenario;
        let mut headers = scenario.headers.clone();
        let said = self.requests.of(self.asked);
        if !said.body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(
                CONTENT_TYPE,
                http::HeaderValue::from_static("application/json"),
            );
        }
        let outgoing = Outgoing {
            method: scenario.method.clone(),
            headers,
            body: said.body,
            trust: scenario.trust.clone(),
        };
        self.asked += 1;
        let limits = Limits {
            timeout: scenario.timeout.min(MAX_TIMEOUT),
            max_response_bytes: MAX_BODY_BYTES,
        };
        let target = scenario.target.endpoint.at(said.uri.to_string());
        let from = self.clock.monotonic();
        let response =
            request_blocking(&target, outgoing, limits).map_err(|error| with_sources(&error))?;
        let took = self.clock.monotonic().saturating_duration_since(from);
        let status = response.status.as_u16();
        let expected = scenario
            .expected_status
            .iter()
            .any(|range| range.contains(status));
        if expected {
            Ok(took)
        } else {
            Err(format!("status {status}"))
        }
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_fails_is_told_from_one_that_is_slow() {
        let mut restless = Restless {
            asked: 40,
            ..Restless::default()
        };
        assert!(!restless.is_failing());
        assert!(restless.to_string().contains("no 3 in a row were quick"));
        restless.failed = 20;
        restless.why = "status 503".to_owned();
        assert_eq!(
            restless.to_string(),
            "of 40 single requests after it 20 failed, the last with: status 503"
        );
    }
}
