//! The thread that talks HTTP: sends what it is handed at once, on an idle connection or a new one.

use super::{Admitted, Interrupt, Shared};
use crate::client::{BodyLimits, ClientError, Connection, Connector, Reply, Sent};
use crate::soak::causes::{self, Cause};
use crate::soak::check::{self, Check};
use crate::soak::ledger::Ticket;
use crate::soak::queries::Requests;
use crate::soak::scenario::Scenario;
use crate::soak::settings::StatusRange;
use crate::soak::tally::{ErrorKind, Outcome};
use crate::soak::units::show_duration;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::Full;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, oneshot};

/// Largest answer; one that goes on longer is an error of its own kind.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;
/// Largest answer whose body is checked.
const MAX_CHECKED_BYTES: u64 = 1024 * 1024;
/// Largest answer that is searched for what it says of the target's cache.
const MAX_PROBED_BYTES: u64 = 64 * 1024;
/// So many answers without a word of the cache, and it is not looked for any more.
const PROBES: u32 = 100;
/// So many requests are taken from the queue at a time.
const BATCH: usize = 64;

pub(super) fn spawn(
    sender: Sender,
    due: UnboundedReceiver<Admitted>,
    finished: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("soak-http".to_owned())
        .spawn(move || {
            let sender = Arc::new(sender);
            runtime.block_on(async {
                tokio::spawn(heed_signals(Arc::clone(&sender.shared)));
                tokio::spawn(send_all(sender, due));
                // An error here is the sender being dropped, which is the signal.
                let _ = finished.await;
            });
            runtime.shutdown_background();
        })
}

async fn send_all(sender: Arc<Sender>, mut due: UnboundedReceiver<Admitted>) {
    let mut batch = Vec::with_capacity(BATCH);
    while due.recv_many(&mut batch, BATCH).await > 0 {
        for admitted in batch.drain(..) {
            tokio::spawn(Arc::clone(&sender).perform(admitted.ticket));
        }
    }
}

/// A person's SIGINT ends the run early, the second one aborts it. SIGTERM and SIGHUP abort it at
/// once: whoever stops the process from outside has not asked for a verdict on part of the run.
async fn heed_signals(shared: Arc<Shared>) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        return;
    };
    loop {
        let abort = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => Some("SIGTERM"),
            _ = hangup.recv() => Some("SIGHUP"),
        };
        let mut asked = shared.interrupt();
        *asked = Some(match (abort, *asked) {
            (_, Some(first @ Interrupt::Abort(_))) => first,
            (Some(signal), _) => Interrupt::Abort(signal),
            (None, None) => Interrupt::Stop,
            (None, Some(Interrupt::Stop)) => Interrupt::Abort("a second SIGINT"),
        });
    }
}

/// Everything that a request is made of.
pub(super) struct Sender {
    shared: Arc<Shared>,
    connector: Connector,
    method: Method,
    headers: HeaderMap,
    requests: Requests,
    timeout: Duration,
    expected: Vec<StatusRange>,
    checks: Checks,
    /// One for each connection that may be there at a time.
    connections: Semaphore,
    /// Idle connections, the most recently used last. No more than ever were in flight at once.
    idle: Mutex<Vec<Connection>>,
    probe: CacheProbe,
}

impl Sender {
    pub(super) fn new(
        scenario: &Scenario,
        requests: Requests,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
        };
        let endpoint = scenario.target.endpoint.clone();
        let host = endpoint.authority();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().map_err(|error| invalid(&error))?);
        let agent = concat!("alfred-soak/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if !scenario.body.text().is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        headers.extend(scenario.headers.clone());
        Ok(Self {
            shared,
            connector: Connector::new(endpoint, &scenario.trust)
                .map_err(|error| invalid(&error))?,
            method: scenario.method.clone(),
            headers,
            requests,
            timeout: scenario.timeout,
            expected: scenario.expected_status.clone(),
            checks: Checks::of(&scenario.checks),
            connections: Semaphore::new(
                scenario
                    .connections
                    .unwrap_or(scenario.max_in_flight)
                    .min(Semaphore::MAX_PERMITS),
            ),
            idle: Mutex::new(Vec::new()),
            probe: CacheProbe::default(),
        })
    }

    async fn perform(self: Arc<Self>, ticket: Ticket) {
        let request = self.request(ticket);
        let sent_ns = self.shared.now_ns();
        self.shared.ledger().sent(ticket, sent_ns);
        let answer = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        let outcome = match answer {
            Ok(Ok(reply)) => self.outcome(&reply),
            Ok(Err(error)) => Outcome::Error(kind_of(&error), cause_of(&error)),
            Err(_) => Outcome::Error(
                ErrorKind::Timeout,
                format!("no answer within {}", show_duration(self.timeout)).into(),
            ),
        };
        let now_ns = self.shared.now_ns();
        self.shared.ledger().ended(ticket, sent_ns, now_ns, outcome);
    }

    fn request(&self, ticket: Ticket) -> Request<Full<Bytes>> {
        let said = self.requests.of(ticket.number());
        let mut request = Request::new(Full::new(said.body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = said.uri;
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// One request, one answer. A connection that turns out to be closed before a byte was written
    /// is replaced; nothing is ever sent twice.
    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        let probed = if self.probe.looks() {
            MAX_PROBED_BYTES
        } else {
            0
        };
        let limits = BodyLimits {
            max_bytes: self.checks.max_bytes,
            keep_bytes: probed.max(self.checks.keep_bytes),
        };
        // Never closed.
        let _one = self.connections.acquire().await;
        while let Some(mut connection) = self.take_idle() {
            match connection.exchange(request, limits).await? {
                Sent::Answered(reply) => return Ok(self.keep(connection, reply)),
                Sent::NotSent(returned) => request = returned,
            }
        }
        // Boxed: it is rare, and every request would carry room for a TLS handshake.
        let mut connection = Box::pin(self.connector.open()).await?;
        match connection.exchange(request, limits).await? {
            Sent::Answered(reply) => Ok(self.keep(connection, reply)),
            Sent::NotSent(_) => Err(ClientError::Reset { source: None }),
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection, reply: Reply) -> Reply {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
        reply
    }

    fn outcome(&self, reply: &Reply) -> Outcome {
        let status = reply.status.as_u16();
        if !self.expected.iter().any(|range| range.contains(status)) {
            return Outcome::Error(
                ErrorKind::of_status(status),
                format!("status {status}").into(),
            );
        }
        if let Some(failed) = self.checks.failed(reply) {
            return Outcome::Error(ErrorKind::Check, failed.into());
        }
        Outcome::Ok {
            cached: self.probe.cached(reply),
        }
    }
}

/// What answers are held against, and how much of them it takes.
struct Checks {
    all: Vec<Check>,
    max_bytes: u64,
    keep_bytes: u64,
}

impl Checks {
    fn of(checks: &[Check]) -> Self {
        let sizes = checks.iter().filter_map(Check::max_bytes);
        let reads_body = checks.iter().any(Check::reads_body);
        Self {
            all: checks.to_vec(),
            max_bytes: sizes.min().unwrap_or(MAX_BODY_BYTES),
            keep_bytes: if reads_body { MAX_CHECKED_BYTES } else { 0 },
        }
    }

    fn failed(&self, reply: &Reply) -> Option<String> {
        if self.keep_bytes == 0 {
            return None;
        }
        let Some(body) = &reply.body else {
            return Some(format!(
                "the answer is larger than {MAX_CHECKED_BYTES} bytes, and not checked"
            ));
        };
        check::first_failed(&self.all, body)
    }
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
        ClientError::Protocol { source } => format!("{error}: {source}").into(),
        other => other.to_string().into(),
    }
}

/// Looks in answers for `usage.embedding_cached`, as alfred's own have it, and stops looking when
/// the target is another that never says.
#[derive(Default)]
struct CacheProbe {
    without: AtomicU32,
    found: AtomicBool,
}

#[derive(serde::Deserialize)]
struct Answer {
    usage: Usage,
}

#[derive(serde::Deserialize)]
struct Usage {
    embedding_cached: bool,
}

impl CacheProbe {
    fn looks(&self) -> bool {
        self.found.load(Ordering::Relaxed) || self.without.load(Ordering::Relaxed) < PROBES
    }

    fn cached(&self, reply: &Reply) -> Option<bool> {
        if !self.looks() {
            return None;
        }
        let body = reply.body.as_ref().filter(|body| body.starts_with(b"{"));
        let answer = body.and_then(|body| serde_json::from_slice::<Answer>(body).ok());
        if answer.is_some() {
            self.found.store(true, Ordering::Relaxed);
        } else {
            self.without.fetch_add(1, Ordering::Relaxed);
        }
        answer.map(|answer| answer.usage.embedding_cached)
    }
}
