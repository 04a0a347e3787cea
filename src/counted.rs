//! PURE: how often each of many names occurred, in a table that stays small however many there are.

use crate::plain::cut;
use serde::Serialize;
use std::collections::BTreeMap;

/// What the table has no room for is counted under this name.
pub const OTHERS: &str = "others";

/// Longest name, in characters; a longer one is cut, and counted with what is cut to the same.
const MAX_CHARS: usize = 240;

/// Names with their counts: `MOST` names of their own, the others together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counted<const MOST: usize>(BTreeMap<String, u64>);

impl<const MOST: usize> Counted<MOST> {
    /// Counts `name` `times` times.
    pub fn count(&mut self, name: &str, times: u64) {
        if let Some(count) = self.0.get_mut(name) {
            *count += times;
            return;
        }
        let name = cut(name, MAX_CHARS);
        let has_room = self.0.len() < MOST || self.0.contains_key(&name);
        let name = if has_room { name } else { OTHERS.to_owned() };
        *self.0.entry(name).or_default() += times;
    }

    /// Adds what another table, or a record of one, counted.
    pub fn add(&mut self, other: &BTreeMap<String, u64>) {
        for (name, times) in other {
            self.count(name, *times);
        }
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The counts by name.
    #[must_use]
    pub fn by_name(&self) -> &BTreeMap<String, u64> {
        &self.0
    }
}

/// The `most` commonest names of a table, the commonest first, each as `show` has it with its
/// count; what is left as [`OTHERS`].
#[must_use]
pub fn commonest(
    by_name: &BTreeMap<String, u64>,
    most: usize,
    show: impl Fn(&str, u64) -> String,
) -> String {
    let mut entries: Vec<(&str, u64)> = by_name.iter().map(|(n, t)| (n.as_str(), *t)).collect();
    // What the table itself had no room for comes last, whatever its count.
    entries.sort_by_key(|(name, times)| (*name == OTHERS, std::cmp::Reverse(*times), *name));
    let own = most.min(entries.len() - usize::from(by_name.contains_key(OTHERS)));
    let (shown, rest) = entries.split_at(own);
    let rest: u64 = rest.iter().map(|(_, times)| times).sum();
    let mut shown: Vec<String> = shown.iter().map(|(n, times)| show(n, *times)).collect();
    shown.extend((rest > 0).then(|| show(OTHERS, rest)));
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_loses_no_count() {
        let mut counted = Counted::<16>::default();
        for number in 0..100 {
            counted.count(&format!("name {number}"), 1);
        }
        counted.count("name 3", 5);
        counted.count(&"x".repeat(1_000), 2);
        assert_eq!((counted.by_name().len(), counted.total()), (17, 107));
        assert_eq!(counted.by_name()["name 3"], 6);
        let mut twice = counted.clone();
        twice.add(counted.by_name());
        assert_eq!((twice.by_name().len(), twice.total()), (17, 214));
    }

    #[test]
    fn a_long_name_is_cut_and_not_lost() {
        let mut counted = Counted::<3>::default();
        counted.count(&"ä".repeat(240), 1);
        counted.count(&"ö".repeat(241), 2);
        counted.count(&"ö".repeat(500), 3);
        let names: Vec<(usize, u64)> = counted
            .by_name()
            .iter()
            .map(|(name, times)| (name.chars().count(), *times))
            .collect();
        assert_eq!(names, [(240, 1), (240, 5)]);
        let mut again = Counted::<3>::default();
        again.add(counted.by_name());
        assert_eq!(again, counted);
        assert!(counted.by_name().keys().any(|name| name.ends_with("ö…")));
    }

    #[test]
    fn shows_the_commonest_first_and_the_others_last() {
        let show = |name: &str, times| format!("{name} {times}");
        let mut counted = Counted::<3>::default();
        for (name, times) in [("b", 7), ("c", 1_200), ("a", 7)] {
            counted.count(name, times);
        }
        assert_eq!(
            commonest(counted.by_name(), 2, show),
            "c 1200, a 7, others 7"
        );
        assert_eq!(commonest(counted.by_name(), 9, show), "c 1200, a 7, b 7");
        counted.count("d", 5_000);
        assert_eq!(
            commonest(counted.by_name(), 9, show),
            "c 1200, a 7, b 7, others 5000"
        );
        assert_eq!(commonest(&BTreeMap::new(), 2, show), "");
    }
}
