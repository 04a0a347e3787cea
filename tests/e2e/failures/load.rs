//! An open-loop client: requests are due on a schedule, whatever became of those before, and each is
//! measured from when it was due.

use alfred::client::{Endpoint, Limits, Outgoing, request};
use alfred::clock::{Clock as _, SystemClock};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests a second, over all kinds.
pub(super) const RATE: u32 = 50;

/// What is asked for; they need different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A question that nobody asked before: the provider and the store.
    NewQuestion,
    /// A question whose embedding is cached: the store.
    KnownQuestion,
    /// A search for words: the store.
    Words,
    /// A document to store: the provider and the store.
    Write,
    /// Whether the process lives: nothing else.
    Health,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NewQuestion => "new questions",
            Self::KnownQuestion => "known questions",
            Self::Words => "word searches",
            Self::Write => "writes",
            Self::Health => "`/healthz`",
        }
    }

    /// Of ten requests five are new questions, two known ones, two words, one a write; each fiftieth
    /// asks for the health.
    fn of(number: u64) -> Self {
        match number % 10 {
            _ if number % 50 == 45 => Self::Health,
            0 | 2 | 4 | 6 | 8 => Self::NewQuestion,
            1 | 5 => Self::KnownQuestion,
            3 | 7 => Self::Words,
            _ => Self::Write,
        }
    }
}

/// Questions that are asked before the load begins, so that their embeddings are cached.
pub(super) const KNOWN: [&str; 2] = ["How do I upgrade the chart?", "What do otters hold?"];

/// What became of one request.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) kind: Kind,
    pub(super) due: Instant,
    pub(super) ended: Instant,
    /// `200`, `503 search_error`, `no reply`, or what broke.
    pub(super) outcome: String,
    pub(super) has_retry_after: bool,
    /// The source of a document that was to be stored.
    pub(super) source: Option<String>,
}

impl Reply {
    pub(super) fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.due)
    }
}

/// How long a client waits: for questions, and for writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) question: Duration,
    pub(super) write: Duration,
}

/// A running load.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    replies: Arc<Mutex<Vec<Reply>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(endpoint: &Endpoint, patience: Patience) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let replies = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (endpoint, stopped, sink) = (endpoint.clone(), Arc::clone(&stop), Arc::clone(&replies));
        let thread = std::thread::spawn(move || {
            runtime.block_on(send(endpoint, patience, stopped, sink));
        });
        Self {
            stop,
            replies,
            thread: Some(thread),
        }
    }

    /// What has been replied so far.
    pub(super) fn so_far(&self) -> Vec<Reply> {
        let replies = self.replies.lock();
        replies.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends no more, and waits for the last reply; all of them, by due time.
    pub(super) fn finish(mut self) -> Vec<Reply> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let mut replies = self.so_far();
        replies.sort_by_key(|reply| reply.due);
        replies
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn send(
    endpoint: Endpoint,
    patience: Patience,
    stop: Arc<AtomicBool>,
    replies: Arc<Mutex<Vec<Reply>>>,
) {
    let start = SystemClock.monotonic();
    let interval = Duration::from_secs(1) / RATE;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0_u64.. {
        let due = start + interval.mul_f64(f64::from(u32::try_from(number).unwrap()));
        tokio::time::sleep_until(due.into()).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (endpoint, replies) = (endpoint.clone(), Arc::clone(&replies));
        tasks.spawn(async move {
            let reply = one(&endpoint, patience, number, due).await;
            let mut replies = replies.lock().unwrap_or_else(PoisonError::into_inner);
            replies.push(reply);
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn one(endpoint: &Endpoint, patience: Patience, number: u64, due: Instant) -> Reply {
    let kind = Kind::of(number);
    let limit = match kind {
        Kind::Write => patience.write,
        _ => patience.question,
    };
    let (path, body) = body_of(kind, number);
    let source = (kind == Kind::Write).then(|| body["source"].as_str().unwrap().to_owned());
    let exchanged = tokio::time::timeout(limit, exchange(endpoint, path, &body)).await;
    let (outcome, has_retry_after) =
        exchanged.unwrap_or_else(|_| (format!("no reply within {} s", limit.as_secs()), false));
    Reply {
        kind,
        due,
        ended: SystemClock.monotonic(),
        outcome,
        has_retry_after,
        source,
    }
}

fn body_of(kind: Kind, number: u64) -> (&'static str, Value) {
    match kind {
        Kind::NewQuestion => {
            let question = format!("What is said of subject {number}?");
            ("/v1/query", json!({"query": question}))
        }
        Kind::KnownQuestion => {
            let index = usize::try_from(number).unwrap() / 4 % KNOWN.len();
            ("/v1/query", json!({"query": KNOWN[index]}))
        }
        Kind::Words => ("/v1/query", json!({"query": "otters", "mode": "text"})),
        Kind::Write => {
            let content = format!("# Note {number}\n\nWritten while something was wrong.\n");
            let source = format!("notes/{number}.md");
            (
                "/v1/documents",
                json!({"source": source, "content": content}),
            )
        }
        Kind::Health => ("/healthz", Value::Null),
    }
}

/// Status with the kind of problem, and whether the reply said when to try again.
async fn exchange(endpoint: &Endpoint, path: &str, body: &Value) -> (String, bool) {
    let mut outgoing = Outgoing::default();
    if !body.is_null() {
        let json = HeaderValue::from_static("application/json");
        outgoing.method = Method::POST;
        outgoing.headers.insert(CONTENT_TYPE, json);
        outgoing.body = body.to_string().into();
    }
    let limits = Limits {
        timeout: Duration::MAX,
        max_response_bytes: 1 << 20,
    };
    let reply = match request(&endpoint.at(path), outgoing, limits).await {
        Ok(reply) => reply,
        Err(error) => return (error.to_string(), false),
    };
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let status = reply.status.as_u16().to_string();
    let outcome = match body["kind"].as_str() {
        Some(kind) if !reply.status.is_success() => format!("{status} `{kind}`"),
        _ => status,
    };
    (outcome, reply.headers.contains_key(RETRY_AFTER))
}
