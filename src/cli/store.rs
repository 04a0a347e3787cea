//! `alfred store`: the corpus at rest.

use crate::cli::{Context, Outcome, output};
use crate::domain::CollectionInfo;
use crate::failure::Failure;
use crate::store::embedded::admin::{self, CheckReport};
use crate::store::{StoreError, StoreInfo};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What to try where there is no store.
const NO_STORE: &str = "put documents in with `alfred ingest`, or name another with --store";

/// Arguments of `alfred store`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    alfred store info --json\n  \
    alfred store check\n  \
    alfred store backup /var/backups/alfred.db\n  \
    systemctl stop alfred && alfred store restore /var/backups/alfred.db --force")]
pub struct StoreArgs {
    #[command(subcommand)]
    action: StoreAction,
}

#[derive(Debug, clap::Subcommand)]
enum StoreAction {
    /// Counts and sizes, and the collections.
    Info,
    /// Verify everything that is stored, while it may be served.
    Check {
        /// Make the text index anew from the chunks first.
        #[arg(long)]
        rebuild_text_index: bool,
    },
    /// Copy the store to a file while it may be served and written.
    Backup {
        /// The file to write; complete and synced, or not there.
        file: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Replace the store with a backup, which is checked first; nobody may have the store open.
    Restore {
        /// A file that `alfred store backup` wrote.
        file: PathBuf,
        /// Replace the store that is there.
        #[arg(long)]
        force: bool,
    },
}

/// Runs the verb on the embedded store in `folder`.
///
/// # Errors
/// When the store cannot be read or written, or a check finds problems.
pub fn run(args: &StoreArgs, folder: &Path, context: &Context) -> Outcome {
    let place = folder.display();
    match &args.action {
        StoreAction::Info => {
            let failed = |error| {
                let absent = (!crate::store::embedded::exists(folder)).then(|| NO_STORE.to_owned());
                failure(format!("cannot describe the store in {place}"), error).maybe_hint(absent)
            };
            let info = Described {
                info: admin::store_info(folder).map_err(failed)?,
                collections: admin::collections(folder).map_err(failed)?,
            };
            print(context, &info, &info_text(&info))
        }
        StoreAction::Check { rebuild_text_index } => check(folder, *rebuild_text_index, context),
        StoreAction::Backup { file, force } => {
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
        StoreAction::Restore { file, force } => {
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
    let counts = format!("{} documents, {} chunks", report.documents, report.chunks);
    if report.problems.is_empty() {
        return print(context, &report, &format!("sound: {counts}"));
    }
    print(
        context,
        &report,
        &format!("{counts}\n{}", report.problems.join("\n")),
    )?;
    let found = format!(
        "the store in {} has {} problems",
        folder.display(),
        report.problems.len()
    );
    Err(Failure::failed(found).hint(if report.text_index_differs {
        "run `alfred store check --rebuild-text-index`"
    } else {
        "restore a backup with `alfred store restore FILE --force`, or ingest anew"
    }))
}

fn failure(what: String, error: StoreError) -> Failure {
    let hint = error.hint();
    Failure::failed(what).because(error).maybe_hint(hint)
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

/// What `info` prints.
#[derive(serde::Serialize)]
struct Described {
    #[serde(flatten)]
    info: StoreInfo,
    collections: Vec<CollectionInfo>,
}

fn info_text(described: &Described) -> String {
    let info = &described.info;
    let model = match (&info.model, info.dimensions) {
        (Some(model), Some(dimensions)) => format!("{model}, {dimensions} dimensions"),
        _ => "none yet".to_owned(),
    };
    let mut text = format!(
        "location   {}\nkind       {}, schema {}\nmodel      {model}\ndocuments  {}\nchunks     {}\n\
         on disk    {} bytes",
        info.location, info.kind, info.schema_version, info.documents, info.chunks, info.disk_bytes
    );
    for collection in &described.collections {
        let _ = write!(
            text,
            "\ncollection {}: {} documents, {} chunks",
            collection.name, collection.documents, collection.chunks
        );
    }
    text
}

fn print(context: &Context, report: &impl serde::Serialize, text: &str) -> Outcome {
    if context.json {
        output::print_json(report)
    } else {
        output::print(text)
    }
}
