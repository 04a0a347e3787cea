//! Time, passed in. Nothing else in the crate reads a clock.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// A source of monotonic and wall time that can also wait.
pub trait Clock: Send + Sync {
    /// Monotonic time; never goes back, stops during suspend.
    fn monotonic(&self) -> Instant;
    /// Wall time; may step.
    fn wall(&self) -> SystemTime;
    /// Blocks the calling thread for `duration`.
    fn sleep(&self, duration: Duration);
}

/// Until when a result is of use; most often the end of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No end.
    pub const NONE: Self = Self(None);

    /// `duration` from now.
    #[must_use]
    pub fn after(clock: &dyn Clock, duration: Duration) -> Self {
        Self(clock.monotonic().checked_add(duration))
    }

    /// The time that is left: zero once it has passed, `None` when there is no end.
    #[must_use]
    pub fn remaining(self, clock: &dyn Clock) -> Option<Duration> {
        self.0
            .map(|end| end.saturating_duration_since(clock.monotonic()))
    }

    /// The time that is left, `most` at most.
    #[must_use]
    pub fn cap(self, clock: &dyn Clock, most: Duration) -> Duration {
        self.remaining(clock).map_or(most, |left| left.min(most))
    }

    /// The earlier of two ends.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the home of the clock")]
impl Clock for SystemClock {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock that only moves when told, for tests and simulated soaks.
#[derive(Debug)]
pub struct ManualClock {
    origin: Instant,
    wall_origin: SystemTime,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// Starts at an arbitrary monotonic instant and the given wall time.
    #[must_use]
    pub fn new(wall_origin: SystemTime) -> Self {
        Self {
            origin: SystemClock.monotonic(),
            wall_origin,
            elapsed: Mutex::new(Duration::ZERO),
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, duration: Duration) {
        *self.lock() += duration;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.elapsed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Instant {
        self.origin + *self.lock()
    }

    fn wall(&self) -> SystemTime {
        self.wall_origin + *self.lock()
    }

    /// Returns at once, having moved the clock forward.
    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
