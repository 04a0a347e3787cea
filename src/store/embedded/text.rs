//! Text search: FTS5 with terms of our own making.
//!
//! FTS5 scores every match, so what costs time are terms that many chunks have; in large
//! collections they are left out, as they say little. The query is a disjunction of quoted terms of
//! letters, digits and `_`: nothing a user types reaches FTS5's query syntax. Filters and
//! liveness are applied to the matches in memory, never by a join.

use super::fault::Fault;
use crate::terms;
use moka::sync::Cache;
use rusqlite::Connection;

/// Most terms of one query.
const MAX_TERMS: usize = 64;

/// A term is left out for speed when more than this many chunks have it, and more than a tenth.
const FREQUENT_CHUNKS: usize = 5_000;

/// Frequencies that are kept, of all collections.
const KEPT_FREQUENCIES: u64 = 20_000;

/// How many chunks have a term, as of when the collection had `of` chunks.
#[derive(Clone, Copy)]
struct Frequency {
    chunks: usize,
    of: usize,
}

pub(super) struct TextSearch {
    frequencies: Cache<(i64, String), Frequency>,
}

impl TextSearch {
    pub(super) fn new() -> Self {
        Self {
            frequencies: Cache::new(KEPT_FREQUENCIES),
        }
    }

    /// All chunks with any of the query's terms, with their BM25 (k1 1.2, b 0.75), in no order.
    pub(super) fn matches(
        &self,
        connection: &Connection,
        collection: i64,
        live: usize,
        query: &str,
    ) -> Result<Vec<(i64, f32)>, Fault> {
        let mut terms = terms::query_terms(query);
        if live > FREQUENT_CHUNKS {
            terms = self.worth_asking(connection, collection, live, terms)?;
        }
        terms.truncate(MAX_TERMS);
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let expression = format!("\"{}\"", terms.join("\" OR \""));
        let sql = format!(
            "SELECT rowid, -bm25(fts_{collection}) FROM fts_{collection}
             WHERE fts_{collection} MATCH ?1"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([expression])?;
        let mut matches = Vec::new();
        while let Some(row) = rows.next()? {
            #[expect(clippy::cast_possible_truncation, reason = "a score, wanted in f32")]
            matches.push((row.get(0)?, row.get::<_, f64>(1)?.max(0.0) as f32));
        }
        Ok(matches)
    }

    /// The terms that some chunk has, rarest first, without those that too many have unless there
    /// are no others: then the rarest of them.
    fn worth_asking(
        &self,
        connection: &Connection,
        collection: i64,
        live: usize,
        terms: Vec<String>,
    ) -> Result<Vec<String>, Fault> {
        let cut_off = FREQUENT_CHUNKS.max(live / 10);
        let mut found = Vec::with_capacity(terms.len());
        for term in terms {
            let chunks = self.frequency(connection, collection, live, &term)?;
            if chunks > 0 {
                found.push((chunks, term));
            }
        }
        found.sort();
        let few = found
            .partition_point(|(chunks, _)| *chunks <= cut_off)
            .max(1);
        found.truncate(few);
        Ok(found.into_iter().map(|(_, term)| term).collect())
    }

    fn frequency(
        &self,
        connection: &Connection,
        collection: i64,
        live: usize,
        term: &str,
    ) -> Result<usize, Fault> {
        let key = (collection, term.to_owned());
        let is_current = |kept: &Frequency| live.abs_diff(kept.of) * 10 <= kept.of;
        if let Some(kept) = self.frequencies.get(&key).filter(is_current) {
            return Ok(kept.chunks);
        }
        connection.execute_batch(&format!(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary_{collection}
             USING fts5vocab('main', 'fts_{collection}', 'row')"
        ))?;
        let sql = format!(
            "SELECT COALESCE(MAX(doc), 0) FROM temp.vocabulary_{collection} WHERE term = ?1"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let chunks = statement.query_row([term], |row| row.get(0))?;
        self.frequencies.insert(key, Frequency { chunks, of: live });
        Ok(chunks)
    }
}
