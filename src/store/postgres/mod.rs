//! The store in PostgreSQL with pgvector.
//!
//! One row of `documents` is a chunk with its vector and its terms; `alfred_sources` has a row a
//! document, `alfred_collections` counts. Searches are SQL functions, so that each is one round trip
//! and nothing is left in a pooled session. What is acknowledged is committed.
//!
//! Connections, reading order: `dsn` (what the user said), `fault` (what the server said),
//! `transport` and `tls` (the stream), `open` (one attempt), `connect` (the right server), `breaker`
//! (whether it is worth trying), `lane` (one pool), `pools`. Then `migrate` and `model` (the schema),
//! `write`, `read`, `search`, `asked` and `together` (searches that share a statement), `upkeep` and `keeper`.

pub mod admin;
mod asked;
mod breaker;
mod connect;
mod describe;
mod dsn;
mod export;
mod fault;
mod frequencies;
mod keeper;
mod lane;
mod lexemes;
mod migrate;
mod model;
mod open;
mod pools;
mod queue;
mod read;
pub mod reembed;
mod search;
mod session;
mod settings;
mod shared;
mod tls;
mod together;
mod transport;
mod upkeep;
mod waited;
mod write;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use pools::PoolState;

/// What is wrong with a DSN, without asking anybody.
///
/// # Errors
/// Why it cannot be used.
pub fn check_dsn(dsn: &crate::secret::Secret) -> Result<(), String> {
    dsn::Dsn::parse(dsn)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Whom and what a DSN names.
#[derive(Clone, Debug)]
pub struct DsnNames {
    /// The role; `None`: that of the process.
    pub user: Option<String>,
    /// Its password, of the DSN or of the password file.
    pub password: Option<crate::secret::Secret>,
    /// The database; `None`: that of the role's name.
    pub database: Option<String>,
    /// Whether every host in it is this machine.
    pub is_on_this_machine: bool,
}

/// The names in a DSN, without asking anybody.
///
/// # Errors
/// Why it cannot be used.
pub fn names_in_dsn(dsn: &crate::secret::Secret) -> Result<DsnNames, String> {
    let dsn = dsn::Dsn::parse(dsn).map_err(|error| error.to_string())?;
    let first = dsn.endpoints.first();
    Ok(DsnNames {
        user: dsn.user.clone(),
        password: first.and_then(|endpoint| dsn.password(endpoint)),
        database: dsn.database.clone(),
        is_on_this_machine: dsn.is_on_this_machine(),
    })
}
pub use settings::{PostgresSettings, Quantization};
pub use waited::WaitHistogram;

use crate::domain::{
    CollectionInfo, CollectionName, ContentHash, EmbeddedDocument, ModelId, SourceName,
    StoredDocument, Upserted,
};
use crate::store::{
    EmbeddingRepo, ExportRequest, Hit, ListRequest, SearchRequest, StoreError, StoreInfo, Then,
    same_model,
};
use fault::Fault;
use keeper::Keeper;
use shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use together::Searches;
use uuid::Uuid;
use write::Prepared;

/// Documents in PostgreSQL.
pub struct PostgresStore {
    shared: Arc<Shared>,
    searches: Searches,
    _keeper: Option<Keeper>,
}

impl PostgresStore {
    /// Connects, brings the schema up to date and looks at what is there.
    ///
    /// # Errors
    /// When the database cannot be reached, refuses, or holds something else.
    pub fn open(settings: PostgresSettings) -> Result<Self, StoreError> {
        let shared = Shared::unopened(settings)?;
        shared::prepare(&shared)?;
        shared.set_problem(None);
        let shared = Arc::new(shared);
        Ok(Self {
            searches: Searches::of(&shared),
            shared,
            _keeper: None,
        })
    }

    /// Returns at once; a thread brings the store up, as soon as the database is there, and keeps it
    /// in order. Until then calls fail with [`StoreError::Unavailable`].
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn start(settings: PostgresSettings) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::unopened(settings)?);
        let keeper = Keeper::start(Arc::clone(&shared))?;
        Ok(Self {
            searches: Searches::of(&shared),
            shared,
            _keeper: Some(keeper),
        })
    }

    /// A vector of another length than the model's, or two chunks in one place.
    fn refusal(&self, model: &ModelId, document: &EmbeddedDocument) -> Option<StoreError> {
        let location = self.shared.location().to_owned();
        let chunks = document.chunks.iter();
        let mut dimensions = chunks.map(|(_, vector)| vector.dimensions());
        if let Some(other) = dimensions.find(|dimensions| *dimensions != model.dimensions) {
            return Some(StoreError::ModelMismatch {
                location,
                stored: model.clone(),
                offered: ModelId {
                    name: format!("the vectors of {}", document.source),
                    dimensions: other,
                },
            });
        }
        let mut places = std::collections::HashSet::new();
        let twice = document
            .chunks
            .iter()
            .find(|(chunk, _)| !places.insert(chunk.position))?;
        Some(StoreError::Failed {
            location,
            action: format!("storing {}", document.source),
            source: format!("two chunks have the position {}", twice.0.position).into(),
        })
    }

    /// Stores documents that are sound, together or else one by one.
    fn store(
        &self,
        model: &ModelId,
        documents: &[&Prepared<'_>],
    ) -> Result<Vec<Stored>, StoreError> {
        let shared = &self.shared;
        let place = shared.location();
        let all = shared.write("storing documents", |session| {
            match write::upsert(session, place, model, documents) {
                Err(fault) if fault.concerns_data() && documents.len() > 1 => Ok(None),
                outcome => outcome.map(Some),
            }
        });
        match all {
            Ok(Some(outcomes)) => return Ok(outcomes.into_iter().map(Ok).collect()),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        let one = |document: &&Prepared<'_>| {
            let outcome = shared.write("storing a document", |session| {
                match write::upsert(session, place, model, &[document]) {
                    Err(fault) if fault.concerns_data() => Ok(Err(fault)),
                    outcome => outcome.map(Ok),
                }
            })?;
            let explain = |fault: Fault| fault.into_store(shared.location(), "storing a document");
            Ok(outcome
                .map_err(explain)
                .and_then(|mut stored| stored.pop().ok_or_else(|| nothing(shared.location()))))
        };
        documents.iter().map(one).collect()
    }
}

/// What became of one document.
type Stored = Result<Upserted, StoreError>;

fn nothing(location: &str) -> StoreError {
    StoreError::Failed {
        location: location.to_owned(),
        action: "storing a document".to_owned(),
        source: "nothing was stored".into(),
    }
}

impl EmbeddingRepo for PostgresStore {
    fn model(&self) -> Result<Option<ModelId>, StoreError> {
        let known = |session: &mut session::Session| self.shared.model_with(session);
        match self.shared.known_model() {
            Some(_) => self.shared.read("reading the model", known),
            // A standby may not have the tables yet that were made a moment ago.
            None => self.shared.write("reading the model", known),
        }
    }

    fn upsert_embeddings(
        &self,
        model: &ModelId,
        documents: &[EmbeddedDocument],
    ) -> Result<Vec<Result<Upserted, StoreError>>, StoreError> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        self.shared.agree_on(model)?;
        let prepared = write::prepare(documents);
        let refusals: Vec<Option<StoreError>> = documents
            .iter()
            .map(|document| self.refusal(model, document))
            .collect();
        let sound: Vec<&Prepared<'_>> = prepared
            .iter()
            .zip(&refusals)
            .filter_map(|(prepared, refusal)| refusal.is_none().then_some(prepared))
            .collect();
        let mut stored = self.store(model, &sound)?.into_iter();
        self.shared
            .wrote(documents.iter().map(|document| document.chunks.len()).sum());
        Ok(refusals
            .into_iter()
            .filter_map(|refusal| refusal.map(Err).or_else(|| stored.next()))
            .collect())
    }

    fn content_hashes(
        &self,
        collection: &CollectionName,
        sources: &[SourceName],
    ) -> Result<Vec<Option<ContentHash>>, StoreError> {
        // From the primary: what a standby does not have yet would be stored once more.
        self.shared.write("reading hashes", |session| {
            read::content_hashes(session, collection, sources)
        })
    }

    fn search(&self, request: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError> {
        self.searches.search(request)
    }

    fn searches_later(&self) -> bool {
        self.searches.are_served()
    }

    fn search_later(&self, request: &SearchRequest<'_>, then: Then) {
        self.searches.ask(request, then);
    }

    fn list_documents(&self, request: &ListRequest) -> Result<Vec<StoredDocument>, StoreError> {
        self.shared
            .read("listing documents", |session| read::list(session, request))
    }

    fn document(&self, id: Uuid) -> Result<Option<(StoredDocument, Vec<String>)>, StoreError> {
        self.shared
            .read("reading a document", |session| read::document(session, id))
    }

    fn export(&self, request: &ExportRequest<'_>) -> Result<Vec<EmbeddedDocument>, StoreError> {
        self.shared.read("exporting documents", |session| {
            export::export(session, request)
        })
    }

    fn begin_bulk(&self, model: &ModelId) -> Result<(), StoreError> {
        self.shared.agree_on(model)?;
        if upkeep::drop_index_of_empty(&self.shared)? {
            self.shared.look_again()?;
        }
        Ok(())
    }

    fn delete_documents(&self, ids: &[Uuid]) -> Result<u64, StoreError> {
        let deleted = self.shared.write("deleting documents", |session| {
            write::delete_documents(session, ids)
        });
        self.shared.wrote(0);
        deleted
    }

    fn collections(&self) -> Result<Vec<CollectionInfo>, StoreError> {
        self.shared.read("reading collections", read::collections)
    }

    fn delete_collection(
        &self,
        name: &CollectionName,
    ) -> Result<Option<CollectionInfo>, StoreError> {
        let deleted = self.shared.write("deleting a collection", |session| {
            write::delete_collection(session, name)
        });
        self.shared.wrote(0);
        deleted
    }

    fn health(&self) -> Result<(), StoreError> {
        self.shared.check_prepared()?;
        self.shared.pools.readable()
    }

    fn fits(&self, model: &ModelId) -> Result<(), StoreError> {
        let shared = &self.shared;
        same_model(shared.location(), shared.known_model(), model)
    }

    fn pool(&self) -> Option<PoolState> {
        Some(self.shared.pools.state())
    }

    fn settle(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        if upkeep::ensure_index(shared, true)? || !shared.active().is_wanted {
            shared.look_again()?;
        }
        let written = shared.written.swap(0, Ordering::Relaxed);
        if written > 0 {
            upkeep::analyze(shared)?;
        }
        Ok(())
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        self.shared.read("describing the store", |session| {
            let active = self.shared.active();
            let kind = active.has_index.then(|| active.kind.name());
            describe::info(session, self.shared.location(), kind)
        })
    }
}
