//! One way to the server: a pool, its breaker and the thread that probes while the server is down.

use super::breaker::{Breaker, Ticket};
use super::connect::{ConnectError, Connector};
use super::queue::{Entry, Place, Queue, Standing};
use super::search::Question;
use super::session::Session;
use super::together::Found;
use super::waited::Waited;
use crate::clock::Clock;
use crate::telemetry::metrics::PoolMetrics;
use r2d2::{ManageConnection, Pool, PooledConnection};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a connection is used. It ends so that a standby that came back gets its share, and
/// what a long session piles up on the server goes; not all at once, hence a range.
const LIFETIME: Range<Duration> = Duration::from_mins(10)..Duration::from_mins(15);

/// How long those who wait for a connection do not hear that the server is down.
const WAIT_SLICE: Duration = Duration::from_millis(50);

/// `r2d2` waits half of this, at most, between two attempts to connect.
const CONNECT_BACKOFF: Duration = Duration::from_millis(500);

/// A pooled connection.
pub(super) struct Link {
    pub(super) client: Session,
    pub(super) ticket: Ticket,
    /// When it is to be replaced.
    end: Instant,
}

/// Makes and judges connections for `r2d2`.
pub(super) struct Manager {
    connector: Arc<Connector>,
    breaker: Arc<Breaker>,
    clock: Arc<dyn Clock>,
}

impl ManageConnection for Manager {
    type Connection = Link;
    type Error = ConnectError;

    fn connect(&self) -> Result<Link, ConnectError> {
        if let Some(problem) = self.breaker.problem() {
            return Err(ConnectError::new(problem));
        }
        let generation = self.breaker.generation();
        match self.connector.connect() {
            Ok(client) => Ok(Link {
                client: Session::new(client),
                ticket: self.breaker.connected(generation),
                end: self.clock.monotonic() + rand::random_range(LIFETIME),
            }),
            Err(error) => {
                error.report(&self.breaker);
                Err(error)
            }
        }
    }

    /// Without a round trip: what is known here is what the last call found.
    fn is_valid(&self, link: &mut Link) -> Result<(), ConnectError> {
        if self.has_broken(link) || self.clock.monotonic() >= link.end {
            return Err(ConnectError::new(
                "the connection is not to be used any more",
            ));
        }
        Ok(())
    }

    fn has_broken(&self, link: &mut Link) -> bool {
        link.client.is_closed() || !link.ticket.is_current()
    }
}

/// One pool with what it needs.
pub(super) struct Lane {
    pub(super) pool: Pool<Manager>,
    pub(super) breaker: Arc<Breaker>,
    probe: Option<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    pub(super) waited: Waited,
    pub(super) timeouts: AtomicU64,
    metrics: PoolMetrics,
    queue: Queue,
}

impl Lane {
    pub(super) fn new(
        name: &str,
        connector: Connector,
        pool_size: u32,
        clock: &Arc<dyn Clock>,
        metrics: PoolMetrics,
    ) -> Self {
        let connector = Arc::new(connector);
        let breaker = Arc::new(Breaker::of(format!("{} ({name})", connector.place())));
        let probe = {
            let (connector, breaker) = (Arc::clone(&connector), Arc::clone(&breaker));
            std::thread::Builder::new()
                .name(format!("pg-probe-{name}"))
                .spawn(move || {
                    breaker.watch(|| match connector.connect() {
                        Err(error) if !error.is_full() => Err(error.to_string()),
                        _ => Ok(()),
                    });
                })
        };
        let pool = Pool::builder()
            .max_size(pool_size.max(1))
            .min_idle(Some(1))
            .connection_timeout(CONNECT_BACKOFF)
            // Ours, in `is_valid`: r2d2's own would keep its threads for half a minute after us.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(true)
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(Manager {
                connector,
                breaker: Arc::clone(&breaker),
                clock: Arc::clone(clock),
            });
        Self {
            pool,
            breaker,
            probe: probe.ok(),
            clock: Arc::clone(clock),
            waited: Waited::default(),
            timeouts: AtomicU64::new(0),
            metrics,
            queue: Queue::new(usize::try_from(pool_size).unwrap_or(usize::MAX)),
        }
    }

    /// A connection within `timeout`, in the order of asking, after a place in `turns`.
    pub(super) fn check_out<'a>(
        &'a self,
        timeout: Duration,
        turns: Option<(&'a Turns, Standing)>,
    ) -> Result<CheckedOut<'a>, Refusal> {
        let began = self.begin()?;
        let turn = match turns {
            None => None,
            Some((turns, standing)) => {
                let place = turns.enter(timeout, standing, || self.is_down());
                Some(place.ok_or_else(|| self.refused(began))?)
            }
        };
        self.connection(began, timeout, turn)
    }

    /// The same, unless another one who has a place in `turns` answers `question` before; it then
    /// has the answer, or tried to no avail.
    pub(super) fn check_out_or_join<'a>(
        &'a self,
        timeout: Duration,
        turns: &'a Turns,
        question: Arc<Question>,
    ) -> Result<ControlFlow<Option<Found>, CheckedOut<'a>>, Refusal> {
        let began = self.begin()?;
        let entry = turns.enter_with(timeout, question, || self.is_down());
        match entry.ok_or_else(|| self.refused(began))? {
            Entry::Place(place) => self
                .connection(began, timeout, Some(place))
                .map(ControlFlow::Continue),
            Entry::Answered(found) => Ok(ControlFlow::Break(Some(found))),
            Entry::Returned => Ok(ControlFlow::Break(None)),
        }
    }

    fn begin(&self) -> Result<Instant, Refusal> {
        match self.breaker.problem() {
            Some(problem) => Err(Refusal::Down(problem)),
            None => Ok(self.clock.monotonic()),
        }
    }

    fn is_down(&self) -> bool {
        self.breaker.problem().is_some()
    }

    fn since(&self, began: Instant) -> Duration {
        self.clock.monotonic().saturating_duration_since(began)
    }

    /// A connection for who has a turn.
    fn connection<'a>(
        &'a self,
        began: Instant,
        timeout: Duration,
        turn: Option<Turn<'a>>,
    ) -> Result<CheckedOut<'a>, Refusal> {
        let left = || timeout.saturating_sub(self.since(began));
        let place = self.queue.enter(left(), Standing::Last, || self.is_down());
        let place = place.ok_or_else(|| self.refused(began))?;
        let link = match self.pool.try_get() {
            Some(link) => Ok(link),
            None => self.wait(left()),
        };
        self.record_wait(began);
        Ok(CheckedOut {
            link: link?,
            turn,
            _place: place,
        })
    }

    fn record_wait(&self, began: Instant) {
        let waited = self.since(began);
        self.waited.record(waited);
        self.metrics.waited(waited);
    }

    /// Why there was no place in time.
    fn refused(&self, began: Instant) -> Refusal {
        self.record_wait(began);
        self.refusal()
    }

    /// A connection that is yet to be made.
    fn wait(&self, timeout: Duration) -> Result<PooledConnection<Manager>, Refusal> {
        let mut left = timeout;
        while !left.is_zero() {
            let slice = left.min(WAIT_SLICE);
            if let Ok(link) = self.pool.get_timeout(slice) {
                return Ok(link);
            }
            if let Some(problem) = self.breaker.problem() {
                return Err(Refusal::Down(problem));
            }
            left -= slice;
        }
        Err(self.refusal())
    }

    /// Why there was none in time.
    fn refusal(&self) -> Refusal {
        if let Some(problem) = self.breaker.problem() {
            return Refusal::Down(problem);
        }
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        self.metrics.timed_out();
        self.breaker.suspect();
        match self.breaker.last_failure() {
            Some(problem) => Refusal::Down(problem),
            None => Refusal::Exhausted,
        }
    }

    /// Closes everything; for a thread that is in no async runtime.
    pub(super) fn close(self) {
        self.breaker.stop();
        drop(self.pool);
        if let Some(probe) = self.probe {
            let _ = probe.join();
        }
    }
}

/// Turns of searches and other reads.
pub(super) type Turns = Queue<Arc<Question>, Found>;

/// A place in [`Turns`].
pub(super) type Turn<'a> = Place<'a, Arc<Question>, Found>;

/// A connection while it is used; given back before its places are.
pub(super) struct CheckedOut<'a> {
    pub(super) link: PooledConnection<Manager>,
    pub(super) turn: Option<Turn<'a>>,
    _place: Place<'a>,
}

/// Why there was no connection.
pub(super) enum Refusal {
    Down(String),
    Exhausted,
}
