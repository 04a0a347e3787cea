//! PURE: a circuit breaker. Time is passed in.
//!
//! Closed, everything goes. After [`FAILURES`] failures in a row, or when the provider says for how
//! long it wants to be left alone, it opens: nothing goes for a while. Then one probe goes, and a
//! further one each [`OPEN`] while none has come back; the first to succeed closes it. So a provider
//! that is back is used again within [`OPEN`] and the time of one call, even if a probe hangs. It
//! also opens when the calls under way say that the provider fell silent, before they time out.

use super::silence::Silence;
use std::time::{Duration, Instant};

/// Failures in a row after which the provider counts as down.
pub(super) const FAILURES: u32 = 5;
/// How long it is left alone, and between two probes: short, so that recovery is quick; a probe a
/// second burdens nobody.
pub(super) const OPEN: Duration = Duration::from_secs(1);
/// Longest time that a provider's own wish is heeded before a probe.
const OPEN_MOST: Duration = Duration::from_mins(10);
/// A wish of the provider's that is shorter is left to the requests that were told: a rate limit by
/// the second is no outage.
pub(super) const LONG: Duration = Duration::from_secs(5);
/// A call that a caller cut short before this says nothing about the provider.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// The state; closed at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing { since: Instant },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// What is under way.
    pub(super) calls: Silence,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            calls: Silence::default(),
        }
    }
}

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Send it, and say how it ended.
    Go,
    /// Do not; ask again after this long.
    Wait(Duration),
}

impl Breaker {
    /// May a request go? A probe is let through where it is time for one.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        if matches!(self.state, State::Closed { .. }) && self.calls.is_silent(now) {
            self.state = State::Open { until: now + OPEN };
        }
        let next = match self.state {
            State::Closed { .. } => return Admission::Go,
            State::Open { until } => until,
            State::Probing { since } => since + OPEN,
        };
        if now < next {
            return Admission::Wait(next - now);
        }
        self.state = State::Probing { since: now };
        Admission::Go
    }

    /// Whether it counts as down, probes included.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// How long nothing goes; `None` when the next request will.
    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until.saturating_duration_since(now)),
            State::Closed { .. } | State::Probing { .. } => None,
        }
        .filter(|wait| !wait.is_zero())
    }

    /// The provider answered.
    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The provider failed; perhaps it said how long it wants to be left alone.
    pub(super) fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let open_for = retry_after.unwrap_or(OPEN).clamp(OPEN, OPEN_MOST);
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < FAILURES => *failures += 1,
            State::Closed { .. } | State::Probing { .. } => {
                let until = now + open_for;
                self.state = State::Open { until };
            }
            // One that was sent before it opened.
            State::Open { until } => {
                *until = (*until).max(now + retry_after.unwrap_or_default().min(OPEN_MOST));
            }
        }
    }

    /// The provider asked to be left alone.
    pub(super) fn hold(&mut self, now: Instant, wait: Duration) {
        let until = now + wait.min(OPEN_MOST);
        self.state = match self.state {
            State::Open { until: other } => State::Open {
                until: until.max(other),
            },
            _ => State::Open { until },
        };
    }

    /// A request that was let through ended without saying anything about the provider: the next
    /// one may probe.
    pub(super) fn forget(&mut self) {
        if let State::Probing { since } = self.state {
            self.state = State::Open { until: since };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use proptest::prelude::*;
    use std::time::SystemTime;

    fn opened(clock: &ManualClock) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
            breaker.failed(clock.monotonic(), None);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_probe_through() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let mut breaker = opened(&clock);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Wait(OPEN));
        assert_eq!(breaker.closed_for(clock.monotonic()), Some(OPEN));
        clock.advance(OPEN);
        assert_eq!(breaker.closed_for(clock.monotonic()), None);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
        assert!(matches!(
            breaker.admit(clock.monotonic()),
            Admission::Wait(_)
        ));
        breaker.succeeded();
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_and_one_that_hangs_is_followed_by_another() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let mut breaker = opened(&clock);
        clock.advance(OPEN);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
        breaker.failed(clock.monotonic(), None);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Wait(OPEN));
        clock.advance(OPEN);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
        clock.advance(OPEN);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
    }

    #[test]
    fn opens_on_silence_and_closes_with_the_first_answer() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let mut breaker = Breaker::default();
        breaker.calls.heard(clock.monotonic(), clock.monotonic());
        clock.advance(Duration::from_millis(1));
        for _ in 0..super::super::silence::CALLS {
            assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
            breaker.calls.began(clock.monotonic());
        }
        clock.advance(SLOW);
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Wait(OPEN));
        clock.advance(OPEN);
        let probe = clock.monotonic();
        assert_eq!(breaker.admit(probe), Admission::Go);
        breaker.calls.heard(probe, clock.monotonic());
        breaker.succeeded();
        assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let now = ManualClock::new(SystemTime::UNIX_EPOCH).monotonic();
        let mut breaker = Breaker::default();
        for _ in 0..10 * FAILURES {
            breaker.failed(now, None);
            breaker.failed(now, None);
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), Admission::Go);
    }

    #[test]
    fn heeds_the_provider_but_not_for_days() {
        let now = ManualClock::new(SystemTime::UNIX_EPOCH).monotonic();
        let mut breaker = Breaker::default();
        breaker.hold(now, Duration::from_mins(1));
        assert_eq!(breaker.admit(now), Admission::Wait(Duration::from_mins(1)));
        breaker.hold(now, Duration::from_secs(20));
        assert_eq!(breaker.admit(now), Admission::Wait(Duration::from_mins(1)));
        breaker.hold(now, Duration::from_secs(1_000_000));
        assert_eq!(breaker.admit(now), Admission::Wait(OPEN_MOST));
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Admit,
        Succeed,
        Fail,
        Forget,
        Pass(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Admit),
            Just(Event::Succeed),
            Just(Event::Fail),
            Just(Event::Forget),
            (0_u64..3_000).prop_map(Event::Pass),
        ]
    }

    proptest! {
        /// Whatever happened: a request goes within [`OPEN`], and its success closes the breaker.
        #[test]
        fn is_never_stuck(events in proptest::collection::vec(event(), 0..100)) {
            let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
            let mut breaker = Breaker::default();
            for event in events {
                match event {
                    Event::Admit => drop(breaker.admit(clock.monotonic())),
                    Event::Succeed => breaker.succeeded(),
                    Event::Fail => breaker.failed(clock.monotonic(), None),
                    Event::Forget => breaker.forget(),
                    Event::Pass(ms) => clock.advance(Duration::from_millis(ms)),
                }
            }
            if let Admission::Wait(wait) = breaker.admit(clock.monotonic()) {
                prop_assert!(wait <= OPEN);
                clock.advance(wait);
                prop_assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
            }
            breaker.succeeded();
            prop_assert_eq!(breaker.admit(clock.monotonic()), Admission::Go);
        }
    }
}
