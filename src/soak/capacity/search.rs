//! PURE: which rate to try next, from the answers so far, and when to stop.
//!
//! The rate doubles until a step does not hold, then the bracket is halved on the log scale until it
//! is as narrow as was asked, and the highest rate that held is confirmed by a longer run. One bad
//! step proves nothing on a shared machine: what does not hold is tried once more, and only two
//! failures count; the longer run catches what held by luck. When everything below the upper limit
//! held, that limit itself is tried anew, once, and given up if it holds. What can be spent so is
//! bounded, and so is the number of steps.

use crate::soak::stats::numbers::whole;
use serde::{Deserialize, Serialize};

/// From one rate of the climb to the next.
const FACTOR: f64 = 2.0;
/// Steps that may be spent on trying a rate again.
const SPARE: usize = 8;
/// Rates that are confirmed before the target is called unsteady.
const CONFIRMATIONS: u32 = 3;
/// A rate counts as not held when it was not in so many tries.
const TRIES: usize = 2;
/// So many steps that held below the upper limit, and the limit is tried anew.
const DOUBTFUL: usize = 2;
/// Rates are round numbers of so many digits.
const DIGITS: i32 = 4;

/// Between which rates, and how exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The lowest rate, requests a second.
    pub from: f64,
    /// The highest.
    pub up_to: f64,
    /// How far the lowest rate that broke may lie above the highest that held, as a share.
    pub precision: f64,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The target held the rate.
    Held,
    /// The generator could not make the rate.
    Generator,
    /// The target broke a threshold.
    Broke,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// Going up until something breaks.
    Climb,
    /// Between what held and what broke.
    Narrow,
    /// The longer run at the end.
    Confirm,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A rate was found and confirmed.
    Found,
    /// Not even the lowest rate held.
    NothingHeld,
    /// The generator, not the target, set the upper limit.
    Generator,
    /// No rate was confirmed: what held once did not hold for longer.
    Unsteady,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// This rate.
    Try {
        /// Requests a second.
        rate: f64,
        /// What for.
        leg: Leg,
        /// How often it was tried on this leg, this time included.
        attempt: usize,
    },
    /// Nothing more.
    Over(End),
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    bounds: Bounds,
    at: At,
    answers: Vec<Answer>,
    held: Vec<f64>,
    /// Ever lower.
    broke: Vec<(f64, Answer)>,
    /// Steps that held since the last that did not.
    held_since: usize,
    doubt: Doubt,
    spare: usize,
    confirmations: u32,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Rate(f64, Leg),
    Over(End),
}

/// Whether the upper limit was tried anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    NotYet,
    Now,
    Settled,
}

impl Search {
    /// Nothing tried yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            at: At::Rate(bounds.from, Leg::Climb),
            answers: Vec::new(),
            held: Vec::new(),
            broke: Vec::new(),
            held_since: 0,
            doubt: Doubt::NotYet,
            spare: SPARE,
            confirmations: 0,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        match self.at {
            At::Over(end) => Next::Over(end),
            At::Rate(rate, leg) => Next::Try {
                rate,
                leg,
                attempt: self.answers.len() + 1,
            },
        }
    }

    /// The highest rate that held, of those below the lowest that did not.
    #[must_use]
    pub fn held(&self) -> Option<f64> {
        let limit = self.broke().map_or(f64::INFINITY, |(rate, _)| rate);
        let below = self.held.iter().copied().filter(|rate| *rate < limit);
        below.max_by(f64::total_cmp)
    }

    /// The lowest rate that did not hold, and why.
    #[must_use]
    pub fn broke(&self) -> Option<(f64, Answer)> {
        self.broke.last().copied()
    }

    /// What came of the step that [`Search::next`] named.
    pub fn tell(&mut self, answer: Answer) {
        let At::Rate(rate, leg) = self.at else {
            return;
        };
        self.answers.push(answer);
        let Some(decided) = self.decide(leg) else {
            return;
        };
        self.answers.clear();
        let in_doubt = self.doubt == Doubt::Now;
        if in_doubt {
            self.doubt = Doubt::Settled;
        }
        if decided == Answer::Held {
            if in_doubt {
                self.broke.pop();
            }
            self.held.push(rate);
            self.held_since += 1;
        } else {
            if !in_doubt {
                self.broke.push((rate, decided));
            }
            self.held_since = 0;
        }
        self.at = match (leg, decided) {
            (Leg::Confirm, Answer::Held) => At::Over(match self.broke() {
                Some((_, Answer::Generator)) => End::Generator,
                _ => End::Found,
            }),
            (Leg::Confirm, _) => self.back_off(rate, decided),
            _ => self.go_on(),
        };
    }

    /// What the answers at this rate amount to; `None` while one more is wanted.
    fn decide(&mut self, leg: Leg) -> Option<Answer> {
        let worst = self.answers.iter().copied().max()?;
        if self.answers.contains(&Answer::Held) {
            return Some(Answer::Held);
        }
        let is_confirmation = leg == Leg::Confirm;
        if self.answers.len() >= TRIES || (self.spare == 0 && !is_confirmation) {
            return Some(worst);
        }
        if !is_confirmation {
            self.spare -= 1;
        }
        None
    }

    /// Where to go after a step of the climb or between the limits.
    fn go_on(&mut self) -> At {
        let (held, broke) = match (self.held(), self.broke()) {
            (None, Some((_, Answer::Generator))) => return At::Over(End::Generator),
            (None, _) => return At::Over(End::NothingHeld),
            (Some(held), None) if held >= self.bounds.up_to => {
                return At::Rate(held, Leg::Confirm);
            }
            (Some(held), None) => {
                let next = rounded(held * FACTOR).min(self.bounds.up_to);
                return At::Rate(next, Leg::Climb);
            }
            (Some(held), Some((broke, _))) => (held, broke),
        };
        let middle = rounded((held * broke).sqrt());
        if broke / held > 1.0 + self.bounds.precision && middle > held && middle < broke {
            return At::Rate(middle, Leg::Narrow);
        }
        if self.doubt == Doubt::NotYet && self.held_since >= DOUBTFUL && self.spare > 0 {
            self.spare -= 1;
            self.doubt = Doubt::Now;
            return At::Rate(broke, Leg::Narrow);
        }
        At::Rate(held, Leg::Confirm)
    }

    /// What held for a step did not hold for longer: further down each time.
    fn back_off(&mut self, rate: f64, why: Answer) -> At {
        self.confirmations += 1;
        if self.confirmations >= CONFIRMATIONS || rate <= self.bounds.from {
            return At::Over(match why {
                Answer::Generator => End::Generator,
                _ => End::Unsteady,
            });
        }
        let steps = f64::from(self.confirmations);
        let lower = rate / (1.0 + self.bounds.precision).powf(steps);
        At::Rate(rounded(lower).max(self.bounds.from), Leg::Confirm)
    }
}

impl Bounds {
    /// The most steps of a climb and of narrowing in, with those that are spent on trying again; and
    /// the most runs that confirm.
    #[must_use]
    pub fn most_steps(&self) -> (usize, usize) {
        let ratio = self.up_to / self.from;
        let climb = whole((ratio.ln() / FACTOR.ln()).ceil()) + 1;
        // Halved on the log scale until no wider than the precision; one more for rounding, and all
        // of it once more when the upper limit is given up.
        let halvings = (FACTOR.ln() / (1.0 + self.precision).ln()).log2().ceil();
        let narrow = 2 * (whole(halvings.max(0.0)) + 1);
        let confirm = TRIES * usize::try_from(CONFIRMATIONS).unwrap_or(1);
        (climb + narrow + SPARE, confirm)
    }
}

/// To [`DIGITS`] digits.
fn rounded(rate: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "a power of ten within ±12")]
    let magnitude = rate.log10().floor() as i32;
    // Divided by a whole power of ten: 414.9, and not 414.90000000000003.
    let places = DIGITS - 1 - magnitude;
    if places >= 0 {
        let scale = 10_f64.powi(places);
        return (rate * scale).round() / scale;
    }
    let unit = 10_f64.powi(-places);
    (rate / unit).round() * unit
}

#[cfg(test)]
mod tests;
