//! A thread of the daemon that brings the store up, and keeps it in order while it serves.
//!
//! A database that is away when the daemon starts holds nothing up: the daemon listens, says what it
//! waits for, and serves as soon as it can.

use super::model;
use super::shared::{Shared, prepare};
use super::upkeep;
use crate::store::StoreError;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// The pause between two tries to bring the store up.
const RETRY: Duration = Duration::from_millis(250);
/// How often it is looked whether something is to be done.
const TICK: Duration = Duration::from_secs(1);
/// Chunks written since the last statistics that make new ones worth it.
const ANALYZE_CHUNKS: u64 = 1_000;

/// The thread; ends when this is dropped.
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let (stop, stopped) = bounded(0);
        let location = shared.location().to_owned();
        let thread = std::thread::Builder::new()
            .name("postgres-keeper".to_owned())
            .spawn(move || run(&shared, &stopped))
            .map_err(|error| StoreError::Failed {
                location,
                action: "starting a thread".to_owned(),
                source: error.into(),
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It may be building an index, which may take hours, and the process need not wait.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

fn run(shared: &Shared, stopped: &Receiver<()>) {
    let mut said = String::new();
    loop {
        let pause = if shared.check_prepared().is_ok() {
            tend(shared, &mut said);
            TICK
        } else {
            bring_up(shared, &mut said);
            if shared.check_prepared().is_ok() {
                Duration::ZERO
            } else {
                RETRY
            }
        };
        if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

fn bring_up(shared: &Shared, said: &mut String) {
    match prepare(shared).and_then(|()| upkeep::warm_up(shared)) {
        Ok(()) => {
            shared.set_problem(None);
            said.clear();
            tracing::info!(store = shared.location(), "the store is ready");
        }
        Err(error) => {
            say_once(said, &error, "waiting for the store");
            shared.set_problem(Some(match error {
                StoreError::Unavailable { problem, .. } => problem,
                error => error.to_string(),
            }));
        }
    }
}

/// Builds a missing index, renews statistics after many writes.
fn tend(shared: &Shared, said: &mut String) {
    if shared.pools.health().is_err() {
        return;
    }
    let outcome = if shared.stale.swap(false, Ordering::Relaxed) {
        prepare(shared)
    } else if shared.known_model().is_some() && !shared.active().is_wanted {
        upkeep::ensure_index(shared, false).and_then(|_| shared.look_again())
    } else {
        notice_model(shared).and_then(|()| renew_statistics(shared))
    };
    match outcome {
        Ok(()) => said.clear(),
        Err(error) => say_once(said, &error, "the store could not be tended"),
    }
}

/// Another process may have given the store another model: vectors of the same length would be
/// compared with those of another model, and nothing would fail.
fn notice_model(shared: &Shared) -> Result<(), StoreError> {
    let recorded = shared.pools.read("reading the model", |session| {
        model::recorded(session.client())
    })?;
    if recorded == shared.known_model() {
        return Ok(());
    }
    shared.look_again()
}

fn renew_statistics(shared: &Shared) -> Result<(), StoreError> {
    let written = shared.written.load(Ordering::Relaxed);
    let is_at_rest = shared.seen.swap(written, Ordering::Relaxed) == written;
    if written < ANALYZE_CHUNKS || !is_at_rest {
        return Ok(());
    }
    upkeep::analyze(shared)?;
    shared.written.fetch_sub(written, Ordering::Relaxed);
    Ok(())
}

fn say_once(said: &mut String, error: &StoreError, what: &str) {
    let text = error.to_string();
    if *said != text {
        tracing::warn!(problem = text, "{what}");
        *said = text;
    }
}
