use super::*;
use crate::clock::{Clock as _, ManualClock};
use proptest::prelude::*;
use std::time::SystemTime;

const FAILED: Kind = Kind {
    route: "/v1/query",
    word: "search_error",
};

/// A burst with what was said of it.
struct Told {
    bursts: Bursts<u8>,
    clock: ManualClock,
    whole: u64,
    sums: Vec<Sum<u8>>,
}

impl Told {
    fn new() -> Self {
        Self {
            bursts: Bursts::default(),
            clock: ManualClock::new(SystemTime::UNIX_EPOCH),
            whole: 0,
            sums: Vec::new(),
        }
    }

    fn see(&mut self, kind: Kind, id: &str, took_ms: u64) {
        let (is_whole, over) = self.bursts.take(&Seen {
            kind,
            at: self.clock.monotonic(),
            id,
            took: Duration::from_millis(took_ms),
            gravity: u8::from(took_ms > 100),
        });
        self.whole += u64::from(is_whole);
        self.sums.extend(over);
    }

    /// Lets time pass as a timer would that looks whenever it was told to.
    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        let (sums, _) = self.bursts.due(self.clock.monotonic());
        self.sums.extend(sums);
    }

    fn counted(&self) -> u64 {
        self.sums.iter().map(|sum| sum.count).sum()
    }
}

#[test]
fn ten_thousand_at_once_are_a_few_lines_and_a_sum() {
    let mut told = Told::new();
    for number in 0..10_000 {
        told.see(FAILED, &number.to_string(), number % 700);
    }
    assert_eq!((told.whole, told.sums.len()), (5, 0));
    let now = told.clock.monotonic();
    let (sums, next) = told.bursts.due(now);
    assert_eq!((sums.len(), next), (0, Some(now + WINDOW)));
    told.pass(WINDOW);
    let expected = Sum {
        kind: FAILED,
        count: 9_995,
        first: "5".into(),
        last: "9999".into(),
        slowest: Duration::from_millis(699),
        gravity: 1,
        lasted: Duration::ZERO,
    };
    assert_eq!(told.sums, [expected]);
    assert_eq!(told.bursts.due(told.clock.monotonic()), (Vec::new(), None));
}

#[test]
fn a_burst_that_goes_on_is_one_example_and_one_sum_a_window() {
    let mut told = Told::new();
    for number in 0..10_000 {
        told.see(FAILED, &number.to_string(), 1);
        told.pass(Duration::from_millis(10));
    }
    told.sums.extend(told.bursts.end());
    assert_eq!(told.whole, 5 + 9);
    assert_eq!(told.sums.len(), 10);
    assert_eq!(told.whole + told.counted(), 10_000);
    let lasted = told.sums[3].lasted;
    assert!(
        lasted > Duration::from_millis(9_900) && lasted < WINDOW,
        "{lasted:?}"
    );
}

#[test]
fn what_comes_now_and_then_is_said_whole() {
    let mut told = Told::new();
    for number in 0..100 {
        told.see(FAILED, &number.to_string(), 1);
        told.pass(Duration::from_secs(3));
    }
    assert_eq!((told.whole, told.sums.len()), (100, 0));
}

#[test]
fn after_a_quiet_while_the_first_few_are_said_again() {
    let mut told = Told::new();
    for _ in 0..2 {
        for number in 0..8 {
            told.see(FAILED, &number.to_string(), 1);
        }
        // No timer: the next event of its kind brings the sum.
        told.clock.advance(WINDOW * 3);
    }
    assert_eq!((told.whole, told.sums.len()), (10, 1));
    assert_eq!(told.bursts.end().len(), 1);
    assert!(told.bursts.end().is_empty(), "said once");
}

#[test]
fn kinds_are_apart_and_bounded() {
    const WORDS: [&str; 2] = ["search_error", "timeout"];
    let routes: Vec<&'static str> = (0..100)
        .map(|number| &*format!("/{number}").leak())
        .collect();
    let mut told = Told::new();
    for route in &routes {
        for word in WORDS {
            for number in 0..6 {
                told.see(Kind { route, word }, &number.to_string(), 1);
            }
        }
    }
    assert_eq!(told.bursts.windows.len(), MAX_KINDS + 1);
    assert_eq!(told.whole, 5 * (MAX_KINDS as u64 + 1));
    told.pass(WINDOW);
    assert_eq!(told.whole + told.counted(), 1_200);
    let others = told.sums.iter().find(|sum| sum.kind == OTHERS).unwrap();
    assert_eq!(others.count, 6 * (200 - MAX_KINDS as u64) - 5);
    // Room is made again once the others have nothing to say.
    told.pass(WINDOW);
    told.see(FAILED, "new", 1);
    assert!(
        told.bursts
            .windows
            .iter()
            .any(|window| window.kind == FAILED)
    );
}

proptest! {
    #[test]
    fn nothing_is_lost_whatever_comes_when(
        events in proptest::collection::vec((0_usize..3, 0_u64..4_000, any::<bool>()), 0..400),
    ) {
        let words = ["a", "b", "c"];
        let mut told = Told::new();
        for (word, wait_ms, has_timer) in &events {
            told.see(Kind { route: "/", word: words[*word] }, "id", 1);
            let wait = Duration::from_millis(*wait_ms);
            if *has_timer {
                told.pass(wait);
            } else {
                told.clock.advance(wait);
            }
        }
        told.sums.extend(told.bursts.end());
        prop_assert_eq!(told.whole + told.counted(), events.len() as u64);
    }
}
