//! Posts to a webhook, with bounded patience.
//!
//! What may pass is tried again: no connection, no answer, 408, 429 and 5xx. A redirect is not followed:
//! the message would go to somebody else. A try that was not answered may have arrived, so a message can
//! come twice; that is better than never.

use crate::clock::{Clock, Deadline};
use crate::provider::backoff::{Backoff, retry_after};
use crate::secret::Secret;
use crate::tls;
use serde_json::Value;
use std::time::Duration;
use ureq::http::Uri;
use ureq::http::header::CONTENT_TYPE;
use ureq::tls::TlsConfig;

/// Longest wait for a name and for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Most tries.
    pub tries: u32,
    /// Most time, with everything.
    pub in_all: Duration,
    /// Most time for one try.
    pub one: Duration,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// Longest wait, also when the other side asks for more.
    pub longest_wait: Duration,
}

impl Default for Patience {
    /// 30 s: a verdict may have been hours in the making, and whoever waits for the exit code should
    /// not wait for a chat.
    fn default() -> Self {
        Self {
            tries: 4,
            in_all: Duration::from_secs(30),
            one: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(10),
        }
    }
}

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: Secret,
    host: String,
}

/// The address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's address is not a URL with a host that begins with https:// or http://")]
pub struct BadWebhook;

/// A message was not delivered. Names the host and never the rest of the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the verdict was not delivered to {host}: {problem}, after {tries}")]
pub struct Undelivered {
    /// The other side.
    pub host: String,
    /// What was wrong in the last try.
    pub problem: String,
    /// How many there were, in words.
    pub tries: String,
}

/// Why a try did not deliver.
struct Trouble {
    problem: String,
    is_passing: bool,
    /// What the other side asks for.
    wait: Option<Duration>,
}

impl Webhook {
    /// Reads the address.
    ///
    /// # Errors
    /// When it is no http or https URL with a host.
    pub fn parse(url: &Secret) -> Result<Self, BadWebhook> {
        let uri: Uri = url.reveal().trim().parse().map_err(|_| BadWebhook)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().filter(|host| is_http && !host.is_empty());
        Ok(Self {
            url: Secret::new(url.reveal().trim()),
            host: host.ok_or(BadWebhook)?.to_owned(),
        })
    }

    /// The part of the address that may be shown.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Posts `message`; returns how many tries that took.
    ///
    /// # Errors
    /// When it was not delivered within `patience`.
    pub fn post(
        &self,
        message: &Value,
        patience: Patience,
        clock: &dyn Clock,
    ) -> Result<u32, Undelivered> {
        let agent = agent();
        let body = message.to_string();
        let deadline = Deadline::after(clock, patience.in_all);
        let backoff = Backoff {
            first: patience.first_wait,
            most: patience.longest_wait,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let timeout = deadline.cap(clock, patience.one);
            let trouble = match self.attempt(&agent, &body, timeout, clock) {
                Ok(()) => return Ok(tries),
                Err(trouble) => trouble,
            };
            // Half of it for sure, so that it is a wait.
            let own = backoff.delay(tries - 1, 0.5 + rand::random::<f64>() / 2.0);
            let wait = trouble.wait.unwrap_or(own).min(patience.longest_wait);
            let left = deadline.remaining(clock).unwrap_or_default();
            if !trouble.is_passing || tries >= patience.tries || wait >= left {
                return Err(Undelivered {
                    host: self.host.clone(),
                    problem: trouble.problem,
                    tries: match tries {
                        1 => "1 try".to_owned(),
                        more => format!("{more} tries"),
                    },
                });
            }
            clock.sleep(wait);
        }
    }

    fn attempt(
        &self,
        agent: &ureq::Agent,
        body: &str,
        timeout: Duration,
        clock: &dyn Clock,
    ) -> Result<(), Trouble> {
        let connect = timeout.min(CONNECT_TIMEOUT);
        let sent = agent
            .post(self.url.reveal())
            .config()
            .timeout_global(Some(timeout))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .build()
            .header(CONTENT_TYPE, "application/json")
            .send(body);
        let response = sent.map_err(|error| Trouble {
            problem: words(&error, timeout),
            is_passing: true,
            wait: None,
        })?;
        let status = response.status().as_u16();
        let why = match status {
            200..=299 => return Ok(()),
            300..=399 => ", a redirect, which is not followed",
            _ => "",
        };
        Err(Trouble {
            problem: format!("status {status}{why}"),
            is_passing: matches!(status, 408 | 429 | 500..=599),
            wait: retry_after(response.headers(), clock.wall()),
        })
    }
}

fn agent() -> ureq::Agent {
    let roots = tls::ureq_roots();
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("alfred/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .into()
}

/// What was wrong, in our own words where the library's may hold the address.
fn words(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {:.0} s", timeout.as_secs_f64()),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Tls(problem) => format!("TLS: {problem}"),
        ureq::Error::Rustls(problem) => format!("TLS: {problem}"),
        ureq::Error::Protocol(_) => "the answer is not HTTP".to_owned(),
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            "the proxy does not let it through".to_owned()
        }
        _ => "it cannot be sent".to_owned(),
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
