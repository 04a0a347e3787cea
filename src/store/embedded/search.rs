//! A search from request to hits.

use super::Shared;
use super::fault::Fault;
use super::index::quantise::dot_exact;
use super::index::{Candidate, CollectionIndex, RowMask};
use super::read::metadata_of;
use super::snapshot::Snapshot;
use super::vectors::VectorReader;
use super::verify::{OTHER_SOURCE, OTHER_TEXT, is_of};
use crate::domain::stored::chunk_id_of;
use crate::domain::{Embedding, Mode, ModelId};
use crate::fusion::{Relevance, fuse};
use crate::store::{Hit, SearchRequest, StoreError};
use rusqlite::{Connection, OptionalExtension};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use uuid::Uuid;

/// Candidates that each side of a hybrid search brings, or twice the limit when that is more.
const HYBRID_DEPTH: usize = 100;

/// How often a search starts anew because documents were deleted under it.
const ATTEMPTS: usize = 3;

/// A chunk and its final score.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scored {
    score: f32,
    chunk: i64,
}

impl Eq for Scored {}

impl Ord for Scored {
    /// Greater is better: by score, then the older chunk.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.chunk.cmp(&self.chunk))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub(super) fn search(shared: &Shared, request: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError> {
    let explain = shared.location.explain("searching");
    let mut attempt = 0;
    loop {
        attempt += 1;
        let snapshot = shared.follower.current();
        let outcome = attempt_search(shared, request, &snapshot);
        // Another process may have written since this one last looked.
        let is_stale = match &outcome {
            Ok(found) => found.is_stale,
            Err(Fault::Store(StoreError::UnknownCollection { .. }) | Fault::Sql(_)) => true,
            Err(_) => false,
        };
        if is_stale && attempt < ATTEMPTS {
            shared.follower.refresh().map_err(&explain)?;
            continue;
        }
        return outcome.map(|found| found.hits).map_err(&explain);
    }
}

struct Found {
    hits: Vec<Hit>,
    /// Some candidates were deleted since the snapshot.
    is_stale: bool,
}

fn attempt_search(
    shared: &Shared,
    request: &SearchRequest<'_>,
    snapshot: &Snapshot,
) -> Result<Found, Fault> {
    let Some(index) = snapshot.collection(request.collection) else {
        return Err(Fault::Store(StoreError::UnknownCollection {
            name: request.collection.to_string(),
            known: snapshot.collections.keys().cloned().collect(),
        }));
    };
    let vector = usable_vector(shared, request, snapshot)?;
    if index.live() == 0 {
        return Ok(Found {
            hits: Vec::new(),
            is_stale: false,
        });
    }
    shared.pool.read(|connection| {
        let filters = &shared.filters;
        let mask = filters.mask(connection, index, snapshot.revision, request.filter)?;
        let search = Search {
            shared,
            connection,
            request,
            index,
            mask: mask.as_deref(),
        };
        let (ranked, vectors_missing) = match (request.mode, vector) {
            (Mode::Text, _) | (_, None) => (search.by_text()?, false),
            (Mode::Vector, Some(vector)) => search.by_vector(vector)?,
            (Mode::Hybrid, Some(vector)) => search.by_both(vector)?,
        };
        let hits = load_hits(connection, &ranked, request.collection.as_str())?;
        let is_stale = vectors_missing || hits.len() < ranked.len();
        Ok(Found { hits, is_stale })
    })
}

/// The query's vector, when the mode needs one and the store has vectors to compare it with.
fn usable_vector<'a>(
    shared: &Shared,
    request: &SearchRequest<'a>,
    snapshot: &Snapshot,
) -> Result<Option<&'a Embedding>, Fault> {
    if request.mode == Mode::Text {
        return Ok(None);
    }
    let Some(vector) = request.embedding else {
        return Err(Fault::Store(StoreError::Failed {
            location: shared.location.text(),
            action: "searching by vector".to_owned(),
            source: "the request has no embedding".into(),
        }));
    };
    match &snapshot.model {
        Some(model) if model.dimensions != vector.dimensions() => {
            Err(Fault::Store(StoreError::ModelMismatch {
                location: shared.location.text(),
                stored: model.clone(),
                offered: ModelId {
                    name: "the question's vector".to_owned(),
                    dimensions: vector.dimensions(),
                },
            }))
        }
        _ => Ok(Some(vector)),
    }
}

/// One search of one snapshot, inside one read transaction.
struct Search<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    request: &'a SearchRequest<'a>,
    index: &'a CollectionIndex,
    mask: Option<&'a RowMask>,
}

impl Search<'_> {
    fn by_vector(&self, vector: &Embedding) -> Result<(Vec<Scored>, bool), Fault> {
        let limit = self.request.limit;
        let candidates = self.index.candidates(vector.as_slice(), limit, self.mask);
        let chunks: Vec<i64> = candidates.iter().map(|c| c.chunk).collect();
        let mut exact = self.cosines(vector, &chunks)?;
        let is_stale = exact.len() < chunks.len();
        exact.sort_unstable_by(|a, b| b.cmp(a));
        exact.truncate(limit);
        Ok((exact, is_stale))
    }

    fn by_text(&self) -> Result<Vec<Scored>, Fault> {
        Ok(self.best_matches(&self.matches()?, self.request.limit))
    }

    fn matches(&self) -> Result<Vec<(i64, f32)>, Fault> {
        self.shared.text.matches(
            self.connection,
            self.index.id,
            self.index.live(),
            self.request.text.as_str(),
        )
    }

    /// The best of the matches that the snapshot has and the filter lets through.
    fn best_matches(&self, matches: &[(i64, f32)], limit: usize) -> Vec<Scored> {
        let scored = matches
            .iter()
            .map(|(chunk, score)| Scored {
                score: *score,
                chunk: *chunk,
            })
            .collect::<Vec<_>>();
        let mut heap = BinaryHeap::from(scored);
        let mut best = Vec::with_capacity(limit);
        while best.len() < limit
            && let Some(next) = heap.pop()
        {
            if self.index.contains(next.chunk, self.mask) {
                best.push(next);
            }
        }
        best
    }

    fn by_both(&self, vector: &Embedding) -> Result<(Vec<Scored>, bool), Fault> {
        let depth = HYBRID_DEPTH.max(2 * self.request.limit);
        let mut near: Vec<Candidate> = self.index.candidates(vector.as_slice(), depth, self.mask);
        near.truncate(depth);
        let matches = self.matches()?;
        let mut bm25: HashMap<i64, f32> = near.iter().map(|c| (c.chunk, 0.0)).collect();
        for (chunk, score) in &matches {
            if let Some(known) = bm25.get_mut(chunk) {
                *known = *score;
            }
        }
        let textual = self.best_matches(&matches, depth);
        bm25.extend(textual.iter().map(|scored| (scored.chunk, scored.score)));
        let mut chunks: Vec<i64> = bm25.keys().copied().collect();
        chunks.sort_unstable();
        let cosines = self.cosines(vector, &chunks)?;
        let is_stale = cosines.len() < chunks.len();
        let relevances: Vec<Relevance> = cosines
            .iter()
            .map(|scored| Relevance {
                cosine: scored.score,
                bm25: bm25.get(&scored.chunk).copied().unwrap_or_default(),
            })
            .collect();
        let mut fused: Vec<Scored> = cosines
            .iter()
            .zip(fuse(&relevances))
            .map(|(scored, score)| Scored { score, ..*scored })
            .collect();
        fused.sort_unstable_by(|a, b| b.cmp(a));
        fused.truncate(self.request.limit);
        Ok((fused, is_stale))
    }

    /// The exact cosine of each chunk that is still there.
    fn cosines(&self, vector: &Embedding, chunks: &[i64]) -> Result<Vec<Scored>, Fault> {
        let mut vectors = VectorReader::new(self.connection, vector.dimensions());
        let mut cosines = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let Some(stored) = vectors.read(*chunk)? else {
                is_gone(self.connection, *chunk)?;
                continue;
            };
            let score = dot_exact(vector.as_slice(), stored).clamp(-1.0, 1.0);
            cosines.push(Scored {
                score,
                chunk: *chunk,
            });
        }
        Ok(cosines)
    }
}

/// Sees that a chunk was deleted with all that belongs to it: where a part is left, the rest was lost.
fn is_gone(connection: &Connection, chunk: i64) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM chunks WHERE id = ?1)
             OR EXISTS (SELECT 1 FROM vectors WHERE chunk_id = ?1)",
    )?;
    if statement.query_row([chunk], |row| row.get(0))? {
        return Err(Fault::Unsound(format!(
            "chunk {chunk}: a part of it is gone"
        )));
    }
    Ok(())
}

/// The chunks with their documents. Text that is not what was stored is no hit but damage.
fn load_hits(
    connection: &Connection,
    ranked: &[Scored],
    collection: &str,
) -> Result<Vec<Hit>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT c.uuid, d.uuid, d.source, d.title, c.title_path, c.position, c.page, c.text,
                d.metadata
         FROM chunks c JOIN documents d ON d.id = c.document_id WHERE c.id = ?1",
    )?;
    let mut hits = Vec::with_capacity(ranked.len());
    for scored in ranked {
        let row = statement
            .query_row([scored.chunk], |row| {
                let hit = Hit {
                    id: Uuid::from_bytes(row.get(0)?),
                    document_id: Uuid::from_bytes(row.get(1)?),
                    score: scored.score,
                    source: row.get(2)?,
                    document_title: row.get(3)?,
                    title_path: Vec::new(),
                    position: row.get(5)?,
                    page: row.get(6)?,
                    text: row.get(7)?,
                    metadata: crate::domain::Metadata::default(),
                };
                Ok((hit, row.get::<_, String>(4)?, row.get::<_, String>(8)?))
            })
            .optional()?;
        let Some((mut hit, title_path, metadata)) = row else {
            is_gone(connection, scored.chunk)?;
            continue;
        };
        let chunk = scored.chunk;
        if !is_of(hit.document_id, collection, &hit.source) {
            let problem = format!("document of chunk {chunk}: {OTHER_SOURCE}");
            return Err(Fault::Unsound(problem));
        }
        if hit.id != chunk_id_of(hit.document_id, hit.position, &hit.text) {
            return Err(Fault::Unsound(format!("chunk {chunk}: {OTHER_TEXT}")));
        }
        hit.title_path = serde_json::from_str(&title_path)
            .map_err(|error| Fault::Unsound(format!("title path of chunk {}: {error}", hit.id)))?;
        hit.metadata = metadata_of(&metadata, &hit.source)?;
        hits.push(hit);
    }
    Ok(hits)
}
