//! The index against a plain list of vectors.

use super::*;
use crate::store::conformance::vector;
use proptest::prelude::*;

const DIMENSIONS: usize = 128;

fn index_of(documents: std::ops::Range<i64>) -> CollectionIndex {
    let mut index = CollectionIndex::new(1, DIMENSIONS);
    for document in documents {
        let embedding = vector(u64::try_from(document).unwrap(), DIMENSIONS);
        let ids = RowIds {
            chunk: document * 2,
            document,
        };
        index.append(ids, embedding.as_slice());
    }
    index
}

fn live_chunks(index: &CollectionIndex) -> Vec<i64> {
    let all = index.mask(|_| true);
    assert_eq!(all.rows, index.live());
    let query = Query8::new(vector(1, DIMENSIONS).as_slice());
    let found = index.by_quantised(None, &query);
    found.into_iter().map(|candidate| candidate.chunk).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn removals_and_compaction_keep_exactly_the_others(
        count in 0_i64..5_000,
        removed in prop::collection::vec((0_i64..5_000, 1_i64..1_500), 0..6),
        appended in 0_i64..50,
    ) {
        let mut index = index_of(0..count);
        let mut expected: Vec<i64> = (0..count).collect();
        for (first, length) in removed {
            let range = first..first + length;
            range.clone().for_each(|document| index.remove_document(document));
            expected.retain(|document| !range.contains(document));
            index.compact();
        }
        for document in count..count + appended {
            let embedding = vector(u64::try_from(document).unwrap(), DIMENSIONS);
            index.append(RowIds { chunk: document * 2, document }, embedding.as_slice());
            expected.push(document);
        }
        let index = Arc::new(index);
        let chunks: Vec<i64> = expected.iter().map(|document| document * 2).collect();
        prop_assert_eq!(live_chunks(&index), chunks);
        for document in expected.iter().step_by(97) {
            prop_assert!(index.contains(document * 2, None));
            prop_assert!(!index.contains(document * 2 + 1, None));
            let embedding = vector(u64::try_from(*document).unwrap(), DIMENSIONS);
            let best = index.candidates(embedding.as_slice(), 1, None);
            prop_assert_eq!(best[0].chunk, document * 2);
        }
        let most = expected.len() * 2 / BLOCK_ROWS + 3;
        prop_assert!(index.blocks.len() <= most, "{} blocks", index.blocks.len());
    }
}

#[test]
fn a_collection_that_shrank_to_a_few_rows_is_searched_whole() {
    for live in 1..200 {
        let mut index = index_of(0..1_024);
        (live..1_024).for_each(|document| index.remove_document(document));
        index.compact();
        for limit in [1, 10, 200] {
            let found = index.candidates(vector(0, DIMENSIONS).as_slice(), limit, None);
            let least = limit.min(usize::try_from(live).unwrap());
            assert!(
                found.len() >= least,
                "{} of {live}, limit {limit}",
                found.len()
            );
            assert_eq!(found[0].chunk, 0);
        }
    }
}

#[test]
fn a_clone_is_untouched_by_what_happens_to_the_original() {
    let mut index = index_of(0..1_500);
    let before = index.clone();
    index.remove_document(3);
    index.append(
        RowIds {
            chunk: 9_000,
            document: 9_000,
        },
        vector(9, DIMENSIONS).as_slice(),
    );
    assert_eq!((before.live(), index.live()), (1_500, 1_500));
    assert!(before.contains(6, None) && !before.contains(9_000, None));
    assert!(!index.contains(6, None) && index.contains(9_000, None));
}

#[test]
fn vectors_that_share_their_signs_are_told_apart() {
    // All values positive: signs against zero would all be equal.
    let shifted = |seed: u64| {
        let values = vector(seed, DIMENSIONS)
            .as_slice()
            .iter()
            .map(|v| v + 0.5)
            .collect();
        crate::domain::Embedding::normalised(values).unwrap()
    };
    let mut index = CollectionIndex::new(1, DIMENSIONS);
    for document in 0..6_000 {
        let embedding = shifted(u64::try_from(document).unwrap());
        index.append(
            RowIds {
                chunk: document,
                document,
            },
            embedding.as_slice(),
        );
    }
    let index = Arc::new(index);
    let mut found = 0;
    for question in 0..20 {
        let question = shifted(100_000 + question);
        let mut exact: Vec<(f32, i64)> = (0..6_000)
            .map(|n| (shifted(u64::try_from(n).unwrap()).cosine(&question), n))
            .collect();
        exact.sort_by(|a, b| b.0.total_cmp(&a.0));
        let candidates = index.candidates(question.as_slice(), 10, None);
        found += exact[..10]
            .iter()
            .filter(|(_, n)| candidates.iter().any(|c| c.chunk == *n))
            .count();
    }
    assert!(found >= 190, "recall {found} of 200");
}

#[test]
fn copies_of_one_vector_do_not_grow_the_work() {
    let mut index = CollectionIndex::new(1, DIMENSIONS);
    let same = vector(5, DIMENSIONS);
    for document in 0..4_000 {
        index.append(
            RowIds {
                chunk: document,
                document,
            },
            same.as_slice(),
        );
    }
    let index = Arc::new(index);
    let candidates = index.candidates(same.as_slice(), 3, None);
    assert!(candidates.len() <= 12 + EXTRA_CANDIDATES);
    assert_eq!(candidates[0].chunk, 0, "the oldest first");
}
