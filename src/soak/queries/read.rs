//! Reads a query set: lines of text, lines of JSON (`.jsonl`, `.ndjson`) or CSV (`.csv`).

use super::template::QUERY;
use crate::soak::relevance::{RelevanceError, Relevant};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest query file, in bytes: what templates ask for is kept in memory, once as it is and once
/// as request bodies.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Why there is no query set.
#[derive(Debug, thiserror::Error)]
pub enum QueriesError {
    /// It cannot be read.
    #[error("cannot read the query set {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too large.
    #[error("the query set {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// A line is not what it should be.
    #[error("line {line} of the query set {} {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What it is or is not.
        problem: String,
    },
    /// The template asks for what the file does not have.
    #[error("the query set {} has no column {column:?}; it has {found}", path.display())]
    Column {
        /// Which file.
        path: PathBuf,
        /// What was asked for.
        column: String,
        /// What there is.
        found: String,
    },
    /// There is no saying which answers are right.
    #[error(transparent)]
    Relevance(#[from] RelevanceError),
    /// It holds no query.
    #[error("the query set {} is empty", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

/// Queries, each with a value for every column that templates ask for.
#[derive(Clone, Debug, Default)]
pub struct QuerySet {
    rows: Vec<Vec<Value>>,
    relevant: Option<Arc<Relevant>>,
}

impl QuerySet {
    /// Reads what `columns` name: of lines of text the column is `query`; a line of JSON is a text
    /// or an object with the columns; CSV names them in its first line. Blank lines are skipped.
    ///
    /// # Errors
    /// When the file cannot be read, is too large, not UTF-8, without a query, or without a column.
    pub fn read(path: &Path, columns: &[String]) -> Result<Self, QueriesError> {
        let failed = |source| QueriesError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > MAX_FILE_BYTES {
            let path = path.to_owned();
            return Err(QueriesError::TooLarge { path });
        }
        Self::of(path, file, columns)
    }

    /// What `file` holds, which is called `path`.
    pub(crate) fn of(
        path: &Path,
        file: impl io::Read,
        columns: &[String],
    ) -> Result<Self, QueriesError> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let rows = match extension.as_deref() {
            Some("csv") => csv_rows(path, file, columns)?,
            Some("jsonl" | "ndjson") => lines(path, file, |text, number| {
                json_row(path, columns, text, number)
            })?,
            _ => {
                check_columns(path, columns, &[QUERY])?;
                lines(path, file, |text, _| Ok(of_text(text, columns)))?
            }
        };
        if rows.is_empty() {
            let path = path.to_owned();
            return Err(QueriesError::Empty { path });
        }
        Ok(Self {
            rows,
            relevant: None,
        })
    }

    /// Queries of one text each.
    #[cfg(test)]
    pub(super) fn of_texts(texts: &[&str], columns: &[String]) -> Self {
        let rows = texts.iter().map(|text| of_text(text, columns)).collect();
        Self {
            rows,
            relevant: None,
        }
    }

    /// The same, with which sources answer which of its queries.
    #[must_use]
    pub fn judged_by(self, relevant: Relevant) -> Self {
        Self {
            relevant: Some(Arc::new(relevant)),
            ..self
        }
    }

    /// Which sources answer which of its queries, where that is known.
    #[must_use]
    pub fn relevant(&self) -> Option<&Arc<Relevant>> {
        self.relevant.as_ref()
    }

    /// The texts in `column` in the order of queries; `None` for what is no text.
    pub fn texts(&self, column: usize) -> impl Iterator<Item = Option<&str>> {
        let rows = self.rows.iter();
        rows.map(move |row| row.get(column).and_then(Value::as_str))
    }

    /// How many queries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn row(&self, place: usize) -> &[Value] {
        self.rows.get(place).map_or(&[], Vec::as_slice)
    }

    /// Names what is asked, in its order; empty for nothing.
    #[must_use]
    pub fn digest(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut hasher = blake3::Hasher::new();
        for value in self.rows.iter().flatten() {
            hasher.update(value.to_string().as_bytes()).update(b"\n");
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn of_text(text: &str, columns: &[String]) -> Vec<Value> {
    columns.iter().map(|_| Value::from(text)).collect()
}

fn lines(
    path: &Path,
    file: impl io::Read,
    mut row: impl FnMut(&str, u64) -> Result<Vec<Value>, QueriesError>,
) -> Result<Vec<Vec<Value>>, QueriesError> {
    let failed = |source| QueriesError::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(file.take(MAX_FILE_BYTES + 1));
    let (mut rows, mut line, mut read) = (Vec::new(), Vec::new(), 0);
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
        let text = std::str::from_utf8(&line).map_err(|_| wrong(path, number, "is not UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.is_empty() {
            rows.push(row(text, number)?);
        }
    }
    Ok(rows)
}

fn json_row(
    path: &Path,
    columns: &[String],
    text: &str,
    number: u64,
) -> Result<Vec<Value>, QueriesError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| wrong(path, number, &format!("is not JSON: {error}")))?;
    match value {
        Value::String(text) => match columns.iter().find(|column| *column != QUERY) {
            None => Ok(of_text(&text, columns)),
            Some(column) => {
                let problem =
                    format!("is a text and has no field {column:?}, which the template asks for");
                Err(wrong(path, number, &problem))
            }
        },
        Value::Object(mut object) => columns
            .iter()
            .map(|column| {
                object.remove(column).ok_or_else(|| {
                    let problem = format!("has no field {column:?}, which the template asks for");
                    wrong(path, number, &problem)
                })
            })
            .collect(),
        _ => Err(wrong(path, number, "is neither a JSON text nor an object")),
    }
}

fn csv_rows(
    path: &Path,
    file: impl io::Read,
    columns: &[String],
) -> Result<Vec<Vec<Value>>, QueriesError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(BufReader::new(file.take(MAX_FILE_BYTES)));
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        wrong(path, line, &format!("is not CSV: {error}"))
    };
    let headers = reader.headers().map_err(broken)?.clone();
    let names: Vec<&str> = headers
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}'))
        .collect();
    check_columns(path, columns, &names)?;
    for column in columns {
        if names.iter().filter(|name| *name == column).count() > 1 {
            let problem = format!("names the column {column:?} more than once");
            return Err(wrong(path, 1, &problem));
        }
    }
    let place = |column: &String| names.iter().position(|name| name == column);
    let places: Vec<usize> = columns.iter().filter_map(place).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let value = |place: &usize| Value::from(record.get(*place).unwrap_or_default());
        rows.push(places.iter().map(value).collect());
    }
    Ok(rows)
}

fn check_columns(path: &Path, columns: &[String], found: &[&str]) -> Result<(), QueriesError> {
    match columns
        .iter()
        .find(|column| !found.contains(&column.as_str()))
    {
        Some(column) => Err(QueriesError::Column {
            path: path.to_owned(),
            column: column.clone(),
            found: found.join(", "),
        }),
        None => Ok(()),
    }
}

fn wrong(path: &Path, line: u64, problem: &str) -> QueriesError {
    QueriesError::Line {
        path: path.to_owned(),
        line,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(name: &str, content: &[u8], columns: &[&str]) -> Result<Vec<Vec<Value>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        let set = QuerySet::read(&path, &columns).map_err(|error| error.to_string())?;
        Ok(set.rows)
    }

    #[test]
    fn reads_lines_of_text() {
        let rows = read(
            "a.txt",
            "\u{feff}first\r\n\n   \nsay \"hi\"".as_bytes(),
            &["query"],
        );
        assert_eq!(rows.unwrap(), [[json!("first")], [json!("say \"hi\"")]]);
    }

    #[test]
    fn reads_lines_of_json() {
        let content = b"\"plain\"\n{\"query\": \"q\", \"more\": 1}\n";
        let rows = read("a.jsonl", content, &["query"]).unwrap();
        assert_eq!(rows, [[json!("plain")], [json!("q")]]);
        let content = b"{\"query\": \"q\", \"filter\": {\"a\": 1}}\n";
        let rows = read("a.NDJSON", content, &["filter", "query"]).unwrap();
        assert_eq!(rows, [[json!({"a": 1}), json!("q")]]);
    }

    #[test]
    fn reads_csv() {
        let content = "\u{feff}id, query\n1,\"a, \"\"b\"\"\nc\"\n\n2,d\n";
        let rows = read("a.csv", content.as_bytes(), &["query"]).unwrap();
        assert_eq!(rows, [[json!("a, \"b\"\nc")], [json!("d")]]);
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        for (name, content, column, problem) in [
            ("a.txt", &b" \n\n"[..], "query", "is empty"),
            ("a.txt", b"ok\n\xff\xfe\n", "query", "line 2 of"),
            ("a.txt", b"ok\n", "name", "no column \"name\"; it has query"),
            ("a.jsonl", b"\"a\"\n{\"a\": \n", "query", "line 2 of"),
            ("a.jsonl", b"{\"a\": 1}\n", "query", "no field \"query\""),
            ("a.jsonl", b"5\n", "query", "is neither"),
            ("a.jsonl", b"{\"name\": 1}\n\"a\"\n", "name", "line 2 of"),
            ("a.jsonl", b"\"a\"\n", "name", "no field \"name\""),
            (
                "a.csv",
                b"id,query,query\n1,a,b\n",
                "query",
                "names the column \"query\" more than once",
            ),
            ("a.csv", b"id,text\n1,a\n", "query", "it has id, text"),
            ("a.csv", b"id,query\n1\n", "query", "line 2 of"),
            ("a.csv", b"query\n", "query", "is empty"),
            ("a.csv", b"", "query", "no column"),
        ] {
            let error = read(name, content, &[column]).unwrap_err();
            assert!(error.contains(problem), "{name} {content:?}: {error}");
        }
        let missing = QuerySet::read(Path::new("/nonexistent"), &[]);
        assert!(matches!(missing, Err(QueriesError::Read { .. })));
    }

    #[test]
    fn what_is_asked_has_a_digest() {
        let columns = ["query".to_owned()];
        let digest = |texts: &[&str]| QuerySet::of_texts(texts, &columns).digest();
        assert_eq!(digest(&[]), "");
        assert_ne!(digest(&["a", "b"]), digest(&["b", "a"]));
    }
}
