//! `alfred generate man|completions DIR`: what a package carries besides the binary, made from the
//! types that parse the command line and from the shipped configuration, so that neither can differ.
//!
//! The verb is hidden: packages call it, and so may those who build from source.

mod roff_page;
mod settings;
mod verbs;

use super::Outcome;
use crate::failure::Failure;
use clap::{Args, Command, Subcommand};
use clap_complete::aot::{Shell, generate_to};
use std::path::{Path, PathBuf};

/// Arguments of `alfred generate`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  alfred generate man --date 2026-11-24 target/man\n  \
                  alfred generate completions target/completions"
)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Manual pages: one a verb in section 1, alfred.toml in section 5
    Man {
        /// The folder to write to; made when it is missing
        dir: PathBuf,
        /// The date that the pages carry, as 2026-11-24
        #[arg(long, value_name = "DATE", default_value = "")]
        date: String,
    },
    /// Completions for bash, zsh and fish
    Completions {
        /// The folder to write to; made when it is missing
        dir: PathBuf,
    },
}

/// Runs the verb; `command` is the whole command line that alfred understands.
pub(super) fn run(arguments: &GenerateArgs, command: Command) -> Outcome {
    match &arguments.what {
        What::Man { dir, date } => {
            make_folder(dir)?;
            for page in verbs::pages(command, date)? {
                write(dir, &page)?;
            }
            write(dir, &settings::page(date))
        }
        What::Completions { dir } => {
            make_folder(dir)?;
            let mut command = without_hidden(&command);
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                generate_to(shell, &mut command, "alfred", dir)
                    .map_err(|error| cannot_write(dir, error))?;
            }
            Ok(())
        }
    }
}

/// The command without its hidden verbs, which shells would offer.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    Command::new("alfred")
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments().cloned())
        .subcommands(shown.cloned())
}

/// One manual page: the name of its file, and roff.
struct Page {
    file: String,
    roff: String,
}

fn make_folder(dir: &Path) -> Outcome {
    std::fs::create_dir_all(dir).map_err(|error| cannot_write(dir, error))
}

fn write(dir: &Path, page: &Page) -> Outcome {
    let path = dir.join(&page.file);
    std::fs::write(&path, &page.roff).map_err(|error| cannot_write(&path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}", path.display())).because(error)
}
