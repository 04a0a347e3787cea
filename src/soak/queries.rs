//! The texts that requests are made of: one a line, cycled.

use bytes::Bytes;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Largest query file, in bytes: it is kept in memory, once as text and once as request bodies.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Where a query goes in a body template, with JSON escapes.
const PLACE: &str = "{{query}}";

/// Why there is no query set.
#[derive(Debug, thiserror::Error)]
pub enum QueriesError {
    /// It cannot be read.
    #[error("cannot read the query set {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the query set {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// It holds something else than text.
    #[error("line {line} of the query set {} is not UTF-8", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
        /// 1-based.
        line: usize,
    },
    /// It holds no line with text.
    #[error("the query set {} is empty", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a file of one query a line; blank lines are skipped.
///
/// # Errors
/// When it cannot be read, is too large, not UTF-8, or without a text.
pub fn read(path: &Path) -> Result<Vec<String>, QueriesError> {
    let failed = |source| QueriesError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut reader = BufReader::new(file.take(MAX_FILE_BYTES + 1));
    let (mut texts, mut line, mut read) = (Vec::new(), Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(failed)?;
        if length == 0 {
            break;
        }
        read += length as u64;
        if read > MAX_FILE_BYTES {
            let path = path.to_owned();
            return Err(QueriesError::TooLarge { path });
        }
        let text = std::str::from_utf8(&line).map_err(|_| QueriesError::NotText {
            path: path.to_owned(),
            line: number,
        })?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.is_empty() {
            texts.push(text.to_owned());
        }
    }
    if texts.is_empty() {
        let path = path.to_owned();
        return Err(QueriesError::Empty { path });
    }
    Ok(texts)
}

/// Request bodies by request number.
#[derive(Clone, Debug)]
pub struct Bodies {
    texts: Vec<String>,
    template: String,
    /// Bodies made once, one a text; empty when each is different.
    ready: Vec<Bytes>,
    /// What makes queries of this run different from those of another.
    mark: Option<String>,
}

impl Bodies {
    /// Bodies from `template`, in which `{{query}}` stands for a text with JSON escapes. With
    /// `mark`, each text gets ` (mark-number)` appended, so that none is asked twice.
    #[must_use]
    pub fn new(texts: Vec<String>, template: String, mark: Option<String>) -> Self {
        let ready = match (&mark, texts.is_empty()) {
            (Some(_), _) => Vec::new(),
            (None, true) => vec![Bytes::from(template.clone())],
            (None, false) => texts.iter().map(|text| fill(&template, text)).collect(),
        };
        Self {
            texts,
            template,
            ready,
            mark,
        }
    }

    /// Whether a template asks for queries.
    #[must_use]
    pub fn needs_queries(template: &str) -> bool {
        template.contains(PLACE)
    }

    /// How many texts there are.
    #[must_use]
    pub fn texts(&self) -> u64 {
        self.texts.len() as u64
    }

    /// The body of request `number`.
    #[must_use]
    pub fn of(&self, number: u64) -> Bytes {
        let cycle = |length: usize| usize::try_from(number % length.max(1) as u64).unwrap_or(0);
        if let Some(body) = self.ready.get(cycle(self.ready.len())) {
            return body.clone();
        }
        let text = self
            .texts
            .get(cycle(self.texts.len()))
            .map_or("", String::as_str);
        let mark = self.mark.as_deref().unwrap_or_default();
        fill(&self.template, &format!("{text} ({mark}-{number})"))
    }
}

fn fill(template: &str, text: &str) -> Bytes {
    let quoted = serde_json::Value::from(text).to_string();
    Bytes::from(template.replace(PLACE, &quoted[1..quoted.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"{"query": "{{query}}", "top_k": 3}"#;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn skips_blank_lines_and_escapes_for_json() {
        let file = file("\u{feff}first\r\n\n   \nsay \"hi\"\\\t\u{1} {{query}}".as_bytes());
        let texts = read(file.path()).unwrap();
        assert_eq!(texts.len(), 2);
        let bodies = Bodies::new(texts.clone(), TEMPLATE.to_owned(), None);
        assert_eq!(bodies.of(0), &br#"{"query": "first", "top_k": 3}"#[..]);
        let second: serde_json::Value = serde_json::from_slice(&bodies.of(3)).unwrap();
        assert_eq!(second["query"], texts[1]);
    }

    #[test]
    fn unique_bodies_differ() {
        let bodies = Bodies::new(vec!["a".into()], TEMPLATE.to_owned(), Some("x1".into()));
        assert_eq!(bodies.of(7), &br#"{"query": "a (x1-7)", "top_k": 3}"#[..]);
        assert_ne!(bodies.of(7), bodies.of(8));
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        assert!(matches!(
            read(file(b" \n\n").path()),
            Err(QueriesError::Empty { .. })
        ));
        let error = read(file(b"ok\n\xff\xfe\n").path()).unwrap_err();
        assert!(matches!(error, QueriesError::NotText { line: 2, .. }));
        assert!(matches!(
            read(Path::new("/nonexistent")),
            Err(QueriesError::Read { .. })
        ));
    }
}
