//! Different queries that come together share one call to a provider.
//!
//! A query that comes alone goes at once, whether calls are under way or not: a provider's latency
//! is many times what gathering can save. One that comes within [`WINDOW`] of another opens a batch
//! and waits that long for more; the batch also ends when it is full. So a burst costs two calls
//! instead of one each, and nobody pays more than the window. (`examples/gather_bench.rs` compares
//! this with no window at all and with one for everybody.)
//!
//! There are no threads here: of those who wait, the one with the most time left makes the call for
//! all, so that it is not ended early for anybody; each of the others leaves when its own deadline is
//! over. A call that failed for another reason than that the provider is away or late says nothing
//! about the single texts: each caller tries its own once more by itself.
//!
//! Not for the model of this machine, whose queries have lanes of their own: its batches gain
//! nothing.

use super::flight::lock;
use super::{EmbedError, Embedded, Embedder};
use crate::clock::{Clock as _, Deadline, SystemClock};
use crate::domain::Embedding;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How near to another a query must come to wait for more, and how long it waits.
pub const WINDOW: Duration = Duration::from_millis(2);

/// Puts queries together; see the module.
pub struct Gatherer {
    embedder: Arc<dyn Embedder>,
    batch_max: usize,
    window: Duration,
    arrivals: Mutex<Arrivals>,
}

#[derive(Default)]
struct Arrivals {
    last: Option<Instant>,
    open: Option<Arc<Batch>>,
}

struct Batch {
    progress: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    members: Vec<Member>,
    phase: Phase,
}

struct Member {
    text: String,
    deadline: Deadline,
    has_left: bool,
}

enum Phase {
    /// Others may still come.
    Open,
    /// This member makes the call.
    Calling(usize),
    /// What each member gets, in their order.
    Done(Vec<Option<(Embedding, u64)>>),
    /// Nothing for anybody.
    Failed(EmbedError),
    /// Nothing that holds for the single texts.
    EachAlone,
}

impl Gatherer {
    /// At most `batch_max` texts a call.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>, batch_max: usize) -> Self {
        Self {
            embedder,
            batch_max: batch_max.max(1),
            window: WINDOW,
            arrivals: Mutex::default(),
        }
    }

    /// With another window than [`WINDOW`].
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// The vector of `text`, and its tokens.
    ///
    /// # Errors
    /// As [`Embedder::embed_within`].
    pub fn embed(&self, text: &str, deadline: Deadline) -> Result<(Embedding, u64), EmbedError> {
        let Some((batch, place)) = self.join(text, deadline) else {
            return self.embed_alone(text, deadline);
        };
        if place == 0 {
            self.hold_open(&batch, deadline);
        }
        let mut progress = lock(&batch.progress);
        loop {
            match &mut progress.phase {
                Phase::Calling(caller) if *caller == place => {
                    drop(progress);
                    self.call(&batch);
                    progress = lock(&batch.progress);
                    continue;
                }
                Phase::Open | Phase::Calling(_) => {}
                Phase::Done(vectors) => {
                    if let Some(vector) = vectors.get_mut(place).and_then(Option::take) {
                        return Ok(vector);
                    }
                    break;
                }
                Phase::Failed(error) => return Err(error.clone()),
                Phase::EachAlone => break,
            }
            progress = match deadline.remaining(&SystemClock) {
                Some(Duration::ZERO) => {
                    progress.members[place].has_left = true;
                    return Err(self.late());
                }
                Some(left) => batch
                    .changed
                    .wait_timeout(progress, left)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(progress, _)| progress),
                None => batch
                    .changed
                    .wait(progress)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        drop(progress);
        self.embed_alone(text, deadline)
    }

    /// A place in a batch; the first one has to close it. `None`: nobody else is near.
    fn join(&self, text: &str, deadline: Deadline) -> Option<(Arc<Batch>, usize)> {
        let member = Member {
            text: text.to_owned(),
            deadline,
            has_left: false,
        };
        let now = SystemClock.monotonic();
        let mut arrivals = lock(&self.arrivals);
        let last = arrivals.last.replace(now);
        if let Some(batch) = arrivals.open.clone() {
            let mut progress = lock(&batch.progress);
            progress.members.push(member);
            let count = progress.members.len();
            drop(progress);
            if count >= self.batch_max {
                arrivals.open = None;
                batch.close();
            }
            return Some((batch, count - 1));
        }
        let is_near = last.is_some_and(|last| now.saturating_duration_since(last) < self.window);
        if !is_near || self.batch_max == 1 {
            return None;
        }
        let batch = Arc::new(Batch {
            progress: Mutex::new(Progress {
                members: vec![member],
                phase: Phase::Open,
            }),
            changed: Condvar::new(),
        });
        arrivals.open = Some(Arc::clone(&batch));
        Some((batch, 0))
    }

    /// Waits for the window to end or the batch to be full, and closes it.
    fn hold_open(&self, batch: &Arc<Batch>, deadline: Deadline) {
        let window = Deadline::after(&SystemClock, self.window).min(deadline);
        let progress = lock(&batch.progress);
        let left = window.cap(&SystemClock, self.window);
        drop(
            batch
                .changed
                .wait_timeout_while(progress, left, |progress| {
                    matches!(progress.phase, Phase::Open)
                }),
        );
        let mut arrivals = lock(&self.arrivals);
        if arrivals
            .open
            .as_ref()
            .is_some_and(|open| Arc::ptr_eq(open, batch))
        {
            arrivals.open = None;
            batch.close();
        }
    }

    /// Makes the call for all who are still there, and tells them.
    fn call(&self, batch: &Arc<Batch>) {
        let mut ending = Ending {
            batch,
            phase: Phase::EachAlone,
        };
        let (members, places, texts, deadline) = {
            let progress = lock(&batch.progress);
            let there = progress.members.iter().enumerate();
            let there = there.filter(|(_, member)| !member.has_left);
            let (places, texts): (Vec<usize>, Vec<String>) = there
                .map(|(place, member)| (place, member.text.clone()))
                .unzip();
            let deadline = progress.latest().map(|(_, deadline)| deadline);
            (
                progress.members.len(),
                places,
                texts,
                deadline.unwrap_or_default(),
            )
        };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        ending.phase = match self.embedder.embed_within(&texts, deadline) {
            Ok(embedded) if embedded.vectors.len() == texts.len() => {
                let mut vectors: Vec<Option<(Embedding, u64)>> = vec![None; members];
                for (place, vector) in places.into_iter().zip(self.share_out(&texts, embedded)) {
                    vectors[place] = Some(vector);
                }
                Phase::Done(vectors)
            }
            Err(error @ (EmbedError::Unavailable { .. } | EmbedError::TimedOut { .. })) => {
                Phase::Failed(error)
            }
            Err(error) if texts.len() == 1 => Phase::Failed(error),
            Ok(_) | Err(_) => Phase::EachAlone,
        };
    }

    /// Every vector with its part of the tokens: a provider counts them for the whole call, so they
    /// are shared out as our own count has it; the parts add up to the whole.
    fn share_out(&self, texts: &[&str], embedded: Embedded) -> Vec<(Embedding, u64)> {
        let weights: Vec<u64> = texts
            .iter()
            .map(|text| self.embedder.count_tokens(text).max(1) as u64)
            .collect();
        let shares = shares(embedded.tokens, &weights);
        embedded.vectors.into_iter().zip(shares).collect()
    }

    fn embed_alone(&self, text: &str, deadline: Deadline) -> Result<(Embedding, u64), EmbedError> {
        single(&*self.embedder, text, deadline)
    }

    fn late(&self) -> EmbedError {
        EmbedError::TimedOut {
            provider: self.embedder.provider().to_owned(),
            problem: "a call with several queries".to_owned(),
        }
    }
}

/// The vector of one text by a call of its own.
pub(super) fn single(
    embedder: &dyn Embedder,
    text: &str,
    deadline: Deadline,
) -> Result<(Embedding, u64), EmbedError> {
    let made = embedder.embed_within(&[text], deadline)?;
    let [vector] =
        <[Embedding; 1]>::try_from(made.vectors).map_err(|vectors| EmbedError::Inference {
            model: embedder.model().name.clone(),
            texts: 1,
            problem: format!("{} vectors came back for one text", vectors.len()),
        })?;
    Ok((vector, made.tokens))
}

impl Batch {
    /// No more may come; one of them makes the call.
    fn close(&self) {
        let mut progress = lock(&self.progress);
        let caller = progress.latest().map_or(0, |(place, _)| place);
        progress.phase = Phase::Calling(caller);
        drop(progress);
        self.changed.notify_all();
    }
}

impl Progress {
    /// The member with the most time left, and its deadline.
    fn latest(&self) -> Option<(usize, Deadline)> {
        let left = |member: &Member| {
            let left = member.deadline.remaining(&SystemClock);
            left.unwrap_or(Duration::MAX)
        };
        let there = self.members.iter().enumerate();
        there
            .filter(|(_, member)| !member.has_left)
            .max_by_key(|(_, member)| left(member))
            .map(|(place, member)| (place, member.deadline))
    }
}

/// Tells the others how the call ended, on a panic too.
struct Ending<'a> {
    batch: &'a Batch,
    phase: Phase,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::EachAlone);
        lock(&self.batch.progress).phase = phase;
        self.batch.changed.notify_all();
    }
}

/// `whole` in parts like `weights`, which are not all zero; adds up to `whole`.
fn shares(whole: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let mut seen = 0_u128;
    let mut given = 0_u64;
    let mut parts = Vec::with_capacity(weights.len());
    for weight in weights {
        seen += u128::from(*weight);
        let until = u128::from(whole) * seen / total.max(1);
        let until = u64::try_from(until).unwrap_or(whole);
        parts.push(until - given);
        given = until;
    }
    parts
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
