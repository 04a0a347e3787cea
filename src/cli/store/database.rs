//! The store in PostgreSQL.

use super::text::{Described, describe};
use super::{Keep, failure, print, print_check};
use crate::cli::{Context, Outcome, wiring};
use crate::config::Config;
use crate::failure::Failure;
use crate::store::EmbeddingRepo;
use crate::store::postgres::admin;

pub(super) fn run(action: &Keep, config: &Config, context: &Context) -> Outcome {
    match action {
        Keep::Info => {
            let store = wiring::postgres(config)?;
            let failed = |error| failure("cannot describe the store".to_owned(), error);
            let described = Described {
                info: store.info().map_err(failed)?,
                collections: store.collections().map_err(failed)?,
            };
            print(context, &described, &describe(&described))
        }
        Keep::Check {
            rebuild_text_index: true,
        } => Err(
            Failure::usage("--rebuild-text-index is for the embedded store")
                .hint("PostgreSQL: REINDEX INDEX CONCURRENTLY documents_ts"),
        ),
        Keep::Check { .. } => {
            let store = wiring::postgres(config)?;
            let report = store
                .check()
                .map_err(|error| failure("cannot check the store".to_owned(), error))?;
            let hint = "restore a dump with pg_restore, or delete what is named and ingest again";
            print_check(&report, "in PostgreSQL", hint, context)
        }
        Keep::Migrate { dry_run } => migrate(*dry_run, config, context),
        Keep::Backup { .. } => Err(Failure::failed("PostgreSQL makes its own backups")
            .hint("use pg_dump --format=custom, or pg_basebackup; see docs/postgres.md")),
        Keep::Restore { .. } => Err(Failure::failed("PostgreSQL restores its own backups")
            .hint("use pg_restore; see docs/postgres.md")),
    }
}

fn migrate(dry_run: bool, config: &Config, context: &Context) -> Outcome {
    let settings = wiring::postgres_settings(config);
    let failed = |error| failure("cannot migrate the store".to_owned(), error);
    let pending = admin::pending(settings).map_err(failed)?;
    if dry_run {
        let text = if pending.sql.is_empty() {
            "-- nothing is pending"
        } else {
            pending.sql.trim_end()
        };
        return print(context, &pending, text);
    }
    let store = wiring::postgres(config)?;
    store.settle().map_err(failed)?;
    let schema = store.info().map_err(failed)?.schema_version;
    let report = serde_json::json!({"migrations": pending.migrations, "schema": schema});
    let text = match pending.migrations.len() {
        0 => format!("schema {schema}: up to date"),
        n => format!("schema {schema}: {n} migrations applied"),
    };
    print(context, &report, &text)
}
