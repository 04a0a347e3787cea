//! The thread that talks to Redis.
//!
//! It connects, asks for a key once to see that it is let in and that the server is quick enough,
//! and then serves looks and writes until something goes wrong. Then it throws the connection away,
//! since a late answer would be taken for that to the next question, and begins again: at once the
//! first time, later with a pause. It alone says so in the log: once when the server is gone for
//! good, once when it is back.

use super::address::RedisAddress;
use super::codec;
use super::redis::Shared;
use super::{Found, SharedState};
use crate::clock::{Clock as _, SystemClock};
use crate::telemetry::events::{Dependency, Outage};
use crate::telemetry::notice::Notice;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use redis::{Cmd, Connection, ConnectionLike as _, Pipeline, RedisError, Value, cmd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long a vector is kept that nobody asks for again under another daemon's eyes: 30 days. What
/// is in demand is embedded again once a month; what is not leaves by itself.
const TTL_S: u64 = 30 * 86_400;
/// Most looks, and most writes, of one round trip: so that a look waits for few others.
const LOOKS_TOGETHER: usize = 32;
const WRITES_TOGETHER: usize = 8;
/// How often a connection without work is tried: notices what went away, keeps what is there open.
const IDLE: Duration = Duration::from_secs(1);
/// Bound of connecting and of each of the two steps of logging in; no query waits for them.
const CONNECT_MAX: Duration = Duration::from_millis(CONNECT_MAX_MS);
const CONNECT_MAX_MS: u64 = 400;
/// Longest pause between two tries; the first is as long as [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_millis(PAUSE_MAX_MS);
const PAUSE_MAX_MS: u64 = 400;
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest from the server's return to the first look: a try that began just before and fails
/// after all of its steps (connecting, two of logging in, a look), and a pause.
const RECOVERY_MAX_MS: u64 = 4 * CONNECT_MAX_MS + PAUSE_MAX_MS;
const _: () = assert!(RECOVERY_MAX_MS <= 2_000);

/// Somebody waits for the value of a key.
pub(super) struct Look {
    pub(super) key: String,
    pub(super) most_bytes: usize,
    pub(super) answer: Sender<Found>,
}

/// A value to write.
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

pub(super) struct Worker {
    address: RedisAddress,
    timeout: Duration,
    shared: Arc<Shared>,
    looks: Receiver<Look>,
    writes: Receiver<Write>,
    /// Connections in a row that were of no use.
    failures: u32,
    away: Outage,
    refusing: Notice,
}

/// What is done in one round trip; empty: it is only seen whether the server answers.
#[derive(Default)]
struct Turn {
    looks: Vec<Look>,
    writes: Vec<Write>,
    /// Nobody will ask any more.
    is_last: bool,
}

/// Why a connection was left.
enum Left {
    /// Nobody will ask any more.
    Closed,
    /// It is of no use any more.
    Lost(String),
}

impl Worker {
    pub(super) fn new(
        address: RedisAddress,
        timeout: Duration,
        shared: Arc<Shared>,
        (looks, writes): (Receiver<Look>, Receiver<Write>),
    ) -> Self {
        Self {
            address,
            timeout,
            shared,
            looks,
            writes,
            failures: 0,
            away: Outage::of(Dependency::Cache),
            refusing: Notice::default(),
        }
    }

    /// Serves until nobody can ask any more.
    pub(super) fn run(mut self) {
        loop {
            self.shared.set_busy(true);
            let connected = self.connect();
            self.shared.set_busy(false);
            let problem = match connected {
                Ok(mut connection) => {
                    self.shared.set_state(SharedState::Up);
                    self.away.is_up(self.address.place());
                    match self.serve(&mut connection) {
                        Left::Closed => return,
                        Left::Lost(problem) => problem,
                    }
                }
                Err(error) => self.address.redact(&error.to_string()),
            };
            self.shared.set_state(SharedState::Down);
            if self.failures > 0 {
                let now = SystemClock.monotonic();
                self.away.is_down(now, self.address.place(), &problem);
            }
            self.failures = self.failures.saturating_add(1);
            if self.pause().is_err() {
                return;
            }
        }
    }

    /// A connection that answered a look in time.
    fn connect(&self) -> Result<Connection, RedisError> {
        let mut connection = self
            .address
            .client()
            .get_connection_with_timeout(CONNECT_MAX)?;
        // The first look includes the handshake of TLS, the second must be as quick as any.
        for timeout in [CONNECT_MAX, self.timeout] {
            connection.set_read_timeout(Some(timeout))?;
            connection.set_write_timeout(Some(timeout))?;
            if let Value::ServerError(error) = connection.req_command(&probe())? {
                return Err(error.into());
            }
        }
        Ok(connection)
    }

    fn serve(&mut self, connection: &mut Connection) -> Left {
        loop {
            let turn = self.next_turn();
            let is_last = turn.is_last;
            self.shared.set_busy(true);
            let done = self.take_turn(connection, &turn);
            self.shared.set_busy(false);
            match done {
                Err(problem) => return Left::Lost(problem),
                Ok(()) if is_last => return Left::Closed,
                Ok(()) => {}
            }
        }
    }

    /// Waits for work, and takes what else is there.
    fn next_turn(&self) -> Turn {
        let mut turn = Turn::default();
        select! {
            recv(self.looks) -> look => match look {
                Ok(look) => turn.looks.push(look),
                Err(_) => turn.is_last = true,
            },
            recv(self.writes) -> write => match write {
                Ok(write) => turn.writes.push(write),
                Err(_) => turn.is_last = true,
            },
            default(IDLE) => {}
        }
        let most_writes = if turn.is_last {
            usize::MAX
        } else {
            WRITES_TOGETHER
        };
        turn.looks.extend(
            self.looks
                .try_iter()
                .take(LOOKS_TOGETHER - turn.looks.len()),
        );
        turn.writes
            .extend(self.writes.try_iter().take(most_writes - turn.writes.len()));
        turn
    }

    /// Sends everything at once, and reads the answers in order.
    fn take_turn(&mut self, connection: &mut Connection, turn: &Turn) -> Result<(), String> {
        let end = SystemClock.monotonic() + self.timeout;
        let mut pipeline = Pipeline::with_capacity(turn.looks.len() + turn.writes.len() + 1);
        for look in &turn.looks {
            pipeline.add_command(look_up(&look.key, look.most_bytes));
        }
        for write in &turn.writes {
            pipeline.add_command(put(write));
        }
        let is_idle = pipeline.is_empty();
        if is_idle {
            pipeline.add_command(probe());
        }
        let mut unwritten = turn.writes.len();
        let result = connection
            .send_packed_command(&pipeline.get_packed_pipeline())
            .map_err(|error| self.address.redact(&error.to_string()))
            .and_then(|()| {
                if is_idle {
                    return self.response(connection, end).and_then(refusal);
                }
                self.answer(connection, &turn.looks, end)?;
                self.confirm(connection, &mut unwritten, end)
            });
        let unwritten = u64::try_from(unwritten).unwrap_or(u64::MAX);
        self.shared.dropped.fetch_add(unwritten, Ordering::Relaxed);
        if result.is_ok() {
            self.failures = 0;
        }
        result
    }

    /// Answers those who wait. After a failure the rest is told so too.
    fn answer(
        &self,
        connection: &mut Connection,
        looks: &[Look],
        end: Instant,
    ) -> Result<(), String> {
        let mut result = Ok(());
        for look in looks {
            let found = match &result {
                Ok(()) => match self.response(connection, end) {
                    Ok(value) => found(value).unwrap_or_else(|problem| {
                        result = Err(problem);
                        Found::Failed
                    }),
                    Err(problem) => {
                        result = Err(problem);
                        failed(end)
                    }
                },
                Err(_) => failed(end),
            };
            // Who did not wait any longer has gone on without.
            let _ = look.answer.try_send(found);
        }
        result
    }

    /// Counts what was written and what was refused; the latter is no reason to leave.
    fn confirm(
        &mut self,
        connection: &mut Connection,
        unwritten: &mut usize,
        end: Instant,
    ) -> Result<(), String> {
        while *unwritten > 0 {
            let response = self.response(connection, end)?;
            *unwritten -= 1;
            match refusal(response) {
                Ok(()) => {
                    self.shared.written.fetch_add(1, Ordering::Relaxed);
                    if self.refusing.ended() {
                        info!(
                            redis = self.address.place(),
                            "the shared cache takes vectors again"
                        );
                    }
                }
                Err(problem) => {
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                    if self.refusing.began(SystemClock.monotonic()) {
                        warn!(
                            redis = self.address.place(),
                            problem, "the shared cache takes no vectors"
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// The next answer, if there is time for it. One that is there already is read in any case.
    fn response(&self, connection: &mut Connection, end: Instant) -> Result<Value, String> {
        let value = connection
            .recv_response()
            .map_err(|error| self.address.redact(&error.to_string()))?;
        if SystemClock.monotonic() > end + self.timeout {
            return Err("it answers too slowly".to_owned());
        }
        Ok(value)
    }

    /// Waits before the next try, and lets nobody wait meanwhile.
    fn pause(&self) -> Result<(), Closed> {
        let end = SystemClock.monotonic() + pause_after(self.failures);
        loop {
            let writes = self.writes.try_iter().count();
            let writes = u64::try_from(writes).unwrap_or(u64::MAX);
            self.shared.dropped.fetch_add(writes, Ordering::Relaxed);
            match self.looks.recv_deadline(end) {
                Ok(look) => drop(look),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Closed),
            }
        }
    }
}

/// How a look ended that has no answer.
fn failed(end: Instant) -> Found {
    if SystemClock.monotonic() >= end {
        Found::TimedOut
    } else {
        Found::Failed
    }
}

/// Nobody will ask any more.
struct Closed;

/// No pause after the first failure, which a server that was restarted causes too.
fn pause_after(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(more - 2)),
    }
}

/// As much of the value as is of use: what is under the key may be of any length.
fn look_up(key: &str, most_bytes: usize) -> Cmd {
    let mut command = cmd("GETRANGE");
    command.arg(key).arg(0).arg(most_bytes.max(1) - 1);
    command
}

fn put(write: &Write) -> Cmd {
    let mut command = cmd("SET");
    command
        .arg(&write.key)
        .arg(&write.value)
        .arg("EX")
        .arg(TTL_S);
    command
}

/// A look at a key that is not there: as a real one needs to be let in.
fn probe() -> Cmd {
    look_up(&format!("{}:probe", codec::prefix()), 1)
}

/// What a look found; an error when the server will answer no other look either.
fn found(value: Value) -> Result<Found, String> {
    match value {
        Value::BulkString(bytes) if bytes.is_empty() => Ok(Found::Nothing),
        Value::BulkString(bytes) => Ok(Found::Value(bytes)),
        Value::Nil => Ok(Found::Nothing),
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(Found::NotBytes),
        Value::ServerError(error) => Err(error.to_string()),
        _ => Err("it answers what was not asked".to_owned()),
    }
}

/// An error when the server refused.
fn refusal(value: Value) -> Result<(), String> {
    match value {
        Value::ServerError(error) => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_has_no_pause_and_the_others_a_bounded_one() {
        let pauses: Vec<u128> = [1, 2, 3, 4, 5, 6, u32::MAX]
            .map(|failures| pause_after(failures).as_millis())
            .into();
        assert_eq!(pauses, [0, 50, 100, 200, 400, 400, 400]);
    }
}
