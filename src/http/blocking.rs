//! The one crossing from async to blocking work: bounded places, a bounded queue before them, and
//! a limit on both waits.

use super::overload::Overload;
use super::standing::Standing;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// The limits of one [`Lane`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneLimits {
    /// Most pieces of work that run at once.
    pub(crate) places: usize,
    /// Most that wait for a place.
    pub(crate) max_waiting: usize,
    /// Longest wait for a place.
    pub(crate) queue_timeout: Duration,
    /// Longest time until the result, the wait included.
    pub(crate) total_timeout: Duration,
}

/// All places have been taken for so long without any work ending: perhaps no thread was to be had for it.
const THREADLESS: Duration = Duration::from_millis(200);

/// For how long after a start whoever waited for it is caught up with.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Places for blocking work of one kind, so that one kind cannot starve another.
#[derive(Debug)]
pub(crate) struct Lane {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: LaneLimits,
    overload: Arc<Overload>,
    progress: Arc<Progress>,
    /// How many may wait at first.
    catch_up: Option<usize>,
    /// Where those who wait are people.
    standing: Option<Standing>,
    /// When a thread was last asked for, as `Progress` counts.
    nudged_ms: AtomicU64,
}

/// When the lane last moved: something ended, or began while there was room.
#[derive(Debug)]
struct Progress {
    created: Instant,
    moved_ms: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self {
            created: Instant::now(),
            moved_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moved(&self) {
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaneError {
    /// Every place is taken, and so is every place in the queue; or the wait was too long.
    #[error("every one of {places} places is busy and {waiting} more wait")]
    Overloaded {
        /// Places there are.
        places: usize,
        /// How many wait.
        waiting: usize,
    },
    /// No result in time; the work keeps its place until it really ends.
    #[error("no result within {0:?}")]
    TimedOut(Duration),
    /// The work panicked.
    #[error("{0}")]
    Panicked(String),
}

impl Lane {
    /// `name` is what runs here, as `queries`, for the log.
    pub(crate) fn new(name: &'static str, limits: LaneLimits) -> Self {
        let places = NonZeroUsize::new(limits.places).map_or(1, NonZeroUsize::get);
        Self {
            permits: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            limits: LaneLimits { places, ..limits },
            overload: Arc::new(Overload::of(name)),
            progress: Arc::new(Progress::new()),
            catch_up: None,
            standing: None,
            nudged_ms: AtomicU64::new(0),
        }
    }

    /// Keeps the queue short while it stands: see [`Standing`].
    pub(crate) fn brisk(mut self) -> Self {
        self.standing = Some(Standing::of(self.limits.queue_timeout, Instant::now()));
        self
    }

    /// For [`CATCH_UP`] from now, `room` may wait, each for as long as a result may take. Those who
    /// came while nobody served arrive all at once, and to refuse them would make a restart lose
    /// requests that the socket has kept.
    pub(crate) fn catch_up(&mut self, room: usize) {
        self.catch_up = Some(room);
    }

    /// How many may wait now, and how long.
    fn limits_of_wait(&self) -> (usize, Duration) {
        let limits = &self.limits;
        match self.catch_up {
            Some(room) if self.progress.created.elapsed() < CATCH_UP => {
                (room.max(limits.max_waiting), limits.total_timeout)
            }
            _ => {
                let standing = self.standing.as_ref();
                let room = standing.and_then(|standing| standing.room(Instant::now()));
                (
                    room.map_or(limits.max_waiting, |room| room.min(limits.max_waiting)),
                    limits.queue_timeout.min(limits.total_timeout),
                )
            }
        }
    }

    /// Asks for a thread again where work may be waiting for one. The runtime asks once, when work is
    /// handed to it, and goes on with the threads that it has when the system refuses; where all places
    /// are held by such work, nothing more is handed over, and it would wait for ever.
    fn nudge(&self) {
        if self.jammed_for().is_none_or(|jammed| jammed < THREADLESS) {
            return;
        }
        let (now, before) = (
            self.progress.now_ms(),
            self.nudged_ms.load(Ordering::Relaxed),
        );
        let is_due = u128::from(now.saturating_sub(before)) >= THREADLESS.as_millis();
        let order = Ordering::Relaxed;
        if is_due
            && self
                .nudged_ms
                .compare_exchange(before, now, order, order)
                .is_ok()
        {
            drop(hand_over(|| ()));
        }
    }

    /// For how long all places have been taken without any work ending; `None` while there is room.
    pub(crate) fn jammed_for(&self) -> Option<Duration> {
        (self.permits.available_permits() == 0).then(|| {
            let moved_ms = self.progress.moved_ms.load(Ordering::Relaxed);
            Duration::from_millis(self.progress.now_ms().saturating_sub(moved_ms))
        })
    }

    /// An overload of `former` goes on here.
    pub(crate) fn follow(&mut self, former: &Self) {
        self.overload = Arc::clone(&former.overload);
    }

    /// Pieces of work that run now, those that nobody waits for any more included.
    pub(crate) fn running(&self) -> usize {
        self.limits.places - self.permits.available_permits()
    }

    /// Pieces of work that wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs `work`, which is told how long it waited for a place, on a blocking thread. Dropping
    /// the future before the work began drops the work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Duration) -> T + Send + 'static,
    ) -> Result<T, LaneError> {
        let none: Option<fn(Duration, Reply<T>)> = None;
        self.run_soon(none, work).await
    }

    /// As [`Lane::run`], but where there is a way `later`, it is gone first: it returns at once, and
    /// keeps the place by its [`Reply`]. When that is dropped, `work` is run in this place.
    pub(crate) async fn run_soon<T: Send + 'static>(
        &self,
        later: Option<impl FnOnce(Duration, Reply<T>)>,
        work: impl FnOnce(Duration) -> T + Send + 'static,
    ) -> Result<T, LaneError> {
        let entered = Instant::now();
        let permit = self.place().await?;
        let queued = entered.elapsed();
        if let Some(standing) = &self.standing {
            standing.served(entered + queued, queued);
        }
        let progress = Arc::clone(&self.progress);
        progress.moved();
        let end = entered + self.limits.total_timeout;
        let late = || LaneError::TimedOut(self.limits.total_timeout);
        let mut held = Held(permit, progress);
        if let Some(later) = later {
            let (reply, replied) = Reply::of(held);
            later(queued, reply);
            match timeout_at(end, replied).await {
                Ok(Ok(Replied::Result(result))) => return Ok(result),
                Ok(Ok(Replied::Back(back))) => held = back,
                // Nobody drops the sender but who sends.
                Ok(Err(_)) => return Err(self.overloaded()),
                Err(_) => return Err(late()),
            }
        }
        let task = hand_over(move || {
            // Also when it panics.
            let _held = held;
            work(queued)
        });
        let Some(task) = task else {
            return Err(self.overloaded());
        };
        match timeout_at(end, task).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(LaneError::Panicked(panic_message(error))),
            Err(_) => Err(late()),
        }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, LaneError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        self.nudge();
        let (room, limit) = self.limits_of_wait();
        let _waiter = Waiter::enter(self, room)?;
        match timeout(limit, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(self.overloaded()),
        }
    }

    fn overloaded(&self) -> LaneError {
        let (places, waiting) = (self.limits.places, self.waiting());
        self.overload.refused(places, waiting);
        LaneError::Overloaded { places, waiting }
    }
}

/// Hands work to a blocking thread; `None` where there is none and the system starts no other: tokio panics
/// then, and keeps the work until there is one.
fn hand_over<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<tokio::task::JoinHandle<T>> {
    #[expect(clippy::disallowed_methods, reason = "this is the one crossing")]
    catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(work))).ok()
}

/// A place. Gives it back when dropped, and says that something moved.
struct Held(
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
    Arc<Progress>,
);

impl Drop for Held {
    fn drop(&mut self) {
        self.1.moved();
    }
}

/// A place whose result is yet to come, from any thread.
pub(crate) struct Reply<T>(Option<(Held, oneshot::Sender<Replied<T>>)>);

enum Replied<T> {
    Result(T),
    /// There will be none; the place is free for another try.
    Back(Held),
}

impl<T> Reply<T> {
    fn of(held: Held) -> (Self, oneshot::Receiver<Replied<T>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some((held, sender))), receiver)
    }

    /// Sends the result, and gives the place back.
    pub(crate) fn send(mut self, result: T) {
        if let Some((held, sender)) = self.0.take() {
            drop(held);
            // Nobody may wait any more.
            let _ = sender.send(Replied::Result(result));
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some((held, sender)) = self.0.take() {
            let _ = sender.send(Replied::Back(held));
        }
    }
}

/// One in the queue, for as long as it lives.
struct Waiter<'a>(&'a Lane);

impl<'a> Waiter<'a> {
    fn enter(lane: &'a Lane, room: usize) -> Result<Self, LaneError> {
        let before = lane.waiting.fetch_add(1, Ordering::Relaxed);
        let waiter = Self(lane);
        if before >= room {
            drop(waiter);
            return Err(lane.overloaded());
        }
        Ok(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn panic_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => super::service::panic_text(payload.as_ref()),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
#[path = "blocking_tests.rs"]
mod tests;
