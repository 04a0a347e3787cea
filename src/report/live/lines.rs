//! A line a window, where there is no terminal; of windows shorter than a second, one for all that
//! closed in a second of the run.

use super::words::{event_text, failing_text, interrupt_text, kinds, late_text, shown};
use crate::plain;
use crate::soak::driver::Interrupt;
use crate::soak::event::EventRecord;
use crate::soak::latency::Percentiles;
use crate::soak::record::{RunRecord, WindowRecord};
use crate::soak::tally::Counts;
use crate::soak::threshold::Threshold;
use crate::soak::units::show_count;
use crate::soak::verdict::lag_limit_ms;
use crate::soak::{Failing, Progress, Watch};
use console::Term;
use std::collections::BTreeMap;
use std::path::Path;

/// Least time of the run between two lines, in seconds.
const LEAST_S: f64 = 1.0;

pub(super) struct Lines {
    term: Term,
    lag_limit_ms: f64,
    windows: u64,
    gathered: Option<Gathered>,
}

/// Neighbouring windows that share a line.
struct Gathered {
    first: u64,
    last: u64,
    length_s: f64,
    counts: Counts,
    errors: BTreeMap<String, u64>,
    /// The highest of each.
    latency: Percentiles<u64>,
    lag_p99_us: Option<u64>,
}

impl Gathered {
    fn of(window: &WindowRecord) -> Self {
        Self {
            first: window.window + 1,
            last: window.window + 1,
            length_s: window.length_s,
            counts: window.counts,
            errors: window.errors_by_kind.clone(),
            latency: window.response_us,
            lag_p99_us: window.lag_us.p99,
        }
    }

    fn add(&mut self, window: &WindowRecord) {
        self.last = window.window + 1;
        self.length_s += window.length_s;
        self.counts.add(&window.counts);
        for (kind, count) in &window.errors_by_kind {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        let (mine, other) = (&mut self.latency, &window.response_us);
        // Nothing measured is less than anything.
        mine.p50 = mine.p50.max(other.p50);
        mine.p95 = mine.p95.max(other.p95);
        mine.p99 = mine.p99.max(other.p99);
        mine.max = mine.max.max(other.max);
        self.lag_p99_us = self.lag_p99_us.max(window.lag_us.p99);
    }

    fn line(&self, windows: u64, lag_limit_ms: f64) -> String {
        let (first, last) = (show_count(self.first), show_count(self.last));
        let (which, highest) = if first == last {
            (format!("window {first}"), "")
        } else {
            (format!("windows {first} to {last}"), "highest ")
        };
        let errors = if self.errors.is_empty() {
            String::new()
        } else {
            format!(" ({})", kinds(&self.errors))
        };
        let (counts, latency) = (&self.counts, &self.latency);
        let lag_p99_ms = Percentiles {
            p99: self.lag_p99_us,
            ..Percentiles::default()
        }
        .in_ms()
        .p99;
        let late = late_text(lag_p99_ms, lag_limit_ms)
            .map_or_else(String::new, |text| format!(" ({text})"));
        format!(
            "soak {which} of {}: due {}, ok {}, errors {}{errors}, shed {}, {highest}p50 {}, p95 {}, \
             p99 {}, max {}{late}",
            show_count(windows),
            show_count(counts.due),
            show_count(counts.ok),
            show_count(counts.error),
            show_count(counts.shed),
            shown(latency.p50),
            shown(latency.p95),
            shown(latency.p99),
            shown(latency.max)
        )
    }
}

impl Lines {
    pub(super) fn new(term: Term, thresholds: &[Threshold]) -> Self {
        Self {
            term,
            lag_limit_ms: lag_limit_ms(thresholds),
            windows: 0,
            gathered: None,
        }
    }

    fn say(&self, line: &str) {
        let _ = self.term.write_line(line);
        let _ = self.term.flush();
    }

    fn say_gathered(&mut self) {
        if let Some(gathered) = self.gathered.take() {
            self.say(&gathered.line(self.windows, self.lag_limit_ms));
        }
    }
}

impl Watch for Lines {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        self.windows = run.scenario.windows();
        let line = format!(
            "soak {} at {}, recorded in {}",
            run.target,
            run.scenario.load(),
            folder.display()
        );
        self.say(&plain::one_line(&line));
    }

    fn window(&mut self, window: &WindowRecord) {
        match &mut self.gathered {
            Some(gathered) => gathered.add(window),
            None => self.gathered = Some(Gathered::of(window)),
        }
        // Lengths are sums of binary fractions.
        let is_due = |gathered: &Gathered| gathered.length_s > LEAST_S - 1e-6;
        if self.gathered.as_ref().is_some_and(is_due) {
            self.say_gathered();
        }
    }

    fn tick(&mut self, _progress: &Progress<'_>) {}

    fn failing(&mut self, failing: &Failing) {
        self.say(&failing_text(failing));
    }

    fn event(&mut self, event: &EventRecord) {
        self.say(&event_text(event));
    }

    fn waiting(&mut self, for_what: &str) {
        self.say_gathered();
        self.say(for_what);
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        self.say(&interrupt_text(interrupt));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.say_gathered();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(number: u64, errors: u64, p95_us: Option<u64>) -> WindowRecord {
        let json = serde_json::json!({
            "window": number, "start_s": 0.0, "length_s": 0.5,
            "counts": {"due": 10, "ok": 10 - errors, "error": errors, "shed": 0,
                       "in_flight_at_end": 0},
            "errors_by_kind": if errors > 0 { serde_json::json!({"timeout": errors}) }
                              else { serde_json::json!({}) },
            "response_us": {"p95": p95_us}, "ok_us": {}, "service_us": {}, "lag_us": {},
            "cache": {"answers": 0, "cached": 0}, "resources": {"generator_cpu_s": 0.0},
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn windows_of_one_line_add_up() {
        let mut gathered = Gathered::of(&window(9, 0, Some(5_310)));
        assert_eq!(
            gathered.line(2_880, 5.0),
            "soak window 10 of 2,880: due 10, ok 10, errors 0, shed 0, p50 -, p95 5.31 ms, p99 -, \
             max -"
        );
        gathered.add(&window(10, 3, None));
        gathered.add(&window(11, 1, Some(812)));
        assert_eq!(
            gathered.line(60, 5.0),
            "soak windows 10 to 12 of 60: due 30, ok 26, errors 4 (timeout 4), shed 0, highest \
             p50 -, p95 5.31 ms, p99 -, max -"
        );
        assert!((gathered.length_s - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_late_generator_is_named_while_it_runs() {
        let mut late = window(0, 0, Some(9_000));
        late.lag_us.p99 = Some(7_250);
        let line = Gathered::of(&late).line(1, 5.0);
        assert!(
            line.ends_with(" (the generator is late: p99 of lag is 7.2 ms, 5.0 ms is the most)"),
            "{line}"
        );
        assert!(!Gathered::of(&late).line(1, 30.0).contains("late"));
    }
}
