//! A search from request to hits: one round trip, more only for words that were never asked for, and
//! where a filter let so little through that the index did not find enough.

use super::fault::{Fault, unsound};
use super::frequencies::TextQuery;
use super::glob::to_regex;
use super::model::Functions;
use super::read;
use super::session::Session;
use super::shared::Shared;
use crate::domain::{Embedding, Metadata, Mode, ModelId};
use crate::store::{Hit, SearchRequest, StoreError};
use pgvector::Vector;
use postgres::Row;
use postgres::types::{Json, ToSql};
use serde_json::{Map, Value};

/// Candidates that each side of a hybrid search brings, or twice the limit when that is more.
const HYBRID_DEPTH: usize = 100;
/// Collections of at most this many chunks are read whole: that is as quick as the index and exact.
const EXACT_CHUNKS: i64 = 5_000;
/// The same without end.
const ALWAYS_EXACT: i64 = i64::MAX / 4;
/// What the functions raise for an unknown collection.
pub(super) const UNKNOWN_COLLECTION: &str = "AL404";

/// The conditions as the functions take them.
struct Conditions {
    metadata: Option<Json<Map<String, Value>>>,
    source: Option<String>,
}

pub(super) fn search(
    shared: &Shared,
    session: &mut Session,
    request: &SearchRequest<'_>,
) -> Result<Vec<Hit>, Fault> {
    let found = match (request.mode, request.embedding) {
        (Mode::Text, _) => by_text(shared, session, request),
        (_, Some(vector)) => match usable_model(shared, session, vector)? {
            Some(_) => by_vector(shared, session, request, vector),
            None => read::known_collection(session, request.collection).map(|()| Vec::new()),
        },
        (_, None) => Err(Fault::Store(StoreError::Failed {
            location: shared.location().to_owned(),
            action: "searching by vector".to_owned(),
            source: "the request has no embedding".into(),
        })),
    };
    match found {
        Err(fault) if fault.code() == Some(UNKNOWN_COLLECTION) => {
            read::known_collection(session, request.collection)?;
            Err(fault)
        }
        other => other,
    }
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
    Conditions {
        metadata: (!metadata.is_empty()).then(|| Json(metadata.iter().cloned().collect())),
        source: request.filter.source.as_deref().map(to_regex),
    }
}

fn number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
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
    rows.iter().map(hit).collect()
}

fn by_vector(
    shared: &Shared,
    session: &mut Session,
    request: &SearchRequest<'_>,
    vector: &Embedding,
) -> Result<Vec<Hit>, Fault> {
    let text = match request.mode {
        Mode::Hybrid => Some(shared.frequencies.text_query(
            session,
            request.collection,
            request.text.as_str(),
        )?),
        Mode::Vector | Mode::Text => None,
    };
    let active = shared.active();
    let call = Call {
        functions: Functions::of(active.kind),
        ef_search: i32::try_from(shared.settings.ef_search).unwrap_or(i32::MAX),
        conditions: conditions(request),
        vector: Vector::from(vector.as_slice().to_vec()),
        request,
        text,
    };
    let exact = if active.has_index {
        EXACT_CHUNKS
    } else {
        ALWAYS_EXACT
    };
    let rows = call.run(session, exact)?;
    let was_exact = rows.first().is_some_and(|row| row.get(10));
    if rows.len() >= request.limit || was_exact {
        return rows.iter().map(hit).collect();
    }
    // The index gave up before it had enough, or there is no more.
    call.run(session, ALWAYS_EXACT)?.iter().map(hit).collect()
}

/// One call of a search function.
struct Call<'a> {
    functions: Functions,
    ef_search: i32,
    conditions: Conditions,
    vector: Vector,
    request: &'a SearchRequest<'a>,
    text: Option<TextQuery>,
}

impl Call<'_> {
    fn run(&self, session: &mut Session, exact: i64) -> Result<Vec<Row>, Fault> {
        let collection = self.request.collection.as_str();
        let limit = number(self.request.limit);
        let common: [&(dyn ToSql + Sync); 7] = [
            &collection,
            &self.vector,
            &self.conditions.metadata,
            &self.conditions.source,
            &limit,
            &self.ef_search,
            &exact,
        ];
        let Some(text) = &self.text else {
            let sql = format!(
                "SELECT * FROM {}($1, $2, $3, $4, $5, $6, $7)",
                self.functions.nearest
            );
            return Ok(session.query(&sql, &common)?);
        };
        let depth = number(HYBRID_DEPTH.max(2 * self.request.limit));
        let sql = format!(
            "SELECT * FROM {}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            self.functions.hybrid
        );
        let mut parameters = common.to_vec();
        parameters.extend([
            &text.matching as &(dyn ToSql + Sync),
            &text.terms,
            &text.weights,
            &text.average,
            &depth,
        ]);
        Ok(session.query(&sql, &parameters)?)
    }
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
