//! Pooled connections that outlive a restart of the server.
//!
//! One lane to whatever the DSN names; with several hosts one for writes, which leads to the
//! primary, and one for reads, which prefers standbys. Each lane has a pool of at most `pool_size`
//! connections, a breaker and one thread that probes while the server is down.
//!
//! Invariants: a connection that was open when another one was lost is never handed out again; work
//! that lost its connection is tried once more on a fresh one, so **work has to be idempotent**;
//! nobody waits longer than `pool_timeout` for a connection.
//!
//! **Reads at once.** A search is work for one core of the database. When more of them run than there
//! are cores, they take turns on these, and some wait 50 to 300 ms for theirs: with 8 callers on two
//! cores p99 was 28 to 93 ms, against 3 ms when two ran at a time, at the same throughput
//! (`ALFRED__STORE__MAX_READS=10 perf/bench/postgres.sh`, and without it). So where the database is on
//! this machine, as many reads run at once as it has cores; elsewhere its cores are not known, and the
//! pool is the limit. Writes do not wait for reads.
//!
//! `r2d2`'s own wait is cut into slices, so that those who wait hear at once when the server is found
//! to be down.

use super::connect::Connector;
use super::dsn::{Dsn, SessionTarget};
use super::fault::{Damage, Fault};
use super::lane::{InTurn, Lane, Link, Refusal};
use super::queue::{Queue, Standing};
use super::session::Session;
use super::waited::WaitHistogram;
use crate::clock::Clock;
use crate::store::StoreError;
use crate::telemetry::metrics::PoolMetrics;
use postgres::Client;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// `store.pool_size`, `store.pool_timeout_ms`, `store.statement_timeout_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolSettings {
    /// Most connections of each lane.
    pub pool_size: u32,
    /// Most reads at once; 0: as many as this machine has cores where the database is on it, else
    /// `pool_size`.
    pub max_reads: u32,
    /// How long a call waits for a connection.
    pub pool_timeout: Duration,
    /// How long a statement may take on the server; zero means for ever.
    pub statement_timeout: Duration,
}

/// What the pools are doing, lanes added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PoolState {
    /// Most connections.
    pub max: u32,
    /// Open and unused.
    pub idle: u32,
    /// In use.
    pub busy: u32,
    /// Calls that got no connection within `pool_timeout`.
    pub timeouts: u64,
    /// How long calls waited for a connection.
    pub waited: WaitHistogram,
}

/// The connections of a store.
pub(super) struct Pools {
    location: String,
    settings: PoolSettings,
    dedicated: Connector,
    write: Option<Lane>,
    /// `None` where the write lane serves reads too.
    read: Option<Lane>,
    /// Places for reads.
    reads: Queue,
}

impl Pools {
    /// Pools for `dsn`. Returns at once; connections are made on threads of the pools.
    pub(super) fn new(
        dsn: Dsn,
        settings: PoolSettings,
        clock: &Arc<dyn Clock>,
        metrics: &PoolMetrics,
    ) -> Self {
        let location = dsn.to_string();
        let reads = Queue::new(reads_at_once(&dsn, settings));
        let dsn = Arc::new(dsn);
        let timeout = Some(settings.statement_timeout).filter(|timeout| !timeout.is_zero());
        let connector =
            |target, timeout| Connector::new(Arc::clone(&dsn), target, timeout, Arc::clone(clock));
        let lane = |name, target| {
            let connector = connector(target, timeout);
            Lane::new(name, connector, settings.pool_size, clock, metrics.clone())
        };
        let (write, read) = targets(&dsn);
        Self {
            write: Some(lane("write", write)),
            read: read.map(|target| lane("read", target)),
            dedicated: connector(write, None),
            location,
            settings,
            reads,
        }
    }

    /// Runs `work` on a connection that may lead to a standby. `action` says what is being done,
    /// as "cannot read documents".
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server is out of reach, [`StoreError::Busy`] when all
    /// connections are in use, and what `work` fails with.
    pub(super) fn read<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.read_in_turn(action, Standing::Last, true, work)
    }

    /// As [`Pools::read`], before those who wait already: for who has waited once.
    ///
    /// # Errors
    /// As [`Pools::read`].
    pub(super) fn read_again<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.read_in_turn(action, Standing::First, true, work)
    }

    /// As [`Pools::read`], for others, whose waits are counted one by one: see [`Pools::served`] and
    /// [`Pools::overdue`].
    ///
    /// # Errors
    /// As [`Pools::read`].
    pub(super) fn read_for_others<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.read_in_turn(action, Standing::Last, false, work)
    }

    fn read_in_turn<T>(
        &self,
        action: &str,
        standing: Standing,
        is_counted: bool,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let enter = || InTurn {
            turns: &self.reads,
            standing,
            is_counted,
        };
        self.run(self.read_lane()?, action, || Some(enter()), work)
    }

    /// One who came then has a connection now by another's hand.
    pub(super) fn served(&self, came: Instant) {
        if let Ok(lane) = self.read_lane() {
            lane.served(came);
        }
    }

    /// Why one who came then is not to wait any longer for another to have a connection; `None`
    /// while it is.
    pub(super) fn overdue(&self, came: Instant, now: Instant) -> Option<StoreError> {
        let is_late = now.saturating_duration_since(came) >= self.settings.pool_timeout;
        let lane = match self.read_lane() {
            Ok(lane) => lane,
            Err(error) => return Some(error),
        };
        let is_futile = is_late || lane.breaker.problem().is_some();
        is_futile.then(|| self.refused(lane.refused(came)))
    }

    /// Most reads at once, by places and by connections.
    pub(super) fn most_reads(&self) -> usize {
        let connections = usize::try_from(self.settings.pool_size).unwrap_or(usize::MAX);
        self.reads.places().min(connections.max(1))
    }

    /// How many reads wait for their turn.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.reads.waiting()
    }

    fn read_lane(&self) -> Result<&Lane, StoreError> {
        let lane = self.read.as_ref().or(self.write.as_ref());
        lane.ok_or_else(|| self.closed())
    }

    fn closed(&self) -> StoreError {
        self.unavailable("the store is being closed".to_owned())
    }

    /// Runs `work` on a connection to the primary; otherwise as [`Pools::read`].
    ///
    /// # Errors
    /// As [`Pools::read`].
    pub(super) fn write<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let lane = self.write.as_ref().ok_or_else(|| self.closed())?;
        self.run(lane, action, || None, work)
    }

    /// A connection of its own to the primary, outside the pools and without
    /// `statement_timeout`: for migrations and index builds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) fn dedicated(&self) -> Result<Client, StoreError> {
        if let Some(problem) = self.write.as_ref().and_then(|lane| lane.breaker.problem()) {
            return Err(self.unavailable(problem));
        }
        let connected = self.dedicated.connect();
        connected.map_err(|error| self.unavailable(error.to_string()))
    }

    /// Where the database is, without password.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// What the pools are doing.
    pub(super) fn state(&self) -> PoolState {
        let mut sum = PoolState::default();
        for lane in self.lanes() {
            let state = lane.pool.state();
            sum.max += lane.pool.max_size();
            sum.idle += state.idle_connections;
            sum.busy += state.connections.saturating_sub(state.idle_connections);
            lane.waited.add_to(&mut sum.waited);
            sum.timeouts += lane.timeouts.load(Ordering::Relaxed);
        }
        sum
    }

    /// Whether reads would be served, as far as is known without asking: with several hosts a
    /// standby is enough.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while no server that takes reads is within reach.
    pub(super) fn readable(&self) -> Result<(), StoreError> {
        let lane = self.read.as_ref().or(self.write.as_ref());
        match lane.and_then(|lane| lane.breaker.problem()) {
            None => Ok(()),
            Some(problem) => Err(self.unavailable(problem)),
        }
    }

    /// Whether the database is within reach, as far as is known without asking it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while a server that is needed is known to be down.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        match self.lanes().find_map(|lane| lane.breaker.problem()) {
            None => Ok(()),
            Some(problem) => Err(self.unavailable(problem)),
        }
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.write.iter().chain(self.read.iter())
    }

    fn unavailable(&self, problem: String) -> StoreError {
        StoreError::Unavailable {
            location: self.location.clone(),
            problem,
        }
    }

    fn refused(&self, refusal: Refusal) -> StoreError {
        match refusal {
            Refusal::Down(problem) => self.unavailable(problem),
            Refusal::Exhausted => StoreError::Busy {
                location: self.location.clone(),
                problem: format!(
                    "all {} connections (store.pool_size), or all {} places for reads \
                     (store.max_reads), were in use for {} ms (store.pool_timeout_ms)",
                    self.settings.pool_size.max(1),
                    self.reads.places(),
                    self.settings.pool_timeout.as_millis()
                ),
            },
        }
    }

    /// Runs `work` on a connection, again on another where it was lost.
    fn run<'a, T>(
        &self,
        lane: &'a Lane,
        action: &str,
        turn: impl Fn() -> Option<InTurn<'a>>,
        mut work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let mut retried = false;
        loop {
            let entered = lane.check_out(self.settings.pool_timeout, turn());
            let mut checked_out = entered.map_err(|refusal| self.refused(refusal))?;
            let fault = match work(&mut checked_out.link.client) {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            let damage = fault.damage();
            let error = fault.into_store(&self.location, action);
            let is_over = Self::judge(lane, &checked_out.link, damage, &error);
            if is_over || retried {
                return Err(error);
            }
            retried = true;
        }
    }

    /// Notes what a failure says of the connection and the server; whether trying again is of no
    /// use.
    fn judge(lane: &Lane, link: &Link, damage: Damage, error: &StoreError) -> bool {
        if damage != Damage::None {
            link.ticket.lost();
        }
        if let (Damage::Silent, StoreError::Unavailable { problem, .. }) = (damage, error) {
            lane.breaker.trip(problem);
        }
        matches!(damage, Damage::None | Damage::Silent)
    }
}

impl Drop for Pools {
    /// `postgres` panics when a client is dropped on a thread of an async runtime, so the pools
    /// are dropped on one of their own.
    fn drop(&mut self) {
        let lanes: Vec<Lane> = self
            .write
            .take()
            .into_iter()
            .chain(self.read.take())
            .collect();
        let dropping = std::thread::Builder::new()
            .name("pg-close".to_owned())
            .spawn(move || lanes.into_iter().for_each(Lane::close));
        drop(dropping);
    }
}

fn reads_at_once(dsn: &Dsn, settings: PoolSettings) -> usize {
    let places = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    match settings.max_reads {
        0 if dsn.is_on_this_machine() => {
            std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
        }
        0 => places(settings.pool_size),
        said => places(said),
    }
}

/// What the write lane has to lead to, and the read lane where there is one.
fn targets(dsn: &Dsn) -> (SessionTarget, Option<SessionTarget>) {
    let several = dsn.endpoints.len() > 1;
    match dsn.target {
        SessionTarget::Any | SessionTarget::PreferStandby if several => {
            (SessionTarget::ReadWrite, Some(SessionTarget::PreferStandby))
        }
        SessionTarget::Any | SessionTarget::PreferStandby => (SessionTarget::Any, None),
        only @ (SessionTarget::ReadWrite | SessionTarget::Primary) => (only, None),
        only @ (SessionTarget::Standby | SessionTarget::ReadOnly) => {
            (SessionTarget::ReadWrite, Some(only))
        }
    }
}

#[cfg(test)]
mod tests;
