//! How rare the words of a question are, for BM25: kept, so that most questions need no round trip
//! for it.
//!
//! What costs time are words that many chunks have. In large collections the most frequent are left
//! out, as in the embedded store; of the rest the rarest find the matches and all rank them.

use super::fault::Fault;
use super::lexemes::query_term;
use super::session::Session;
use crate::domain::CollectionName;
use crate::terms;
use moka::sync::Cache;
use std::time::Duration;

/// Most terms of one question.
const MAX_TERMS: usize = 64;
/// A term is left out when more than this many chunks have it, and more than a tenth.
const FREQUENT_CHUNKS: u64 = 5_000;
/// Terms find matches, rarest first, until there may be this many.
const MAX_MATCHES: u64 = 10_000;
/// A count stops here: all that matters beyond is that the term is frequent.
const COUNT_LIMIT: i64 = 100_000;
/// Terms that are kept, of all collections.
const KEPT_TERMS: u64 = 50_000;
/// How long the size of a collection is believed; a write of this process ends it at once.
const SIZE_TTL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Frequency {
    chunks: u64,
    of: u64,
}

#[derive(Clone, Copy)]
struct Size {
    chunks: u64,
    terms: u64,
}

/// The words of a question as the search functions take them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TextQuery {
    /// A `tsquery` that finds the matches; empty when nothing can.
    pub(super) matching: String,
    /// A `tsquery` for each term.
    pub(super) terms: Vec<String>,
    /// The inverse document frequency of each.
    pub(super) weights: Vec<f32>,
    /// Average number of terms of a chunk, at least 1.
    pub(super) average: f32,
}

pub(super) struct Frequencies {
    terms: Cache<(String, String), Frequency>,
    sizes: Cache<String, Size>,
}

impl Frequencies {
    pub(super) fn new() -> Self {
        Self {
            terms: Cache::new(KEPT_TERMS),
            sizes: Cache::builder()
                .max_capacity(10_000)
                .time_to_live(SIZE_TTL)
                .build(),
        }
    }

    /// Something was written: sizes are asked for again.
    pub(super) fn written(&self) {
        self.sizes.invalidate_all();
    }

    pub(super) fn text_query(
        &self,
        session: &mut Session,
        collection: &CollectionName,
        text: &str,
    ) -> Result<TextQuery, Fault> {
        let mut words = terms::query_terms(text);
        words.truncate(MAX_TERMS);
        if words.is_empty() {
            return Ok(TextQuery {
                average: 1.0,
                ..TextQuery::default()
            });
        }
        let size = self.size(session, collection)?;
        let counted = self.count(session, collection, size, words)?;
        Ok(choose(counted, size))
    }

    fn size(&self, session: &mut Session, collection: &CollectionName) -> Result<Size, Fault> {
        if let Some(size) = self.sizes.get(collection.as_str()) {
            return Ok(size);
        }
        let sql = "SELECT chunks, terms FROM alfred_collections WHERE name = $1";
        let rows = session.query(sql, &[&collection.as_str()])?;
        let size = rows.first().map_or(
            Size {
                chunks: 0,
                terms: 0,
            },
            |row| Size {
                chunks: super::read::count(row, 0),
                terms: super::read::count(row, 1),
            },
        );
        self.sizes.insert(collection.to_string(), size);
        Ok(size)
    }

    /// How many chunks have each of the words, rarest first.
    fn count(
        &self,
        session: &mut Session,
        collection: &CollectionName,
        size: Size,
        words: Vec<String>,
    ) -> Result<Vec<(u64, String)>, Fault> {
        let key = |word: &str| (collection.to_string(), word.to_owned());
        let is_current = |kept: &Frequency| size.chunks.abs_diff(kept.of) * 10 <= kept.of;
        let mut counted = Vec::with_capacity(words.len());
        let mut unknown = Vec::new();
        for word in words {
            match self.terms.get(&key(&word)).filter(is_current) {
                Some(kept) => counted.push((kept.chunks, word)),
                None => unknown.push(word),
            }
        }
        if !unknown.is_empty() {
            let queries: Vec<String> = unknown.iter().map(|word| query_term(word)).collect();
            let rows = session.query(
                "SELECT (SELECT count(*) FROM (SELECT FROM documents d
                     WHERE d.collection = $1 AND d.ts @@ q::tsquery LIMIT $3) few)
                 FROM unnest($2::text[]) WITH ORDINALITY AS t(q, n) ORDER BY n",
                &[&collection.as_str(), &queries, &COUNT_LIMIT],
            )?;
            for (word, row) in unknown.into_iter().zip(&rows) {
                let chunks = super::read::count(row, 0);
                let of = size.chunks;
                self.terms.insert(key(&word), Frequency { chunks, of });
                counted.push((chunks, word));
            }
        }
        counted.sort();
        Ok(counted)
    }
}

/// PURE: which terms find and rank, from their counts, rarest first.
fn choose(counted: Vec<(u64, String)>, size: Size) -> TextQuery {
    let cut_off = FREQUENT_CHUNKS.max(size.chunks / 10);
    let kept = counted
        .partition_point(|(chunks, _)| *chunks <= cut_off)
        .max(1);
    let mut query = TextQuery {
        average: share(size.terms, size.chunks).max(1.0),
        ..TextQuery::default()
    };
    let mut matches = 0;
    for (chunks, word) in counted.into_iter().take(kept) {
        let term = query_term(&word);
        matches += chunks;
        if query.matching.is_empty() || matches <= MAX_MATCHES {
            if !query.matching.is_empty() {
                query.matching.push('|');
            }
            query.matching.push_str(&term);
        }
        query.terms.push(term);
        query.weights.push(inverse_frequency(chunks, size.chunks));
    }
    query
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts, of which a ratio is wanted"
)]
fn share(part: u64, of: u64) -> f32 {
    part as f32 / of.max(1) as f32
}

/// As FTS5 has it: ln((N - n + 0.5) / (n + 0.5)), never 0.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a weight, wanted in f32"
)]
fn inverse_frequency(chunks: u64, of: u64) -> f32 {
    let (chunks, of) = (chunks as f64, of.max(chunks) as f64);
    (((of - chunks + 0.5) / (chunks + 0.5)).ln()).max(1e-6) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(counts: &[(u64, &str)], chunks: u64) -> TextQuery {
        let counted = counts.iter().map(|(n, word)| (*n, (*word).to_owned()));
        let terms = chunks * 100;
        choose(counted.collect(), Size { chunks, terms })
    }

    #[test]
    fn rare_terms_find_and_frequent_ones_rank() {
        let query = chosen(
            &[(3, "a"), (9_000, "b"), (9_900, "c"), (50_000, "d")],
            100_000,
        );
        assert_eq!(query.matching, "'a'|'b'");
        assert_eq!(query.terms, ["'a'", "'b'", "'c'"], "d is too frequent");
        assert!(query.weights.is_sorted_by(|a, b| a > b));
        assert!((query.average - 100.0).abs() < 1e-3);
    }

    #[test]
    fn the_only_term_is_asked_however_frequent() {
        let query = chosen(&[(90_000, "a")], 100_000);
        assert_eq!((query.matching.as_str(), query.terms.len()), ("'a'", 1));
        assert!(query.weights[0] > 0.0);
    }
}
