//! What searches, writes and the keeper share: connections, and what is known of the database.

use super::dsn::Dsn;
use super::fault::Fault;
use super::frequencies::Frequencies;
use super::migrate;
use super::model;
use super::pools::{PoolSettings, Pools};
use super::session::Session;
use super::settings::{PostgresSettings, Quantization};
use crate::clock::{Clock, SystemClock};
use crate::domain::ModelId;
use crate::store::{StoreError, same_model};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The index that searches use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) kind: Quantization,
    /// Without one, every search reads all that matches.
    pub(super) has_index: bool,
    /// Whether it is the one that the settings want; else that is yet to be built.
    pub(super) is_wanted: bool,
}

/// What was found when the database was last looked at.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) model: Option<ModelId>,
    pub(super) active: Active,
}

/// What searches and writes share.
pub(super) struct Shared {
    pub(super) settings: PostgresSettings,
    pub(super) pools: Pools,
    pub(super) frequencies: Frequencies,
    pub(super) state: RwLock<State>,
    /// Why it cannot be used yet.
    pub(super) problem: RwLock<Option<String>>,
    /// Chunks written since statistics were made, and as of the keeper's last look.
    pub(super) written: AtomicU64,
    pub(super) seen: AtomicU64,
    /// The schema is to be looked at again.
    pub(super) stale: AtomicBool,
}

impl Shared {
    /// What is not connected yet.
    pub(super) fn unopened(settings: PostgresSettings) -> Result<Self, StoreError> {
        let dsn = Dsn::parse(&settings.dsn).map_err(|error| StoreError::Refused {
            location: "of `store.dsn`".to_owned(),
            problem: error.to_string(),
        })?;
        let mut dsn = dsn;
        if let Some(path) = &settings.search_path {
            dsn.search_in(path);
        }
        let limits = PoolSettings {
            pool_size: settings.pool_size,
            max_reads: settings.max_reads,
            pool_timeout: settings.pool_timeout,
            statement_timeout: settings.statement_timeout,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let pools = Pools::new(dsn, limits, &clock, &settings.metrics);
        let state = State {
            model: None,
            active: Active {
                kind: settings.quantization,
                has_index: false,
                is_wanted: false,
            },
        };
        Ok(Self {
            settings,
            pools,
            frequencies: Frequencies::new(),
            state: RwLock::new(state),
            problem: RwLock::new(Some("it was not reached yet".to_owned())),
            written: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            stale: AtomicBool::new(false),
        })
    }

    pub(super) fn location(&self) -> &str {
        self.pools.location()
    }

    pub(super) fn active(&self) -> Active {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .active
    }

    /// Whether vectors of this length are searched by an index.
    pub(super) fn has_index_for(&self, dimensions: usize) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |model: &ModelId| model.dimensions == dimensions;
        state.active.has_index && state.model.as_ref().is_some_and(fits)
    }

    pub(super) fn known_model(&self) -> Option<ModelId> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.model.clone()
    }

    /// The recorded model, asked for only while none is known.
    pub(super) fn model_with(&self, session: &mut Session) -> Result<Option<ModelId>, Fault> {
        if let Some(model) = self.known_model() {
            return Ok(Some(model));
        }
        let model = model::recorded(session.client())?;
        if model.is_some() {
            self.look(session)?;
        }
        Ok(model)
    }

    /// Reads the model and the indexes, and makes the search functions where they are missing.
    pub(super) fn look(&self, session: &mut Session) -> Result<(), Fault> {
        let client = session.client();
        let model = model::recorded(client)?;
        let active = match &model {
            None => Active {
                kind: self.settings.quantization,
                has_index: false,
                is_wanted: false,
            },
            Some(model) => {
                let wanted = self.settings.quantization.for_dimensions(model.dimensions);
                let valid = model::valid_indexes(client)?;
                let found = valid.iter().find(|kind| **kind == wanted).or(valid.first());
                let active = Active {
                    kind: found.copied().unwrap_or(wanted),
                    has_index: found.is_some(),
                    is_wanted: found == Some(&wanted),
                };
                model::ensure_functions(client, active.kind, model.dimensions)?;
                active
            }
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.model = model;
        state.active = active;
        Ok(())
    }

    pub(super) fn look_again(&self) -> Result<(), StoreError> {
        self.pools
            .write("looking at the schema", |session| self.look(session))
    }

    /// Work that needs the store to be up.
    pub(super) fn read<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.check_prepared()?;
        self.pools.read(action, self.watched(work))
    }

    /// As [`Pools::read_again`].
    pub(super) fn read_again<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.check_prepared()?;
        self.pools.read_again(action, self.watched(work))
    }

    /// As [`Pools::read_for_others`].
    pub(super) fn read_for_others<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.check_prepared()?;
        self.pools.read_for_others(action, self.watched(work))
    }

    /// The same on the primary.
    pub(super) fn write<T>(
        &self,
        action: &str,
        work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.check_prepared()?;
        self.pools.write(action, self.watched(work))
    }

    fn watched<T>(
        &self,
        mut work: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> impl FnMut(&mut Session) -> Result<T, Fault> {
        move |session| work(session).inspect_err(|fault| self.note(session, fault))
    }

    /// Notes when the schema turns out to be another than was looked at.
    pub(super) fn note(&self, session: &mut Session, fault: &Fault) {
        if fault.is_stale() {
            session.forget();
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn check_prepared(&self) -> Result<(), StoreError> {
        let problem = self.problem.read().unwrap_or_else(PoisonError::into_inner);
        match &*problem {
            None => Ok(()),
            Some(problem) => Err(StoreError::Unavailable {
                location: self.location().to_owned(),
                problem: problem.clone(),
            }),
        }
    }

    pub(super) fn set_problem(&self, problem: Option<String>) {
        *self.problem.write().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Notes what was written, for statistics.
    pub(super) fn wrote(&self, chunks: usize) {
        self.frequencies.written();
        let chunks = u64::try_from(chunks).unwrap_or(u64::MAX);
        self.written.fetch_add(chunks, Ordering::Relaxed);
    }

    /// The model of the store is the one offered; the first one is recorded.
    pub(super) fn agree_on(&self, offered: &ModelId) -> Result<(), StoreError> {
        if self.known_model().as_ref() == Some(offered) {
            return Ok(());
        }
        let stored = self.write("recording the model", |session| {
            let kind = self
                .settings
                .quantization
                .for_dimensions(offered.dimensions);
            let stored = model::record(session.client(), offered, kind)?;
            self.look(session)?;
            Ok(stored)
        })?;
        same_model(self.location(), Some(stored), offered)
    }
}

/// Brings the schema up to date and looks at what is there.
pub(super) fn prepare(shared: &Shared) -> Result<(), StoreError> {
    let mut session = Session::new(shared.pools.dedicated()?);
    let explain = |fault: Fault| fault.into_store(shared.location(), "preparing the schema");
    let versions = migrate::migrate(session.client(), shared.location()).map_err(explain)?;
    if let Some(warning) = versions.warning() {
        tracing::warn!("{warning}");
    }
    shared.look(&mut session).map_err(explain)
}
