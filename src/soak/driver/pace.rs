//! PURE: which request is due next, over warm-up and measured part.

use crate::soak::scenario::Scenario;
use crate::soak::schedule::Cursor;
use crate::soak::units::nanoseconds;

/// Shortest sleep: for less it costs more than it gives.
const MIN_SLEEP_NS: u64 = 30_000;
/// Where requests are due closer than that, above 33,000/s, they go out in bunches of so many, up to
/// that much late: waking for each would take the processor from those that answer.
const BUNCH: u64 = 8;

/// When requests are due, one after the other, from the start of the run.
pub(super) struct Pace {
    phases: [Phase; 2],
    place: usize,
    index: u64,
    next_ns: Option<u64>,
    gap_ns: u64,
}

struct Phase {
    base_ns: u64,
    cursor: Cursor,
}

impl Pace {
    /// Of what is due at `from_ns` or later.
    pub(super) fn new(scenario: &Scenario, from_ns: u64) -> Self {
        let warmup = Phase {
            base_ns: 0,
            cursor: scenario.load.warmup_schedule().cursor(),
        };
        let measured = Phase {
            base_ns: nanoseconds(scenario.load.warmup),
            cursor: scenario.load.schedule().cursor(),
        };
        let mut pace = Self {
            phases: [warmup, measured],
            place: 0,
            index: 0,
            next_ns: None,
            gap_ns: u64::MAX,
        };
        pace.enter(0, from_ns);
        pace
    }

    /// When the next request is due; `None` after the last.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// Goes on to the request after it.
    pub(super) fn advance(&mut self) {
        let Some(before_ns) = self.next_ns else {
            return;
        };
        self.index += 1;
        let phase = &mut self.phases[self.place];
        self.next_ns = phase.due_ns(self.index);
        if self.next_ns.is_none() {
            self.enter(self.place + 1, 0);
        }
        self.gap_ns = self
            .next_ns
            .map_or(u64::MAX, |next_ns| next_ns.saturating_sub(before_ns));
    }

    /// Until when to sleep at `now_ns` for the next request: a little too long where requests are so
    /// close that waking for each costs more than it gives; `None` when there is none.
    pub(super) fn wake_ns(&self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_ns?;
        if due_ns <= now_ns {
            return Some(due_ns);
        }
        let shortest_ns = if self.gap_ns >= MIN_SLEEP_NS {
            MIN_SLEEP_NS
        } else {
            MIN_SLEEP_NS.max(self.gap_ns * BUNCH)
        };
        Some(due_ns.max(now_ns + shortest_ns))
    }

    fn enter(&mut self, place: usize, from_ns: u64) {
        for place in place..self.phases.len() {
            let phase = &mut self.phases[place];
            self.place = place;
            self.index = phase
                .cursor
                .first_from(from_ns.saturating_sub(phase.base_ns));
            self.next_ns = phase.due_ns(self.index);
            if self.next_ns.is_some() {
                return;
            }
        }
    }
}

impl Phase {
    fn due_ns(&mut self, index: u64) -> Option<u64> {
        Some(self.base_ns + self.cursor.due_ns(index)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::settings::Settings;

    fn scenario(toml: &str) -> Scenario {
        let settings: Settings = toml::from_str(toml).unwrap();
        Scenario::resolve(settings).unwrap()
    }

    fn all(toml: &str, from_ns: u64) -> Vec<u64> {
        let mut pace = Pace::new(&scenario(toml), from_ns);
        let mut due = Vec::new();
        while let Some(next_ns) = pace.next_ns() {
            due.push(next_ns / 1_000_000);
            pace.advance();
        }
        due
    }

    const TWO: &str =
        "target = \"http://x/\"\nmethod = \"GET\"\nwarmup = \"1s\"\nduration = \"2s\"\nqps = 2";

    #[test]
    fn the_measured_part_follows_the_warm_up() {
        assert_eq!(all(TWO, 0), [0, 500, 1_000, 1_500, 2_000, 2_500]);
        assert_eq!(all(TWO, 600_000_000), [1_000, 1_500, 2_000, 2_500]);
        assert_eq!(all(TWO, 1_700_000_000), [2_000, 2_500]);
        assert_eq!(all(TWO, 3_000_000_000), [0_u64; 0]);
        let cold = TWO.replace("warmup = \"1s\"\n", "");
        assert_eq!(all(&cold, 0), [0, 500, 1_000, 1_500]);
    }

    #[test]
    fn it_sleeps_to_the_due_time_or_a_bunch_beyond_it() {
        let mut pace = Pace::new(&scenario(TWO), 0);
        assert_eq!(pace.wake_ns(5), Some(0), "it is due");
        pace.advance();
        assert_eq!(pace.wake_ns(400_000_000), Some(500_000_000));
        assert_eq!(pace.wake_ns(499_999_000), Some(500_029_000));
        let fast = TWO.replace("qps = 2", "qps = 100000");
        let mut pace = Pace::new(&scenario(&fast), 0);
        pace.advance();
        assert_eq!(pace.wake_ns(9_000), Some(89_000), "8 of them");
        while pace.next_ns().is_some() {
            pace.advance();
        }
        assert_eq!(pace.wake_ns(0), None);
    }
}
