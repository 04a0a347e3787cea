//! PURE: how often evidence may be taken, and how much of it. One taking at a time; what comes meanwhile
//! or too soon is counted and not followed.

use super::settings::{Recording, TOTAL_SHARE};
use super::trigger::Reason;
use crate::soak::event::Event;
use crate::soak::evidence::Taken;
use crate::soak::units::{SECOND_NS, float};
use std::collections::BTreeMap;

/// Between any two takings is at least this part of the time between two for the same reason.
const ANY_SHARE: i64 = 5;
/// With less room than this nothing is worth taking.
const MIN_BYTES: u64 = 64 * 1024;

/// Why no taking may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    Busy,
    Quiet,
    Takings,
    Bytes,
}

impl Limit {
    /// As events name it: but for the first, the key of the scenario.
    fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Quiet => "quiet_s",
            Self::Takings => "max_takings",
            Self::Bytes => "max_bytes",
        }
    }
}

/// What was seen and is not followed.
#[derive(Clone, Debug, Default)]
struct LeftOut {
    by_reason: BTreeMap<Reason, u64>,
    by_limit: BTreeMap<Limit, u64>,
    /// The first and the last, in nanoseconds from the end of the warm-up.
    span_ns: Option<(i64, i64)>,
}

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
    left_out: LeftOut,
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
            left_out: LeftOut::default(),
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
        self.allows(reason, now_ns).ok()
    }

    fn allows(&self, reason: Reason, now_ns: i64) -> Result<u64, Limit> {
        let quiet = |last_ns: i64, quiet_ns: i64| now_ns.saturating_sub(last_ns) >= quiet_ns;
        let any = self.last_ns.values().max();
        let same = self.last_ns.get(&reason);
        let is_quiet = any.is_none_or(|last| quiet(*last, self.quiet_ns / ANY_SHARE))
            && same.is_none_or(|last| quiet(*last, self.quiet_ns));
        let total = self.max_bytes.saturating_mul(TOTAL_SHARE);
        let left = total.saturating_sub(self.bytes).min(self.max_bytes);
        // What lasts longest first: no time would come for it.
        if self.takings >= self.max_takings {
            Err(Limit::Takings)
        } else if left < MIN_BYTES {
            Err(Limit::Bytes)
        } else if self.is_busy {
            Err(Limit::Busy)
        } else if is_quiet {
            Ok(left)
        } else {
            Err(Limit::Quiet)
        }
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

    /// Something was seen now and is not followed.
    pub(super) fn leave_out(&mut self, reason: Reason, now_ns: i64) {
        let limit = self.allows(reason, now_ns).err();
        let left_out = &mut self.left_out;
        *left_out.by_reason.entry(reason).or_default() += 1;
        *left_out
            .by_limit
            .entry(limit.unwrap_or(Limit::Busy))
            .or_default() += 1;
        let first_ns = left_out.span_ns.map_or(now_ns, |(first_ns, _)| first_ns);
        left_out.span_ns = Some((first_ns, now_ns));
    }

    /// What that was, as an event; `None` when everything was followed.
    pub(super) fn left_out(&self) -> Option<Event> {
        let LeftOut {
            by_reason,
            by_limit,
            span_ns,
        } = &self.left_out;
        let (first_ns, last_ns) = (*span_ns)?;
        let second = |ns: i64| Some((float(ns.max(0).unsigned_abs()) / 1e6).round() / 1e3);
        Some(Event::EvidenceLeftOut {
            counts: by_reason
                .iter()
                .map(|(reason, count)| (reason.as_str().to_owned(), *count))
                .collect(),
            limits: by_limit
                .iter()
                .map(|(limit, count)| (limit.as_str().to_owned(), *count))
                .collect(),
            first_s: second(first_ns),
            last_s: second(last_ns),
        })
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
    fn what_is_left_out_is_counted_by_its_limit() {
        let mut limits = Limits::new(&recording(), &[]);
        assert_eq!(limits.left_out(), None);
        limits.begins(Reason::Stall, 0);
        limits.leave_out(Reason::Step, 2 * SECOND);
        limits.ended(100);
        limits.leave_out(Reason::Stall, 61 * SECOND);
        limits.leave_out(Reason::Stall, 62 * SECOND);
        limits.takings = 20;
        limits.leave_out(Reason::Stall, 900 * SECOND);
        let counts = |named: &[(&str, u64)]| -> BTreeMap<String, u64> {
            named.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect()
        };
        let expected = Event::EvidenceLeftOut {
            counts: counts(&[("stall", 3), ("step", 1)]),
            limits: counts(&[("busy", 1), ("max_takings", 1), ("quiet_s", 2)]),
            first_s: Some(2.0),
            last_s: Some(900.0),
        };
        assert_eq!(limits.left_out(), Some(expected));
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
