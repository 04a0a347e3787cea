//! `alfred ingest`

use super::daemon::Daemon;
use super::elsewhere::Elsewhere;
use super::progress::Progress;
use super::remote::DaemonSink;
use super::{Context, Outcome, output, wiring};
use crate::config::Config;
use crate::counted::commonest;
use crate::domain::{CollectionName, Metadata, UpsertStatus};
use crate::failure::Failure;
use crate::ingest::corpus::{Corpus, CorpusError};
use crate::ingest::files::{self, FilesError, Found, Skipped, Unmatched};
use crate::ingest::objects::{self, ObjectError, Objects};
use crate::ingest::pipeline::{self, Event, Options, Sink};
use crate::ingest::plan;
use crate::plain;
use crate::store::{EmbeddingRepo, ListRequest, StoreError};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Endings of skipped files that the summary names.
const ENDINGS_SHOWN: usize = 6;

/// Arguments of `alfred ingest`.
#[derive(Args, Clone)]
#[command(after_help = "Examples:\n  \
    alfred ingest docs                           every readable file below docs\n  \
    alfred ingest './docs/**/*.md' './papers/**/*.pdf' --batch 128\n  \
    alfred ingest docs --prune                   and delete documents whose file is gone\n  \
    alfred ingest 's3://bucket/docs/**/*.md'     objects of S3, MinIO and others (AWS_ENDPOINT_URL)\n  \
    alfred ingest --corpus /etc/alfred/ingest.d/handbook.toml   what the file says\n\n\
    Patterns may be quoted or not: alfred expands them itself (`**` crosses folders).\n\
    Exit code 1 when a file could not be stored; the others are stored all the same.")]
pub(super) struct IngestArgs {
    /// Files, folders, patterns, or URLs of object storage
    #[arg(
        required_unless_present = "corpus",
        value_name = "PATH|GLOB|s3://BUCKET/PREFIX"
    )]
    paths: Vec<String>,
    /// Take paths, root, collection, prune, metadata and batch from this file; of these, only
    /// --batch may be given besides, and wins
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["paths", "root", "collection", "prune", "metadata"]
    )]
    corpus: Option<PathBuf>,
    /// Most chunks in one call to the model [default: `ingest.batch`, 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: Option<u32>,
    /// Collection to put them in; made when it is not there
    #[arg(long, value_name = "NAME", default_value = CollectionName::DEFAULT)]
    collection: String,
    /// Sources are paths relative to this folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Attach metadata to every document; may be repeated
    #[arg(long = "metadata", value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Delete documents that the folders or patterns cover and whose file is gone
    #[arg(long)]
    prune: bool,
    /// With --prune: also where a folder or pattern has nothing left at all
    #[arg(long)]
    allow_empty: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "url")]
    dry_run: bool,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

/// What is deleted that is covered and gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prune {
    No,
    /// Where something is left.
    Some,
    All,
}

/// What one run did.
#[derive(Debug, Default, Serialize)]
struct Summary {
    files: usize,
    created: u64,
    replaced: u64,
    unchanged: u64,
    deleted: u64,
    empty: u64,
    vanished: u64,
    failed: u64,
    skipped_other_formats: u64,
    skipped_by_ending: Skipped,
    chunks: u64,
    seconds: f64,
    errors: Vec<FileError>,
}

/// One file that was not stored.
#[derive(Debug, Serialize)]
struct FileError {
    source: String,
    reason: String,
}

impl Summary {
    fn add(&mut self, event: &Event) {
        match event {
            Event::Unchanged(_) => self.unchanged += 1,
            Event::Stored {
                status: UpsertStatus::Created,
                chunks,
                ..
            } => {
                self.created += 1;
                self.chunks += *chunks as u64;
            }
            Event::Stored { chunks, .. } => {
                self.replaced += 1;
                self.chunks += *chunks as u64;
            }
            Event::Empty(_) => self.empty += 1,
            Event::Vanished(_) => self.vanished += 1,
            Event::Failed { source, error } => self.fail(source, error.to_string()),
            Event::Embedded(_) => {}
        }
    }

    fn fail(&mut self, source: &str, reason: String) {
        self.failed += 1;
        self.errors.push(FileError {
            source: source.to_owned(),
            reason,
        });
    }

    fn text(&self, is_dry_run: bool) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.chunks as f64 / self.seconds.max(0.001);
        let mut text = format!(
            "{}{} created, {} replaced, {} unchanged, {} deleted, {} empty, {} failed; \
             {} chunks in {:.1} s",
            if is_dry_run {
                "dry run, nothing stored: "
            } else {
                ""
            },
            self.created,
            self.replaced,
            self.unchanged,
            self.deleted,
            self.empty,
            self.failed,
            self.chunks,
            self.seconds,
        );
        if !is_dry_run && self.chunks > 0 {
            let _ = write!(text, " ({rate:.1} chunks/s)");
        }
        if self.vanished > 0 {
            let _ = write!(text, "; {} vanished", self.vanished);
        }
        if self.skipped_other_formats > 0 {
            let endings = self.skipped_by_ending.by_name();
            let endings = commonest(endings, ENDINGS_SHOWN, |ending, count| {
                format!("{ending} {count}")
            });
            let _ = write!(text, "; {} skipped: {endings}", self.skipped_other_formats);
        }
        text
    }
}

pub(super) fn run(arguments: &IngestArgs, context: &Context) -> Outcome {
    match &arguments.corpus {
        Some(path) => run_given(
            &arguments.with(Corpus::read(path).map_err(|error| corpus_failure(&error))?),
            context,
        ),
        None => run_given(arguments, context),
    }
}

fn corpus_failure(error: &CorpusError) -> Failure {
    match error {
        CorpusError::Read { .. } => Failure::usage(error.to_string())
            .hint("name a file as /etc/alfred/ingest.d/NAME.toml, which you may read"),
        CorpusError::UnknownKey { closest, .. } => {
            Failure::configuration(error.to_string()).hint(format!("did you mean `{closest}`?"))
        }
        CorpusError::Wrong { .. } => Failure::configuration(error.to_string())
            .hint("the keys are paths, root, collection, prune, batch and metadata"),
    }
}

impl IngestArgs {
    /// As if the flags had said what the corpus says.
    fn with(&self, corpus: Corpus) -> Self {
        let own = self.clone();
        let metadata = corpus.metadata.into_iter();
        Self {
            paths: corpus.paths,
            root: corpus.root.unwrap_or(own.root),
            collection: corpus.collection.unwrap_or(own.collection),
            prune: corpus.prune,
            batch: own.batch.or(corpus.batch),
            metadata: metadata
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
            ..own
        }
    }
}

fn run_given(arguments: &IngestArgs, context: &Context) -> Outcome {
    let config = context.config_with(&[(
        "ingest.batch",
        arguments.batch.map(|batch| batch.to_string()),
    )])?;
    let collection = CollectionName::new(&arguments.collection)
        .map_err(|error| Failure::usage("--collection").because(error))?;
    let options = Options {
        metadata: parse_metadata(&arguments.metadata)?,
        workers: workers(&config),
        dry_run: arguments.dry_run,
        collection,
    };
    let found = find(arguments, &config)?;
    if arguments.prune && found.coverage.has_plain_files {
        return Err(Failure::usage("--prune with a plain list of files")
            .hint("give folders or quoted patterns, so that it is known what is covered"));
    }
    something_to_do(arguments, &found)?;
    let prune = match (arguments.prune, arguments.allow_empty) {
        (false, _) => Prune::No,
        (true, false) => Prune::Some,
        (true, true) => Prune::All,
    };
    let daemon = match arguments.elsewhere.daemon(context)? {
        None if arguments.dry_run => None,
        None => Daemon::find(&config),
        daemon => daemon,
    };
    let through = Through {
        config: &config,
        daemon,
    };
    let summary = ingest(through, &found, &options, prune)?;
    if context.json {
        output::print_json(&summary)?;
    } else {
        output::print(&summary.text(arguments.dry_run))?;
    }
    if summary.failed > 0 {
        let what = format!(
            "{} of {} files were not stored",
            summary.failed, summary.files
        );
        return Err(Failure::failed(what).hint("the reasons are above; the others are stored"));
    }
    Ok(())
}

/// The files and objects that the arguments name.
fn find(arguments: &IngestArgs, config: &Config) -> Result<Found, Failure> {
    let (urls, paths): (Vec<String>, Vec<String>) = arguments
        .paths
        .iter()
        .cloned()
        .partition(|path| objects::is_url(path));
    let mut found = Found::default();
    if !paths.is_empty() {
        let current = std::env::current_dir()
            .map_err(|error| Failure::failed("cannot find the current folder").because(error))?;
        found = files::find(&paths, &arguments.root, &current).map_err(|error| {
            let hint = match &error {
                FilesError::Root(_) => "name a folder that is there with --root, or leave it out",
                _ => "sources are paths relative to --root (default: the current folder)",
            };
            Failure::usage(error.to_string()).hint(hint)
        })?;
    }
    if !urls.is_empty() {
        Objects::new(&config.aws)
            .and_then(|store| objects::find(&urls, store, &mut found))
            .map_err(|error| {
                let hint = error.hint().map(str::to_owned);
                let failure = match error {
                    ObjectError::Argument(error) => Failure::usage(error.to_string()),
                    ObjectError::Settings(_) => Failure::configuration(error.to_string()),
                    error => Failure::failed("nothing was ingested").because(error),
                };
                failure.maybe_hint(hint)
            })?;
    }
    Ok(found)
}

/// Patterns of which nothing at all was found are a mistake, and so is pruning below a folder that is
/// not there: more likely it is misspelt or not mounted than empty.
fn something_to_do(arguments: &IngestArgs, found: &Found) -> Result<(), Failure> {
    let is_pattern = |one: &&Unmatched| files::is_pattern(&one.pattern);
    let missing = found.unmatched.iter().find(|one| one.missing.is_some());
    let blamed = match missing.filter(|_| arguments.prune) {
        None if !arguments.prune && found.files.is_empty() && found.problems.is_empty() => {
            found.unmatched.iter().filter(is_pattern).collect()
        }
        missing => Vec::from_iter(missing),
    };
    if blamed.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = blamed.iter().map(ToString::to_string).collect();
    Err(Failure::usage("nothing was ingested")
        .because(told.join("; "))
        .hint(
            "see that the paths are right; a pattern in quotes is expanded by alfred, to any depth",
        ))
}

/// Where documents go: to the daemon, else straight into the store.
struct Through<'a> {
    config: &'a Config,
    daemon: Option<Daemon>,
}

fn ingest(
    through: Through<'_>,
    found: &Found,
    options: &Options,
    prune: Prune,
) -> Result<Summary, Failure> {
    use crate::clock::{Clock as _, SystemClock};
    let started = SystemClock.monotonic();
    let mut summary = Summary {
        files: found.files.len(),
        skipped_other_formats: found.skipped.total(),
        skipped_by_ending: found.skipped.clone(),
        ..Summary::default()
    };
    for pattern in &found.unmatched {
        output::error(&format!("warning: {pattern}"));
    }
    for (path, problem) in &found.problems {
        // A line break in a name must not begin a line of its own.
        let shown = plain::one_line(&path.display().to_string());
        output::error(&format!("error: {shown}: {problem}"));
        summary.fail(&path.display().to_string(), problem.clone());
    }
    if let Some(daemon) = through.daemon {
        let sink = DaemonSink::new(daemon, wiring::extractor());
        store(&sink, found, options, &mut summary)?;
        if prune != Prune::No {
            let documents = sink.documents(&options.collection)?;
            for source in gone(documents.keys().map(String::as_str), found, prune)? {
                sink.delete(&documents[source])?;
                summary.deleted += 1;
            }
        }
    } else {
        let ingester = wiring::open(through.config)?.ingester;
        store(ingester.as_ref(), found, options, &mut summary)?;
        if prune != Prune::No {
            summary.deleted = delete_gone(ingester.repo.as_ref(), found, options, prune)?;
        }
        if !options.dry_run {
            ingester.repo.settle().map_err(wiring::store_failure)?;
        }
    }
    summary.seconds = (SystemClock.monotonic() - started).as_secs_f64();
    Ok(summary)
}

fn store<S: Sink>(
    sink: &S,
    found: &Found,
    options: &Options,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut progress = Progress::start(&found.files);
    let result = pipeline::run(sink, found, options, &mut |event| {
        match &event {
            Event::Failed { source, error } => progress.line(&format!("error: {source}: {error}")),
            Event::Empty(source) => {
                progress.line(&format!(
                    "warning: {source}: there is no text in it; left out"
                ));
            }
            Event::Vanished(source) => progress.line(&format!(
                "warning: {source}: it was deleted after it was listed; left out"
            )),
            _ => {}
        }
        progress.advance(&event);
        summary.add(&event);
    });
    progress.finish();
    result.map_err(|error| {
        let hint = error.hint();
        Failure::failed("ingest stopped; what was stored before stays, run it again to go on")
            .because(error)
            .maybe_hint(hint)
    })
}

/// What the arguments cover and whose file is gone.
fn gone<'a>(
    stored: impl IntoIterator<Item = &'a str>,
    found: &Found,
    prune: Prune,
) -> Result<Vec<&'a str>, Failure> {
    let stored: Vec<&str> = stored.into_iter().collect();
    let files = found.files.iter().map(|file| file.source.as_str());
    let here: Vec<&str> = files.collect();
    if let Some((place, documents)) = found.coverage.emptied(&stored, &here)
        && prune != Prune::All
    {
        let what = format!("nothing is left in {place}, and its {documents} documents were kept");
        return Err(Failure::failed(what)
            .hint("is it mounted? to delete them, run it once more with --allow-empty"));
    }
    Ok(plan::gone(
        stored,
        &here.into_iter().collect(),
        &found.coverage,
    ))
}

/// Deletes what is gone, straight in the store; returns how many documents.
fn delete_gone(
    repo: &dyn EmbeddingRepo,
    found: &Found,
    options: &Options,
    prune: Prune,
) -> Result<u64, Failure> {
    let failed = |error: StoreError| {
        let hint = error.hint();
        Failure::failed("cannot delete what is gone")
            .because(error)
            .maybe_hint(hint)
    };
    let mut request = ListRequest {
        collection: options.collection.clone(),
        source: None,
        after: None,
        limit: 1_000,
    };
    let mut documents = BTreeMap::new();
    loop {
        let page = match repo.list_documents(&request) {
            Err(StoreError::UnknownCollection { .. }) => Vec::new(),
            page => page.map_err(failed)?,
        };
        let Some(last) = page.last() else { break };
        request.after = Some(last.source.to_string());
        documents.extend(
            page.into_iter()
                .map(|document| (document.source.to_string(), document.id)),
        );
    }
    let ids: Vec<_> = gone(documents.keys().map(String::as_str), found, prune)?
        .into_iter()
        .map(|source| documents[source])
        .collect();
    if options.dry_run || ids.is_empty() {
        return Ok(ids.len() as u64);
    }
    repo.delete_documents(&ids).map_err(failed)
}

fn workers(config: &Config) -> usize {
    match config.raw.ingest.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

fn parse_metadata(pairs: &[String]) -> Result<Metadata, Failure> {
    let mut map = serde_json::Map::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--metadata {pair}")).hint("write it as KEY=VALUE")
        })?;
        map.insert(key.to_owned(), value.into());
    }
    Metadata::new(map).map_err(|error| Failure::usage("--metadata").because(error))
}
