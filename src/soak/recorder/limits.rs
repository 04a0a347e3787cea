//! PURE: how often evidence may be taken, and how much of it. One taking at a time; what comes meanwhile
//! or too soon is counted and not followed.

use super::settings::{Recording, TOTAL_SHARE};
use super::trigger::Reason;
use crate::soak::evidence::Taken;
use crate::soak::units::SECOND_NS;
use std::collections::BTreeMap;

/// Between any two takings is at least this part of the time between two for the same reason.
const ANY_SHARE: i64 = 5;
/// With less room than this nothing is worth taking.
const MIN_BYTES: u64 = 64 * 1024;

/// What was taken so far, and what may be.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    quiet_ns: i64,
    max_takings: u64,
    max_bytes: u64,
    takings: u64,
    bytes: u64,
    /// When the last one began, by reason; nanoseconds from the end of the warm-up.
    last_ns: BTreeMap<Reason, i64>,
    is_busy: bool,
    left_out: BTreeMap<Reason, u64>,
}

impl Limits {
    /// Of a run that has `taken` already.
    pub(super) fn new(recording: &Recording, taken: &[Taken]) -> Self {
        let quiet_ns = recording.quiet_s.saturating_mul(SECOND_NS);
        let mut limits = Self {
            quiet_ns: i64::try_from(quiet_ns).unwrap_or(i64::MAX),
            max_takings: recording.max_takings,
            max_bytes: recording.max_bytes,
            takings: taken.len() as u64,
            bytes: taken.iter().filter_map(|one| one.record.bytes).sum(),
            last_ns: BTreeMap::new(),
            is_busy: false,
            left_out: BTreeMap::new(),
        };
        for one in taken {
            if let Some(reason) = Reason::named(&one.record.reason) {
                #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
                let at_ns = (one.record.at_s.unwrap_or(0.0) * 1e9) as i64;
                limits.last_ns.insert(reason, at_ns);
            }
        }
        limits
    }

    /// How many bytes a taking for `reason` may have that begins now; `None` when none may begin.
    pub(super) fn room(&self, reason: Reason, now_ns: i64) -> Option<u64> {
        let quiet = |last_ns: i64, quiet_ns: i64| now_ns.saturating_sub(last_ns) >= quiet_ns;
        let any = self.last_ns.values().max();
        let same = self.last_ns.get(&reason);
        let is_quiet = any.is_none_or(|last| quiet(*last, self.quiet_ns / ANY_SHARE))
            && same.is_none_or(|last| quiet(*last, self.quiet_ns));
        let total = self.max_bytes.saturating_mul(TOTAL_SHARE);
        let left = total.saturating_sub(self.bytes).min(self.max_bytes);
        let may = !self.is_busy && is_quiet && self.takings < self.max_takings && left >= MIN_BYTES;
        may.then_some(left)
    }

    /// A taking for `reason` begins.
    pub(super) fn begins(&mut self, reason: Reason, now_ns: i64) {
        self.is_busy = true;
        self.takings += 1;
        self.last_ns.insert(reason, now_ns);
    }

    /// It ended with `bytes` on disk.
    pub(super) fn ended(&mut self, bytes: u64) {
        self.is_busy = false;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether a taking goes on.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Something was seen and is not followed.
    pub(super) fn leave_out(&mut self, reason: Reason) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    /// How often that was, by reason.
    pub(super) fn left_out(&self) -> &BTreeMap<Reason, u64> {
        &self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::evidence::EvidenceRecord;

    const SECOND: i64 = 1_000_000_000;

    fn recording() -> Recording {
        Recording::resolve(None).unwrap().unwrap()
    }

    #[test]
    fn one_at_a_time_and_not_too_often() {
        let mut limits = Limits::new(&recording(), &[]);
        assert_eq!(limits.room(Reason::Stall, 0), Some(8 << 20));
        limits.begins(Reason::Stall, 0);
        assert_eq!(limits.room(Reason::Step, 400 * SECOND), None, "one goes on");
        limits.ended(100);
        assert_eq!(limits.room(Reason::Step, 59 * SECOND), None);
        assert!(limits.room(Reason::Step, 60 * SECOND).is_some());
        assert_eq!(limits.room(Reason::Stall, 299 * SECOND), None);
        assert!(limits.room(Reason::Stall, 300 * SECOND).is_some());
    }

    #[test]
    fn a_run_has_so_many_and_so_much() {
        let mut many = Limits::new(&recording(), &[]);
        for n in 0..20 {
            let at_ns = n * 1_000 * SECOND;
            assert!(many.room(Reason::Stall, at_ns).is_some(), "{n}");
            many.begins(Reason::Stall, at_ns);
            many.ended(1);
        }
        assert_eq!(many.room(Reason::Stall, 90_000 * SECOND), None);
        let mut much = Limits::new(&recording(), &[]);
        much.begins(Reason::Stall, 0);
        much.ended((64 << 20) - 100_000);
        assert_eq!(much.room(Reason::Stall, 400 * SECOND), Some(100_000));
        much.ended(50_000);
        assert_eq!(much.room(Reason::Stall, 400 * SECOND), None, "too little");
    }

    #[test]
    fn what_was_taken_before_a_resume_counts() {
        let record = EvidenceRecord {
            reason: "stall".to_owned(),
            at_s: Some(100.0),
            bytes: Some(60 << 20),
            ..EvidenceRecord::default()
        };
        let taken = Taken {
            record,
            ..Taken::default()
        };
        let limits = Limits::new(&recording(), &[taken]);
        assert_eq!(limits.room(Reason::Memory, 159 * SECOND), None);
        assert_eq!(limits.room(Reason::Memory, 160 * SECOND), Some(4 << 20));
        assert_eq!(limits.room(Reason::Stall, 399 * SECOND), None);
    }
}
