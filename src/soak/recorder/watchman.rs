//! PURE: decides when evidence is taken: what was seen ([`super::trigger`]), held against how often it
//! may be ([`super::limits`]). Time is passed in.

use super::limits::Limits;
use super::settings::Recording;
use super::trigger::{Facts, Reason, Trigger, Triggers};
use crate::soak::event::Event;
use crate::soak::evidence::Taken;
use crate::soak::scenario::Scenario;
use crate::soak::units::nanoseconds;
use crate::soak::view::View;
/// Evidence is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) window: u64,
    pub(super) reason: Reason,
    /// What was seen, in words.
    pub(super) trigger: String,
    /// When, in nanoseconds from the end of the warm-up.
    pub(super) at_ns: i64,
    /// Most bytes that it may have.
    pub(super) max_bytes: u64,
}

/// A stall lasts; it is told again and again, and is to be taken and counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stall {
    None,
    /// Evidence could not be taken yet.
    LeftOut,
    Taken,
}

/// Watches over one run.
#[derive(Clone, Debug)]
pub(super) struct Watchman {
    triggers: Triggers,
    limits: Limits,
    stall: Stall,
    window_ns: u64,
    windows: u64,
}

impl Watchman {
    /// Of a run of `scenario` that has windows and evidence already when it is resumed.
    pub(super) fn new(
        scenario: &Scenario,
        recording: &Recording,
        windows: &[Facts],
        taken: &[Taken],
    ) -> Self {
        let mut triggers = Triggers::new(scenario, recording.memory_mark_bytes);
        for facts in windows {
            // What they showed was seen in its time.
            let _ = triggers.compare(*facts);
        }
        let window_ns = nanoseconds(scenario.window).max(1);
        Self {
            triggers,
            limits: Limits::new(recording, taken),
            stall: Stall::None,
            window_ns,
            windows: nanoseconds(scenario.load.duration).div_ceil(window_ns),
        }
    }

    /// A window closed.
    pub(super) fn window(&mut self, view: &dyn View, facts: Facts, now_ns: i64) -> Option<Order> {
        let seen = self.triggers.window(view, facts);
        self.follow(seen, now_ns)
    }

    /// Something happened beside.
    pub(super) fn event(&mut self, event: &Event, now_ns: i64) -> Option<Order> {
        let seen = Triggers::event(event);
        self.follow(seen, now_ns)
    }

    /// The oldest request in flight has been due for so long.
    pub(super) fn oldest(&mut self, oldest_ns: Option<u64>, now_ns: i64) -> Option<Order> {
        let Some(trigger) = self.triggers.oldest(oldest_ns) else {
            self.stall = Stall::None;
            return None;
        };
        if self.stall == Stall::Taken {
            return None;
        }
        if let Some(max_bytes) = self.limits.room(Reason::Stall, now_ns) {
            self.stall = Stall::Taken;
            return Some(self.order(trigger, now_ns, max_bytes));
        }
        if self.stall == Stall::None {
            self.stall = Stall::LeftOut;
            self.limits.leave_out(Reason::Stall, now_ns);
        }
        None
    }

    /// The first of `seen` that may be followed; the others are counted.
    fn follow(&mut self, seen: impl IntoIterator<Item = Trigger>, now_ns: i64) -> Option<Order> {
        let mut order = None;
        for trigger in seen {
            match self.limits.room(trigger.reason, now_ns) {
                Some(max_bytes) => order = Some(self.order(trigger, now_ns, max_bytes)),
                None => self.limits.leave_out(trigger.reason, now_ns),
            }
        }
        order
    }

    fn order(&mut self, trigger: Trigger, now_ns: i64, max_bytes: u64) -> Order {
        self.limits.begins(trigger.reason, now_ns);
        let open = u64::try_from(now_ns).unwrap_or(0) / self.window_ns;
        Order {
            window: trigger
                .window
                .unwrap_or(open.min(self.windows.saturating_sub(1))),
            reason: trigger.reason,
            trigger: trigger.text,
            at_ns: now_ns,
            max_bytes,
        }
    }

    /// The taking ended, with `bytes` on disk.
    pub(super) fn ended(&mut self, bytes: u64) {
        self.limits.ended(bytes);
    }

    /// Whether one goes on.
    pub(super) fn is_busy(&self) -> bool {
        self.limits.is_busy()
    }

    /// What was seen and not followed, as an event; `None` when everything was.
    pub(super) fn left_out(&self) -> Option<Event> {
        self.limits.left_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::settings::Settings;

    const SECOND: i64 = 1_000_000_000;

    fn watchman() -> Watchman {
        let text = "target = \"http://127.0.0.1:1/\"\nbody = \"\"\nqps = 10\nduration = \"10m\"";
        let settings: Settings = toml::from_str(text).unwrap();
        let scenario = Scenario::resolve(settings).unwrap();
        let recording = Recording::resolve(None).unwrap().unwrap();
        Watchman::new(&scenario, &recording, &[], &[])
    }

    fn left_out(watchman: &Watchman, reason: &str) -> Option<u64> {
        match watchman.left_out()? {
            Event::EvidenceLeftOut { counts, .. } => counts.get(reason).copied(),
            _ => None,
        }
    }

    #[test]
    fn a_stall_is_taken_once_while_it_lasts() {
        let mut watchman = watchman();
        let (short, long) = (Some(100_000_000), Some(900_000_000));
        assert_eq!(watchman.oldest(short, 124 * SECOND), None);
        let order = watchman.oldest(long, 125 * SECOND).unwrap();
        assert_eq!((order.window, order.reason), (12, Reason::Stall));
        assert!(watchman.is_busy());
        for s in 126..600 {
            assert_eq!(watchman.oldest(long, s * SECOND), None);
        }
        assert_eq!(watchman.left_out(), None);
        // Another one, while the first is still being taken.
        assert_eq!(watchman.oldest(short, 600 * SECOND), None);
        assert_eq!(watchman.oldest(long, 601 * SECOND), None);
        assert_eq!(watchman.oldest(long, 602 * SECOND), None);
        assert_eq!(left_out(&watchman, "stall"), Some(1));
        // It lasts until evidence may be taken.
        watchman.ended(1_000);
        assert!(watchman.oldest(long, 603 * SECOND).is_some());
    }

    #[test]
    fn the_moment_is_in_a_window_of_the_plan() {
        let mut watchman = watchman();
        let gone = Event::ProcessGone { pid: 1 };
        let order = watchman.event(&gone, 604 * SECOND).unwrap();
        assert_eq!((order.window, order.reason), (59, Reason::Restart));
        assert_eq!(watchman.event(&gone, 605 * SECOND), None);
        assert_eq!(left_out(&watchman, "restart"), Some(1));
    }
}
