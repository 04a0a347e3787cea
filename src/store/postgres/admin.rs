//! Keeping the store in PostgreSQL: its schema, and whether it is sound.

use super::PostgresStore;
use super::fault::Fault;
use super::migrate::{self, TABLE_OF_MIGRATIONS};
use super::model;
use super::settings::PostgresSettings;
use super::shared::Shared;
use crate::store::{CheckReport, StoreError};
use std::fmt::Write as _;

/// Problems of one kind that are told one by one.
const MAX_TOLD: i64 = 20;

/// What a database lacks of this version's schema.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pending {
    /// The names of the migrations, in order.
    pub migrations: Vec<String>,
    /// All of it as SQL.
    pub sql: String,
}

/// What [`PostgresStore::open`] would do to the schema; changes nothing.
///
/// # Errors
/// When the database cannot be reached or refuses.
pub fn pending(settings: PostgresSettings) -> Result<Pending, StoreError> {
    let shared = Shared::unopened(settings)?;
    let explain = |fault: Fault| fault.into_store(shared.location(), "reading the schema");
    let mut client = shared.pools.dedicated()?;
    let migrations = migrate::pending(&mut client, shared.location()).map_err(explain)?;
    let mut sql = String::new();
    for migration in migrations {
        if migration.number == 1 {
            let _ = write!(
                sql,
                "CREATE EXTENSION IF NOT EXISTS vector;\n\n{TABLE_OF_MIGRATIONS}\n"
            );
        }
        let _ = write!(
            sql,
            "-- {:04}_{}.sql\n{}\nINSERT INTO alfred_migrations (number, name) VALUES ({}, '{}');\n\n",
            migration.number, migration.name, migration.sql, migration.number, migration.name
        );
    }
    let first = migrations.first().map(|migration| migration.number);
    if first != Some(1)
        && let Some(recorded) = model::recorded(&mut client).map_err(explain)?
    {
        let kind = shared
            .settings
            .quantization
            .for_dimensions(recorded.dimensions);
        let valid = model::valid_indexes(&mut client).map_err(explain)?;
        if !valid.contains(&kind) {
            let _ = writeln!(
                sql,
                "-- in the background, by the daemon or `alfred store migrate`\n{}",
                model::index_sql(kind, recorded.dimensions, "CONCURRENTLY")
            );
        }
        if !model::has_functions(&mut client, kind).map_err(explain)? {
            let _ = writeln!(sql, "{}", model::functions_sql(kind, recorded.dimensions));
        }
    }
    Ok(Pending {
        migrations: migrations
            .iter()
            .map(|migration| format!("{:04}_{}", migration.number, migration.name))
            .collect(),
        sql,
    })
}

/// What is compared: a sentence about one row, and the rows that it is true of.
const CHECKS: [(&str, &str); 5] = [
    (
        "a document has another number of chunks than is recorded",
        "SELECT s.source FROM alfred_sources s
         LEFT JOIN (SELECT document_id, count(*) AS n FROM documents GROUP BY 1) d
             ON d.document_id = s.id
         WHERE s.chunks <> coalesce(d.n, 0)",
    ),
    (
        "a chunk belongs to no document",
        "SELECT d.id::text FROM documents d
         WHERE NOT EXISTS (SELECT FROM alfred_sources s WHERE s.id = d.document_id)",
    ),
    (
        "a chunk is in another collection or source than its document",
        "SELECT d.id::text FROM documents d JOIN alfred_sources s ON s.id = d.document_id
         WHERE (d.collection, d.source) <> (s.collection, s.source)",
    ),
    (
        "the counts of a collection are wrong",
        "SELECT c.name FROM alfred_collections c
         LEFT JOIN (SELECT collection, count(*) AS documents, sum(chunks) AS chunks,
                        sum(terms) AS terms
                    FROM alfred_sources GROUP BY 1) s ON s.collection = c.name
         WHERE (c.documents, c.chunks, c.terms)
             <> (coalesce(s.documents, 0), coalesce(s.chunks, 0), coalesce(s.terms, 0))",
    ),
    (
        "a vector is not of length 1",
        "SELECT d.id::text FROM documents d WHERE abs(vector_norm(d.embedding) - 1) > 1e-3",
    ),
];

impl PostgresStore {
    /// Reads everything and compares what is recorded twice; also tells of an index that cannot be
    /// used.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        let shared = &self.shared;
        let explain = |fault: Fault| fault.into_store(shared.location(), "checking the store");
        let mut client = shared.pools.dedicated()?;
        let mut report = CheckReport::default();
        // One moment for all of it.
        let mut transaction = client
            .build_transaction()
            .read_only(true)
            .isolation_level(postgres::IsolationLevel::RepeatableRead)
            .start()
            .map_err(|error| explain(error.into()))?;
        let mut query = |sql: &str| {
            transaction
                .query(sql, &[])
                .map_err(|error| explain(error.into()))
        };
        for (what, sql) in CHECKS {
            let rows = query(&format!("{sql} LIMIT {MAX_TOLD}"))?;
            for row in rows {
                let which: String = row.get(0);
                report.problems.push(format!("{what}: {which}"));
            }
        }
        let invalid = query(
            "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE i.indrelid = 'documents'::regclass AND NOT i.indisvalid",
        )?;
        for row in invalid {
            let name: String = row.get(0);
            let problem = format!("the index {name} was not built to its end");
            report.problems.push(problem);
        }
        for row in
            query("SELECT (SELECT count(*) FROM alfred_sources), (SELECT count(*) FROM documents)")?
        {
            report.documents = super::read::count(&row, 0);
            report.chunks = super::read::count(&row, 1);
        }
        Ok(report)
    }
}
