//! What happened to one request, and when.

use super::context::{Incoming, SpanId, TraceId};
use super::exporter::Exporter;
use super::span::{Attribute, Kind, Span};
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// What a query goes through, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a place, and for a thread to begin with it.
    Queue,
    /// Its embedding is looked up or made.
    Embed,
    /// The store is searched.
    Search,
    /// The answer is put together, or written by a chat model.
    Answer,
}

/// All of them.
pub const STAGES: [Stage; 4] = [Stage::Queue, Stage::Embed, Stage::Search, Stage::Answer];
/// The place of the mark behind the last stage.
const OVER: usize = STAGES.len();

impl Stage {
    /// Its name in logs and spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Embed => "embed",
            Self::Search => "search",
            Self::Answer => "answer",
        }
    }
}

/// When the stages of a request were, counted from when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// From when to when, where it was reached; in the order of [`STAGES`].
    spans: [Option<(Duration, Duration)>; OVER],
    /// The stage in which the request ended, where it ended in one: it failed there, or was given up.
    pub ended_in: Option<Stage>,
}

impl Stages {
    /// How long a stage took; `None` where it was not reached.
    #[must_use]
    pub fn took(&self, stage: Stage) -> Option<Duration> {
        self.spans[stage as usize].map(|(from, to)| to.saturating_sub(from))
    }

    /// How long it took until the first stage: the body arriving and being read. `None` where none
    /// was reached.
    #[must_use]
    pub fn until_first(&self) -> Option<Duration> {
        let mut reached = self.spans.iter().flatten();
        reached.next().map(|(from, _)| *from)
    }

    /// The stage that took the longest.
    #[must_use]
    pub fn longest(&self) -> Option<Stage> {
        let reached = STAGES
            .into_iter()
            .filter(|stage| self.took(*stage).is_some());
        reached.max_by_key(|stage| self.took(*stage))
    }
}

/// What a server's span says beside its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Method and route, of few kinds.
    pub name: String,
    /// See the semantic conventions for HTTP servers.
    pub attributes: Vec<Attribute>,
    /// Whether the server failed.
    pub is_error: bool,
}

/// What happened to one request.
#[derive(Debug)]
pub struct Trail {
    began: Instant,
    /// When each stage was reached and the last one ended, in ns after `began` and one more; 0: not.
    marks: [AtomicU64; OVER + 1],
    incoming: Option<Incoming>,
    own: Option<Own>,
    remark: OnceLock<Box<str>>,
    question: OnceLock<Box<str>>,
}

/// Its place in a trace of which spans are exported.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) trace: TraceId,
    pub(super) is_sampled: bool,
    /// Of the request itself, then of each stage.
    spans: [SpanId; 1 + OVER],
    /// The wall clock at `began`.
    wall: SystemTime,
    pub(super) exporter: Arc<Exporter>,
}

impl Trail {
    /// A request that began then, as part of the trace that `incoming` names. Where traces are
    /// exported, `exporter` says whether this one is, and `wall` is asked for the time of day.
    #[must_use]
    pub fn begin(
        began: Instant,
        incoming: Option<Incoming>,
        exporter: Option<&Arc<Exporter>>,
        wall: impl FnOnce() -> SystemTime,
    ) -> Self {
        let own = exporter.map(|exporter| {
            let trace = incoming
                .as_ref()
                .map_or_else(TraceId::random, |it| it.trace);
            Own {
                trace,
                is_sampled: match &incoming {
                    Some(incoming) => incoming.is_sampled,
                    None => exporter.sampling().takes(trace),
                },
                spans: rand::random::<[u64; 1 + OVER]>().map(SpanId::of),
                wall: wall(),
                exporter: Arc::clone(exporter),
            }
        });
        Self {
            began,
            marks: std::array::from_fn(|_| AtomicU64::new(0)),
            incoming,
            own,
            remark: OnceLock::new(),
            question: OnceLock::new(),
        }
    }

    /// When the request began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The trace that the request belongs to: the caller's, or one of our own where traces are
    /// exported.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        let incoming = self.incoming.as_ref().map(|incoming| incoming.trace);
        incoming.or(self.own.as_ref().map(|own| own.trace))
    }

    /// Whether spans of this request are exported.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded().is_some()
    }

    pub(super) fn recorded(&self) -> Option<&Own> {
        self.own.as_ref().filter(|own| own.is_sampled)
    }

    pub(super) fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    pub(super) fn incoming(&self) -> Option<&Incoming> {
        self.incoming.as_ref()
    }

    /// A stage begins, and the one before ends.
    pub fn reached(&self, stage: Stage, now: Instant) {
        self.mark(stage as usize, now);
    }

    /// The last stage ends.
    pub fn answered(&self, now: Instant) {
        self.mark(OVER, now);
    }

    fn mark(&self, place: usize, now: Instant) {
        let after = now.saturating_duration_since(self.began).as_nanos();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.marks[place].store(after.saturating_add(1), Ordering::Relaxed);
    }

    fn marked(&self, place: usize) -> Option<Duration> {
        let mark = self.marks[place].load(Ordering::Relaxed);
        mark.checked_sub(1).map(Duration::from_nanos)
    }

    /// The stages of the request, which ended then. A stage that is still under way ends with it.
    #[must_use]
    pub fn stages(&self, ended: Instant) -> Stages {
        let mut stages = Stages::default();
        let mut next = self.marked(OVER);
        let mut end = next.unwrap_or_else(|| ended.saturating_duration_since(self.began));
        for stage in STAGES.into_iter().rev() {
            let Some(from) = self.marked(stage as usize) else {
                continue;
            };
            stages.spans[stage as usize] = Some((from, end.max(from)));
            if next.is_none() {
                stages.ended_in = Some(stage);
            }
            next = Some(from);
            end = from;
        }
        stages
    }

    /// What is to be said of the request beside its reply; the first remark counts.
    pub fn note(&self, remark: &str) {
        let _ = self.remark.set(remark.into());
    }

    /// What was remarked.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        self.remark.get().map(AsRef::as_ref)
    }

    /// The question, to be logged with the request: only where that was asked for.
    pub fn asked(&self, question: &str) {
        let _ = self.question.set(question.into());
    }

    /// The question, where it is to be logged.
    #[must_use]
    pub fn question(&self) -> Option<&str> {
        self.question.get().map(AsRef::as_ref)
    }

    /// Hands the spans of the request, which ended then, to the exporter, where it is sampled.
    pub fn export(&self, ended: Instant, describe: impl FnOnce() -> Described) {
        let Some(own) = self.recorded() else { return };
        let [server, ids @ ..] = own.spans;
        let Described {
            name,
            attributes,
            is_error,
        } = describe();
        let stages = self.stages(ended);
        let span = |name, kind, id| Span {
            name,
            kind,
            trace: own.trace,
            id,
            parent: Some(server),
            is_parent_remote: false,
            state: self.state(),
            began: own.wall,
            ended: self.wall(own, ended),
            attributes: Vec::new(),
            events: Vec::new(),
            is_error: false,
        };
        for (stage, id) in STAGES.into_iter().zip(ids) {
            let Some((from, to)) = stages.spans[stage as usize] else {
                continue;
            };
            own.exporter.offer(Span {
                began: own.wall + from,
                ended: own.wall + to,
                is_error: is_error && stages.ended_in == Some(stage),
                ..span(Cow::Borrowed(stage.name()), Kind::Internal, id)
            });
        }
        own.exporter.offer(Span {
            parent: self.incoming.as_ref().map(|incoming| incoming.span),
            is_parent_remote: true,
            attributes,
            is_error,
            ..span(Cow::Owned(name), Kind::Server, server)
        });
    }

    pub(super) fn state(&self) -> Option<Box<str>> {
        self.incoming.as_ref()?.state.clone()
    }

    /// The time of day then.
    pub(super) fn wall(&self, own: &Own, at: Instant) -> SystemTime {
        own.wall + at.saturating_duration_since(self.began)
    }

    /// The span under which work that is done now belongs.
    pub(super) fn current_span(&self, own: &Own) -> SpanId {
        let reached = |stage: &Stage| self.marked(*stage as usize).is_some();
        let stage = STAGES.into_iter().rev().find(reached);
        own.spans[stage.map_or(0, |stage| 1 + stage as usize)]
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Trail>>> = const { RefCell::new(None) };
}

/// Does `work` for the request of `trail`: what this thread reaches, remarks and asks meanwhile
/// belongs to it.
pub fn within<T>(trail: &Arc<Trail>, work: impl FnOnce() -> T) -> T {
    let _entered = Entered(CURRENT.replace(Some(Arc::clone(trail))));
    work()
}

/// The request that a thread works for, to be worked for on another.
pub struct Carried(Option<Arc<Trail>>);

/// The request that this thread works for, if any.
#[must_use]
pub fn carried() -> Carried {
    Carried(current())
}

impl Carried {
    /// Does `work` for it.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(trail) => within(trail, work),
            None => work(),
        }
    }
}

/// Puts back what was current before, on a panic too: threads are used again.
struct Entered(Option<Arc<Trail>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// The trail of the request that this thread works for.
pub(super) fn current() -> Option<Arc<Trail>> {
    CURRENT.with_borrow(Clone::clone)
}

fn with_current(work: impl FnOnce(&Trail)) {
    CURRENT.with_borrow(|trail| {
        if let Some(trail) = trail {
            work(trail);
        }
    });
}

/// The request that this thread works for, if any, reaches a stage.
pub fn reached(stage: Stage, now: Instant) {
    with_current(|trail| trail.reached(stage, now));
}

/// The last stage of the request that this thread works for, if any, ends.
pub fn answered(now: Instant) {
    with_current(|trail| trail.answered(now));
}

/// Something to be said of the request that this thread works for, if any, when it is logged.
pub fn remark(text: &str) {
    with_current(|trail| trail.note(text));
}
