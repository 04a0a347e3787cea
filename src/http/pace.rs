//! Requests a second and their latency over the last minute, and slot by slot before.

use super::recent::{Counts, End, Past, ms};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Length of a slot.
const SLOT: Duration = Duration::from_secs(5);
/// Slots that make the last minute.
const SLOTS: usize = 12;
/// Longest latency that is told apart, in µs: ten minutes.
const MAX_US: u64 = 600_000_000;

/// How it went lately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Requests a second.
    pub requests_per_s: f64,
    /// The latency that 95 % stayed below or at, within 1 %; `None` without requests.
    pub p95: Option<Duration>,
    /// The same of half of them.
    pub p50: Option<Duration>,
    /// The same of 99 %.
    pub p99: Option<Duration>,
}

/// A ring of slots; the one that is being filled is no part of what is told, but when it is all there
/// is.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    /// Which slot since the start is being filled.
    current: u64,
    ring: Vec<Histogram<u64>>,
    /// Of the slot that is being filled.
    counts: Counts,
    past: Past,
}

impl Meter {
    pub(super) fn new(started: Instant) -> Self {
        // With two digits one histogram is some 20 KB at most.
        let slot = || Histogram::new_with_bounds(1, MAX_US, 2).ok();
        Self {
            started,
            slots: Mutex::new(Slots {
                current: 0,
                ring: (0..SLOTS).filter_map(|_| slot()).collect(),
                counts: Counts::default(),
                past: Past::default(),
            }),
        }
    }

    fn slot(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        since.as_secs() / SLOT.as_secs()
    }

    /// Counts a request that ended at `now` after `latency`.
    pub(super) fn record(&self, now: Instant, latency: Duration, end: End<'_>) {
        let slot = self.slot(now);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.forward(slot);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        slots.filling().saturating_record(us.max(1));
        slots.counts.add(end);
    }

    /// The last minute and the slots before `now`, as `GET /v1/status` has them.
    pub(super) fn recent(&self, now: Instant) -> Value {
        let pace = self.pace(now);
        let since = now.saturating_duration_since(self.started);
        let ago = since.saturating_sub(SLOT * u32::try_from(self.slot(now)).unwrap_or(u32::MAX));
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = slots.past.to_json(SLOT, ago);
        let ms = |latency: Option<Duration>| {
            latency.map(|latency| ms(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)))
        };
        recent["minute"] = json!({
            "requests_per_s": pace.requests_per_s,
            "p50_ms": ms(pace.p50),
            "p95_ms": ms(pace.p95),
            "p99_ms": ms(pace.p99),
        });
        recent
    }

    /// The last minute before `now`, or as much of it as there was.
    pub(super) fn pace(&self, now: Instant) -> Pace {
        let slot = self.slot(now);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.forward(slot);
        let full = slot.min(SLOTS as u64 - 1);
        let mut all = Histogram::<u64>::new_with_bounds(1, MAX_US, 2).ok();
        let seconds = if full == 0 {
            let since = now.saturating_duration_since(self.started);
            since.as_secs_f64().max(1.0)
        } else {
            SLOT.as_secs_f64() * f64::from(u32::try_from(full).unwrap_or(u32::MAX))
        };
        let range = if full == 0 { 0..1 } else { 1..full + 1 };
        for back in range {
            let past = &slots.ring[place(slot - back)];
            if let Some(all) = &mut all {
                // Same bounds: nothing to fail.
                let _ = all.add(past);
            }
        }
        let count = all.as_ref().map_or(0, Histogram::len);
        #[expect(clippy::cast_precision_loss, reason = "requests of a minute")]
        let requests_per_s = count as f64 / seconds;
        let all = all.filter(|_| count > 0);
        let at = |quantile| {
            let us = all.as_ref().map(|all| all.value_at_quantile(quantile));
            us.map(Duration::from_micros)
        };
        Pace {
            requests_per_s,
            p95: at(0.95),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below SLOTS")]
fn place(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

impl Slots {
    fn filling(&mut self) -> &mut Histogram<u64> {
        &mut self.ring[place(self.current)]
    }

    /// Closes the slot that was being filled, and empties those between it and `slot`.
    fn forward(&mut self, slot: u64) {
        let passed = slot.saturating_sub(self.current);
        if passed == 0 {
            return;
        }
        let counts = std::mem::take(&mut self.counts);
        let filled = &self.ring[place(self.current)];
        self.past.close(filled, counts, passed - 1);
        for back in 0..passed.min(SLOTS as u64) {
            self.ring[place(slot - back)].reset();
        }
        self.current = self.current.max(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn the_last_minute_is_told_and_older_is_forgotten() {
        let start = SystemClock.monotonic();
        let meter = Meter::new(start);
        assert_eq!(
            meter.pace(start),
            Pace {
                requests_per_s: 0.0,
                p95: None,
                p50: None,
                p99: None
            }
        );
        for second in 0..60 {
            for n in 0..20 {
                let latency = Duration::from_millis(if n == 0 { 80 } else { 10 });
                meter.record(start + Duration::from_secs(second), latency, End::Answered);
            }
        }
        let pace = meter.pace(start + Duration::from_secs(59));
        assert!((pace.requests_per_s - 20.0).abs() < 0.01, "{pace:?}");
        let p95 = pace.p95.unwrap();
        let near = Duration::from_micros(9_900)..Duration::from_micros(10_200);
        assert!(near.contains(&p95), "{p95:?}");
        let pace = meter.pace(start + Duration::from_secs(90));
        assert!(
            (pace.requests_per_s - 20.0 * 25.0 / 55.0).abs() < 0.5,
            "{pace:?}"
        );
        let pace = meter.pace(start + Duration::from_secs(400));
        assert_eq!((pace.requests_per_s, pace.p95), (0.0, None));
    }

    #[test]
    fn a_first_request_shows_at_once() {
        let start = SystemClock.monotonic();
        let meter = Meter::new(start);
        meter.record(start, Duration::from_millis(3), End::Answered);
        let pace = meter.pace(start + Duration::from_secs(2));
        assert!((pace.requests_per_s - 0.5).abs() < 0.01, "{pace:?}");
    }

    #[test]
    fn slots_that_ended_are_told_and_the_one_being_filled_is_not() {
        let start = SystemClock.monotonic();
        let meter = Meter::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        meter.record(at(100), Duration::from_millis(7), End::Answered);
        assert_eq!(meter.recent(at(4_900))["requests"], json!([]));
        meter.record(at(6_000), Duration::from_millis(9), End::Owed("timeout"));
        let recent = meter.recent(at(17_500));
        assert_eq!(recent["requests"], json!([1, 1, 0]));
        assert_eq!(recent["errors"], json!({"timeout": [0, 1, 0]}));
        assert_eq!(recent["ended_ms_ago"], 2_500);
        let p50 = recent["minute"]["p50_ms"].as_f64().unwrap();
        assert!((p50 - 7.0).abs() < 0.1, "{recent}");
        let later = meter.recent(at(7_200_000));
        assert_eq!(later["requests"].as_array().unwrap().len(), 180);
        assert_eq!(later["errors"], json!({}));
    }
}
