//! The `alfred` binary.

use alfred::cli::{Context, report, runs, soak};
use clap::Parser;
use std::io::Write as _;
use std::process::ExitCode;

#[derive(Parser)]
struct Arguments {
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Where runs are recorded
    #[arg(
        long,
        global = true,
        env = "ALFRED__SOAK__RUNS_DIR",
        default_value = "runs"
    )]
    runs_dir: std::path::PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Soak(Box<soak::SoakArgs>),
    Report(report::ReportArgs),
    Runs(runs::RunsArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let context = Context {
        json: arguments.json,
    };
    let runs_dir = arguments.runs_dir.as_path();
    let outcome = match &arguments.verb {
        Verb::Soak(args) => soak::run(args, runs_dir, &context),
        Verb::Report(args) => report::run(args, runs_dir, &context),
        Verb::Runs(args) => runs::run(args, runs_dir, &context),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{}", failure.render());
            ExitCode::from(failure.kind().exit_code())
        }
    }
}
