//! Two threads beside the server. The watchdog's asks the daemon for work done, as any client would,
//! and tells systemd only when it got it; the other one keeps the status line.
//!
//! Neither is part of the runtime that it watches. What a request proves is in `http/probe.rs`.

use super::own::{Own, Silence};
use super::reload::Reloader;
use super::starting::Starting;
use super::status;
use crate::clock::{Clock as _, SystemClock};
use crate::http::Live;
use crate::telemetry::events;
use crate::telemetry::notice::Notice;
use crate::telemetry::systemd::Notifier;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the status line is written anew.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How often it is while the daemon drains.
const DRAIN_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for the first request, which systemd's own limit on the start may cut short.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The pause before it is asked once more.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How much longer than the drain a stop may take.
const AFTER_DRAIN: Duration = Duration::from_secs(10);
/// Shortest pause between two requests of the watchdog.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// Longest: what is stuck shows in the journal well before systemd ends it.
const MOST_PAUSE: Duration = Duration::from_secs(10);

/// What both threads know.
pub(super) struct Attendant {
    pub(super) live: Arc<Live>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) own: Own,
    /// When the process began.
    pub(super) began: Instant,
    pub(super) is_stopping: AtomicBool,
}

impl Attendant {
    /// Starts the threads, which end with the process; `starting` is over with the first answer.
    pub(super) fn start(self: &Arc<Self>, starting: Starting) -> std::io::Result<()> {
        let watchdog = Arc::clone(self);
        std::thread::Builder::new()
            .name("alfred-watchdog".to_owned())
            .spawn(move || watchdog.watch(starting))?;
        if Notifier::is_heard() {
            let status = Arc::clone(self);
            std::thread::Builder::new()
                .name("alfred-status".to_owned())
                .spawn(move || status.keep_status())?;
        }
        Ok(())
    }

    /// The end has begun: says so, and with how many requests.
    pub(super) fn stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.notifier.stopping(&self.draining());
        // The setting decides, also where the unit's own limit is lower.
        self.notifier
            .extend(self.live.app().longest_stop() + AFTER_DRAIN);
    }

    fn draining(&self) -> String {
        match self.live.app().observer().in_flight() {
            0 => "stopping".to_owned(),
            1 => "draining 1 request".to_owned(),
            many => format!("draining {many} requests"),
        }
    }

    fn watch(&self, starting: Starting) {
        self.wait_for_first();
        drop(starting);
        let app = self.live.app();
        let documents = status::documents(&app);
        let took = SystemClock
            .monotonic()
            .saturating_duration_since(self.began);
        self.notifier.ready(&status::line(&app, &self.reloader));
        events::started(env!("CARGO_PKG_VERSION"), documents, took);
        drop(app);
        let Some(period) = Notifier::watchdog_period() else {
            return;
        };
        let pause = (period / 4).clamp(LEAST_PAUSE, MOST_PAUSE);
        // Two requests fit into a period, so that one that is late is no reason yet.
        let patience = (period / 2).saturating_sub(pause / 2).max(LEAST_PAUSE);
        let mut unreachable = Notice::default();
        loop {
            let asked = SystemClock.monotonic();
            match self.probe(patience) {
                Ok(()) => self.notifier.alive(),
                Err(Silence::Unreachable(why)) => {
                    self.notifier.alive();
                    let now = SystemClock.monotonic();
                    if unreachable.began(now) {
                        say_unreachable(&why);
                    }
                }
                Err(Silence::Failed(reason)) => {
                    let answered = SystemClock.monotonic();
                    events::watchdog_miss(&reason, answered.saturating_duration_since(asked));
                }
            }
            SystemClock.sleep(pause);
        }
    }

    /// Nobody is told that the daemon is ready before a request came back.
    fn wait_for_first(&self) {
        let mut notice = Notice::default();
        while let Err(silence) = self.probe(FIRST_WAIT) {
            if self.is_stopping.load(Ordering::Relaxed) {
                return;
            }
            match silence {
                Silence::Unreachable(why) => return say_unreachable(&why),
                Silence::Failed(reason) => {
                    if notice.began(SystemClock.monotonic()) {
                        tracing::warn!(
                            reason,
                            "the daemon's first request to itself failed: {reason}"
                        );
                    }
                }
            }
            SystemClock.sleep(FIRST_PAUSE);
        }
    }

    fn probe(&self, patience: Duration) -> Result<(), Silence> {
        if self.is_stopping.load(Ordering::Relaxed) {
            // The listeners close; how long the rest may take is limited elsewhere.
            return Ok(());
        }
        self.own.get("/livez", patience).map(|_| ())
    }

    fn keep_status(&self) {
        loop {
            if self.is_stopping.load(Ordering::Relaxed) {
                self.notifier.status(&self.draining());
                SystemClock.sleep(DRAIN_EVERY);
            } else {
                SystemClock.sleep(STATUS_EVERY);
                if !self.is_stopping.load(Ordering::Relaxed) {
                    let line = status::line(&self.live.app(), &self.reloader);
                    self.notifier.status(&line);
                }
            }
        }
    }
}

/// The watchdog goes on without proof: a socket whose file is gone is no reason to end a daemon that
/// others reach.
fn say_unreachable(why: &str) {
    tracing::warn!(
        reason = why,
        "the daemon cannot reach its own sockets, so the watchdog proves nothing: {why}; check that \
         their files are there and that its user may pass the folder, then restart alfred.socket"
    );
}
