//! What the three clocks say of each other: a suspended machine, a stepped wall clock, a reboot.

use super::event::Event;
use super::monotonic::{boottime_ns, monotonic_ns};
use super::record::StartRecord;
use super::units::signed;
use crate::clock::Clock;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Two looks further apart than this by boot time than by monotonic time: the machine slept.
const SUSPENDED_NS: i64 = 100_000_000;
/// The same for the wall clock. What NTP does without a step is at most 0.5 ms a second.
const STEPPED_NS: i64 = 100_000_000;
/// Clocks are read one after the other; a reading that took longer says nothing of differences.
const SAME_MOMENT_NS: u64 = 1_000_000;
/// So often is it tried to read them at one moment.
const ATTEMPTS: u32 = 20;

/// What the clocks say at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `CLOCK_REALTIME`.
    pub wall: SystemTime,
    /// `CLOCK_MONOTONIC`.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
}

impl Reading {
    /// Reads them, again when another process came between.
    #[must_use]
    pub fn take(clock: &dyn Clock) -> Self {
        let mut best = (u64::MAX, Self::once(clock));
        for _ in 0..ATTEMPTS {
            let reading = Self::once(clock);
            let took_ns = monotonic_ns().saturating_sub(reading.monotonic_ns);
            if took_ns < best.0 {
                best = (took_ns, reading);
            }
            if took_ns < SAME_MOMENT_NS {
                break;
            }
        }
        best.1
    }

    fn once(clock: &dyn Clock) -> Self {
        Self {
            monotonic_ns: monotonic_ns(),
            wall: clock.wall(),
            boottime_ns: boottime_ns(),
        }
    }

    /// As it goes into `run.json`, for a measured part that begins `ahead_ns` from now.
    #[must_use]
    pub fn start_record(&self, ahead_ns: u64) -> StartRecord {
        let wall = self.wall + std::time::Duration::from_nanos(ahead_ns);
        StartRecord {
            wall: OffsetDateTime::from(wall)
                .format(&Rfc3339)
                .unwrap_or_default(),
            monotonic_ns: self.monotonic_ns + ahead_ns,
            boottime_ns: self.boottime_ns + ahead_ns,
            boot_id: boot_id(),
        }
    }

    /// Nanoseconds from the start of the measured part, by monotonic time; after a reboot, which
    /// this also says, by the wall clock, the only one that went on.
    #[must_use]
    pub fn since(&self, start: &StartRecord, boot_id: &str) -> (i64, bool) {
        let same_boot = start.boot_id == boot_id && self.boottime_ns >= start.boottime_ns;
        if same_boot || start.wall.is_empty() {
            return (
                signed(self.monotonic_ns) - signed(start.monotonic_ns),
                false,
            );
        }
        let began =
            OffsetDateTime::parse(&start.wall, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let passed = (OffsetDateTime::from(self.wall) - began).whole_nanoseconds();
        (i64::try_from(passed).unwrap_or(i64::MAX), true)
    }
}

/// Names the boot of this machine; empty where the kernel does not say.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Looks at the clocks again and again, and adds up what they did.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    last: Reading,
    suspended_ns: u64,
    wall_step_ms: i64,
}

impl ClockWatch {
    /// Watches from `first` on; what happened before is added.
    #[must_use]
    pub fn new(first: Reading, suspended_ms: u64, wall_step_ms: i64) -> Self {
        Self {
            last: first,
            suspended_ns: suspended_ms.saturating_mul(1_000_000),
            wall_step_ms,
        }
    }

    /// What happened since the look before.
    pub fn look(&mut self, now: Reading) -> Vec<Event> {
        let monotonic_ns = signed(now.monotonic_ns) - signed(self.last.monotonic_ns);
        let boottime_ns = signed(now.boottime_ns) - signed(self.last.boottime_ns);
        let wall_ns = match now.wall.duration_since(self.last.wall) {
            Ok(ahead) => i64::try_from(ahead.as_nanos()).unwrap_or(i64::MAX),
            Err(back) => -i64::try_from(back.duration().as_nanos()).unwrap_or(i64::MAX),
        };
        self.last = now;
        let mut events = Vec::new();
        let slept_ns = boottime_ns - monotonic_ns;
        if slept_ns > SUSPENDED_NS {
            self.suspended_ns += slept_ns.unsigned_abs();
            let ms = slept_ns.unsigned_abs() / 1_000_000;
            events.push(Event::Suspended { ms });
        }
        // Against boot time, which no suspend stops.
        let stepped_ns = wall_ns.saturating_sub(boottime_ns);
        if stepped_ns.unsigned_abs() > STEPPED_NS.unsigned_abs() {
            let ms = stepped_ns / 1_000_000;
            self.wall_step_ms = self.wall_step_ms.saturating_add(ms);
            events.push(Event::ClockStep { ms });
        }
        events
    }

    /// How long the machine was suspended.
    #[must_use]
    pub fn suspended(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.suspended_ns)
    }

    /// How far the wall clock was stepped.
    #[must_use]
    pub fn wall_step_ms(&self) -> i64 {
        self.wall_step_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn reading(wall_ms: u64, monotonic_ms: u64, boottime_ms: u64) -> Reading {
        Reading {
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + wall_ms),
            monotonic_ns: monotonic_ms * 1_000_000,
            boottime_ns: boottime_ms * 1_000_000,
        }
    }

    #[test]
    fn tells_a_suspend_from_a_step() {
        let mut watch = ClockWatch::new(reading(0, 0, 0), 0, 0);
        assert!(watch.look(reading(1_010, 1_000, 1_000)).is_empty());
        let slept = watch.look(reading(5_010, 2_000, 5_000));
        assert_eq!(slept, [Event::Suspended { ms: 3_000 }]);
        let stepped = watch.look(reading(2_010, 3_000, 6_000));
        assert_eq!(stepped, [Event::ClockStep { ms: -4_000 }]);
        assert_eq!(watch.suspended(), Duration::from_secs(3));
        assert_eq!(watch.wall_step_ms(), -4_000);
    }

    #[test]
    fn a_reboot_leaves_the_wall_clock() {
        let start = reading(0, 90_000, 95_000).start_record(5 * SECOND);
        let same = boot_id();
        let (passed_ns, rebooted) = reading(1, 97_000, 102_000).since(&start, &same);
        assert_eq!((passed_ns, rebooted), (2_000_000_000, false));
        let (passed_ns, rebooted) = reading(25_000, 3_000, 3_000).since(&start, "another");
        assert_eq!((passed_ns, rebooted), (20_000_000_000, true));
        // A container may keep the id of the boot while its clocks begin anew.
        assert!(reading(25_000, 3_000, 3_000).since(&start, &same).1);
    }

    #[test]
    fn readings_are_of_one_moment() {
        let clock = crate::clock::SystemClock;
        let mut watch = ClockWatch::new(Reading::take(&clock), 0, 0);
        for _ in 0..1_000 {
            assert!(watch.look(Reading::take(&clock)).is_empty());
        }
    }
}
