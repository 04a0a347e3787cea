//! A search from request to hits: one round trip, more only for words that were never asked for, and
//! where a filter let so little through that the index did not find enough.

use super::fault::{Fault, unsound};
use super::frequencies::TextQuery;
use super::model::Functions;
use super::read;
use super::session::Session;
use super::shared::Shared;
use crate::domain::glob::postgres_regex;
use crate::domain::{CollectionName, Embedding, Metadata, Mode, ModelId, QueryText};
use crate::store::{Hit, SearchRequest, StoreError};
use pgvector::Vector;
use postgres::Row;
use postgres::types::{Json, ToSql};
use serde_json::{Map, Value};

/// Candidates that each side of a hybrid search brings, or twice the limit when that is more.
const HYBRID_DEPTH: i32 = 100;
/// Collections of at most this many chunks are read whole: that is as quick as the index and exact.
const EXACT_CHUNKS: i64 = 5_000;
/// The same without end.
const ALWAYS_EXACT: i64 = i64::MAX / 4;
/// An expression that no source matches: none is empty.
const NOTHING: &str = "^$";
/// What the functions raise for an unknown collection.
pub(super) const UNKNOWN_COLLECTION: &str = "AL404";

/// The conditions as the functions take them.
struct Conditions {
    metadata: Option<Json<Map<String, Value>>>,
    source: Option<String>,
}

/// What is asked of the vectors, as the functions take it.
pub(super) struct Question {
    collection: CollectionName,
    vector: Vector,
    conditions: Conditions,
    limit: i32,
}

impl Question {
    pub(super) fn of(request: &SearchRequest<'_>, vector: &Embedding) -> Self {
        Self {
            collection: request.collection.clone(),
            vector: Vector::from(vector.as_slice().to_vec()),
            conditions: conditions(request),
            limit: number(request.limit),
        }
    }

    /// Most hits.
    #[cfg(test)]
    pub(super) fn limit(&self) -> i32 {
        self.limit
    }

    /// Whether these rows are all that can be found, and not what the index gave up with.
    pub(super) fn is_answered_by(&self, rows: &[Row]) -> bool {
        let was_exact = rows.first().is_some_and(|row| row.get(10));
        was_exact || number(rows.len()) >= self.limit
    }
}

pub(super) fn search(
    shared: &Shared,
    session: &mut Session,
    request: &SearchRequest<'_>,
) -> Result<Vec<Hit>, Fault> {
    let found = match (request.mode, request.embedding) {
        (Mode::Text, _) => by_text(shared, session, request),
        (mode, Some(vector)) => match usable_model(shared, session, vector)? {
            Some(_) => {
                let question = Question::of(request, vector);
                let text = (mode == Mode::Hybrid).then_some(request.text);
                by_vector(shared, session, &question, text)
            }
            None => read::known_collection(session, request.collection).map(|()| Vec::new()),
        },
        (_, None) => Err(Fault::Store(StoreError::Failed {
            location: shared.location().to_owned(),
            action: "searching by vector".to_owned(),
            source: "the request has no embedding".into(),
        })),
    };
    or_known_collections(session, request.collection, found)
}

/// A search by vector alone, in a store whose vectors are as long as this one.
pub(super) fn nearest(
    shared: &Shared,
    session: &mut Session,
    question: &Question,
) -> Result<Vec<Hit>, Fault> {
    let found = by_vector(shared, session, question, None);
    or_known_collections(session, &question.collection, found)
}

/// Names the collections that exist where `found` says that there is no such one.
fn or_known_collections(
    session: &mut Session,
    collection: &CollectionName,
    found: Result<Vec<Hit>, Fault>,
) -> Result<Vec<Hit>, Fault> {
    match found {
        Err(fault) if fault.code() == Some(UNKNOWN_COLLECTION) => {
            read::known_collection(session, collection)?;
            Err(fault)
        }
        other => other,
    }
}

/// The nearest of several questions in one statement, by the index: rows for each, or `None` where
/// it has to be asked alone.
pub(super) fn nearest_of_many(
    shared: &Shared,
    session: &mut Session,
    questions: &[&Question],
) -> Result<Vec<Option<Vec<Row>>>, Fault> {
    let functions = Functions::of(shared.active().kind);
    let each = || questions.iter().copied();
    let collections: Vec<&str> = each().map(|one| one.collection.as_str()).collect();
    let vectors: Vec<&Vector> = each().map(|one| &one.vector).collect();
    let metadata: Vec<_> = each().map(|one| one.conditions.metadata.as_ref()).collect();
    let sources: Vec<_> = each().map(|one| one.conditions.source.as_deref()).collect();
    let limits: Vec<i32> = each().map(|one| one.limit).collect();
    let rows = session.query(
        &functions.call_nearest_many,
        &[
            &collections,
            &vectors,
            &metadata,
            &sources,
            &limits,
            &ef_search(shared),
            &EXACT_CHUNKS,
        ],
    )?;
    let mut found: Vec<Option<Vec<Row>>> = questions.iter().map(|_| Some(Vec::new())).collect();
    for row in rows {
        let at = usize::try_from(row.get::<_, i32>(11)).unwrap_or_default();
        let Some(of_one) = found.get_mut(at.wrapping_sub(1)) else {
            return Err(unsound("search function", &"it answers what nobody asked"));
        };
        match (of_one.as_mut(), row.get::<_, Option<bool>>(10)) {
            (Some(rows), Some(_)) => rows.push(row),
            _ => *of_one = None,
        }
    }
    for (question, of_one) in questions.iter().zip(&mut found) {
        *of_one = of_one.take().filter(|rows| question.is_answered_by(rows));
    }
    Ok(found)
}

/// The model of the store, whose dimensions the vector has; `None` while there is none.
fn usable_model(
    shared: &Shared,
    session: &mut Session,
    vector: &Embedding,
) -> Result<Option<ModelId>, Fault> {
    let Some(model) = shared.model_with(session)? else {
        return Ok(None);
    };
    if model.dimensions == vector.dimensions() {
        return Ok(Some(model));
    }
    Err(Fault::Store(StoreError::ModelMismatch {
        location: shared.location().to_owned(),
        stored: model,
        offered: ModelId {
            name: "the question's vector".to_owned(),
            dimensions: vector.dimensions(),
        },
    }))
}

fn conditions(request: &SearchRequest<'_>) -> Conditions {
    let metadata = &request.filter.metadata;
    let source = request.filter.source.as_deref();
    Conditions {
        metadata: (!metadata.is_empty()).then(|| Json(metadata.iter().cloned().collect())),
        // None would let everything through.
        source: source.map(|glob| postgres_regex(glob).unwrap_or_else(|| NOTHING.to_owned())),
    }
}

fn number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn ef_search(shared: &Shared) -> i32 {
    i32::try_from(shared.settings.ef_search).unwrap_or(i32::MAX)
}

fn by_text(
    shared: &Shared,
    session: &mut Session,
    request: &SearchRequest<'_>,
) -> Result<Vec<Hit>, Fault> {
    let Conditions { metadata, source } = conditions(request);
    let text = shared
        .frequencies
        .text_query(session, request.collection, request.text.as_str())?;
    let rows = session.query(
        "SELECT * FROM alfred_text($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            &request.collection.as_str(),
            &metadata,
            &source,
            &number(request.limit),
            &text.matching,
            &text.terms,
            &text.weights,
            &text.average,
        ],
    )?;
    hits(&rows)
}

fn by_vector(
    shared: &Shared,
    session: &mut Session,
    question: &Question,
    text: Option<&QueryText>,
) -> Result<Vec<Hit>, Fault> {
    let words = |text: &QueryText| {
        let frequencies = &shared.frequencies;
        frequencies.text_query(session, &question.collection, text.as_str())
    };
    let active = shared.active();
    let call = Call {
        functions: Functions::of(active.kind),
        ef_search: ef_search(shared),
        text: text.map(words).transpose()?,
        question,
    };
    let exact = if active.has_index {
        EXACT_CHUNKS
    } else {
        ALWAYS_EXACT
    };
    let rows = call.run(session, exact)?;
    if question.is_answered_by(&rows) {
        return hits(&rows);
    }
    // The index gave up before it had enough, or there is no more.
    hits(&call.run(session, ALWAYS_EXACT)?)
}

/// One call of a search function.
struct Call<'a> {
    functions: &'static Functions,
    ef_search: i32,
    text: Option<TextQuery>,
    question: &'a Question,
}

impl Call<'_> {
    fn run(&self, session: &mut Session, exact: i64) -> Result<Vec<Row>, Fault> {
        let question = self.question;
        let collection = question.collection.as_str();
        let common: [&(dyn ToSql + Sync); 7] = [
            &collection,
            &question.vector,
            &question.conditions.metadata,
            &question.conditions.source,
            &question.limit,
            &self.ef_search,
            &exact,
        ];
        let Some(text) = &self.text else {
            return Ok(session.query(&self.functions.call_nearest, &common)?);
        };
        let depth = HYBRID_DEPTH.max(question.limit.saturating_mul(2));
        let mut parameters = common.to_vec();
        parameters.extend([
            &text.matching as &(dyn ToSql + Sync),
            &text.terms,
            &text.weights,
            &text.average,
            &depth,
        ]);
        Ok(session.query(&self.functions.call_hybrid, &parameters)?)
    }
}

pub(super) fn hits(rows: &[Row]) -> Result<Vec<Hit>, Fault> {
    rows.iter().map(hit).collect()
}

fn hit(row: &Row) -> Result<Hit, Fault> {
    let natural = |number: i32| u32::try_from(number).unwrap_or_default();
    let metadata: Metadata = read::metadata_of(row.get(9))?;
    let score: f32 = row.get(2);
    if !score.is_finite() {
        return Err(unsound("vector", &format!("its score is {score}")));
    }
    Ok(Hit {
        id: row.get(0),
        document_id: row.get(1),
        score,
        source: row.get(3),
        document_title: row.get(4),
        title_path: row.get(5),
        position: natural(row.get(6)),
        page: row.get::<_, Option<i32>>(7).map(natural),
        text: row.get(8),
        metadata,
    })
}
