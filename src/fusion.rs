//! PURE: two relevances, one score.
//!
//! A convex combination of the cosine and BM25, each scaled from its theoretical minimum (-1 and
//! 0) to its maximum among the candidates: "TM2C2" of Bruch, Gai and Ingber, *An Analysis of
//! Fusion Functions for Hybrid Retrieval* (2022, ACM TOIS 42(1)), with the weight that they found
//! to hold over collections without training, 0.8 for the vectors. Since cosines of real
//! candidates lie in a narrow part of -1 to 1, both sides then move a score by about as much.
//! Unlike reciprocal ranks it keeps how far apart two candidates are, and unlike z-scores it does
//! not depend on how many poor candidates there are.

/// How well one candidate matches, by each side; both are known for every candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relevance {
    /// Cosine of question and chunk, -1 to 1.
    pub cosine: f32,
    /// BM25 of question and chunk, from 0; 0 when no term matches.
    pub bm25: f32,
}

/// Weight of the cosine; the rest is BM25's.
pub(crate) const COSINE_WEIGHT: f32 = 0.8;

/// The fused score of each candidate, 0 to 1, in their order.
#[must_use]
pub fn fuse(candidates: &[Relevance]) -> Vec<f32> {
    let best_cosine = candidates.iter().fold(-1.0_f32, |m, c| m.max(c.cosine));
    let best_bm25 = candidates.iter().fold(0.0_f32, |m, c| m.max(c.bm25));
    candidates
        .iter()
        .map(|candidate| {
            let by_vector = share(candidate.cosine + 1.0, best_cosine + 1.0);
            let by_text = share(candidate.bm25, best_bm25);
            COSINE_WEIGHT * by_vector + (1.0 - COSINE_WEIGHT) * by_text
        })
        .collect()
}

/// `value` as a part of `most`, 0 to 1; 0 when there is nothing to share.
fn share(value: f32, most: f32) -> f32 {
    if most <= 0.0 {
        return 0.0;
    }
    (value / most).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relevance(cosine: f32, bm25: f32) -> Relevance {
        Relevance { cosine, bm25 }
    }

    #[test]
    fn the_best_of_both_sides_scores_one() {
        let scores = fuse(&[relevance(0.6, 9.0), relevance(0.2, 3.0)]);
        assert!((scores[0] - 1.0).abs() < 1e-6);
        assert!((scores[1] - (0.8 * 0.75 + 0.2 / 3.0)).abs() < 1e-6);
    }

    #[test]
    fn without_matching_terms_the_cosine_decides() {
        let scores = fuse(&[relevance(0.1, 0.0), relevance(0.4, 0.0)]);
        assert!(scores[1] > scores[0]);
    }

    #[test]
    fn a_rare_identifier_beats_a_slightly_nearer_vector() {
        let scores = fuse(&[relevance(0.45, 0.0), relevance(0.38, 8.0)]);
        assert!(scores[1] > scores[0]);
    }

    #[test]
    fn nothing_and_opposites_are_zero() {
        assert!(fuse(&[]).is_empty());
        assert_eq!(fuse(&[relevance(-1.0, 0.0)]), [0.0]);
    }

    proptest! {
        #[test]
        fn scores_are_shares_and_follow_dominance(
            pairs in prop::collection::vec((-1.0_f32..=1.0, 0.0_f32..50.0), 1..40)
        ) {
            let candidates: Vec<_> = pairs.iter().map(|(c, b)| relevance(*c, *b)).collect();
            let scores = fuse(&candidates);
            for (a, score_a) in candidates.iter().zip(&scores) {
                prop_assert!((0.0..=1.000_001).contains(score_a));
                for (b, score_b) in candidates.iter().zip(&scores) {
                    if a.cosine >= b.cosine && a.bm25 >= b.bm25 {
                        prop_assert!(*score_a >= *score_b - 1e-6);
                    }
                }
            }
        }
    }
}
