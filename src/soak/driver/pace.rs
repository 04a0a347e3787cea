//! PURE: which request is due next, over warm-up and measured part.

use crate::soak::scenario::Scenario;
use crate::soak::schedule::Cursor;
use crate::soak::units::nanoseconds;

/// Shortest sleep: for less it costs more than it gives.
const MIN_SLEEP_NS: u64 = 30_000;
/// Where requests are due closer than that, above 33,000/s, they go out in bunches of so many, up to
/// that much late: waking for each would take the processor from those that answer.
const BUNCH: u64 = 8;

/// Requests further apart than this, up to 2,500/s, are waited for awake at last: a processor that rests takes
/// its time to wake, which would be lag.
const AWAKE_FROM_NS: u64 = 400_000;
/// So long at most, at each request: 2 % of a processor at 100/s where waking takes that long.
const MOST_AWAKE_NS: u64 = 200_000;
/// How much one wake-up counts in what is known of them, as a divisor.
const WEIGHT: u64 = 8;

/// When requests are due, one after the other, from the start of the run.
pub(super) struct Pace {
    phases: [Phase; 2],
    place: usize,
    index: u64,
    next_ns: Option<u64>,
    gap_ns: u64,
    /// How late wake-ups are, on average.
    late_ns: u64,
    /// What the last sleep was to end at.
    alarm_ns: Option<u64>,
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
            late_ns: 0,
            alarm_ns: None,
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

    /// Until when to sleep at `now_ns` for the next request, not at all when that is no later: somewhat too
    /// short where waking is late, a little too long where requests are so close that waking for each
    /// costs more than it gives; `None` when there is none.
    pub(super) fn wake_ns(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_ns?;
        self.alarm_ns = None;
        if due_ns <= now_ns {
            return Some(due_ns);
        }
        if self.gap_ns >= AWAKE_FROM_NS {
            let early_ns = (self.late_ns + self.late_ns / 4).min(MOST_AWAKE_NS);
            let alarm_ns = due_ns - early_ns.min(due_ns);
            self.alarm_ns = Some(alarm_ns);
            return Some(alarm_ns);
        }
        let shortest_ns = if self.gap_ns >= MIN_SLEEP_NS {
            MIN_SLEEP_NS
        } else {
            MIN_SLEEP_NS.max(self.gap_ns * BUNCH)
        };
        Some(due_ns.max(now_ns + shortest_ns))
    }

    /// A sleep ended at `now_ns`, and nothing but time can have ended it.
    pub(super) fn woke(&mut self, now_ns: u64) {
        let alarm_ns = self.alarm_ns.take();
        if let Some(late_ns) = alarm_ns.and_then(|alarm_ns| now_ns.checked_sub(alarm_ns)) {
            let late_ns = late_ns.min(MOST_AWAKE_NS);
            self.late_ns = (self.late_ns * (WEIGHT - 1) + late_ns) / WEIGHT;
        }
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
        assert_eq!(pace.wake_ns(499_999_000), Some(500_000_000));
        let close = TWO.replace("qps = 2", "qps = 10000");
        let mut pace = Pace::new(&scenario(&close), 0);
        pace.advance();
        assert_eq!(pace.wake_ns(99_000), Some(129_000));
        let fast = TWO.replace("qps = 2", "qps = 100000");
        let mut pace = Pace::new(&scenario(&fast), 0);
        pace.advance();
        assert_eq!(pace.wake_ns(9_000), Some(89_000), "8 of them");
        while pace.next_ns().is_some() {
            pace.advance();
        }
        assert_eq!(pace.wake_ns(0), None);
    }

    #[test]
    fn where_waking_is_late_it_wakes_earlier_and_stays_awake() {
        let mut pace = Pace::new(&scenario(TWO), 0);
        for _ in 0..5 {
            pace.advance();
            let due_ns = pace.next_ns().unwrap();
            let alarm_ns = pace.wake_ns(due_ns - 1_000_000).unwrap();
            assert!((due_ns - MOST_AWAKE_NS..=due_ns).contains(&alarm_ns));
            pace.woke(alarm_ns + 80_000);
            assert!(pace.wake_ns(due_ns - 1).unwrap() >= alarm_ns - 30_000);
        }
        // What ended before its time was ended by something else, and teaches nothing.
        let known_ns = pace.late_ns;
        assert!((30_000..80_000).contains(&known_ns), "{known_ns}");
        pace.woke(0);
        assert_eq!(pace.late_ns, known_ns);
        // A sleep that was much too long counts for no more than the longest time awake.
        pace.alarm_ns = Some(0);
        pace.woke(u64::MAX);
        assert!(pace.late_ns <= known_ns + MOST_AWAKE_NS / WEIGHT);
    }
}
