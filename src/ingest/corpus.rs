//! A corpus in a file: what `alfred ingest` says with flags, kept for a schedule.
//!
//! `/etc/alfred/ingest.d/NAME.toml`, as `alfred ingest --corpus` reads it. The keys mean what the
//! flags of the same name mean; unknown ones are refused.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most chunks in one call to the model, as `--batch` allows.
const BATCH_MAX: u32 = 10_000;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// Files, folders, patterns, or URLs of object storage.
    pub paths: Vec<String>,
    /// Sources are paths relative to this folder.
    pub root: Option<PathBuf>,
    /// Where documents go.
    pub collection: Option<String>,
    /// Also delete documents that `paths` cover and whose file is gone.
    #[serde(default)]
    pub prune: bool,
    /// Most chunks in one call to the model: 1 to 10,000.
    pub batch: Option<u32>,
    /// Attached to every document.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

const KEYS: [&str; 6] = ["paths", "root", "collection", "prune", "batch", "metadata"];

/// Why a file describes no corpus.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// It cannot be read.
    #[error("the corpus {} cannot be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has a key that does not exist.
    #[error("the corpus {} has the unknown key `{key}`", path.display())]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The closest that exists.
        closest: &'static str,
    },
    /// It is not TOML, or a value is wrong.
    #[error("the corpus {} is wrong: {problem}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where, and what.
        problem: String,
    },
}

impl Corpus {
    /// Reads `path`.
    ///
    /// # Errors
    /// When it cannot be read, or a key or value is wrong; all name the file.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        let text = std::fs::read_to_string(path).map_err(|source| CorpusError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, CorpusError> {
        let wrong = |problem: String| CorpusError::Wrong {
            path: path.to_owned(),
            problem: problem.trim_end().to_owned(),
        };
        let table: toml::Table =
            toml::from_str(text).map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(CorpusError::UnknownKey {
                path: path.to_owned(),
                key: key.clone(),
                closest: closest(key),
            });
        }
        let corpus: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if corpus.paths.is_empty() {
            return Err(wrong("`paths` is empty".to_owned()));
        }
        if corpus
            .batch
            .is_some_and(|batch| !(1..=BATCH_MAX).contains(&batch))
        {
            return Err(wrong(format!("`batch` has to be 1 to {BATCH_MAX}")));
        }
        Ok(corpus)
    }
}

fn closest(key: &str) -> &'static str {
    let near = |known: &str| strsim::jaro_winkler(known, key);
    KEYS.into_iter()
        .max_by(|a, b| near(a).total_cmp(&near(b)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Corpus, CorpusError> {
        Corpus::parse(Path::new("/etc/alfred/ingest.d/docs.toml"), text)
    }

    #[test]
    fn every_key_is_read() {
        let corpus = parse(
            "paths = ['/srv/docs', 's3://b/x']\nroot = '/srv'\ncollection = 'docs'\n\
             prune = true\nbatch = 64\nmetadata = { team = 'web' }\n",
        );
        let expected = Corpus {
            paths: vec!["/srv/docs".to_owned(), "s3://b/x".to_owned()],
            root: Some(PathBuf::from("/srv")),
            collection: Some("docs".to_owned()),
            prune: true,
            batch: Some(64),
            metadata: [("team".to_owned(), "web".to_owned())].into(),
        };
        assert_eq!(corpus.unwrap(), expected);
        let least = parse("paths = ['/srv/docs']").unwrap();
        assert!(!least.prune && least.root.is_none() && least.batch.is_none());
    }

    /// The shipped example does nothing until somebody edits it, and is right where they do.
    #[test]
    fn the_example_is_inert_and_right() {
        let example = include_str!("../../etc/ingest.d/example.toml");
        assert!(parse(example).is_err());
        let edited: Vec<&str> = example
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
                _ => line,
            })
            .collect();
        let corpus = parse(&edited.join("\n")).unwrap();
        assert!(corpus.prune && corpus.batch.is_some() && corpus.root.is_some());
        assert!(corpus.collection.is_some() && !corpus.metadata.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_the_file() {
        for (text, part) in [
            ("path = ['/srv']", "the unknown key `path`"),
            ("paths = ['/srv']\npurge = true", "the unknown key `purge`"),
            ("paths = []", "`paths` is empty"),
            ("root = '/srv'", "missing field `paths`"),
            ("paths = '/srv'", "invalid type"),
            ("paths = ['/srv']\nbatch = 0", "1 to 10000"),
            ("paths = ['/srv']\nbatch = 10001", "1 to 10000"),
            ("paths = ['/srv']\nprune = 'yes'", "invalid type"),
            ("paths =", "line 1"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("/etc/alfred/ingest.d/docs.toml"), "{error}");
            assert!(error.contains(part), "{text}: {error}");
        }
        let closest = |key| match parse(key).unwrap_err() {
            CorpusError::UnknownKey { closest, .. } => closest,
            other => panic!("{other}"),
        };
        assert_eq!(closest("path = 1"), "paths");
        assert_eq!(closest("colection = 1"), "collection");
    }
}
