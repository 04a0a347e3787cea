//! The raw clocks that a schedule needs: integer nanoseconds, and sleeping to an absolute deadline.
//!
//! A relative sleep adds the time between reading the clock and sleeping to every period; an
//! absolute one does not, which is what keeps hours of requests on time.

use rustix::thread::{clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::num::NonZeroU64;

/// `CLOCK_MONOTONIC`: stands still while the machine is suspended.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(ClockId::Monotonic)
}

/// `CLOCK_BOOTTIME`: goes on while the machine is suspended.
#[must_use]
pub fn boottime_ns() -> u64 {
    read(ClockId::Boottime)
}

/// CPU time of this process, all threads.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    read(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Blocks this thread until `CLOCK_MONOTONIC` reaches `deadline_ns`, or a signal comes.
pub fn sleep_until(deadline_ns: u64) {
    let deadline = Timespec {
        tv_sec: i64::try_from(deadline_ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(deadline_ns % 1_000_000_000).unwrap_or(0),
    };
    // Interrupted or refused: the caller looks at the clock again in any case.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &deadline);
}

/// Asks the kernel not to round this thread's wake-ups (by 50 us as it does by default).
pub fn wake_precisely() {
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}
