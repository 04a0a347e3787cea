//! What the store is told.

use crate::secret::Secret;
use crate::telemetry::metrics::PoolMetrics;
use std::time::Duration;

/// How the index holds vectors; the table always holds them in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantization {
    /// f32; at most 2,000 dimensions.
    #[default]
    None,
    /// f16: half the size; at most 4,000 dimensions.
    Halfvec,
    /// One bit a dimension; candidates are compared once more in full.
    Binary,
}

impl Quantization {
    /// As the setting spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Halfvec => "halfvec",
            Self::Binary => "binary",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::None, Self::Halfvec, Self::Binary]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// What is used for vectors of that many dimensions: above 2,000 pgvector cannot index f32.
    pub(super) fn for_dimensions(self, dimensions: usize) -> Self {
        match self {
            Self::None if dimensions > MAX_FULL_DIMENSIONS => Self::Halfvec,
            kind => kind,
        }
    }
}

/// Most dimensions of an index over `vector` (pgvector, "HNSW").
const MAX_FULL_DIMENSIONS: usize = 2_000;

/// Everything about one database.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Where it is: a URL or key=value words, as libpq has them.
    pub dsn: Secret,
    /// Most connections to one side (primary, standbys).
    pub pool_size: u32,
    /// Most searches and other reads at the same time; 0: see [`super::pools`].
    pub max_reads: u32,
    /// Longest wait for a connection.
    pub pool_timeout: Duration,
    /// Longest time for one statement of a query.
    pub statement_timeout: Duration,
    /// Candidates that the index looks at, 1 to 1,000; more where more are wanted.
    pub ef_search: u32,
    /// How the index holds vectors.
    pub quantization: Quantization,
    /// The schemas that are searched, where it is not for the DSN to say.
    pub search_path: Option<String>,
    /// Where waits for connections are counted.
    pub metrics: PoolMetrics,
}
