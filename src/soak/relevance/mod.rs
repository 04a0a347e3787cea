//! Whether answers are right: which sources answer which query ([`judgments`], a file), and whether one
//! of them is among the first three that an answer cites ([`pointer`]). `hit_rate@3` is the share of
//! answers for which that is so (recall of at least one, as in Karpukhin et al., EMNLP 2020).
//!
//! Answers are looked at on a thread of their own (`driver/grader.rs`), never on the one that keeps time.

mod counts;
mod judgments;
mod pointer;
mod settings;

pub use counts::RelevanceCounts;
pub use judgments::{Judgments, RelevanceError};
pub use pointer::{DEFAULT_POINTER, SourcePointer};
pub use settings::{Relevance, RelevanceRecord, RelevanceSettings};

use std::collections::BTreeSet;
use std::sync::Arc;

/// So many of the first sources of an answer count.
pub const K: usize = 3;

/// Sources that answer a query.
pub(super) type Sources = Arc<BTreeSet<String>>;

/// Which queries of a query set have judgments, and where answers have their sources.
#[derive(Clone, Debug)]
pub struct Relevant {
    pointer: SourcePointer,
    /// By the place of a query in the set; `None` without a judgment.
    by_place: Vec<Option<Sources>>,
    digest: String,
    /// Judged queries that the set does not have, and the first of them with its line.
    unasked: u64,
    first_unasked: Option<(u64, String)>,
}

impl Relevant {
    /// What `judgments` say of `queries`, the texts of a query set in its order.
    #[must_use]
    pub fn of<'a>(
        judgments: &Judgments,
        pointer: SourcePointer,
        queries: impl Iterator<Item = Option<&'a str>>,
    ) -> Self {
        let mut asked = BTreeSet::new();
        let sources = |text: Option<&'a str>| {
            let (query, sources) = judgments.of(text?)?;
            asked.insert(query);
            Some(Arc::clone(sources))
        };
        let by_place = queries.map(sources).collect();
        let unasked = || judgments.all().filter(|(query, _)| !asked.contains(query));
        Self {
            by_place,
            unasked: unasked().count() as u64,
            first_unasked: unasked()
                .map(|(query, line)| (line, query.to_owned()))
                .min(),
            pointer,
            digest: judgments.digest(),
        }
    }

    /// How many queries of the set have a judgment.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.by_place.iter().flatten().count() as u64
    }

    /// How many judged queries the set does not have, and the first of them: line and text.
    #[must_use]
    pub fn unasked(&self) -> (u64, Option<&(u64, String)>) {
        (self.unasked, self.first_unasked.as_ref())
    }

    /// Names what is held to be relevant.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the query at `place` of the set has a judgment.
    #[must_use]
    pub fn wants(&self, place: usize) -> bool {
        self.by_place.get(place).is_some_and(Option::is_some)
    }

    /// Whether one of the relevant sources of the query at `place` is among the first [`K`] of the answer
    /// `body`. One that is no JSON, or cites nothing, is no hit.
    #[must_use]
    pub fn is_hit(&self, place: usize, body: &[u8]) -> bool {
        let Some(Some(relevant)) = self.by_place.get(place) else {
            return false;
        };
        let Ok(answer) = serde_json::from_slice(body) else {
            return false;
        };
        let cited = self.pointer.first(&answer, K);
        cited.iter().any(|source| relevant.contains(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relevant(judgments: &str, queries: &[&str]) -> Relevant {
        let judgments = Judgments::parse(judgments.as_bytes()).unwrap();
        let pointer = SourcePointer::default();
        Relevant::of(&judgments, pointer, queries.iter().map(|text| Some(*text)))
    }

    #[test]
    fn a_hit_is_one_of_the_sources_among_the_first_three() {
        let relevant = relevant("q\ta.md\tb.md\n", &["other", "q"]);
        assert!(relevant.wants(1) && !relevant.wants(0) && !relevant.wants(9));
        let hit = |sources: &[&str]| {
            let cited = |source: &&str| serde_json::json!({"source": source, "score": 1});
            let cited: Vec<_> = sources.iter().map(cited).collect();
            let body = serde_json::json!({"citations": cited}).to_string();
            relevant.is_hit(1, body.as_bytes())
        };
        assert!(hit(&["a.md"]) && hit(&["x", "y", "b.md"]));
        assert!(!hit(&[]) && !hit(&["x", "y", "z", "a.md"]) && !hit(&["A.md", "a"]));
        assert!(!relevant.is_hit(1, b"a.md") && !relevant.is_hit(1, b"{}"));
        assert!(!relevant.is_hit(0, br#"{"citations":[{"source":"a.md"}]}"#));
    }

    #[test]
    fn judgments_that_nothing_asks_for_are_counted() {
        let relevant = relevant("a\t1\nzz\t2\n\nb\t3\nyy\t4\n", &["b", "a", "a"]);
        assert_eq!(relevant.judged(), 3);
        let (count, first) = relevant.unasked();
        assert_eq!((count, first), (2, Some(&(2, "zz".to_owned()))));
    }
}
