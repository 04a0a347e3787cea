//! The flight recorder: when something goes wrong in a run, evidence is taken at that moment and kept with
//! it, so that whoever looks in the morning has the cause and not only the symptom.
//!
//! [`Recorder`] is told of windows, events and the oldest request by the thread that keeps the run. Deciding
//! is pure and takes microseconds (`watchman`: `trigger`, `shift`, `limits`). Taking (`taking`) waits for
//! others, and so is done on a thread of its own at a low priority; nothing ever waits for it but the end of
//! the run, for a bounded time. Whatever fails there costs evidence and never the run.
//!
//! | source | of what |
//! |---|---|
//! | `answers` | `/v1/status`, `/metrics`, CPU and heap profile of the target, over HTTP |
//! | `processes`, `pressure` | /proc of the unit or process, PSI of machine and unit |
//! | `logged` | the journal of the unit |
//! | `activity` | `pg_stat_activity`, by `psql`, where the scenario says how to connect |

mod activity;
mod answers;
mod limits;
mod logged;
mod piece;
mod pressure;
mod processes;
pub mod settings;
mod shift;
mod taking;
mod trigger;
mod watchman;

use super::event::Event;
use super::evidence;
use super::ledger::ClosedWindow;
use super::record::WindowRecord;
use super::scenario::Scenario;
use super::units::{nanoseconds, signed};
use super::view::Whole;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};
use taking::{Kept, Taker};
pub(super) use trigger::Facts;
use watchman::{Order, Watchman};

/// Lower than the rest of the process, as the sampler is.
const NICE: i32 = 10;
/// Beyond a profile a taking may take: what is asked, killed and written after it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A moment of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// From the end of the warm-up.
    pub(super) at_ns: i64,
    pub(super) wall: SystemTime,
}

/// Watches over a run and has evidence taken; one that is told to do nothing does nothing.
#[derive(Default)]
pub(super) struct Recorder(Option<Running>);

struct Running {
    watchman: Watchman,
    orders: SyncSender<(Order, SystemTime)>,
    results: Receiver<std::io::Result<Kept>>,
    /// Of the taking that goes on.
    order: Option<Order>,
    /// Events that are to be told.
    events: Vec<Event>,
    patience: Duration,
    /// When nothing is sent any more, from the end of the warm-up.
    planned_ns: i64,
    is_closed: bool,
}

impl Recorder {
    /// For the run in `run_folder`, of which `windows` and the evidence there are recorded already.
    pub(super) fn start(scenario: &Scenario, run_folder: &Path, windows: &[Facts]) -> Self {
        let Some(recording) = &scenario.recording else {
            return Self(None);
        };
        taking::clean(run_folder);
        let before = evidence::whole(run_folder);
        let taker = Taker::new(scenario, recording, run_folder);
        // One taking at a time: neither channel ever holds more.
        let (orders, asked) = sync_channel::<(Order, SystemTime)>(1);
        let (done, results) = sync_channel(1);
        let spawned = std::thread::Builder::new()
            .name("soak-recorder".to_owned())
            .spawn(move || {
                let own = rustix::thread::gettid();
                let _ = rustix::process::setpriority_process(Some(own), NICE);
                for (order, wall) in asked {
                    if done.send(taker.take(&order, wall)).is_err() {
                        break;
                    }
                }
            });
        let problem = spawned.err().map(|error| Event::EvidenceDropped {
            folder: String::new(),
            problem: format!("no thread can be made: {error}"),
        });
        Self(Some(Running {
            watchman: Watchman::new(scenario, recording, windows, &before),
            orders,
            results,
            order: None,
            events: problem.into_iter().collect(),
            patience: Duration::from_secs(recording.profile_s) + PATIENCE,
            planned_ns: signed(nanoseconds(scenario.load.duration)),
            is_closed: false,
        }))
    }

    /// A window closed. One that closes when nothing is sent any more has nothing left to look at.
    pub(super) fn window(&mut self, window: &ClosedWindow, record: &WindowRecord, now: Now) {
        let in_load = |running: &&mut Running| now.at_ns < running.planned_ns;
        let Some(running) = self.running(now).filter(in_load) else {
            return;
        };
        let view = Whole {
            tally: &window.tally,
            measured_ns: window.length_ns,
        };
        let order = running.watchman.window(&view, Facts::of(record), now.at_ns);
        running.follow(order, now);
    }

    /// Something happened beside the requests.
    pub(super) fn event(&mut self, event: &Event, now: Now) {
        if let Some(running) = self.running(now) {
            let order = running.watchman.event(event, now.at_ns);
            running.follow(order, now);
        }
    }

    /// The oldest request in flight has been due for so long.
    pub(super) fn oldest(&mut self, oldest_ns: Option<u64>, now: Now) {
        if let Some(running) = self.running(now) {
            let order = running.watchman.oldest(oldest_ns, now.at_ns);
            running.follow(order, now);
        }
    }

    /// Nothing that is told from here on has evidence taken.
    pub(super) fn close(&mut self) {
        if let Some(running) = &mut self.0 {
            running.is_closed = true;
        }
    }

    /// The warm-up is nobody's evidence.
    fn running(&mut self, now: Now) -> Option<&mut Running> {
        let running = self.0.as_mut()?;
        (now.at_ns >= 0 && !running.is_closed).then_some(running)
    }

    /// What came of takings since the last call.
    pub(super) fn news(&mut self) -> Vec<Event> {
        let Some(running) = &mut self.0 else {
            return Vec::new();
        };
        while let Ok(result) = running.results.try_recv() {
            running.ended(result);
        }
        std::mem::take(&mut running.events)
    }

    /// Waits for a taking that goes on, for as long as its sources may take; gives the last events.
    pub(super) fn finish(self) -> Vec<Event> {
        let Some(mut running) = self.0 else {
            return Vec::new();
        };
        if running.watchman.is_busy()
            && let Ok(result) = running.results.recv_timeout(running.patience)
        {
            running.ended(result);
        }
        running.events.extend(running.watchman.left_out());
        running.events
    }
}

impl Running {
    fn follow(&mut self, order: Option<Order>, now: Now) {
        let Some(order) = order else {
            return;
        };
        match self.orders.try_send((order.clone(), now.wall)) {
            Ok(()) => self.order = Some(order),
            // The thread is gone: there is no more evidence, and the run goes on.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.watchman.ended(0);
                self.events.push(dropped(&order, "its thread is gone"));
            }
        }
    }

    fn ended(&mut self, result: std::io::Result<Kept>) {
        let Some(order) = self.order.take() else {
            return;
        };
        let event = match result {
            Ok(kept) => {
                self.watchman.ended(kept.bytes);
                Event::EvidenceTaken {
                    folder: kept.folder,
                    reason: order.reason.as_str().to_owned(),
                }
            }
            Err(error) => {
                self.watchman.ended(0);
                dropped(&order, &error.to_string())
            }
        };
        self.events.push(event);
    }
}

fn dropped(order: &Order, problem: &str) -> Event {
    Event::EvidenceDropped {
        folder: format!("{}-{}", order.window, order.reason.as_str()),
        problem: problem.to_owned(),
    }
}
