//! Another reading of the configuration, applied whole or not at all while requests run.

use super::super::wiring::{self, Parts};
use super::app::{self, Extras};
use super::door::Door;
use super::{checked, status, tls, traces};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Changes, Config};
use crate::failure::Failure;
use crate::http::{App, Live};
use crate::telemetry::systemd::Notifier;
use crate::telemetry::trace::{Exporter, LAST_SPANS};
use crate::telemetry::{events, logging};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How often it is looked whether a former application is still in use.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Reads the configuration as the daemon did when it started.
pub(super) type Load = dyn Fn() -> Result<Config, Failure> + Send + Sync;

/// What the daemon begins with.
pub(super) struct First {
    pub(super) config: Config,
    pub(super) door: Door,
    /// Reads the configuration anew.
    pub(super) load: Box<Load>,
}

/// Reloads, one at a time.
pub(super) struct Reloader {
    load: Box<Load>,
    notifier: Arc<Notifier>,
    /// A listener that others reach, if there is one.
    exposed: Option<String>,
    held: Mutex<Held>,
    last: Mutex<Last>,
    live: OnceLock<Arc<Live>>,
    myself: Weak<Self>,
}

/// What is in force.
struct Held {
    config: Config,
    parts: Parts,
    door: Door,
    /// Who gets the spans of requests.
    traces: Option<Arc<Exporter>>,
}

/// How the last reload ended.
#[derive(Clone, Default)]
struct Last {
    /// RFC 3339; `None` before the first one.
    at: Option<String>,
    /// Why it was refused.
    refused: Option<String>,
    /// Keys whose new values wait for a start.
    needs_restart: Vec<&'static str>,
}

impl Reloader {
    pub(super) fn new(
        first: First,
        notifier: Arc<Notifier>,
        parts: Parts,
        exposed: Option<String>,
    ) -> Result<Arc<Self>, Failure> {
        let First { config, door, load } = first;
        let traces = traces::open(&config, &parts.metrics)?;
        door.tell_keys(None);
        parts.metrics.reload.succeeded(SystemClock.wall());
        Ok(Arc::new_cyclic(|myself| Self {
            load,
            notifier,
            exposed,
            held: Mutex::new(Held {
                config,
                parts,
                door,
                traces,
            }),
            last: Mutex::default(),
            live: OnceLock::new(),
            myself: Weak::clone(myself),
        }))
    }

    /// The application to begin with, which reloads replace. `is_awaited`: its sockets were kept
    /// while nobody served.
    pub(super) fn begin(&self, is_awaited: bool) -> Arc<Live> {
        let first = || {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let extras = self.extras(held.door.clone(), held.traces.clone());
            let mut app = app::build(&held.config, &held.parts, extras);
            if is_awaited {
                app = app.catching_up();
            }
            Arc::new(Live::new(Arc::new(app)))
        };
        Arc::clone(self.live.get_or_init(first))
    }

    fn live(&self) -> Arc<Live> {
        self.begin(false)
    }

    fn extras(&self, door: Door, traces: Option<Arc<Exporter>>) -> Extras {
        let (of_status, of_reload) = (Weak::clone(&self.myself), Weak::clone(&self.myself));
        Extras {
            status: Arc::new(move || {
                let section = of_status.upgrade().map(|reloader| reloader.describe());
                Map::from_iter(section.map(|section| ("reload".to_owned(), section)))
            }),
            reload: Arc::new(move || {
                let reloader = of_reload.upgrade().ok_or("the daemon is stopping")?;
                reloader.reload()
            }),
            door,
            traces,
        }
    }

    /// Reads the configuration anew and applies it; returns which keys changed. On any error
    /// everything stays as it was, and the error says why. Blocks.
    pub(super) fn reload(&self) -> Result<Value, String> {
        let started = SystemClock.monotonic();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.notifier.reloading();
        let outcome = self.apply(&mut held).map_err(|failure| one_line(&failure));
        self.remember(&outcome);
        let metrics = &held.parts.metrics.reload;
        match &outcome {
            Ok(changes) => {
                metrics.succeeded(SystemClock.wall());
                log_done(changes, started);
            }
            Err(reason) => {
                metrics.refused();
                events::reload_refused(reason);
            }
        }
        self.notifier.ready(&status::line(&self.live().app(), self));
        let changes = outcome?;
        Ok(json!({"changed": changes.live, "needs_restart": changes.at_start}))
    }

    fn apply(&self, held: &mut Held) -> Result<Changes, Failure> {
        let mut config = (self.load)()?;
        checked(&config)?;
        let mut changes = config.changes_since(&held.config);
        config.keep_started(&held.config);
        let exposed = self.exposed.as_deref();
        let door = Door::renewed(&config, &held.door, exposed, &mut changes)?;
        let parts = wiring::renew(&held.parts, &config, &changes)?;
        let metrics = &parts.metrics;
        let traces = traces::renewed(&config, held.traces.as_ref(), &changes, metrics)?;
        let live = self.live();
        let extras = self.extras(door.clone(), traces.clone());
        let app = app::build(&config, &parts, extras).succeeding(&live.app());
        if changes.touch(&["log.level"]) {
            logging::set_level(&config.raw.log.level)
                .map_err(|error| Failure::configuration("`log.level`").because(error))?;
        }
        let former = live.replace(Arc::new(app));
        door.tell_keys(Some(&changes));
        let now = Held {
            config,
            parts,
            door,
            traces,
        };
        let before = std::mem::replace(held, now);
        let_go(former, before);
        tls::warn_of_trouble(held.door.tls.as_ref());
        Ok(changes)
    }

    /// Ends the processes that the parts in force have started, and delivers the last spans.
    pub(super) fn dismiss(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.parts.workers.dismiss();
        let traces = held.traces.as_ref();
        if traces.is_some_and(|traces| !traces.finish(LAST_SPANS)) {
            tracing::warn!("the collector of traces did not take the last spans in time");
        }
    }

    fn remember(&self, outcome: &Result<Changes, String>) {
        let at = OffsetDateTime::from(SystemClock.wall()).format(&Rfc3339);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.at = at.ok();
        last.refused = outcome.as_ref().err().cloned();
        if let Ok(changes) = outcome {
            last.needs_restart.clone_from(&changes.at_start);
        }
    }

    /// Why the last reload was refused, until one succeeds.
    pub(super) fn refused(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.refused.clone()
    }

    fn describe(&self) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = &last.at else {
            return json!({"last": null});
        };
        json!({
            "last": at,
            "successful": last.refused.is_none(),
            "reason": last.refused,
            "needs_restart": last.needs_restart,
        })
    }
}

fn log_done(changes: &Changes, started: Instant) {
    let took = SystemClock.monotonic().saturating_duration_since(started);
    events::reload_done(&changes.live.join(", "), &changes.at_start.join(", "), took);
}

/// A failure with its cause and hint in one line.
fn one_line(failure: &Failure) -> String {
    let text = failure.render();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = lines.join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Drops what was replaced once its last request has ended: on a thread of its own, since closing
/// connections to a database blocks.
fn let_go(app: Arc<App>, before: Held) {
    let waiting = std::thread::Builder::new()
        .name("alfred-former".to_owned())
        .spawn(move || {
            while Arc::strong_count(&app) > 1 {
                SystemClock.sleep(LOOK_AGAIN);
            }
            drop((app, before));
        });
    if let Err(error) = waiting {
        tracing::warn!(%error, "no thread to drop the former configuration on: {error}");
    }
}
