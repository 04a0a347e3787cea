//! Reads which sources answer which query: lines of tab-separated text, `query<TAB>source[<TAB>source…]`.

use super::Sources;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file, in bytes; all of it is kept in memory.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// What a line begins with that says nothing.
const COMMENT: char = '#';

/// Why there are no judgments.
#[derive(Debug, thiserror::Error)]
pub enum RelevanceError {
    /// The file cannot be read.
    #[error("cannot read the relevance file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the relevance file {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// A line is not what it should be.
    #[error("line {line} of the relevance file {} {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What it is or is not.
        problem: String,
    },
    /// It holds no judgment.
    #[error("the relevance file {} has no judgment", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// None of its queries is asked.
    #[error(
        "none of the queries of the relevance file {} is in the query set {}; the first is {first:?}",
        path.display(), queries.display()
    )]
    Unasked {
        /// Which file.
        path: PathBuf,
        /// The query set.
        queries: PathBuf,
        /// Its first query.
        first: String,
    },
}

/// Sources that answer queries, by the text of the query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgments {
    by_query: BTreeMap<String, Judged>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Judged {
    /// Where it stands first, 1-based.
    line: u64,
    sources: Sources,
}

impl Judgments {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is too large or empty, or a line is not UTF-8, or no query with sources.
    pub fn read(path: &Path) -> Result<Self, RelevanceError> {
        let failed = |source| RelevanceError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        let mut file = file.take(MAX_FILE_BYTES + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let path = path.to_owned();
            return Err(RelevanceError::TooLarge { path });
        }
        let judgments = Self::parse(&bytes).map_err(|(line, problem)| RelevanceError::Line {
            path: path.to_owned(),
            line,
            problem,
        })?;
        if judgments.by_query.is_empty() {
            let path = path.to_owned();
            return Err(RelevanceError::Empty { path });
        }
        Ok(judgments)
    }

    /// Reads lines. Blank ones and those that begin with `#` are skipped; a query may have several lines.
    ///
    /// # Errors
    /// The number of the first line that is none, and what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, (u64, String)> {
        let mut gathered: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1_u64..) {
            let wrong = |problem: &str| (number, problem.to_owned());
            let text = std::str::from_utf8(line).map_err(|_| wrong("is not UTF-8"))?;
            let text = text.trim_start_matches('\u{feff}').trim_end_matches('\r');
            if text.trim().is_empty() || text.starts_with(COMMENT) {
                continue;
            }
            let (query, sources) = text.split_once('\t').ok_or_else(|| {
                wrong("has no tab: a line is a query, a tab, and the sources that answer it")
            })?;
            let query = query.trim();
            if query.is_empty() {
                return Err(wrong("has no query before its first tab"));
            }
            let (_, known) = gathered
                .entry(query.to_owned())
                .or_insert_with(|| (number, BTreeSet::new()));
            for source in sources.split('\t').map(str::trim) {
                if source.is_empty() {
                    return Err(wrong("has an empty source after a tab"));
                }
                known.insert(source.to_owned());
            }
        }
        let judged = |(query, (line, sources))| {
            let sources = Arc::new(sources);
            (query, Judged { line, sources })
        };
        let by_query = gathered.into_iter().map(judged).collect();
        Ok(Self { by_query })
    }

    /// The query that `text` is, blanks around it aside, and its sources.
    pub(super) fn of(&self, text: &str) -> Option<(&str, &Sources)> {
        let (query, judged) = self.by_query.get_key_value(text.trim())?;
        Some((query, &judged.sources))
    }

    /// All queries with the lines where they stand.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        let all = self.by_query.iter();
        all.map(|(query, judged)| (query.as_str(), judged.line))
    }

    /// Names what is held to be relevant, however the file is ordered.
    #[must_use]
    pub(super) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (query, judged) in &self.by_query {
            hasher.update(query.as_bytes());
            for source in judged.sources.iter() {
                hasher.update(b"\t").update(source.as_bytes());
            }
            hasher.update(b"\n");
        }
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_queries_with_one_source_or_several_in_one_line_or_several() {
        let text = "\u{feff}# how judged: by hand\n\nWhat is p95?\tdocs/soak.md\tdocs/api.md\r\n\
                    How?\ta b.md\n What is p95? \t docs/new.md\n";
        let judgments = Judgments::parse(text.as_bytes()).unwrap();
        let sources = |query: &str| {
            let (_, sources) = judgments.of(query)?;
            Some(sources.iter().cloned().collect::<Vec<_>>().join(" "))
        };
        let told = sources("What is p95?  ").unwrap();
        assert_eq!(told, "docs/api.md docs/new.md docs/soak.md");
        assert_eq!(sources("How?").unwrap(), "a b.md");
        assert_eq!(sources("how?"), None, "case counts");
        let lines: Vec<_> = judgments.all().collect();
        assert_eq!(lines, [("How?", 4), ("What is p95?", 3)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, problem) in [
            (&b"q\ta\nno tab here\n"[..], 2, "has no tab"),
            (b"# c\n\ta.md\n", 2, "no query"),
            (b"q\t\n", 1, "an empty source"),
            (b"q\ta\n\nq\ta\t\tb\n", 3, "an empty source"),
            (b"q\ta\nr\t\xff\n", 2, "not UTF-8"),
        ] {
            let error = Judgments::parse(text).unwrap_err();
            assert_eq!(error.0, line, "{text:?}");
            assert!(error.1.contains(problem), "{error:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.tsv");
        std::fs::write(&path, "# nothing\n").unwrap();
        let error = Judgments::read(&path).unwrap_err();
        assert!(matches!(error, RelevanceError::Empty { .. }), "{error}");
        std::fs::write(&path, "one\tx\ntwo\n").unwrap();
        let error = Judgments::read(&path).unwrap_err().to_string();
        assert!(
            error.starts_with("line 2 of the relevance file /"),
            "{error}"
        );
        let missing = Judgments::read(Path::new("/nonexistent"));
        assert!(matches!(missing, Err(RelevanceError::Read { .. })));
    }

    #[test]
    fn the_digest_is_that_of_what_is_said_and_not_of_how() {
        let digest = |text: &str| Judgments::parse(text.as_bytes()).unwrap().digest();
        assert_eq!(digest("a\tx\ty\nb\tz\n"), digest("#\nb\tz\na\ty\na\tx\n"));
        assert_ne!(digest("a\tx\n"), digest("a\ty\n"));
    }
}
