//! Searches of simulated targets, whose true capacity is known.

use super::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

const BOUNDS: Bounds = Bounds {
    from: 10.0,
    up_to: 100_000.0,
    precision: 0.03,
};

struct Ended {
    end: End,
    search: Search,
    steps: usize,
    confirms: usize,
}

/// Searches a target that answers `(rate, leg)` so, and checks what holds of every search.
fn search(bounds: Bounds, mut target: impl FnMut(f64, Leg) -> Answer) -> Ended {
    let mut search = Search::new(bounds);
    let (most_steps, most_confirms) = bounds.most_steps();
    let (mut steps, mut confirms) = (0, 0);
    loop {
        match search.next() {
            Next::Over(end) => {
                assert!(steps <= most_steps && confirms <= most_confirms);
                return Ended {
                    end,
                    search,
                    steps,
                    confirms,
                };
            }
            Next::Try { rate, leg, .. } => {
                assert!((bounds.from..=bounds.up_to).contains(&rate), "{rate}");
                match leg {
                    Leg::Confirm => confirms += 1,
                    _ => steps += 1,
                }
                assert!(steps + confirms <= most_steps + most_confirms, "no end");
                search.tell(target(rate, leg));
            }
        }
    }
}

fn limit(capacity: f64) -> impl FnMut(f64, Leg) -> Answer {
    move |rate, _| {
        if rate <= capacity {
            Answer::Held
        } else {
            Answer::Broke
        }
    }
}

#[test]
fn a_hard_limit_is_found_to_the_precision() {
    for precision in [0.005, 0.03, 0.1, 0.5] {
        for capacity in [10.0, 11.3, 99.0, 100.0, 437.0, 8_192.0, 99_999.0] {
            let ended = search(
                Bounds {
                    precision,
                    ..BOUNDS
                },
                limit(capacity),
            );
            assert_eq!(ended.end, End::Found, "{capacity} {precision}");
            let held = ended.search.held().unwrap();
            let (broke, why) = ended.search.broke().unwrap();
            assert_eq!(why, Answer::Broke);
            assert!(held <= capacity && capacity < broke, "{held} {broke}");
            assert!(broke / held <= 1.0 + precision, "{held} to {broke}");
            assert_eq!(ended.confirms, 1);
        }
    }
}

#[test]
fn rates_are_round() {
    for (rate, expected) in [
        (414.901_2, "414.9"),
        (38.300_1, "38.3"),
        (0.123_456, "0.1235"),
        (1_234.5, "1235"),
        (98_765.4, "98770"),
    ] {
        assert_eq!(rounded(rate).to_string(), expected);
    }
}

#[test]
fn the_bound_is_what_users_are_told() {
    assert_eq!(BOUNDS.most_steps(), (35, 6));
    let one = Bounds {
        from: 50.0,
        up_to: 50.0,
        precision: 0.03,
    };
    assert_eq!(search(one, limit(80.0)).steps, 1);
}

#[test]
fn a_target_that_never_breaks_holds_the_highest_rate() {
    let ended = search(BOUNDS, limit(f64::INFINITY));
    assert_eq!(ended.end, End::Found);
    assert_eq!(ended.search.held(), Some(100_000.0));
    assert_eq!(ended.search.broke(), None);
    assert_eq!((ended.steps, ended.confirms), (15, 1));
}

#[test]
fn a_target_that_always_breaks_is_tried_twice_at_the_lowest_rate() {
    let ended = search(BOUNDS, limit(0.0));
    assert_eq!(ended.end, End::NothingHeld);
    assert_eq!(ended.search.held(), None);
    assert_eq!(ended.search.broke(), Some((10.0, Answer::Broke)));
    assert_eq!((ended.steps, ended.confirms), (2, 0));
}

#[test]
fn one_bad_step_in_ten_moves_nothing_far() {
    let mut within = 0;
    for seed in 0..400 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let capacity = rng.random_range(20.0..50_000.0);
        let mut truth = limit(capacity);
        let ended = search(BOUNDS, |rate, leg| {
            // Noise of the machine: a step that would have held does not.
            if rng.random_bool(0.1) {
                Answer::Broke
            } else {
                truth(rate, leg)
            }
        });
        let held = ended.search.held().unwrap_or(0.0);
        let is_near = (held / capacity - 1.0).abs() <= 0.05;
        within += u32::from(ended.end == End::Found && is_near);
    }
    assert!(within >= 380, "{within} of 400");
}

/// Holds with a probability that falls from 1 to 0 between 95 and 105 % of the capacity.
#[test]
fn a_soft_knee_is_found_within_five_percent() {
    let mut within = 0;
    for seed in 0..400 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let capacity = rng.random_range(20.0..50_000.0);
        let ended = search(BOUNDS, |rate, _| {
            let holds = ((1.05 - rate / capacity) / 0.1).clamp(0.0, 1.0);
            if rng.random_bool(holds) {
                Answer::Held
            } else {
                Answer::Broke
            }
        });
        let held = ended.search.held().unwrap_or(0.0);
        let is_near = (held / capacity - 1.0).abs() <= 0.05;
        within += u32::from(ended.end == End::Found && is_near);
    }
    assert!(within >= 380, "{within} of 400");
}

#[test]
fn a_hiccup_far_below_the_limit_does_not_end_the_climb() {
    let mut calls = 0;
    let mut truth = limit(3_000.0);
    let ended = search(BOUNDS, |rate, leg| {
        calls += 1;
        // The third rate of the climb, twice in a row.
        if calls == 3 || calls == 4 {
            return Answer::Broke;
        }
        truth(rate, leg)
    });
    assert_eq!(ended.end, End::Found);
    let held = ended.search.held().unwrap();
    assert!((2_900.0..=3_000.0).contains(&held), "{held}");
}

#[test]
fn a_flapping_target_ends_the_search_in_bounds() {
    for seed in 0..400 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let answers = [Answer::Held, Answer::Broke, Answer::Generator];
        search(BOUNDS, |_, _| answers[rng.random_range(0..3_usize)]);
    }
    let mut calls = 0;
    search(BOUNDS, |_, _| {
        calls += 1;
        if calls % 2 == 0 {
            Answer::Held
        } else {
            Answer::Broke
        }
    });
}

#[test]
fn what_does_not_hold_for_longer_is_backed_off_from() {
    let ended = search(BOUNDS, |rate, leg| {
        let capacity = if leg == Leg::Confirm { 96.0 } else { 100.0 };
        limit(capacity)(rate, leg)
    });
    assert_eq!(ended.end, End::Found);
    let held = ended.search.held().unwrap();
    assert!((92.0..=96.0).contains(&held), "{held}");
    let ended = search(BOUNDS, |rate, leg| match leg {
        Leg::Confirm => Answer::Broke,
        _ => limit(100.0)(rate, leg),
    });
    assert_eq!(ended.end, End::Unsteady);
    assert_eq!(ended.confirms, 6);
}

#[test]
fn the_generators_limit_is_never_taken_for_the_targets() {
    let generator = |capacity: f64| {
        move |rate: f64, leg| match limit(capacity)(rate, leg) {
            Answer::Held if rate > 1_000.0 => Answer::Generator,
            answer => answer,
        }
    };
    let ended = search(BOUNDS, generator(f64::INFINITY));
    assert_eq!(ended.end, End::Generator);
    let held = ended.search.held().unwrap();
    assert!((970.0..=1_000.0).contains(&held), "{held}");
    // The generator fails at the rate after 640, and the target is found between.
    let ended = search(BOUNDS, |rate, leg| {
        if rate > 1_000.0 {
            return Answer::Generator;
        }
        limit(700.0)(rate, leg)
    });
    assert_eq!(ended.end, End::Found);
    assert_eq!(
        ended.search.broke().map(|(_, why)| why),
        Some(Answer::Broke)
    );
    let ended = search(BOUNDS, |_, _| Answer::Generator);
    assert_eq!(ended.end, End::Generator);
    assert_eq!(ended.search.held(), None);
}
