//! One way to the server: a pool, its breaker and the thread that probes while the server is down.

use super::breaker::{Breaker, Ticket};
use super::connect::{ConnectError, Connector};
use super::queue::{Place, Queue, SLICE, Standing};
use super::session::Session;
use super::waited::Waited;
use crate::clock::Clock;
use crate::telemetry::metrics::PoolMetrics;
use r2d2::{ManageConnection, Pool, PooledConnection};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a connection is used. It ends so that a standby that came back gets its share, and
/// what a long session piles up on the server goes; not all at once, hence a range.
const LIFETIME: Range<Duration> = Duration::from_mins(10)..Duration::from_mins(15);

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

    /// A connection within `timeout`, in the order of asking, after a turn where one is to be waited
    /// for.
    pub(super) fn check_out<'a>(
        &'a self,
        timeout: Duration,
        turn: Option<InTurn<'a>>,
    ) -> Result<CheckedOut<'a>, Refusal> {
        let began = self.begin()?;
        let is_counted = turn.is_none_or(|turn| turn.is_counted);
        let found = self.connection(began, timeout, turn);
        if is_counted {
            self.record_wait(self.since(began));
        }
        match found {
            Some(checked_out) => Ok(checked_out),
            None if is_counted => Err(self.refusal()),
            None => Err(self
                .breaker
                .problem()
                .map_or(Refusal::Exhausted, Refusal::Down)),
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

    fn connection<'a>(
        &'a self,
        began: Instant,
        timeout: Duration,
        turn: Option<InTurn<'a>>,
    ) -> Option<CheckedOut<'a>> {
        let left = || timeout.saturating_sub(self.since(began));
        let is_down = || self.is_down();
        let turn = match turn {
            None => None,
            Some(turn) => Some(turn.turns.enter(timeout, turn.standing, is_down)?),
        };
        let place = self.queue.enter(left(), Standing::Last, is_down)?;
        let link = self.pool.try_get().or_else(|| self.wait(left()))?;
        Some(CheckedOut {
            link,
            _turn: turn,
            _place: place,
        })
    }

    fn record_wait(&self, waited: Duration) {
        self.waited.record(waited);
        self.metrics.waited(waited);
    }

    /// Somebody waited so long for another to come by a connection.
    pub(super) fn served(&self, came: Instant) {
        self.record_wait(self.since(came));
    }

    /// The same, in vain.
    pub(super) fn refused(&self, came: Instant) -> Refusal {
        self.served(came);
        self.refusal()
    }

    /// A connection that is yet to be made.
    fn wait(&self, timeout: Duration) -> Option<PooledConnection<Manager>> {
        let mut left = timeout;
        while !left.is_zero() && !self.is_down() {
            let slice = left.min(SLICE);
            if let Ok(link) = self.pool.get_timeout(slice) {
                return Some(link);
            }
            left -= slice;
        }
        None
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

/// How one comes by a connection that others may not all have at once.
#[derive(Clone, Copy)]
pub(super) struct InTurn<'a> {
    pub(super) turns: &'a Queue,
    pub(super) standing: Standing,
    /// Whether the wait is that of a caller. Who asks for others counts theirs instead.
    pub(super) is_counted: bool,
}

/// A connection while it is used; given back before its places are.
pub(super) struct CheckedOut<'a> {
    pub(super) link: PooledConnection<Manager>,
    _turn: Option<Place<'a>>,
    _place: Place<'a>,
}

/// Why there was no connection.
pub(super) enum Refusal {
    Down(String),
    Exhausted,
}
