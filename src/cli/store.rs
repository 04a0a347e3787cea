//! `alfred store`: the corpus at rest.

mod database;
mod embedded;
mod moving;
mod text;

use crate::cli::{Context, Outcome, output};
use crate::config::StoreKind;
use crate::failure::Failure;
use crate::store::StoreError;
use std::path::PathBuf;

/// Arguments of `alfred store`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    alfred store info --json\n  \
    alfred store check\n  \
    alfred store backup /var/backups/alfred.db\n  \
    systemctl stop alfred && alfred store restore /var/backups/alfred.db --force\n  \
    alfred store copy embedded postgres          into PostgreSQL, at `store.dsn`\n  \
    alfred store reembed --model text-embedding-3-small\n  \
    alfred store migrate --dry-run               prints the SQL that is pending")]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    action: StoreAction,
}

#[derive(Debug, clap::Subcommand)]
enum StoreAction {
    #[command(flatten)]
    Keep(Keep),
    #[command(flatten)]
    Move(Move),
}

/// What is done to one store, in its own way.
#[derive(Debug, clap::Subcommand)]
enum Keep {
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
    /// Bring the schema up to date, and build an index that is missing.
    Migrate {
        /// Print the SQL, and do nothing.
        #[arg(long)]
        dry_run: bool,
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

/// What goes from one store to another.
#[derive(Debug, clap::Subcommand)]
enum Move {
    /// Copy all documents with their vectors; what is there already is left alone.
    Copy {
        /// The store to read.
        from: Place,
        /// The store to write.
        to: Place,
    },
    /// Embed everything again, with another model; goes on where it was when it is run again.
    Reembed {
        /// The model, of the configured `embedding.kind` [default: `embedding.model`]
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
}

/// One of the two stores that the configuration can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// The folder `store.path`
    Embedded,
    /// The database `store.dsn`
    Postgres,
}

/// Runs the verb on the configured store.
///
/// # Errors
/// When the store cannot be read or written, or a check finds problems.
pub(super) fn run(args: &StoreArgs, context: &Context) -> Outcome {
    match &args.action {
        StoreAction::Move(Move::Copy { from, to }) => {
            moving::copy(*from, *to, &context.config()?, context)
        }
        StoreAction::Move(Move::Reembed { model }) => {
            let config = context.config_with(&[("embedding.model", model.clone())])?;
            moving::reembed(&config, context)
        }
        StoreAction::Keep(action) => {
            let config = context.config()?;
            match config.store_kind {
                StoreKind::Embedded => embedded::run(action, &config.store_dir, context),
                StoreKind::Postgres => database::run(action, &config, context),
            }
        }
    }
}

fn failure(what: String, error: StoreError) -> Failure {
    let hint = error.hint();
    Failure::failed(what).because(error).maybe_hint(hint)
}

fn print(context: &Context, report: &impl serde::Serialize, text: &str) -> Outcome {
    if context.json {
        output::print_json(report)
    } else {
        output::print(text)
    }
}

/// Prints what a check found; an error when that is something.
fn print_check(
    report: &crate::store::CheckReport,
    place: &str,
    hint: &str,
    context: &Context,
) -> Outcome {
    let counts = format!("{} documents, {} chunks", report.documents, report.chunks);
    if report.problems.is_empty() {
        return print(context, report, &format!("sound: {counts}"));
    }
    let text = format!("{counts}\n{}", report.problems.join("\n"));
    print(context, report, &text)?;
    let found = format!("the store {place} has {} problems", report.problems.len());
    Err(Failure::failed(found).hint(hint))
}
