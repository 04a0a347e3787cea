//! The highest rate that a target holds: ordinary runs at one rate after the other, each in a run
//! folder of its own, and a search that says which.
//!
//! Reading order: [`plan`] (what is asked) → [`search`] (which rate next) → [`answer`] (what a run
//! says) → [`hunt`] (doing it; [`recovery`] between steps) → [`curve`] and [`saturation`] (what it
//! amounts to) → [`record`] (`capacity.json`).

pub mod answer;
pub mod curve;
pub(crate) mod halt;
pub mod hunt;
pub mod plan;
pub mod record;
mod recovery;
pub mod saturation;
pub mod search;

pub use hunt::{Follow, find};
pub use plan::{Asked, Plan};
pub use record::CapacityRecord;

#[cfg(test)]
mod testing;
