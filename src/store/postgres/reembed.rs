//! Another model for a store in PostgreSQL.
//!
//! The documents with their new vectors grow in a schema of their own, beside the tables that are
//! being served, and take their place in one transaction at the end. A run that was cut off goes on
//! with what that schema holds.

use super::PostgresStore;
use super::fault::Fault;
use super::migrate;
use super::model;
use super::settings::PostgresSettings;
use crate::clock::{Clock as _, Deadline, SystemClock};
use crate::domain::ModelId;
use crate::store::StoreError;
use postgres::error::SqlState;
use postgres::{Client, Transaction};
use std::time::Duration;

/// The schema in which the new tables grow.
const NEXT: &str = "alfred_next";

/// What moves: everything that the migrations made.
const TABLES: [&str; 5] = [
    "documents",
    "alfred_sources",
    "alfred_collections",
    "alfred_settings",
    "alfred_migrations",
];

/// Who makes new vectors holds this: the letters `alfred`, and a 2 after them.
const REEMBED_LOCK: i64 = 0x616c_6672_6564_0002;
/// How long it is waited for: the server takes a moment to notice that a run was killed.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// How long readers are held up at most while the tables are waited for, in ms.
const SWAP_WAIT_MS: u32 = 1_000;
/// And how often that is tried again, with the pause between: some long read is going on.
const SWAP_TRIES: u32 = 120;
const SWAP_PAUSE: Duration = Duration::from_millis(500);

/// A store that is served, and the one that will take its place.
pub struct Reembedding {
    /// The store with the old vectors.
    pub current: PostgresStore,
    /// The store that the new ones go into.
    pub next: PostgresStore,
    /// Holds the lock.
    client: Client,
}

impl Reembedding {
    /// Begins to give `current` vectors of `model`, or goes on where a run for that same model was
    /// cut off. `settings` are those of `current`.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses, or another process does this already.
    pub fn begin(
        current: PostgresStore,
        settings: PostgresSettings,
        model: &ModelId,
    ) -> Result<Self, StoreError> {
        let explain = |fault: Fault| {
            let action = "making a schema for the new vectors";
            fault.into_store(current.shared.location(), action)
        };
        let mut client = current.shared.pools.dedicated()?;
        lock(&mut client, current.shared.location())?;
        let path = make_schema(&mut client, model).map_err(explain)?;
        let next = PostgresStore::open(PostgresSettings {
            search_path: Some(path),
            ..settings
        })?;
        Ok(Self {
            current,
            next,
            client,
        })
    }

    /// Holds writers off, has `last_pass` take over what was written meanwhile, deletes what was
    /// deleted, and swaps the tables.
    ///
    /// # Errors
    /// When the database or `last_pass` fails; then the old tables stay.
    pub fn finish<E: From<StoreError>>(
        &mut self,
        last_pass: impl FnOnce(&PostgresStore, &PostgresStore) -> Result<(), E>,
    ) -> Result<(), E> {
        let current = &self.current;
        let explain = |error: postgres::Error| {
            E::from(explain(current, "putting the new vectors in place", error))
        };
        let schema = schema_of(&mut self.client).map_err(explain)?;
        let mut transaction = self.client.transaction().map_err(explain)?;
        // The first lock that every writer takes, so that none waits for this one while it holds
        // another: see `write`.
        transaction
            .batch_execute("LOCK TABLE alfred_sources IN EXCLUSIVE MODE")
            .map_err(explain)?;
        last_pass(current, &self.next)?;
        migrate::lock(&mut transaction).map_err(explain)?;
        delete_gone(&mut transaction, &schema).map_err(explain)?;
        hold_readers_off(&mut transaction, &schema).map_err(explain)?;
        swap(&mut transaction, &schema).map_err(explain)?;
        transaction.commit().map_err(explain)
    }
}

/// Takes the lock for as long as the connection lives.
fn lock(client: &mut Client, location: &str) -> Result<(), StoreError> {
    let until = Deadline::after(&SystemClock, LOCK_PATIENCE);
    loop {
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&REEMBED_LOCK])
            .map_err(|error| Fault::Sql(error).into_store(location, "waiting for another run"))?;
        if row.get(0) {
            return Ok(());
        }
        if until.remaining(&SystemClock) == Some(Duration::ZERO) {
            return Err(StoreError::Busy {
                location: location.to_owned(),
                problem: "another process embeds it anew".to_owned(),
            });
        }
        SystemClock.sleep(LOCK_PAUSE);
    }
}

/// Makes the schema, empty if what it holds is for another model; returns the search path in which
/// it comes first. Types of the extension are found in the schemas that were searched before.
fn make_schema(client: &mut Client, model: &ModelId) -> Result<String, Fault> {
    let row = client.query_one("SELECT current_setting('search_path')", &[])?;
    let before: String = row.get(0);
    let path = format!("{NEXT},{}", before.replace(' ', ""));
    let sql = format!("SELECT to_regclass('{NEXT}.alfred_settings') IS NOT NULL");
    if client.query_one(&sql, &[])?.get(0) {
        let set = "SELECT set_config('search_path', $1, false)";
        client.execute(set, &[&path])?;
        let recorded = model::recorded(client)?;
        client.execute(set, &[&before])?;
        if let Some(other) = recorded.filter(|recorded| recorded != model) {
            tracing::warn!(model = %other, "new vectors of another model were begun, and are dropped");
            client.batch_execute(&format!("DROP SCHEMA {NEXT} CASCADE"))?;
        }
    }
    client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {NEXT}"))?;
    Ok(path)
}

fn explain(store: &PostgresStore, action: &str, error: postgres::Error) -> StoreError {
    Fault::Sql(error).into_store(store.shared.location(), action)
}

fn schema_of(client: &mut Client) -> Result<String, postgres::Error> {
    let sql = "SELECT quote_ident(relnamespace::regnamespace::text) FROM pg_class
               WHERE oid = 'documents'::regclass";
    Ok(client.query_one(sql, &[])?.get(0))
}

/// Takes documents and collections away that were deleted after they had been taken over.
fn delete_gone(transaction: &mut Transaction<'_>, schema: &str) -> Result<(), postgres::Error> {
    transaction.batch_execute(&format!(
        "CREATE TEMPORARY TABLE alfred_gone ON COMMIT DROP AS
             SELECT id FROM {NEXT}.alfred_sources n
             WHERE NOT EXISTS (SELECT FROM {schema}.alfred_sources s WHERE s.id = n.id);
         DELETE FROM {NEXT}.documents WHERE document_id IN (SELECT id FROM alfred_gone);
         DELETE FROM {NEXT}.alfred_sources WHERE id IN (SELECT id FROM alfred_gone);
         INSERT INTO {NEXT}.alfred_collections (name)
             SELECT name FROM {schema}.alfred_collections ON CONFLICT DO NOTHING;
         DELETE FROM {NEXT}.alfred_collections n
             WHERE NOT EXISTS (SELECT FROM {schema}.alfred_collections s WHERE s.name = n.name);
         UPDATE {NEXT}.alfred_collections c SET (documents, chunks, terms) = (
             SELECT count(*), coalesce(sum(s.chunks), 0), coalesce(sum(s.terms), 0)
             FROM {NEXT}.alfred_sources s WHERE s.collection = c.name);"
    ))
}

/// Waits until nobody reads the old tables. Searches that come meanwhile queue behind this, so it
/// gives up soon and tries again; it also does when a reader holds what it waits for and waits for
/// what it holds.
fn hold_readers_off(
    transaction: &mut Transaction<'_>,
    schema: &str,
) -> Result<(), postgres::Error> {
    let tables = TABLES.map(|table| format!("{schema}.{table}")).join(", ");
    let mut tries = 0;
    loop {
        tries += 1;
        let mut attempt = transaction.savepoint("alfred_swap")?;
        let locked = attempt.batch_execute(&format!(
            "SET LOCAL lock_timeout = {SWAP_WAIT_MS}; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"
        ));
        match locked {
            Ok(()) => return attempt.commit(),
            Err(error) if tries < SWAP_TRIES && is_in_the_way(&error) => attempt.rollback()?,
            Err(error) => return Err(error),
        }
        SystemClock.sleep(SWAP_PAUSE);
    }
}

fn is_in_the_way(error: &postgres::Error) -> bool {
    let passing = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| passing.contains(code))
}

fn swap(transaction: &mut Transaction<'_>, schema: &str) -> Result<(), postgres::Error> {
    for function in functions_in(transaction, schema)? {
        transaction.batch_execute(&format!("DROP FUNCTION {function}"))?;
    }
    for table in TABLES {
        transaction.batch_execute(&format!(
            "DROP TABLE {schema}.{table}; ALTER TABLE {NEXT}.{table} SET SCHEMA {schema}"
        ))?;
    }
    for function in functions_in(transaction, NEXT)? {
        transaction.batch_execute(&format!("ALTER FUNCTION {function} SET SCHEMA {schema}"))?;
    }
    transaction.batch_execute(&format!("DROP SCHEMA {NEXT}"))
}

/// alfred's functions in a schema, each with its arguments.
fn functions_in(
    transaction: &mut Transaction<'_>,
    schema: &str,
) -> Result<Vec<String>, postgres::Error> {
    let rows = transaction.query(
        "SELECT format('%s.%I(%s)', $1::text, proname, pg_get_function_identity_arguments(oid))
         FROM pg_proc
         WHERE pronamespace = $1::text::regnamespace AND proname LIKE 'alfred\\_%'",
        &[&schema],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
