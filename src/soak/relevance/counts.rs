//! PURE: how many answers were looked at, and how many were right.

use crate::soak::tally::ratio;
use serde::{Deserialize, Serialize};

/// Answers to queries with judgments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelevanceCounts {
    /// Good answers that were looked at.
    pub answers: u64,
    /// Of these, with a relevant source among the first [`super::K`].
    pub hits: u64,
    /// Good answers that were not looked at: too large, or too many waited. They are in no rate.
    #[serde(default)]
    pub unread: u64,
}

impl RelevanceCounts {
    /// Whether there was no such answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// An answer was looked at.
    pub fn graded(&mut self, is_hit: bool) {
        self.answers += 1;
        self.hits += u64::from(is_hit);
    }

    /// Adds the counts of others.
    pub fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.hits += other.hits;
        self.unread += other.unread;
    }

    /// The share of answers that were right, 0 to 1; `None` when none was looked at.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        ratio(self.hits, self.answers)
    }

    /// The share of answers that were not looked at, 0 to 1; `None` when there was none.
    #[must_use]
    pub fn unread_share(&self) -> Option<f64> {
        ratio(self.unread, self.answers + self.unread)
    }
}
