//! PURE: the statistics of verdicts and comparisons: numbers in, numbers out, and a seed where
//! chance is needed, so that the same run always gets the same verdict.
//!
//! Reading order: [`numbers`] → [`theil_sen`] → [`student`] → [`bootstrap`] → [`drift`] · [`steps`] · [`welch`].
//! What each promises is measured in `calibration`, the tests of this module, on simulated runs
//! whose truth is known; `docs/soak.md` has the rates.

pub mod bootstrap;
pub mod drift;
pub mod numbers;
pub mod steps;
pub mod student;
pub mod theil_sen;
pub mod welch;

#[cfg(test)]
mod calibration;
