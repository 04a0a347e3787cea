//! Brings a database to the schema of this version: numbered migrations under an advisory lock, so
//! that any number of daemons may start at once.

use super::fault::Fault;
use crate::store::StoreError;
use postgres::{Client, GenericClient};

/// One step; never changed once it was released.
pub(super) struct Migration {
    pub(super) number: i32,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// All steps in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "tables",
        sql: include_str!("migrations/0001_tables.sql"),
    },
    Migration {
        number: 2,
        name: "ranking",
        sql: include_str!("migrations/0002_ranking.sql"),
    },
    Migration {
        number: 3,
        name: "conditions",
        sql: include_str!("migrations/0003_conditions.sql"),
    },
];

/// Who changes the schema holds this: the letters `alfred` as a number.
const ADVISORY_LOCK: i64 = 0x616c_6672_6564;

/// The oldest pgvector with iterative scans, without which a filter costs results.
const OLDEST_VECTOR: (u32, u32, u32) = (0, 8, 0);
/// From here on known faults of vacuum and of parallel builds are mended.
const GOOD_VECTOR: (u32, u32, u32) = (0, 8, 4);

/// What a database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    /// The last migration that was applied.
    pub(super) schema: i32,
    /// PostgreSQL's own version.
    pub(super) server: String,
    /// The version of pgvector.
    pub(super) vector: String,
}

impl Versions {
    /// What an operator should know of them, if anything.
    pub(super) fn warning(&self) -> Option<String> {
        (parse(&self.vector)? < GOOD_VECTOR).then(|| {
            format!(
                "pgvector {} has faults of vacuum and of parallel index builds that 0.8.2 to 0.8.4 \
                 mended: upgrade it, then run ALTER EXTENSION vector UPDATE",
                self.vector
            )
        })
    }
}

fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next().unwrap_or(0)))
}

/// Takes the lock until the transaction ends.
pub(super) fn lock(transaction: &mut impl GenericClient) -> Result<(), postgres::Error> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&ADVISORY_LOCK])?;
    Ok(())
}

/// The migrations that the database lacks.
pub(super) fn pending(
    client: &mut impl GenericClient,
    location: &str,
) -> Result<&'static [Migration], Fault> {
    let row = client.query_one(
        "SELECT to_regclass(current_schema() || '.alfred_migrations') IS NOT NULL,
             to_regclass(current_schema() || '.documents') IS NOT NULL",
        &[],
    )?;
    let (ours, documents): (bool, bool) = (row.get(0), row.get(1));
    if !ours && documents {
        return Err(refused(
            location,
            "it has a table `documents` that alfred did not make; name another database, or another \
             schema with options=-csearch_path=alfred in the DSN",
        ));
    }
    let last: i32 = if ours {
        let sql = "SELECT coalesce(max(number), 0) FROM alfred_migrations";
        client.query_one(sql, &[])?.get(0)
    } else {
        0
    };
    let done = MIGRATIONS.partition_point(|migration| migration.number <= last);
    if MIGRATIONS.last().is_some_and(|newest| newest.number < last) {
        let problem = format!("its schema {last} is newer than this alfred; upgrade alfred");
        return Err(refused(location, &problem));
    }
    Ok(&MIGRATIONS[done..])
}

fn refused(location: &str, problem: &str) -> Fault {
    Fault::Store(StoreError::Refused {
        location: location.to_owned(),
        problem: problem.to_owned(),
    })
}

/// Applies what is pending.
pub(super) fn migrate(client: &mut Client, location: &str) -> Result<Versions, Fault> {
    let mut transaction = client.transaction()?;
    lock(&mut transaction)?;
    transaction.batch_execute(
        "SET LOCAL client_min_messages = warning;
         CREATE EXTENSION IF NOT EXISTS vector;",
    )?;
    check_vector(&mut transaction, location)?;
    for migration in pending(&mut transaction, location)? {
        if migration.number == 1 {
            transaction.batch_execute(TABLE_OF_MIGRATIONS)?;
        }
        transaction.batch_execute(migration.sql)?;
        transaction.execute(
            "INSERT INTO alfred_migrations (number, name) VALUES ($1, $2)",
            &[&migration.number, &migration.name],
        )?;
        tracing::info!(
            number = migration.number,
            name = migration.name,
            "schema migrated"
        );
    }
    let versions = versions(&mut transaction)?;
    transaction.commit()?;
    Ok(versions)
}

/// Made before the first migration.
pub(super) const TABLE_OF_MIGRATIONS: &str = "CREATE TABLE alfred_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
";

fn check_vector(client: &mut impl GenericClient, location: &str) -> Result<(), Fault> {
    let version = vector_version(client)?;
    if parse(&version).is_some_and(|version| version < OLDEST_VECTOR) {
        let problem =
            format!("it has pgvector {version}, and 0.8.0 or later is needed; upgrade it");
        return Err(refused(location, &problem));
    }
    Ok(())
}

fn vector_version(client: &mut impl GenericClient) -> Result<String, postgres::Error> {
    let sql = "SELECT extversion FROM pg_extension WHERE extname = 'vector'";
    Ok(client.query_one(sql, &[])?.get(0))
}

fn versions(client: &mut impl GenericClient) -> Result<Versions, postgres::Error> {
    let row = client.query_one(
        "SELECT coalesce(max(number), 0), current_setting('server_version') FROM alfred_migrations",
        &[],
    )?;
    Ok(Versions {
        schema: row.get(0),
        server: row.get(1),
        vector: vector_version(client)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_pgvector_is_named() {
        let versions = |vector: &str| Versions {
            schema: 1,
            server: "17.1".to_owned(),
            vector: vector.to_owned(),
        };
        assert!(versions("0.8.0").warning().unwrap().contains("0.8.0"));
        assert_eq!(versions("0.8.4").warning(), None);
        assert_eq!(versions("0.10").warning(), None);
    }

    #[test]
    fn migrations_are_numbered_in_order() {
        let numbers: Vec<i32> = MIGRATIONS
            .iter()
            .map(|migration| migration.number)
            .collect();
        assert!(numbers.is_sorted() && numbers[0] == 1);
    }
}
