//! PURE: what is worth taking evidence of: a state machine that is told of windows, events and the age of
//! the oldest request in flight. It only triggers evidence and judges nothing.

use super::shift::Shift;
use crate::soak::event::Event;
use crate::soak::figure::Figure;
use crate::soak::record::WindowRecord;
use crate::soak::scenario::Scenario;
use crate::soak::stats::numbers::{median, whole};
use crate::soak::threshold::{Metric, Scope, Threshold};
use crate::soak::units::{float, milliseconds, nanoseconds, seconds};
use crate::soak::view::View;
use std::time::Duration;

/// A request in flight is stalled when it is older than so many times the tightest latency threshold.
const STALL_TIMES: f64 = 2.0;
/// And at most this share of the request timeout, beyond which it ends by itself.
const STALL_TIMEOUT_SHARE: f64 = 0.75;
/// Memory counts from the level at the end of the first tenth of a run, and after this many windows.
const LEVEL_WINDOWS: usize = 10;
/// Without a mark: so many times that level, and at least this much more.
const MARK_TIMES: f64 = 1.5;
const MARK_BYTES: f64 = 32.0 * 1024.0 * 1024.0;

/// Why evidence is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// A window crossed a threshold.
    Threshold,
    /// A request has been in flight for too long.
    Stall,
    /// A latency changed its level.
    Step,
    /// The unit was started again, or the process ended.
    Restart,
    /// Memory is past its mark.
    Memory,
}

impl Reason {
    const ALL: [Self; 5] = [
        Self::Threshold,
        Self::Stall,
        Self::Step,
        Self::Restart,
        Self::Memory,
    ];

    /// Part of the name of a folder.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Stall => "stall",
            Self::Step => "step",
            Self::Restart => "restart",
            Self::Memory => "memory",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) reason: Reason,
    /// The window that it is about, where that is not the one that is open.
    pub(super) window: Option<u64>,
    /// In words.
    pub(super) text: String,
}

impl Trigger {
    fn now(reason: Reason, text: String) -> Self {
        Self {
            reason,
            window: None,
            text,
        }
    }
}

/// What of a closed window is compared with others.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::soak) struct Facts {
    window: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    rss_bytes: Option<u64>,
}

impl Facts {
    pub(in crate::soak) fn of(window: &WindowRecord) -> Self {
        Self {
            window: window.window,
            p50_ms: window.response_us.p50.map(milliseconds),
            p95_ms: window.response_us.p95.map(milliseconds),
            rss_bytes: window.unit.as_ref().and_then(|unit| unit.rss_bytes),
        }
    }
}

/// What was seen so far of a run.
#[derive(Clone, Debug)]
pub(super) struct Triggers {
    thresholds: Vec<Threshold>,
    stall_ns: u64,
    stall_text: String,
    memory: Memory,
    shifts: [(&'static str, Shift); 2],
}

impl Triggers {
    pub(super) fn new(scenario: &Scenario, mark_bytes: Option<u64>) -> Self {
        let tightest = tightest_ms(&scenario.thresholds);
        let timeout_ms = scenario.timeout.as_secs_f64() * 1e3;
        let longest_ms = timeout_ms * STALL_TIMEOUT_SHARE;
        let (stall_ms, what) = match tightest.map(|ms| ms * STALL_TIMES) {
            Some(ms) if ms < longest_ms => (ms, "twice the tightest latency threshold"),
            _ => (longest_ms, "three quarters of the request timeout"),
        };
        let windows = nanoseconds(scenario.load.duration).div_ceil(nanoseconds(scenario.window));
        Self {
            thresholds: scenario
                .thresholds
                .iter()
                .filter(|t| is_held_against_windows(t))
                .cloned()
                .collect(),
            stall_ns: nanoseconds(Duration::try_from_secs_f64(stall_ms / 1e3).unwrap_or_default()),
            stall_text: format!("{:.2} s, {what}", stall_ms / 1e3),
            memory: Memory::new(mark_bytes, windows),
            shifts: [("p50", Shift::default()), ("p95", Shift::default())],
        }
    }

    /// A window closed.
    pub(super) fn window(&mut self, view: &dyn View, facts: Facts) -> Vec<Trigger> {
        let mut seen: Vec<Trigger> = self.crossed(view, facts.window).into_iter().collect();
        seen.extend(self.compare(facts));
        seen
    }

    /// What `facts` show beside those of the windows before.
    pub(super) fn compare(&mut self, facts: Facts) -> Vec<Trigger> {
        let mut seen = Vec::new();
        for ((name, shift), value) in self.shifts.iter_mut().zip([facts.p50_ms, facts.p95_ms]) {
            let Some((before, after)) = value.and_then(|value| shift.push(value)) else {
                continue;
            };
            let (before, after) = (Figure::P95.show(before), Figure::P95.show(after));
            let text = format!("{name} stepped up from {before} to {after}");
            seen.push(Trigger::now(Reason::Step, text));
        }
        let past = facts.rss_bytes.and_then(|bytes| self.memory.push(bytes));
        seen.extend(past.map(|text| Trigger::now(Reason::Memory, text)));
        seen
    }

    fn crossed(&self, view: &dyn View, window: u64) -> Option<Trigger> {
        if view.counts().due == 0 {
            return None;
        }
        let crossed: Vec<String> = self
            .thresholds
            .iter()
            .filter_map(|threshold| {
                // Where all failed there is no latency of those that succeeded.
                let value = threshold.value(view)?;
                let holds = threshold.holds(Some(value));
                (!holds).then(|| format!("{}: {}", threshold.expr(), threshold.show(Some(value))))
            })
            .collect();
        (!crossed.is_empty()).then(|| Trigger {
            reason: Reason::Threshold,
            window: Some(window),
            text: format!("window {window} crossed {}", crossed.join(" and ")),
        })
    }

    /// Something happened beside.
    pub(super) fn event(event: &Event) -> Option<Trigger> {
        match event {
            Event::UnitRestarted { .. } | Event::ProcessGone { .. } => {
                Some(Trigger::now(Reason::Restart, event.to_string()))
            }
            _ => None,
        }
    }

    /// The oldest request in flight has been due for `oldest_ns`. Says so as long as it lasts.
    pub(super) fn oldest(&self, oldest_ns: Option<u64>) -> Option<Trigger> {
        let age_ns = oldest_ns.filter(|age_ns| *age_ns > self.stall_ns)?;
        let text = format!(
            "the oldest request in flight is {:.2} s old, beyond {}",
            seconds(age_ns),
            self.stall_text
        );
        Some(Trigger::now(Reason::Stall, text))
    }
}

fn tightest_ms(thresholds: &[Threshold]) -> Option<f64> {
    let limits = thresholds.iter().filter_map(Threshold::latency_limit_ms);
    limits.min_by(f64::total_cmp)
}

/// Latency and errors, of the whole run or of stretches: what a window alone can show. Lag is the
/// generator's.
fn is_held_against_windows(threshold: &Threshold) -> bool {
    let of_the_target = match threshold.metric() {
        Metric::ErrorRate | Metric::Shed => true,
        Metric::Quantile(..) | Metric::Mean(_) => threshold.latency_limit_ms().is_some(),
        Metric::Throughput | Metric::HitRate | Metric::Growth(_) => false,
    };
    of_the_target && threshold.scope() != Scope::LastQuarter
}

/// Resident memory, and the mark beyond which it is worth a look.
#[derive(Clone, Debug)]
struct Memory {
    mark_bytes: Option<f64>,
    /// Levels until there is a mark.
    first: Vec<f64>,
    windows: usize,
    level_after: usize,
}

impl Memory {
    fn new(mark_bytes: Option<u64>, windows: u64) -> Self {
        let tenth = usize::try_from(windows / 10).unwrap_or(usize::MAX);
        Self {
            mark_bytes: mark_bytes.map(float),
            first: Vec::new(),
            windows: 0,
            level_after: tenth.max(LEVEL_WINDOWS),
        }
    }

    /// Memory of the next window; says when it is past the mark, and the next mark lies higher.
    fn push(&mut self, bytes: u64) -> Option<String> {
        let bytes = float(bytes);
        self.windows = self.windows.saturating_add(1);
        let Some(mark) = self.mark_bytes else {
            self.first.push(bytes);
            if self.first.len() > LEVEL_WINDOWS {
                self.first.remove(0);
            }
            if self.windows >= self.level_after {
                self.mark_bytes = median(&mut self.first).map(above);
            }
            return None;
        };
        if bytes <= mark {
            return None;
        }
        self.mark_bytes = Some(above(bytes));
        let mib = |bytes: f64| whole(bytes / 1_048_576.0);
        Some(format!(
            "RSS is {} MiB, past the mark of {} MiB",
            mib(bytes),
            mib(mark)
        ))
    }
}

fn above(bytes: f64) -> f64 {
    (bytes * MARK_TIMES).max(bytes + MARK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::settings::Settings;
    use crate::soak::tally::{ErrorKind, Outcome, Tally, Times};
    use crate::soak::view::Whole;

    fn scenario(more: &str) -> Scenario {
        let text = format!(
            "target = \"http://127.0.0.1:1/\"\nbody = \"\"\nqps = 10\nduration = \"10m\"\n{more}"
        );
        let settings: Settings = toml::from_str(&text).unwrap();
        Scenario::resolve(settings).unwrap()
    }

    fn tally(ms: &[u64], errors: u64) -> Tally {
        let mut tally = Tally::default();
        let times = |ms: u64| Times {
            age_ns: ms * 1_000_000,
            service_ns: ms * 1_000_000,
            timeout_ns: 10_000_000_000,
        };
        for ms in ms {
            tally.due();
            tally.ended(times(*ms), Outcome::Ok { cached: None });
        }
        for _ in 0..errors {
            tally.due();
            let kind = ErrorKind::Connect;
            let cause = crate::soak::causes::Cause::Borrowed("connection refused");
            tally.ended(times(1), Outcome::Error(kind, cause));
        }
        tally
    }

    fn seen(triggers: &mut Triggers, tally: &Tally) -> Vec<String> {
        let measured_ns = 10_000_000_000;
        let view = Whole { tally, measured_ns };
        let facts = Facts {
            window: 12,
            ..Facts::default()
        };
        let seen = triggers.window(&view, facts);
        seen.into_iter().map(|trigger| trigger.text).collect()
    }

    #[test]
    fn a_window_that_crosses_a_threshold_is_told_with_all_that_it_crossed() {
        let mut triggers = Triggers::new(&scenario(""), None);
        assert!(seen(&mut triggers, &tally(&[5; 100], 0)).is_empty());
        assert!(
            seen(&mut triggers, &tally(&[], 0)).is_empty(),
            "nothing was due"
        );
        let slow = seen(&mut triggers, &tally(&[400; 100], 0));
        assert!(
            slow[0].starts_with("window 12 crossed p95<300ms: 400."),
            "{slow:?}"
        );
        let failing = seen(&mut triggers, &tally(&[5; 10], 10));
        assert!(
            failing[0].contains("and error_rate<1%: 50.00 %"),
            "{failing:?}"
        );
    }

    #[test]
    fn what_one_window_cannot_show_is_not_held_against_it() {
        let thresholds = "thresholds = [\"throughput>100/s\", \"lag_p99<1us\", \"rss_growth<1MiB/h\", \
                          \"p95<1ms in last quarter\", \"ok_p99<1s\"]";
        let mut triggers = Triggers::new(&scenario(thresholds), None);
        assert!(seen(&mut triggers, &tally(&[5; 100], 0)).is_empty());
        assert!(
            seen(&mut triggers, &tally(&[], 10)).is_empty(),
            "no latency of ok requests"
        );
        assert_eq!(seen(&mut triggers, &tally(&[1_500; 10], 0)).len(), 1);
    }

    #[test]
    fn the_oldest_request_is_stalled_beyond_twice_the_tightest_threshold() {
        const MS: u64 = 1_000_000;
        let plain = Triggers::new(&scenario(""), None);
        assert_eq!(plain.oldest(None), None);
        assert_eq!(plain.oldest(Some(600 * MS)), None);
        let text = plain.oldest(Some(700 * MS)).unwrap().text;
        let said = "0.70 s old, beyond 0.60 s, twice the tightest latency threshold";
        assert!(text.contains(said), "{text}");
        let errors_alone = scenario("thresholds = [\"error_rate<1%\"]\ntimeout = \"4s\"");
        let by_timeout = Triggers::new(&errors_alone, None);
        assert_eq!(by_timeout.oldest(Some(3_000 * MS)), None);
        assert!(by_timeout.oldest(Some(3_001 * MS)).is_some());
        // No request lives as long as twice this threshold.
        let beyond = Triggers::new(&scenario("thresholds = [\"max<9s\"]"), None);
        assert!(beyond.oldest(Some(7_501 * MS)).is_some());
    }

    fn memory_of(triggers: &mut Triggers, mib: u64) -> Vec<Trigger> {
        triggers.compare(Facts {
            rss_bytes: Some(mib << 20),
            ..Facts::default()
        })
    }

    #[test]
    fn memory_is_held_against_its_beginning_or_a_mark() {
        let mut triggers = Triggers::new(&scenario(""), None);
        // A cold start is no level: of 60 windows the first ten are.
        for mib in [10, 50, 100, 100, 100, 100, 100, 100, 101, 99] {
            assert!(memory_of(&mut triggers, mib).is_empty());
        }
        assert!(memory_of(&mut triggers, 150).is_empty());
        let past = memory_of(&mut triggers, 151);
        assert_eq!(past[0].text, "RSS is 151 MiB, past the mark of 150 MiB");
        assert!(memory_of(&mut triggers, 200).is_empty(), "told once");
        assert_eq!(
            memory_of(&mut triggers, 227).len(),
            1,
            "and again half as high again"
        );
        let mut marked = Triggers::new(&scenario(""), Some(64 << 20));
        assert!(memory_of(&mut marked, 64).is_empty());
        assert_eq!(memory_of(&mut marked, 65)[0].reason, Reason::Memory);
        // Half of little is little.
        let mut small = Triggers::new(&scenario(""), None);
        (0..10).for_each(|_| assert!(memory_of(&mut small, 8).is_empty()));
        assert!(memory_of(&mut small, 39).is_empty());
        assert_eq!(memory_of(&mut small, 41).len(), 1);
    }

    #[test]
    fn a_restart_is_an_event_of_the_sampler() {
        let gone = Triggers::event(&Event::ProcessGone { pid: 7 }).unwrap();
        assert_eq!(
            (gone.reason, gone.text.as_str()),
            (Reason::Restart, "the process 7 ended")
        );
        assert_eq!(Triggers::event(&Event::ClockStep { ms: 7 }), None);
        assert_eq!(Reason::named("memory"), Some(Reason::Memory));
        assert_eq!(Reason::named("../x"), None);
    }
}
