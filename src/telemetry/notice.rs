//! Whether something was said that has not ended yet, so that nothing is said twice, nor often.

use std::time::{Duration, Instant};

/// Least time between two lines that say that the same thing began, where it comes and goes.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What was said of one thing that begins and ends. Time is passed in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notice {
    is_on: bool,
    last: Option<Instant>,
}

impl Notice {
    /// It is going on; to be called as often as that is seen. Whether to say that it began.
    pub fn began(&mut self, now: Instant) -> bool {
        let is_new = !self.is_on
            && self
                .last
                .is_none_or(|last| now.saturating_duration_since(last) >= SAY_EVERY);
        if is_new {
            self.is_on = true;
            self.last = Some(now);
        }
        is_new
    }

    /// It is over. Whether to say that it ended, which is so only where its beginning was said.
    pub fn ended(&mut self) -> bool {
        std::mem::take(&mut self.is_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use std::time::SystemTime;

    #[test]
    fn what_comes_and_goes_is_said_once_in_a_while() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let mut notice = Notice::default();
        assert!(!notice.ended(), "nothing has begun");
        assert!(notice.began(clock.monotonic()) && !notice.began(clock.monotonic()));
        assert!(notice.ended() && !notice.ended());
        assert!(!notice.began(clock.monotonic()), "so soon again");
        assert!(!notice.ended(), "what was not said does not end");
        clock.advance(SAY_EVERY);
        assert!(
            notice.began(clock.monotonic()),
            "it goes on, and is said late"
        );
    }
}
