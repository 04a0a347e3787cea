//! A server that speaks OpenAI's API, asked with bounded patience.
//!
//! [`Provider::post`] is one request that is tried until it succeeds, cannot, or is of no use any
//! more: `exchange` is one try over HTTP, `backoff` says how long to wait before the next one, and
//! `breaker` answers at once while the provider is known to be down. Everything blocks; no call is
//! without a limit. The key is in no error and no log line, and goes to no other host: redirects
//! are not followed.

pub(crate) mod backoff;
mod base_url;
mod breaker;
pub mod chat;
mod error;
pub(crate) mod exchange;
mod silence;
mod stats;

pub use base_url::{BadBaseUrl, BaseUrl};
pub use error::ProviderError;
pub use stats::{Snapshot, Stats, TokenKind};

use crate::clock::{Clock, Deadline};
use crate::secret::Secret;
use crate::telemetry::events::{Dependency, Outage};
use crate::telemetry::trace;
use backoff::Backoff;
use breaker::{Admission, Breaker};
use exchange::{Exchange, Reply, Trouble};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest wait between two tries of a call that has no deadline, as those of an ingest: a provider
/// that asks for more is not waited for. A rate limit by the minute is.
const PATIENCE: Duration = Duration::from_secs(61);

/// Where a provider is and how it is asked.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Where the API begins, as `https://api.openai.com/v1`.
    pub base_url: BaseUrl,
    /// Sent as `Authorization: Bearer KEY`; nothing is sent when empty.
    pub api_key: Secret,
    /// Longest single try.
    pub timeout: Duration,
    /// How often a failed try is repeated.
    pub retries: u32,
}

/// One provider, shared by all threads.
pub struct Provider {
    exchange: Exchange,
    retries: u32,
    timeout: Duration,
    breaker: Mutex<Breaker>,
    outage: Mutex<Outage>,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What follows the base URL, as `embeddings`.
    pub path: &'a str,
    /// The body, as JSON.
    pub body: &'a [u8],
    /// Longest reply that is read, in bytes.
    pub max_reply_bytes: u64,
    /// Until when a reply is of use.
    pub deadline: Deadline,
}

/// What a failed try leads to.
enum Next {
    /// Try again after this long.
    Again(Duration),
    /// There is no use in it.
    Give(ProviderError),
}

impl Provider {
    /// A provider that counts its requests in `stats`. Nothing is sent yet.
    #[must_use]
    pub fn new(settings: ProviderSettings, stats: Arc<Stats>, clock: Arc<dyn Clock>) -> Self {
        Self {
            retries: settings.retries,
            timeout: settings.timeout,
            exchange: Exchange::new(settings.base_url, settings.api_key),
            breaker: Mutex::default(),
            outage: Mutex::new(Outage::of(Dependency::Provider)),
            stats,
            clock,
        }
    }

    /// The name of its host and port, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        self.exchange.host()
    }

    /// Where tokens and requests are counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How long it will not be asked because it is known to be down; `None` when it is asked.
    #[must_use]
    pub fn closed_for(&self) -> Option<Duration> {
        self.breaker().closed_for(self.clock.monotonic())
    }

    /// Sends a request until it is answered with a status of success, and returns that body.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when it is down, overloaded, or asks to come back after the
    /// deadline; [`ProviderError::TimedOut`] when the deadline passed; [`ProviderError::Refused`]
    /// when it will not answer this request, however often it is sent.
    pub fn post(&self, call: Call<'_>) -> Result<Vec<u8>, ProviderError> {
        let mut span = trace::Call::begin(self.clock.monotonic());
        let answered = self.until_answered(call, &mut span);
        let error = answered.as_ref().err().map(ProviderError::word);
        let called = trace::Called {
            route: call.path,
            server: self.host(),
            status: match &answered {
                Ok(reply) => Some(reply.status),
                Err(error) => error.status(),
            },
            error: error.as_deref(),
        };
        span.end(self.clock.monotonic(), called);
        answered.map(|reply| reply.body)
    }

    fn until_answered(
        &self,
        call: Call<'_>,
        span: &mut trace::Call,
    ) -> Result<Reply, ProviderError> {
        let mut tries = 0;
        loop {
            // Apart from the match, which would hold the lock to its end.
            let admission = self.breaker().admit(self.clock.monotonic());
            self.say(|| "it keeps silent".to_owned());
            let wait = match admission {
                Admission::Go => {
                    tries += 1;
                    let result = self.attempt(call, span.headers());
                    self.say(|| match &result {
                        Ok(_) => "others failed".to_owned(),
                        Err(trouble) => self.exchange.error(trouble, 1).to_string(),
                    });
                    let trouble = match result {
                        Ok(reply) => return Ok(reply),
                        Err(trouble) => trouble,
                    };
                    let next = self.next(&trouble, tries, call.deadline);
                    let again = match &next {
                        Next::Again(wait) => Some(*wait),
                        Next::Give(_) => None,
                    };
                    span.failed(self.clock.monotonic(), &trouble.word(), again);
                    next
                }
                Admission::Wait(wait) => self.wait_or_give(wait, &mut tries, call.deadline),
            };
            match wait {
                Next::Again(wait) => self.clock.sleep(wait),
                Next::Give(error) => return Err(error),
            }
        }
    }

    /// One try, with what it says of the provider's health.
    fn attempt(&self, call: Call<'_>, headers: Option<&trace::Headers>) -> Result<Reply, Trouble> {
        let timeout = call.deadline.cap(&*self.clock, self.timeout);
        if timeout.is_zero() {
            self.breaker().forget();
            return Err(Trouble::TooLate);
        }
        let asked = self.clock.monotonic();
        self.breaker().calls.began(asked);
        let reply = self.exchange.post(&call, timeout, headers);
        let now = self.clock.monotonic();
        self.breaker().calls.ended(asked);
        let reply = match reply {
            Ok(reply) => reply,
            Err(trouble) => {
                self.stats.count_request(trouble.label());
                // A caller in a hurry learns nothing of a provider that takes its time, nor does one
                // who was passed over while others were answered.
                let waited = now.saturating_duration_since(asked);
                let hurried = waited < self.timeout && waited < breaker::SLOW;
                let mut breaker = self.breaker();
                if trouble.is_timeout() && (hurried || breaker.calls.was_heard_since(asked)) {
                    breaker.forget();
                } else {
                    breaker.failed(now, None);
                }
                return Err(trouble);
            }
        };
        self.stats.count_status(reply.status);
        match reply.status {
            200..=299 => {
                let mut breaker = self.breaker();
                breaker.calls.heard(asked, now);
                breaker.succeeded();
                Ok(reply)
            }
            429 | 500..=599 => {
                let wait = backoff::retry_after(&reply.headers, self.clock.wall());
                if reply.status != 429 {
                    self.breaker().failed(now, wait);
                } else if wait.is_some_and(|wait| wait >= breaker::LONG) {
                    self.breaker().hold(now, wait.unwrap_or_default());
                } else {
                    self.breaker().succeeded();
                }
                Err(status(reply, wait))
            }
            _ => {
                self.breaker().succeeded();
                Err(status(reply, None))
            }
        }
    }

    /// What to do after `tries` tries, the last of which ended in `trouble`.
    fn next(&self, trouble: &Trouble, tries: u32, deadline: Deadline) -> Next {
        let asked_for = trouble.wait();
        if !trouble.is_worth_another_try() || tries > self.retries {
            return Next::Give(self.exchange.error(trouble, tries));
        }
        let backoff = Backoff::default().delay(tries - 1, rand::random());
        let wait = asked_for.map_or(backoff, |wait| wait + backoff.min(wait / 10));
        let room = deadline.remaining(&*self.clock).unwrap_or(PATIENCE);
        if wait < room {
            Next::Again(wait)
        } else {
            Next::Give(self.exchange.error(trouble, tries))
        }
    }

    /// The provider is known to be down for `wait`. A new request that somebody waits for is refused
    /// at once. One that was tried before, or that has no deadline, as those of an ingest, waits as
    /// if it had failed once more.
    fn wait_or_give(&self, wait: Duration, tries: &mut u32, deadline: Deadline) -> Next {
        let left = deadline.remaining(&*self.clock);
        let may_wait = left.is_none() || *tries > 0;
        if may_wait && *tries <= self.retries && wait < left.unwrap_or(PATIENCE) {
            *tries += 1;
            return Next::Again(wait);
        }
        Next::Give(ProviderError::Unavailable {
            provider: self.host().to_owned(),
            problem: "it failed or kept silent again and again, and is not asked for a moment"
                .to_owned(),
            retry_after: Some(wait),
        })
    }

    /// Logs that the provider went down or is back, where that was not said yet.
    fn say(&self, reason: impl FnOnce() -> String) {
        let is_down = self.breaker().is_open();
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if is_down {
            outage.is_down(self.clock.monotonic(), self.host(), &reason());
        } else {
            outage.is_up(self.host());
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(reply: Reply, wait: Option<Duration>) -> Trouble {
    let reply = Box::new(reply);
    Trouble::Status { reply, wait }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
