//! Paths, folders and globs to a list of files, each with the source it is known by.

use crate::counted::Counted;
use crate::domain::SourceName;
use crate::extract::Format;
use crate::ingest::coverage::Coverage;
use crate::ingest::objects::Objects;
use globset::{GlobBuilder, GlobMatcher};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// How often one folder is walked through links to it. Folders that link to each other are no loop, and
/// double with every step all the same.
const WALKS_THROUGH_LINKS: u8 = 8;

/// A file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it is.
    pub place: Place,
    /// What it is known by.
    pub source: SourceName,
    /// Its format; `None` when the extension is not one that is read.
    pub format: Option<Format>,
    /// Its size when it was found; 0 when that could not be told.
    pub bytes: u64,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    File(PathBuf),
    /// In object storage, at the URL that is its source.
    Object {
        /// The same for as long as its content is; `None` when the server does not say.
        version: Option<String>,
    },
}

impl Place {
    /// Whether it is in object storage.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object { .. })
    }
}

/// What the arguments came to.
#[derive(Debug, Default)]
pub struct Found {
    /// Files, in order of source, each once.
    pub files: Vec<FoundFile>,
    /// Files of other formats that a folder or pattern covered.
    pub skipped: Skipped,
    /// Paths that could not be walked, with the reason.
    pub problems: Vec<(PathBuf, String)>,
    /// Patterns that matched nothing.
    pub unmatched: Vec<Unmatched>,
    /// What was covered, for `--prune`.
    pub coverage: Coverage,
    /// Where objects are fetched from, when some were found.
    pub objects: Option<Objects>,
}

/// A pattern, or a prefix of object storage, of which nothing was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// As it was given.
    pub pattern: String,
    /// The folder in which it looks, where that is not there.
    pub missing: Option<PathBuf>,
}

impl std::fmt::Display for Unmatched {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: matches nothing", self.pattern)?;
        match &self.missing {
            Some(folder) => write!(out, ": there is no folder {}", folder.display()),
            None => Ok(()),
        }
    }
}

/// Whether an argument is a pattern, unless a file of that very name is there.
#[must_use]
pub fn is_pattern(argument: &str) -> bool {
    argument.contains(PATTERN_SIGNS)
}

/// What makes a pattern of a path.
const PATTERN_SIGNS: [char; 4] = ['*', '?', '[', '{'];

/// Files that were left out because of their ending, counted by it.
pub type Skipped = Counted<50>;

pub(super) fn ending(path: &Path) -> String {
    path.extension().map_or_else(
        || "no ending".to_owned(),
        |ending| format!(".{}", ending.to_string_lossy().to_ascii_lowercase()),
    )
}

/// Why an argument makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// Nothing is there.
    #[error("no such file or folder: {0}")]
    Missing(String),
    /// The pattern cannot be parsed.
    #[error("the pattern {pattern} is malformed: {problem}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
    /// The root is no folder.
    #[error("the root {0} is not a folder")]
    Root(String),
    /// It is not below the root.
    #[error("{path} is outside the root {root}")]
    OutsideRoot {
        /// As it was given.
        path: String,
        /// The root.
        root: String,
    },
    /// A scheme that is not read.
    #[error("{0} is neither a local path nor a URL of s3://")]
    Scheme(String),
    /// No name of a bucket.
    #[error("{url}: {bucket:?} is no name of a bucket")]
    Bucket {
        /// As it was given.
        url: String,
        /// What stands in place of a name.
        bucket: String,
    },
}

/// Expands `arguments` below `root`, both as given; relative arguments are relative to `current`.
///
/// # Errors
/// When an argument is no pattern and names nothing that exists, is malformed, or is outside the root.
pub fn find(arguments: &[String], root: &Path, current: &Path) -> Result<Found, FilesError> {
    let given = root.display();
    let root = normalise(&current.join(root));
    if !root.is_dir() {
        return Err(FilesError::Root(given.to_string()));
    }
    let mut walk = Walk {
        root,
        current,
        found: Found::default(),
        by_source: BTreeMap::new(),
        linked: HashMap::new(),
    };
    for argument in arguments {
        walk.add(argument)?;
    }
    walk.found.files = walk.by_source.into_values().collect();
    Ok(walk.found)
}

struct Walk<'a> {
    root: PathBuf,
    current: &'a Path,
    found: Found,
    by_source: BTreeMap<String, FoundFile>,
    /// Folders that links led to, by device and inode, and how often.
    linked: HashMap<(u64, u64), u8>,
}

impl Walk<'_> {
    fn add(&mut self, argument: &str) -> Result<(), FilesError> {
        if argument.contains("://") {
            return Err(FilesError::Scheme(argument.to_owned()));
        }
        if argument.is_empty() {
            return Err(FilesError::Missing("\"\" (an empty argument)".to_owned()));
        }
        let path = normalise(&self.current.join(argument));
        // What exists under that very name is meant, even when the name has glob characters.
        if path.is_dir() {
            let folder = self.source_of(&path, argument)?;
            self.found.coverage.folders.extend(folder);
            self.walk(&path, None);
        } else if path.exists() {
            self.found.coverage.has_plain_files = true;
            self.keep(&path, argument, true)?;
        } else if is_pattern(argument) {
            self.add_pattern(&path, argument)?;
        } else {
            return Err(FilesError::Missing(argument.to_owned()));
        }
        Ok(())
    }

    /// Walks from the deepest folder of the pattern that has no glob character.
    fn add_pattern(&mut self, path: &Path, argument: &str) -> Result<(), FilesError> {
        let glob = |pattern: &str| {
            GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()
                .map_err(|error| {
                    let problem = error.kind().to_string();
                    FilesError::Pattern {
                        pattern: argument.to_owned(),
                        problem,
                    }
                })
        };
        let matcher = glob(&path.to_string_lossy())?.compile_matcher();
        let fixed: PathBuf = path
            .components()
            .take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy()))
            .collect();
        let place = self.source_of(&fixed, argument)?;
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let covering = glob(&relative.to_string_lossy())?.compile_matcher();
        self.found.coverage.patterns.push(covering);
        let is_there = fixed.is_dir();
        if !is_there {
            // An unmounted or misspelt folder is no folder without files: nothing may be pruned.
            self.found.coverage.doubtful.extend(place);
        }
        if !is_there || self.walk(&fixed, Some(&matcher)) == 0 {
            self.found.unmatched.push(Unmatched {
                pattern: argument.to_owned(),
                missing: (!is_there).then_some(fixed),
            });
        }
        Ok(())
    }

    /// Something that could not be walked or may not be read.
    fn problem(&mut self, path: &Path, problem: String) {
        if let Ok(relative) = path.strip_prefix(&self.root) {
            let doubtful = relative.to_string_lossy().into_owned();
            self.found.coverage.doubtful.push(doubtful);
        }
        self.found.problems.push((path.to_owned(), problem));
    }

    /// Whether a link leads out of the root.
    fn leads_outside(&self, path: &Path) -> bool {
        let real = (path.canonicalize(), self.root.canonicalize());
        matches!(real, (Ok(path), Ok(root)) if !path.starts_with(&root))
    }

    /// Why the folder that the link `path` leads to is not walked, if so.
    fn refuses_link(&mut self, path: &Path) -> Option<&'static str> {
        if self.leads_outside(path) {
            return Some("it is a link to a folder outside the root");
        }
        let found = std::fs::metadata(path).ok()?;
        let times = self.linked.entry((found.dev(), found.ino())).or_default();
        if *times >= WALKS_THROUGH_LINKS {
            return Some(
                "it is one of many links to the same folder, which was read through others",
            );
        }
        *times += 1;
        None
    }

    /// Keeps what is below a folder; returns how many files of a format that is read were wanted, also
    /// those that another argument had found already.
    fn walk(&mut self, folder: &Path, matcher: Option<&GlobMatcher>) -> usize {
        let mut wanted = 0;
        let is_visible = |entry: &walkdir::DirEntry| {
            entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
        };
        let mut walk = walkdir::WalkDir::new(folder)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(is_visible);
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // A link to a folder above: what is there has been seen.
                Err(error) if error.loop_ancestor().is_some() => continue,
                Err(error) => {
                    let problem = error
                        .io_error()
                        .map_or_else(|| error.to_string(), ToString::to_string);
                    self.problem(error.path().unwrap_or(folder), problem);
                    continue;
                }
            };
            if entry.depth() > 0
                && entry.path_is_symlink()
                && entry.file_type().is_dir()
                && let Some(why) = self.refuses_link(entry.path())
            {
                self.problem(entry.path(), why.to_owned());
                walk.skip_current_dir();
                continue;
            }
            let is_wanted = matcher.is_none_or(|matcher| matcher.is_match(entry.path()));
            if !entry.file_type().is_file() || !is_wanted {
                continue;
            }
            let shown = entry.path().to_string_lossy();
            wanted += usize::from(Format::of_source(&shown).is_some());
            if let Err(error) = self.keep(entry.path(), &shown, false) {
                self.problem(entry.path(), error.to_string());
            }
        }
        wanted
    }

    fn keep(&mut self, path: &Path, argument: &str, named: bool) -> Result<(), FilesError> {
        let Some(text) = self.source_of(path, argument)? else {
            self.problem(path, "its name is not UTF-8; rename it".to_owned());
            return Ok(());
        };
        let format = Format::of_source(&text);
        if format.is_none() && !named {
            self.found.skipped.count(&ending(path), 1);
            return Ok(());
        }
        if self.leads_outside(path) {
            self.problem(path, "it is a link to a file outside the root".to_owned());
            return Ok(());
        }
        match SourceName::new(&text) {
            Ok(_)
                if self
                    .by_source
                    .get(&text)
                    .is_some_and(|other| other.place != Place::File(path.to_owned())) =>
            {
                let problem = format!("another file is known as {text} already; rename one");
                self.problem(path, problem);
            }
            Ok(source) => {
                let file = FoundFile {
                    place: Place::File(path.to_owned()),
                    source,
                    format,
                    bytes: std::fs::metadata(path).map_or(0, |found| found.len()),
                };
                self.by_source.insert(text, file);
            }
            Err(error) => self.problem(path, error.to_string()),
        }
        Ok(())
    }

    /// What a file is known by; `None` when its name is not UTF-8: two such names may look the same.
    fn source_of(&self, path: &Path, argument: &str) -> Result<Option<String>, FilesError> {
        let relative = path
            .strip_prefix(&self.root)
            .map_err(|_| FilesError::OutsideRoot {
                path: argument.to_owned(),
                root: self.root.display().to_string(),
            })?;
        Ok(relative.to_str().map(|text| text.replace('\\', "/")))
    }
}

/// Resolves `.` and `..` by name alone, so that a source stays what the user typed.
fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
