//! One request over HTTP and its reply; what went wrong with it, told without the key.

use super::error::hint;
use super::{BaseUrl, Call, ProviderError};
use crate::domain::query::shorten;
use crate::secret::Secret;
use crate::telemetry::trace;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::HeaderMap;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest wait for a name and for a connection, also where a try may take longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections that are kept: as many as queries run at a time, by default.
const IDLE_CONNECTIONS: usize = 32;
/// Longest part of a provider's message that is repeated, in characters.
const MESSAGE_CHARS: usize = 300;

/// A client for one base URL.
pub(super) struct Exchange {
    agent: ureq::Agent,
    base_url: BaseUrl,
    api_key: Secret,
}

/// A reply, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why a try brought nothing of use.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There was no time left for it.
    TooLate,
    /// Nothing came within the time of the try.
    Timeout(Duration),
    /// No connection, or it broke.
    Unreachable(String),
    /// The reply is larger than what was asked for can be.
    TooLarge(u64),
    /// A status that is no success, and how long the provider asks to wait.
    Status {
        reply: Box<Reply>,
        wait: Option<Duration>,
    },
}

impl Trouble {
    /// As counted.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::TooLate | Self::Timeout(_) => "timeout",
            _ => "unreachable",
        }
    }

    /// What it was, in a word or as a status: of few kinds.
    pub(super) fn word(&self) -> Cow<'static, str> {
        match self {
            Self::TooLate | Self::Timeout(_) => Cow::Borrowed("timeout"),
            Self::Unreachable(_) => Cow::Borrowed("unreachable"),
            Self::TooLarge(_) => Cow::Borrowed("too_large"),
            Self::Status { reply, .. } => Cow::Owned(reply.status.to_string()),
        }
    }

    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::TooLate | Self::Timeout(_))
    }

    /// How long the provider asked to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Unreachable(_) => true,
            Self::TooLate | Self::TooLarge(_) => false,
            Self::Status { reply, .. } => match reply.status {
                // A quota that is used up comes back with a payment, not with time.
                429 => reply.code().as_deref() != Some("insufficient_quota"),
                500..=599 => !matches!(reply.status, 501 | 505),
                status => status == 408,
            },
        }
    }
}

impl Reply {
    fn field(&self, name: &str) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let error = body.get("error").unwrap_or(&body);
        error.get(name)?.as_str().map(str::to_owned)
    }

    pub(crate) fn code(&self) -> Option<String> {
        self.field("code")
    }

    /// The provider's words, whatever shape they came in.
    pub(crate) fn message(&self) -> String {
        let body: Option<Value> = serde_json::from_slice(&self.body).ok();
        let plain = body
            .as_ref()
            .and_then(|body| body.get("error"))
            .and_then(Value::as_str);
        let message = plain
            .map(str::to_owned)
            .or_else(|| self.field("message"))
            .or_else(|| self.field("detail"))
            .unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        message.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Exchange {
    pub(super) fn new(base_url: BaseUrl, api_key: Secret) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .user_agent(concat!("alfred/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(root_certs()).build())
            .build();
        Self {
            agent: config.into(),
            base_url,
            api_key,
        }
    }

    pub(super) fn host(&self) -> &str {
        self.base_url.host()
    }

    /// One try of at most `timeout`, which tells the provider of the trace that it is part of.
    pub(super) fn post(
        &self,
        call: &Call<'_>,
        timeout: Duration,
        trace: Option<&trace::Headers>,
    ) -> Result<Reply, Trouble> {
        let connect = timeout.min(CONNECT_TIMEOUT);
        let mut request = self
            .agent
            .post(self.base_url.join(call.path))
            .config()
            .timeout_global(Some(timeout))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_send_request(Some(timeout))
            .timeout_send_body(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_recv_body(Some(timeout))
            .build()
            .header(CONTENT_TYPE, "application/json");
        if !self.api_key.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.api_key.reveal()));
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", &trace.traceparent);
            if let Some(state) = &trace.tracestate {
                request = request.header("tracestate", &**state);
            }
        }
        let trouble = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) => Trouble::Timeout(timeout),
            ureq::Error::BodyExceedsLimit(limit) => Trouble::TooLarge(limit),
            other => Trouble::Unreachable(self.api_key.redact(&other.to_string())),
        };
        let mut response = request.send(call.body).map_err(trouble)?;
        let body = response
            .body_mut()
            .with_config()
            .limit(call.max_reply_bytes)
            .read_to_vec()
            .map_err(trouble)?;
        Ok(Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        })
    }

    /// The end of a request after `tries` tries.
    pub(super) fn error(&self, trouble: &Trouble, tries: u32) -> ProviderError {
        let provider = self.host().to_owned();
        let after = match tries {
            0 | 1 => String::new(),
            tries => format!(", after {tries} tries"),
        };
        match trouble {
            Trouble::TooLate => ProviderError::TimedOut {
                provider,
                problem: format!("the time for it was over{after}"),
            },
            Trouble::Timeout(timeout) => ProviderError::TimedOut {
                provider,
                problem: format!("nothing within {} ms{after}", timeout.as_millis()),
            },
            Trouble::Unreachable(problem) => ProviderError::Unavailable {
                provider,
                problem: format!("{problem}{after}"),
                retry_after: None,
            },
            Trouble::TooLarge(limit) => ProviderError::Refused {
                provider,
                status: None,
                problem: format!("its answer is larger than {limit} bytes"),
                hint: None,
            },
            Trouble::Status { reply, wait } => {
                let problem = format!("status {}{}{after}", reply.status, self.words(reply));
                if trouble.is_worth_another_try() {
                    return ProviderError::Unavailable {
                        provider,
                        problem,
                        retry_after: *wait,
                    };
                }
                ProviderError::Refused {
                    provider,
                    status: Some(reply.status),
                    problem,
                    hint: hint(reply.status),
                }
            }
        }
    }

    /// What the provider said, shortened and without the key: `: …`, or nothing.
    fn words(&self, reply: &Reply) -> String {
        let target = reply.headers.get(LOCATION).and_then(|to| to.to_str().ok());
        let said = match target.filter(|_| (300..400).contains(&reply.status)) {
            Some(target) => format!("it redirects to {target}"),
            None => reply.message(),
        };
        let said = shorten(&self.api_key.redact(&said), MESSAGE_CHARS);
        if said.is_empty() {
            said
        } else {
            format!(": {said}")
        }
    }
}

/// The machine's own certificates, so that a company's authority is trusted; those of the browsers
/// where it has none.
fn root_certs() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates = found
        .iter()
        .map(|der| Certificate::from_der(der.as_ref()).to_owned());
    RootCerts::Specific(Arc::new(certificates.collect()))
}
