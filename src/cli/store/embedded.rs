//! The store on this machine.

use super::text::{Described, describe};
use super::{Keep, failure, print, print_check};
use crate::cli::{Context, Outcome};
use crate::store::embedded::admin;
use crate::store::{CheckReport, StoreError};
use std::path::Path;

/// What to try where there is no store.
const NO_STORE: &str = "put documents in with `alfred ingest`, or name another with --store";

/// Runs the verb on the embedded store in `folder`.
///
/// # Errors
/// When the store cannot be read or written, or a check finds problems.
pub(super) fn run(action: &Keep, folder: &Path, context: &Context) -> Outcome {
    let place = folder.display();
    match action {
        Keep::Info => {
            let failed = |error| {
                let absent = (!crate::store::embedded::exists(folder)).then(|| NO_STORE.to_owned());
                failure(format!("cannot describe the store in {place}"), error).maybe_hint(absent)
            };
            let info = Described {
                info: admin::store_info(folder).map_err(failed)?,
                collections: admin::collections(folder).map_err(failed)?,
            };
            print(context, &info, &describe(&info))
        }
        Keep::Migrate { .. } => {
            let info = admin::store_info(folder)
                .map_err(|error| failure(format!("cannot read the store in {place}"), error))?;
            let text = format!("schema {}: up to date", info.schema_version);
            let report = serde_json::json!({"migrations": [], "schema": info.schema_version});
            print(context, &report, &text)
        }
        Keep::Check { rebuild_text_index } => check(folder, *rebuild_text_index, context),
        Keep::Backup { file, force } => {
            let bytes = admin::backup(folder, file, *force).map_err(|error| {
                let hint = exists_hint(&error, file);
                failure(format!("cannot back up the store in {place}"), error).maybe_hint(hint)
            })?;
            let report = serde_json::json!({"file": file, "bytes": bytes});
            print(
                context,
                &report,
                &format!("{bytes} bytes written to {}", file.display()),
            )
        }
        Keep::Restore { file, force } => {
            let report = admin::restore(file, folder, *force).map_err(|error| {
                let hint = restore_hint(&error, file, folder);
                let what = format!("cannot restore {} into {place}", file.display());
                failure(what, error).maybe_hint(hint)
            })?;
            let CheckReport {
                documents, chunks, ..
            } = report;
            let text = format!("restored {documents} documents with {chunks} chunks");
            print(context, &report, &text)
        }
    }
}

fn check(folder: &Path, rebuild: bool, context: &Context) -> Outcome {
    let what = || format!("cannot check the store in {}", folder.display());
    if rebuild {
        admin::rebuild_text_index(folder).map_err(|error| failure(what(), error))?;
    }
    let report = admin::check(folder).map_err(|error| failure(what(), error))?;
    let hint = if report.text_index_differs {
        "run `alfred store check --rebuild-text-index`"
    } else {
        "restore a backup with `alfred store restore FILE --force`, or ingest anew"
    };
    print_check(&report, &format!("in {}", folder.display()), hint, context)
}

/// What to try when a restore was refused.
fn restore_hint(error: &StoreError, file: &Path, folder: &Path) -> Option<String> {
    match error {
        StoreError::Open { path, .. } if path == file => {
            Some("name a file that `alfred store backup` wrote".to_owned())
        }
        StoreError::Busy { .. } => Some(
            "stop the daemon over this store first: end `alfred serve`, or `systemctl stop alfred`"
                .to_owned(),
        ),
        _ => exists_hint(error, folder),
    }
}

/// What to try when something is in the way that `--force` would replace.
fn exists_hint(error: &StoreError, path: &Path) -> Option<String> {
    (matches!(error, StoreError::Open { .. }) && path.exists())
        .then(|| "add `--force` to replace what is there".to_owned())
}
