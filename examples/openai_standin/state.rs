//! What is shared between requests: settings, counters, and the faults that need memory.

use crate::behaviour::Behaviour;
use crate::reply::{Reply, error, error_about, json};
use crate::vectors::Vectors;
use alfred::clock::{Clock as _, SystemClock};
use hyper::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Everything there is.
pub(crate) struct State {
    key: String,
    pub(crate) vectors: Vectors,
    shared: Mutex<Shared>,
}

struct Shared {
    behaviour: Behaviour,
    /// When the settings were made.
    since: Instant,
    failed: u64,
    /// Tokens left in the bucket of the rate limit, and when it was filled last.
    bucket: (f64, Instant),
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    /// By route, then status.
    requests: BTreeMap<String, BTreeMap<u16, u64>>,
    inputs: u64,
    distinct: HashSet<blake3::Hash>,
    last_embeddings: Value,
    last_chat: Value,
    /// Of the last requests, what each said of the trace that it is part of.
    traces: VecDeque<Value>,
}

/// How many requests are looked back on.
const TRACES: usize = 100;

impl State {
    pub(crate) fn new(key: String, vectors: Vectors, behaviour: Behaviour) -> Self {
        let now = SystemClock.monotonic();
        let bucket = (behaviour.rate_limit.max(1.0), now);
        Self {
            key,
            vectors,
            shared: Mutex::new(Shared {
                behaviour,
                since: now,
                failed: 0,
                bucket,
                counters: Counters::default(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The behaviour towards requests of `path`: only latency and the chat model's words where the
    /// faults are meant for another route.
    pub(crate) fn behaviour_for(&self, path: &str) -> Behaviour {
        let behaviour = self.lock().behaviour.clone();
        match &behaviour.only {
            Some(only) if !path.contains(only.as_str()) => Behaviour {
                bogus_footnotes: behaviour.bogus_footnotes.clone(),
                chat_text: behaviour.chat_text.clone(),
                ..Behaviour::default()
            },
            _ => behaviour,
        }
    }

    /// The reply that goes wrong now, if one shall.
    pub(crate) fn fault(&self, path: &str, behaviour: &Behaviour) -> Option<Reply> {
        if let Some(target) = &behaviour.redirect_to {
            let mut reply = error(StatusCode::TEMPORARY_REDIRECT, "moved");
            let target = HeaderValue::from_str(&format!("{target}{path}")).ok()?;
            reply.headers_mut().insert(LOCATION, target);
            return Some(reply);
        }
        let mut shared = self.lock();
        let now = SystemClock.monotonic();
        if let Some(status) = shared.failing(behaviour, now) {
            let message = "The server had an error while processing your request";
            let mut reply = error_about(status, message, None, behaviour.fail_code.as_deref());
            if let Some(wait) = &behaviour.retry_after {
                reply
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_str(wait).ok()?);
            }
            return Some(reply);
        }
        if behaviour.rate_limit > 0.0 && !shared.take(behaviour.rate_limit, now) {
            let message = "Rate limit reached for requests";
            let code = Some("rate_limit_exceeded");
            let mut reply = error_about(StatusCode::TOO_MANY_REQUESTS, message, None, code);
            reply
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Some(reply);
        }
        None
    }

    /// 401 without the right key; its message repeats the wrong one, as bad as it gets.
    pub(crate) fn refuse(&self, authorization: &str) -> Option<Reply> {
        let given = authorization.strip_prefix("Bearer ").unwrap_or("");
        if self.key.is_empty() || given == self.key {
            return None;
        }
        let message = format!("Incorrect API key provided: {given}");
        let code = Some("invalid_api_key");
        Some(error_about(StatusCode::UNAUTHORIZED, &message, None, code))
    }

    pub(crate) fn count_reply(&self, path: &str, status: StatusCode) {
        let mut shared = self.lock();
        let by_status = shared.counters.requests.entry(path.to_owned());
        *by_status.or_default().entry(status.as_u16()).or_default() += 1;
    }

    /// Counts the inputs of a request for embeddings, and keeps the rest of it.
    pub(crate) fn count_inputs(&self, inputs: &[String], rest: Value) {
        let mut shared = self.lock();
        shared.counters.inputs += inputs.len() as u64;
        let hashes = inputs.iter().map(|input| blake3::hash(input.as_bytes()));
        shared.counters.distinct.extend(hashes);
        shared.counters.last_embeddings = rest;
    }

    /// Keeps what a request says of its trace.
    pub(crate) fn keep_trace(&self, path: &str, headers: &HeaderMap) {
        let said = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (parent, state) = (said("traceparent"), said("tracestate"));
        let traces = &mut self.lock().counters.traces;
        traces.push_back(json!({"path": path, "traceparent": parent, "tracestate": state}));
        if traces.len() > TRACES {
            traces.pop_front();
        }
    }

    pub(crate) fn keep_chat(&self, request: Value) {
        self.lock().counters.last_chat = request;
    }

    /// `GET`: counters and settings. `POST`: changes the settings that are named; `"reset": true`
    /// first puts everything back.
    pub(crate) fn control(&self, method: &Method, body: &[u8]) -> Reply {
        if method == Method::POST
            && let Err(problem) = self.change(body)
        {
            return error(StatusCode::BAD_REQUEST, &problem);
        }
        let shared = self.lock();
        let counters = &shared.counters;
        let body = json!({
            "behaviour": shared.behaviour,
            "requests": counters.requests,
            "inputs": counters.inputs,
            "distinct_inputs": counters.distinct.len(),
            "last_embeddings": counters.last_embeddings,
            "last_chat": counters.last_chat,
            "traces": counters.traces,
        });
        json(StatusCode::OK, &body)
    }

    fn change(&self, body: &[u8]) -> Result<(), String> {
        let mut changes: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut shared = self.lock();
        if changes.remove("reset") == Some(Value::Bool(true)) {
            shared.behaviour = Behaviour::default();
            shared.counters = Counters::default();
        }
        let mut all = serde_json::to_value(&shared.behaviour).map_err(|error| error.to_string())?;
        if let Some(all) = all.as_object_mut() {
            all.extend(changes);
        }
        shared.behaviour = serde_json::from_value(all).map_err(|error| error.to_string())?;
        let now = SystemClock.monotonic();
        shared.since = now;
        shared.failed = 0;
        shared.bucket = (shared.behaviour.rate_limit.max(1.0), now);
        Ok(())
    }
}

impl Shared {
    /// The status to fail with, if this request shall.
    fn failing(&mut self, behaviour: &Behaviour, now: Instant) -> Option<StatusCode> {
        let status = StatusCode::from_u16(behaviour.fail_status).ok()?;
        let is_over = behaviour
            .fail_ms
            .is_some_and(|ms| now.duration_since(self.since) >= Duration::from_millis(ms));
        let is_spent = behaviour
            .fail_count
            .is_some_and(|count| self.failed >= count);
        if is_over || is_spent {
            return None;
        }
        self.failed += 1;
        Some(status)
    }

    /// Whether the bucket, which holds what one second brings, still has a token.
    fn take(&mut self, rate: f64, now: Instant) -> bool {
        let (tokens, filled) = self.bucket;
        let tokens = (tokens + now.duration_since(filled).as_secs_f64() * rate).min(rate.max(1.0));
        let granted = tokens >= 1.0;
        self.bucket = (tokens - f64::from(u8::from(granted)), now);
        granted
    }
}
