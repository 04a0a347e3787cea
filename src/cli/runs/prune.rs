//! `alfred runs prune`, and the pruning after a soak: old runs go.

use super::{Context, Outcome, folder_failure, json, show_bytes, to_stdout};
use crate::cli::output;
use crate::failure::Failure;
use crate::plain;
use crate::soak::run_folder::RunFolderError;
use crate::soak::shelf::{self, Entry, RemoveError, Stays, Wish};
use crate::soak::units::show_count;
use std::fmt::Write as _;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  As many of each scenario as soak.retention_runs says:
    alfred runs prune

  What would go, and what that would free:
    alfred runs prune --keep 30 --dry-run

Kept besides are: runs that are being recorded, unfinished ones unless --unfinished is given, the newest
PASS of each scenario (what later runs are compared with) unless --keep is 0, and runs that cannot be
read. A search for the capacity counts as one run.";

/// Removes the oldest finished runs of each scenario beyond the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PruneArgs {
    /// Keep the newest so many of each scenario [default: soak.retention_runs]
    #[arg(long, value_name = "COUNT")]
    keep: Option<usize>,
    /// Only runs of this scenario
    #[arg(long, value_name = "SCENARIO")]
    name: Option<String>,
    /// Runs that were cut off and could be resumed count and go like finished ones
    #[arg(long)]
    unfinished: bool,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// What went and what stayed.
#[derive(Debug, Default, serde::Serialize)]
struct Pruned {
    dry_run: bool,
    keep: usize,
    removed: Vec<Removed>,
    freed_bytes: u64,
    kept: usize,
    /// Of those kept, why others than the newest were.
    kept_running: usize,
    kept_unfinished: usize,
    kept_baselines: usize,
    kept_damaged: usize,
    kept_links: usize,
}

#[derive(Debug, serde::Serialize)]
struct Removed {
    run: String,
    bytes: u64,
}

pub(super) fn run(args: &PruneArgs, runs_dir: &Path, context: &Context) -> Outcome {
    let keep = match args.keep {
        Some(keep) => keep,
        None => retention(context)?.ok_or_else(|| {
            Failure::usage("soak.retention_runs is 0: nothing is to be removed")
                .hint("say how many to keep with --keep COUNT")
        })?,
    };
    let wish = Wish {
        keep,
        unfinished: args.unfinished,
        scenario: args.name.clone(),
        spare: None,
    };
    let mut entries = shelf::entries(runs_dir).map_err(folder_failure)?;
    if let Some(name) = &args.name {
        entries.retain(|entry| entry.scenario() == name);
    }
    if !args.dry_run {
        shelf::sweep(runs_dir);
    }
    let (pruned, failed) = prune(&entries, &wish, args.dry_run);
    let text = if context.json {
        json(&pruned)?
    } else {
        pruned.text(args.name.as_deref())
    };
    to_stdout(&text)?;
    let count = failed.len();
    for error in &failed {
        output::error(&format!("warning: {error}: {}", error.source));
    }
    if count > 0 {
        let what = format!("{count} runs could not be removed");
        return Err(Failure::failed(what).hint("see that their folders may be written"));
    }
    Ok(())
}

/// What `soak.retention_runs` says; `None` for 0.
fn retention(context: &Context) -> Result<Option<usize>, Failure> {
    let runs = context.config()?.raw.soak.retention_runs;
    Ok(usize::try_from(runs).ok().filter(|runs| *runs > 0))
}

/// Removes what `soak.retention_runs` leaves no room for beside the run that was just made, of its
/// scenario alone. What was removed, in words; `None` when nothing was.
///
/// # Errors
/// When the runs cannot be listed, or one cannot be removed.
pub(in crate::cli) fn after(
    folder: &Path,
    runs_dir: &Path,
    keep: usize,
) -> Result<Option<String>, PruneError> {
    let wish = Wish {
        keep,
        unfinished: false,
        scenario: Some(shelf::entry(folder).scenario().to_owned()),
        spare: Some(folder.to_owned()),
    };
    let entries = shelf::entries(runs_dir)?;
    shelf::sweep(runs_dir);
    let (pruned, failed) = prune(&entries, &wish, false);
    if let Some(error) = failed.into_iter().next() {
        return Err(error.into());
    }
    let scenario = wish.scenario.unwrap_or_default();
    Ok((!pruned.removed.is_empty()).then(|| {
        format!(
            "removed {} of {scenario} beyond the newest {} (soak.retention_runs), {} freed",
            runs(pruned.removed.len()),
            show_count(keep as u64),
            show_bytes(pruned.freed_bytes)
        )
    }))
}

/// Old runs were not removed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PruneError {
    #[error(transparent)]
    List(#[from] RunFolderError),
    #[error("{0}: {problem}", problem = .0.source)]
    Remove(#[from] RemoveError),
}

fn prune(entries: &[Entry], wish: &Wish, dry_run: bool) -> (Pruned, Vec<RemoveError>) {
    let mut pruned = Pruned {
        dry_run,
        keep: wish.keep,
        ..Pruned::default()
    };
    let mut failed = Vec::new();
    for (entry, stays) in entries.iter().zip(shelf::plan(entries, wish)) {
        if let Some(stays) = stays {
            pruned.count(stays);
            continue;
        }
        let removed = if dry_run {
            Ok(shelf::size(&entry.folder).bytes)
        } else {
            shelf::remove(&entry.folder)
        };
        match removed {
            Ok(bytes) => {
                pruned.freed_bytes += bytes;
                let run = entry.name();
                pruned.removed.push(Removed { run, bytes });
            }
            // Somebody resumed it since it was looked at.
            Err(error) if error.source.kind() == std::io::ErrorKind::WouldBlock => {
                pruned.count(Stays::Running);
            }
            Err(error) => {
                pruned.kept += 1;
                failed.push(error);
            }
        }
    }
    (pruned, failed)
}

impl Pruned {
    fn count(&mut self, stays: Stays) {
        self.kept += 1;
        match stays {
            Stays::Wanted => {}
            Stays::Baseline => self.kept_baselines += 1,
            Stays::Running => self.kept_running += 1,
            Stays::Unfinished => self.kept_unfinished += 1,
            Stays::Damaged => self.kept_damaged += 1,
            Stays::Link => self.kept_links += 1,
        }
    }

    /// `name` is that of the only scenario that was looked at.
    fn text(&self, name: Option<&str>) -> String {
        let (done, freed) = if self.dry_run {
            ("would remove", "would be freed")
        } else {
            ("removed", "freed")
        };
        let mut text = String::new();
        for one in &self.removed {
            let run = plain::one_line(&one.run);
            let _ = writeln!(text, "{done} {run}  {}", show_bytes(one.bytes));
        }
        let _ = writeln!(
            text,
            "{done} {}, {} {freed}; kept {}{}",
            runs(self.removed.len()),
            show_bytes(self.freed_bytes),
            runs(self.kept),
            name.map_or_else(String::new, |name| format!(" of {name}"))
        );
        for (count, why) in [
            (self.kept_running, "being recorded"),
            (
                self.kept_unfinished,
                "unfinished: --unfinished removes them",
            ),
            (self.kept_baselines, "the newest PASS of its scenario"),
            (self.kept_damaged, "damaged: remove it by hand"),
            (self.kept_links, "a symbolic link: remove it by hand"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "kept besides: {count}, {why}");
            }
        }
        text
    }
}

fn runs(count: usize) -> String {
    match count {
        1 => "1 run".to_owned(),
        more => format!("{} runs", show_count(more as u64)),
    }
}
