//! Paths, folders and globs to a list of files, each with the source it is known by.

use crate::counted::Counted;
use crate::domain::SourceName;
use crate::extract::Format;
use crate::ingest::coverage::Coverage;
use crate::ingest::objects::Objects;
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

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
    pub unmatched: Vec<String>,
    /// What was covered, for `--prune`.
    pub coverage: Coverage,
    /// Where objects are fetched from, when some were found.
    pub objects: Option<Objects>,
}

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
/// When an argument matches nothing that exists, is malformed, or is outside the root.
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
        } else if argument.contains(['*', '?', '[', '{']) {
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
            .take_while(|part| {
                !part
                    .as_os_str()
                    .to_string_lossy()
                    .contains(['*', '?', '[', '{'])
            })
            .collect();
        self.source_of(&fixed, argument)?;
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let covering = glob(&relative.to_string_lossy())?.compile_matcher();
        self.found.coverage.patterns.push(covering);
        let before = self.by_source.len();
        if !fixed.is_dir() {
            // An unmounted or misspelt folder is no folder without files: nothing may be pruned.
            let missing = format!("{} (of the pattern {argument})", fixed.display());
            return Err(FilesError::Missing(missing));
        }
        self.walk(&fixed, Some(&matcher));
        if self.by_source.len() == before {
            self.found.unmatched.push(argument.to_owned());
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

    fn walk(&mut self, folder: &Path, matcher: Option<&GlobMatcher>) {
        let is_visible = |entry: &walkdir::DirEntry| {
            entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
        };
        let walk = walkdir::WalkDir::new(folder)
            .follow_links(true)
            .sort_by_file_name();
        for entry in walk.into_iter().filter_entry(is_visible) {
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
            let is_wanted = matcher.is_none_or(|matcher| matcher.is_match(entry.path()));
            if entry.file_type().is_file()
                && is_wanted
                && let Err(error) = self.keep(entry.path(), &entry.path().to_string_lossy(), false)
            {
                self.problem(entry.path(), error.to_string());
            }
        }
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
mod tests {
    use super::*;

    fn corpus() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "docs/a.md",
            "docs/deep/er/b.md",
            "docs/c.pdf",
            "docs/.git/x.md",
            "top.txt",
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::fs::write(folder.path().join("docs/d.bin"), "x").unwrap();
        folder
    }

    fn sources(folder: &Path, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        let found = find(&arguments, Path::new("."), folder).unwrap();
        found
            .files
            .into_iter()
            .map(|file| file.source.as_str().to_owned())
            .collect()
    }

    #[test]
    fn quoted_and_unquoted_patterns_find_the_same() {
        let folder = corpus();
        let quoted = sources(folder.path(), &["./docs/**/*.md"]);
        assert_eq!(quoted, ["docs/a.md", "docs/deep/er/b.md"]);
        assert_eq!(
            quoted,
            sources(folder.path(), &["docs/deep/er/b.md", "./docs/a.md"])
        );
        let all = ["docs/a.md", "docs/c.pdf", "docs/deep/er/b.md"];
        assert_eq!(sources(folder.path(), &["docs", "docs/*.md"]), all);
    }

    #[test]
    fn names_that_would_look_the_same_are_problems() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = corpus();
        let names: [&[u8]; 4] = [b"x\xfe.md", b"x\xff.md", b"d\\a.md", b"d/a.md"];
        std::fs::create_dir(folder.path().join("d")).unwrap();
        for name in names {
            let name = std::ffi::OsStr::from_bytes(name);
            std::fs::write(folder.path().join(name), "text").unwrap();
        }
        let found = find(&[".".to_owned()], Path::new("."), folder.path()).unwrap();
        let problems: Vec<&str> = found.problems.iter().map(|(_, p)| p.as_str()).collect();
        let count = |part| problems.iter().filter(|p| p.contains(part)).count();
        assert_eq!(count("not UTF-8"), 2, "{problems:?}");
        assert_eq!(count("known as d/a.md"), 1, "{problems:?}");
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn what_is_skipped_is_counted_by_its_ending() {
        let folder = corpus();
        for name in ["a.PNG", "b.png", "c.zip", "Makefile", ".hidden.png"] {
            std::fs::write(folder.path().join(name), "four").unwrap();
        }
        let found = find(&[".".to_owned()], Path::new("."), folder.path()).unwrap();
        assert_eq!(found.skipped.total(), 5);
        let by_ending = found.skipped.by_name();
        let counts = [".png", ".zip", "no ending"].map(|ending| by_ending[ending]);
        assert_eq!(counts, [2, 1, 1], "{by_ending:?}");
        let named = find(&["c.zip".to_owned()], Path::new("."), folder.path()).unwrap();
        assert_eq!((named.skipped.total(), named.files[0].bytes), (0, 4));
    }

    #[test]
    fn mistakes_are_named() {
        let folder = corpus();
        let mistake = |argument: &str| {
            find(&[argument.to_owned()], Path::new("docs"), folder.path()).expect_err(argument)
        };
        assert_eq!(
            mistake("nothing.md"),
            FilesError::Missing("nothing.md".into())
        );
        assert!(matches!(mistake("top.txt"), FilesError::OutsideRoot { .. }));
        assert!(matches!(mistake("docs/[a.md"), FilesError::Pattern { .. }));
        assert!(matches!(mistake("s3://b/p"), FilesError::Scheme(_)));
        assert!(matches!(mistake(""), FilesError::Missing(_)));
        let no_root = find(&["x".to_owned()], Path::new("nope"), folder.path());
        assert_eq!(no_root.unwrap_err(), FilesError::Root("nope".into()));
        assert!(matches!(
            mistake("docs/moved/**/*.md"),
            FilesError::Missing(_)
        ));
    }

    #[test]
    fn what_could_not_be_read_is_never_gone() {
        let folder = corpus();
        std::fs::rename(folder.path().join("docs/deep"), folder.path().join("away")).unwrap();
        std::os::unix::fs::symlink("unmounted", folder.path().join("docs/deep")).unwrap();
        let found = find(&["docs".to_owned()], Path::new("."), folder.path()).unwrap();
        assert_eq!(found.problems.len(), 1);
        assert!(!found.coverage.covers("docs/deep/er/b.md"));
        assert!(found.coverage.covers("docs/gone.md") && found.coverage.covers("docs/deeper.md"));
    }

    #[test]
    fn links_out_of_the_root_and_loops_are_not_followed() {
        let outside = corpus();
        let folder = corpus();
        let link = |to: &Path, name: &str| {
            std::os::unix::fs::symlink(to, folder.path().join("docs").join(name)).unwrap();
        };
        link(&outside.path().join("top.txt"), "secret.txt");
        link(&folder.path().join("docs"), "loop");
        let found = find(&["docs".to_owned()], Path::new("."), folder.path()).unwrap();
        assert_eq!(found.files.len(), 3);
        let problems: Vec<&str> = found.problems.iter().map(|(_, why)| why.as_str()).collect();
        assert_eq!(problems, ["it is a link to a file outside the root"]);
    }

    #[test]
    fn a_folder_of_files_covers_no_url() {
        let folder = corpus();
        let everything = [".".to_owned(), "**/*.md".to_owned()];
        let found = find(&everything, Path::new("."), folder.path()).unwrap();
        assert!(found.coverage.covers("gone.md"));
        assert!(!found.coverage.covers("s3://bucket/gone.md"));
    }

    #[test]
    fn coverage_knows_what_would_have_been_found() {
        let folder = corpus();
        let arguments = ["docs/deep".to_owned(), "*.txt".to_owned()];
        let coverage = find(&arguments, Path::new("."), folder.path())
            .unwrap()
            .coverage;
        assert!(coverage.covers("docs/deep/gone.md") && coverage.covers("gone.txt"));
        assert!(!coverage.covers("docs/gone.md") && !coverage.covers("docs/deeper/gone.md"));
        assert!(!coverage.covers("docs/deep/gone.bin") && !coverage.has_plain_files);
    }
}
