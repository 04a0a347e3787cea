//! argv to a verb: clap types and one file a verb; wiring only.

mod config;
mod counter;
mod daemon;
mod elsewhere;
mod generate;
mod ingest;
mod key;
mod key_place;
mod keys;
pub mod model;
mod output;
mod progress;
mod providers;
mod query;
mod reload;
mod remote;
pub mod report;
pub mod runs;
mod serve;
pub mod soak;
mod soak_after;
mod soak_capacity;
mod soak_notice;
mod soak_request;
mod soak_resume;
mod soak_server;
mod stack;
mod status;
pub mod store;
mod wiring;

use crate::config::{Config, Environment};
use crate::failure::{Failure, FailureKind};
use crate::telemetry::logging;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// What a verb returns; `main` maps it to an exit code.
pub type Outcome = Result<(), Failure>;

/// What every verb gets besides its own arguments.
#[derive(Clone)]
pub struct Context {
    /// Print one JSON document on stdout instead of text for people.
    pub json: bool,
    global: Global,
    environment: Environment,
}

impl Context {
    /// The built-in defaults, for tests of verbs.
    #[cfg(test)]
    pub(crate) fn of_defaults(json: bool) -> Self {
        let global = Global {
            config: None,
            log_level: None,
            store_path: None,
            json,
        };
        Self {
            json,
            global,
            environment: Environment::default(),
        }
    }

    /// The resolved configuration.
    ///
    /// # Errors
    /// Exit 78, naming the key and the file.
    pub fn config(&self) -> Result<Config, Failure> {
        self.config_with(&[])
    }

    /// As [`Context::config`], with values that flags said: `(path, value)`.
    ///
    /// # Errors
    /// Exit 78, naming the key and the file.
    pub fn config_with(&self, flags: &[(&str, Option<String>)]) -> Result<Config, Failure> {
        let mut said: Vec<(String, String)> = flags
            .iter()
            .filter_map(|(path, value)| Some(((*path).to_owned(), value.clone()?)))
            .collect();
        if let Some(level) = self.global.log_level {
            said.push(("log.level".to_owned(), level.as_str().to_owned()));
        }
        if let Some(path) = &self.global.store_path {
            said.push(("store.path".to_owned(), path.display().to_string()));
        }
        Ok(Config::load(
            self.global.config.as_deref(),
            &self.environment,
            &said,
        )?)
    }
}

/// Retrieval with citations, and a soak runner that proves it.
#[derive(Parser)]
#[command(
    name = "alfred",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        alfred ingest 'docs/**/*.md'              put documents into the store\n  \
        alfred query 'How do I upgrade?'          ask it\n  \
        alfred serve                              answer over HTTP\n  \
        alfred soak --qps 10 --duration 60s --queries perf/queryset.txt \\\n  \
        \x20           --target http://127.0.0.1:8080/v1/query\n\n\
        Exit codes: 0 done or PASS, 1 failed, 2 usage, 78 configuration, 98 INVALID, 99 FAIL."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args, Clone)]
struct Global {
    /// Configuration file [default: /etc/alfred/alfred.toml, then ./alfred.toml]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help_heading = "Global options"
    )]
    config: Option<PathBuf>,
    /// How much is logged on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "LEVEL",
        help_heading = "Global options"
    )]
    log_level: Option<Level>,
    /// Folder of the embedded store (as `store.path` in the configuration)
    #[arg(
        long = "store",
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    store_path: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Subcommand)]
enum Verb {
    /// Answer queries over HTTP until told to stop
    Serve(serve::ServeArgs),
    /// Have the running daemon apply its configuration as it is now on disk
    Reload(reload::ReloadArgs),
    /// Put files into the store: text, chunks, embeddings
    Ingest(ingest::IngestArgs),
    /// Ask one question
    Query(query::QueryArgs),
    /// Send requests on a schedule, measure from when each was due, and judge
    Soak(Box<soak::SoakArgs>),
    /// Report on recorded runs
    Report(report::ReportArgs),
    /// List, show and prune recorded runs
    Runs(runs::RunsArgs),
    /// Start the stack: pg redis minio server grafana prometheus loki
    Up(stack::up::UpArgs),
    /// Stop the stack
    Down(stack::down::DownArgs),
    /// List the stack: what runs, what answers, and where
    Ps(stack::ps::PsArgs),
    /// Put a local embedding model in place, check it, or list those that are there
    Model(model::ModelArgs),
    /// The corpus at rest: counts and sizes, integrity, backup, restore
    Store(store::StoreArgs),
    /// Make, list and revoke API keys
    Key(key::KeyArgs),
    /// What the running daemon says of itself
    Status(status::StatusArgs),
    /// Show or check the configuration
    Config(config::ConfigArgs),
    /// Takes text out of documents for another alfred, on stdin and stdout
    #[command(name = crate::extract::Extractor::VERB, hide = true)]
    ExtractWorker,
    /// Make manual pages and shell completions
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Runs the verb that `arguments` name.
///
/// # Errors
/// Whatever the verb ended with; help and version are no errors.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Outcome {
    let Cli { global, verb } = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            output::ignore_closed_pipe(error.print());
            return Ok(());
        }
        Err(error) => return Err(usage(&without_secrets(error))),
    };
    let context = Context {
        json: global.json,
        global,
        environment: Environment::of_process(),
    };
    let outcome = match verb {
        Verb::Serve(arguments) => serve::run(&arguments, &context),
        Verb::Reload(arguments) => reload::run(&arguments, &context),
        Verb::Ingest(arguments) => ingest::run(&arguments, &context),
        Verb::Query(arguments) => query::run(&arguments, &context),
        Verb::Soak(arguments) => soak::run(&arguments, &context.config()?, &context),
        Verb::Report(arguments) => report::run(&arguments, &context.config()?.runs_dir, &context),
        Verb::Runs(arguments) => runs::run(&arguments, &context.config()?.runs_dir, &context),
        Verb::Up(arguments) => stack::up::run(&arguments, &context),
        Verb::Down(arguments) => stack::down::run(&arguments, &context),
        Verb::Ps(arguments) => stack::ps::run(&arguments, &context),
        Verb::Model(arguments) => model::run(
            &arguments,
            &context,
            &wiring::model_paths(&context.config()?),
        ),
        Verb::Store(arguments) => store::run(&arguments, &context),
        Verb::Key(arguments) => key::run(&arguments, &context),
        Verb::Status(arguments) => status::run(&arguments, &context),
        Verb::Config(arguments) => config::run(&arguments, &context),
        Verb::Generate(arguments) => generate::run(&arguments, Cli::command()),
        Verb::ExtractWorker => crate::extract::worker::run(std::io::stdin(), std::io::stdout())
            .map_err(|error| Failure::failed("the worker's pipe broke").because(error)),
    };
    logging::flush();
    outcome
}

/// clap shows the value that it did not take: not that of a header, and not a password in a URL.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue};
    let shown = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let value = shown(&error, ContextKind::InvalidValue);
    let is_header = shown(&error, ContextKind::InvalidArg).starts_with("--header");
    let is_secretive = is_header || (value.contains("://") && value.contains('@'));
    if is_secretive && !value.is_empty() {
        error.insert(
            ContextKind::InvalidValue,
            ContextValue::String("***".to_owned()),
        );
    }
    error
}

/// clap's own message, in the shape of ours: what failed, then the hint.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a subcommand is missing").hint("see `alfred --help`");
    }
    let rest = rest
        .replace("tip: ", "")
        .replace("For more information, try '--help'.", "")
        .trim()
        .to_owned();
    let hint = if rest.is_empty() {
        "see `alfred --help`"
    } else {
        &rest
    };
    Failure::new(FailureKind::Usage, what.trim()).hint(hint)
}

/// Writes a failure on stderr, unless a verb has said it all already.
pub fn report(failure: &Failure) {
    if !failure.is_told() {
        output::error(&failure.render());
    }
}
