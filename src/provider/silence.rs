//! PURE: whether a provider takes calls and answers none. Time is passed in.
//!
//! Each call that waits holds a place of the server, so it is not for the calls' own timeout alone to
//! find that out: when [`CALLS`] wait much longer than calls usually take, and nothing was answered
//! well since they began, nobody else should join them. A provider that was never heard, or is always
//! slow, is given the timeout.

use std::time::{Duration, Instant};

/// Calls that have to wait: a single slow one says nothing.
pub(super) const CALLS: usize = 5;
/// How many times the usual duration is much longer.
const MUCH: u32 = 4;
/// However quick a provider usually is, it may take this long.
const AT_LEAST: Duration = Duration::from_secs(1);
/// The weight of what is known against the newest call's duration.
const MEMORY: u32 = 7;

/// What is under way, and what was heard last.
#[derive(Debug, Default)]
pub(super) struct Silence {
    under_way: Vec<Instant>,
    heard: Option<Instant>,
    usual: Option<Duration>,
}

impl Silence {
    /// A call begins.
    pub(super) fn began(&mut self, now: Instant) {
        self.under_way.push(now);
    }

    /// The call that began then is over, however.
    pub(super) fn ended(&mut self, began: Instant) {
        if let Some(index) = self.under_way.iter().position(|other| *other == began) {
            self.under_way.swap_remove(index);
        }
    }

    /// The call that began then was answered well.
    pub(super) fn heard(&mut self, began: Instant, now: Instant) {
        let took = now.saturating_duration_since(began);
        let usual = self.usual.unwrap_or(took);
        self.usual = Some((usual * MEMORY + took) / (MEMORY + 1));
        self.heard = Some(now);
    }

    /// Whether something was answered well after the call that began then.
    pub(super) fn was_heard_since(&self, began: Instant) -> bool {
        self.heard.is_some_and(|heard| heard >= began)
    }

    /// Whether nobody else should call.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let Some(usual) = self.usual else {
            return false;
        };
        let limit = (usual * MUCH).max(AT_LEAST);
        let waits = |began: &&Instant| {
            !self.was_heard_since(**began) && now.saturating_duration_since(**began) >= limit
        };
        self.under_way.iter().filter(waits).count() >= CALLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use std::time::SystemTime;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A provider that usually takes `usual`, with [`CALLS`] calls that begin now.
    fn waiting(usual: Duration) -> (Silence, Instant) {
        let began = ManualClock::new(SystemTime::UNIX_EPOCH).monotonic();
        let now = began + usual + ms(1);
        let mut silence = Silence::default();
        silence.heard(began, began + usual);
        (0..CALLS).for_each(|_| silence.began(now));
        (silence, now)
    }

    #[test]
    fn it_is_silent_when_calls_wait_much_longer_than_usual() {
        let (mut silence, now) = waiting(ms(50));
        assert!(!silence.is_silent(now + ms(999)));
        assert!(silence.is_silent(now + ms(1_000)));
        silence.ended(now);
        assert!(!silence.is_silent(now + ms(1_000)), "one call less");
    }

    #[test]
    fn one_that_is_always_slow_is_given_its_time() {
        let (silence, now) = waiting(ms(2_000));
        assert!(!silence.is_silent(now + ms(7_999)));
        assert!(silence.is_silent(now + ms(8_000)));
        let mut silence = Silence::default();
        (0..CALLS).for_each(|_| silence.began(now));
        assert!(!silence.is_silent(now + ms(60_000)), "never heard");
    }

    #[test]
    fn calls_that_began_before_the_last_answer_say_nothing() {
        let (mut silence, now) = waiting(ms(50));
        silence.heard(now + ms(1_500), now + ms(1_550));
        assert!(silence.was_heard_since(now));
        assert!(!silence.is_silent(now + ms(5_000)));
    }
}
