//! `alfred runs`: recorded runs, one of them, and the removal of old ones.

pub(super) mod list;
pub(super) mod prune;
mod show;

use super::report::{folder_failure, to_stdout};
use super::{Context, Outcome};
use crate::failure::Failure;
use crate::plain;
use crate::soak::units::float;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  All recorded runs, oldest first:
    alfred runs

  The last five of a scenario that failed:
    alfred runs list --name nightly --verdict FAIL --limit 5

  One of them, with what it takes on the disk:
    alfred runs show latest

  The newest 30 of each scenario, and no others:
    alfred runs prune --keep 30 --dry-run";

/// Lists recorded runs with their verdicts, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    verb: Option<RunsVerb>,
    #[command(flatten)]
    list: list::ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum RunsVerb {
    /// List recorded runs with their verdicts, oldest first
    List(list::ListArgs),
    /// Show one run: its report, its folder, what it takes on the disk
    Show(show::ShowArgs),
    /// Remove old runs
    Prune(prune::PruneArgs),
}

/// Runs the verb on the runs in `runs_dir`.
///
/// # Errors
/// When the folder cannot be listed, a run is not found, or one cannot be removed. A run that cannot
/// be read is listed as damaged.
pub fn run(args: &RunsArgs, runs_dir: &Path, context: &Context) -> Outcome {
    match &args.verb {
        None => list::run(&args.list, runs_dir, context),
        Some(RunsVerb::List(list)) => list::run(list, runs_dir, context),
        Some(RunsVerb::Show(show)) => show::run(show, runs_dir, context),
        Some(RunsVerb::Prune(prune)) => prune::run(prune, runs_dir, context),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("cannot write JSON").because(error))?;
    Ok(plain::json(&text) + "\n")
}

/// `812 B`, `76.0 KiB`, `1.2 GiB`.
fn show_bytes(bytes: u64) -> String {
    let mut value = float(bytes);
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    for next in units {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        let sizes = [812, 77_824, 5 << 20, 3 << 40].map(super::show_bytes);
        assert_eq!(sizes, ["812 B", "76.0 KiB", "5.0 MiB", "3072.0 GiB"]);
    }
}
