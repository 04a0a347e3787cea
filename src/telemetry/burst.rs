//! What comes in bursts: the first few of a kind are said whole, the rest are counted and said as one
//! sum when their window is over. Time is passed in; nothing here waits.
//!
//! A window begins with the first event of its kind. The first [`WHOLE`] are said; what is beyond makes
//! a [`Sum`]. A window that follows one with a sum is the same burst going on, and of it one is said
//! whole, as a fresh example.

use std::time::{Duration, Instant};

/// How many events of a kind are said whole in a window.
pub const WHOLE: u32 = 5;
/// How long a window is.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Most kinds that are kept apart; further ones are summed up together.
pub const MAX_KINDS: usize = 64;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The template of a route.
    pub route: &'static str,
    /// What happened, in a word.
    pub word: &'static str,
}

/// Of all kinds beyond [`MAX_KINDS`].
const OTHERS: Kind = Kind {
    route: "other",
    word: "other",
};

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a, G> {
    /// What is counted together with it.
    pub kind: Kind,
    /// When it happened.
    pub at: Instant,
    /// Which one it is.
    pub id: &'a str,
    /// How long it took.
    pub took: Duration,
    /// How grave it is.
    pub gravity: G,
}

/// The events of one kind that were not said whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum<G> {
    /// Their kind.
    pub kind: Kind,
    /// How many they are.
    pub count: u64,
    /// The first of them.
    pub first: Box<str>,
    /// The last of them.
    pub last: Box<str>,
    /// The longest that one took.
    pub slowest: Duration,
    /// The gravest.
    pub gravity: G,
    /// From the first to the last.
    pub lasted: Duration,
}

#[derive(Debug)]
struct Window<G> {
    kind: Kind,
    since: Instant,
    /// How many more are said whole.
    left: u32,
    sum: Option<(Instant, Sum<G>)>,
}

/// All kinds of one source of events.
#[derive(Debug)]
pub struct Bursts<G> {
    windows: Vec<Window<G>>,
    length: Duration,
}

impl<G> Default for Bursts<G> {
    fn default() -> Self {
        Self::with_windows(WINDOW)
    }
}

impl<G> Bursts<G> {
    /// With windows of another length than [`WINDOW`].
    #[must_use]
    pub fn with_windows(length: Duration) -> Self {
        Self {
            windows: Vec::new(),
            length,
        }
    }
}

impl<G: Copy + Ord> Bursts<G> {
    /// Takes an event; whether it is to be said whole, and the sum of a window of its kind that is over.
    pub fn take(&mut self, seen: &Seen<'_, G>) -> (bool, Option<Sum<G>>) {
        let length = self.length;
        let window = self.window(seen.kind, seen.at);
        let mut over = None;
        if is_over(window, length, seen.at) {
            over = renew(window, length, seen.at);
        }
        if window.left > 0 {
            window.left -= 1;
            return (true, over);
        }
        window.count(seen);
        (false, over)
    }

    /// The sums of windows that are over now, and when the next one that has one will be.
    pub fn due(&mut self, now: Instant) -> (Vec<Sum<G>>, Option<Instant>) {
        let length = self.length;
        let mut sums = Vec::new();
        self.windows.retain_mut(|window| {
            if !is_over(window, length, now) {
                return true;
            }
            let sum = renew(window, length, now);
            let goes_on = sum.is_some();
            sums.extend(sum);
            goes_on
        });
        let waiting = self.windows.iter().filter(|window| window.sum.is_some());
        (sums, waiting.map(|window| window.since + length).min())
    }

    /// All sums, over or not: nothing more will come.
    pub fn end(&mut self) -> Vec<Sum<G>> {
        let windows = std::mem::take(&mut self.windows);
        let sums = windows.into_iter().filter_map(|window| window.sum);
        sums.map(|(_, sum)| sum).collect()
    }

    fn window(&mut self, kind: Kind, now: Instant) -> &mut Window<G> {
        let (windows, length) = (&mut self.windows, self.length);
        let is_known = windows.iter().any(|window| window.kind == kind);
        if !is_known && windows.len() >= MAX_KINDS {
            // Windows that are over without a sum have nothing more to say.
            windows.retain(|window| window.sum.is_some() || !is_over(window, length, now));
        }
        let has_room = is_known || windows.len() < MAX_KINDS;
        let kind = if has_room { kind } else { OTHERS };
        let place = windows.iter().position(|window| window.kind == kind);
        let place = place.unwrap_or(windows.len());
        if place == windows.len() {
            windows.push(Window {
                kind,
                since: now,
                left: WHOLE,
                sum: None,
            });
        }
        &mut windows[place]
    }
}

impl<G: Copy + Ord> Window<G> {
    fn count(&mut self, seen: &Seen<'_, G>) {
        let (began, sum) = self.sum.get_or_insert_with(|| {
            let sum = Sum {
                kind: self.kind,
                count: 0,
                first: seen.id.into(),
                last: seen.id.into(),
                slowest: Duration::ZERO,
                gravity: seen.gravity,
                lasted: Duration::ZERO,
            };
            (seen.at, sum)
        });
        sum.count += 1;
        sum.last = seen.id.into();
        sum.slowest = sum.slowest.max(seen.took);
        sum.gravity = sum.gravity.max(seen.gravity);
        sum.lasted = seen.at.saturating_duration_since(*began);
    }
}

fn is_over<G>(window: &Window<G>, length: Duration, now: Instant) -> bool {
    now.saturating_duration_since(window.since) >= length
}

/// Begins the window that comes after, and gives the sum of the one that is over.
fn renew<G>(window: &mut Window<G>, length: Duration, now: Instant) -> Option<Sum<G>> {
    let follows = now.saturating_duration_since(window.since) < length * 2;
    let sum = window.sum.take();
    window.since = now;
    window.left = if sum.is_some() && follows { 1 } else { WHOLE };
    sum.map(|(_, sum)| sum)
}

#[cfg(test)]
#[path = "burst_tests.rs"]
mod tests;
