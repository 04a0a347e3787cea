//! Request bodies to the words of the domain.

use super::json::{Fields, parse};
use super::problem::Problem;
use crate::domain::{
    AnswerKind, CollectionName, Filter, Metadata, Mode, Query, QueryText, SourceName, TopK,
};
use crate::ingest::NewDocument;
use http::StatusCode;
use serde_json::Value;

/// Most documents in one call; a call is one unit of work and one reply.
pub(super) const MAX_DOCUMENTS: usize = 1_000;

const QUERY_FIELDS: &[&str] = &["query", "top_k", "mode", "collection", "filter", "answer"];
const DOCUMENT_FIELDS: &[&str] = &[
    "content",
    "source",
    "title",
    "metadata",
    "collection",
    "version",
];
/// Longest version, in bytes.
const MAX_VERSION_BYTES: usize = 256;
/// Longest title, in bytes.
const MAX_TITLE_BYTES: usize = 1_024;

/// Reads the body of `POST /v1/query`; a query that does not say how it is answered gets
/// `default_answer`.
pub(crate) fn query(body: &[u8], default_answer: AnswerKind) -> Result<Query, Problem> {
    let mut fields = Fields::new(parse(body)?, "the body", QUERY_FIELDS)?;
    let text = fields.text("query")?;
    let top_k = fields.maybe_integer("top_k")?;
    Ok(Query {
        text: QueryText::new(&text)?,
        top_k: top_k.map_or(Ok(TopK::default()), TopK::new)?,
        mode: fields.choice(
            "mode",
            Mode::default(),
            &[
                ("hybrid", Mode::Hybrid),
                ("vector", Mode::Vector),
                ("text", Mode::Text),
            ],
        )?,
        collection: collection(&mut fields)?,
        filter: Filter::new(fields.maybe_object("filter")?.unwrap_or_default())?,
        answer: fields.choice(
            "answer",
            default_answer,
            &[
                ("extractive", AnswerKind::Extractive),
                ("generated", AnswerKind::Generated),
                ("none", AnswerKind::None),
            ],
        )?,
    })
}

fn collection(fields: &mut Fields) -> Result<CollectionName, Problem> {
    let name = fields.maybe_text("collection")?;
    Ok(name.map_or(Ok(CollectionName::default()), |name| {
        CollectionName::new(&name)
    })?)
}

/// What `POST /v1/documents` was given.
pub(crate) enum Documents {
    /// One object, refused with its own status.
    One(Result<NewDocument, Problem>),
    /// An array, each of it refused by itself, with its source as far as known.
    Many(Vec<(Option<String>, Result<NewDocument, Problem>)>),
}

/// Reads the body of `POST /v1/documents`.
pub(crate) fn documents(body: &[u8]) -> Result<Documents, Problem> {
    let items = match parse(body)? {
        Value::Array(items) => items,
        object @ Value::Object(_) => return Ok(Documents::One(document(object))),
        _ => {
            let detail = "the body must be a document or an array of documents";
            return Err(Problem::field("", detail));
        }
    };
    if items.len() > MAX_DOCUMENTS {
        let detail = format!(
            "the body may hold {MAX_DOCUMENTS} documents, got {}",
            items.len()
        );
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_documents",
            detail,
        ));
    }
    let read = items.into_iter().map(|item| {
        let source = item.get("source").and_then(Value::as_str);
        let source = source.map(|source| crate::domain::query::shorten(source, 1_024));
        (source, document(item))
    });
    Ok(Documents::Many(refuse_repeats(read.collect())))
}

type Read = (Option<String>, Result<NewDocument, Problem>);

/// Refuses a document whose collection and source an earlier one of the same call has.
fn refuse_repeats(mut read: Vec<Read>) -> Vec<Read> {
    let mut seen = std::collections::HashSet::new();
    for (_, item) in &mut read {
        let repeated = item.as_ref().is_ok_and(|document| {
            !seen.insert((document.collection.clone(), document.source.clone()))
        });
        if repeated {
            let detail = "`source` stands twice in this call; only the first one is stored";
            *item = Err(Problem::field("source", detail));
        }
    }
    read
}

fn document(value: Value) -> Result<NewDocument, Problem> {
    let mut fields = Fields::new(value, "a document", DOCUMENT_FIELDS)?;
    let version = fields.maybe_text("version")?;
    if let Some(version) = &version
        && !(1..=MAX_VERSION_BYTES).contains(&version.len())
    {
        let length = version.len();
        let detail = format!("`version` must be 1 to {MAX_VERSION_BYTES} bytes, got {length}");
        return Err(Problem::field("version", detail));
    }
    let content = match version {
        Some(_) => fields.maybe_text("content")?,
        None => Some(fields.text("content")?),
    };
    let source = SourceName::new(&fields.text("source")?)?;
    let title = fields.maybe_text("title")?;
    if let Some(title) = &title
        && (title.len() > MAX_TITLE_BYTES || title.contains('\0'))
    {
        let detail = format!(
            "`title` must be at most {MAX_TITLE_BYTES} bytes without NUL characters, got {}",
            title.len()
        );
        return Err(Problem::field("title", detail));
    }
    Ok(NewDocument {
        collection: collection(&mut fields)?,
        source,
        title,
        metadata: Metadata::new(fields.maybe_object("metadata")?.unwrap_or_default())?,
        content,
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(body: &[u8]) -> Result<Query, Problem> {
        super::query(body, AnswerKind::Extractive)
    }

    fn refused(body: &str) -> (u16, String, String) {
        let problem = query(body.as_bytes()).unwrap_err();
        let field = problem.field.unwrap_or_default().into();
        (problem.status.as_u16(), field, problem.detail)
    }

    #[test]
    fn a_query_has_defaults_and_takes_every_field() {
        let plain = query(br#"{"query": "helm?"}"#).unwrap();
        assert_eq!((plain.top_k.get(), plain.mode), (3, Mode::Hybrid));
        assert_eq!(plain.collection.as_str(), "default");
        let nulls = br#"{"query": "helm?", "top_k": null, "mode": null, "filter": null}"#;
        assert_eq!(query(nulls).unwrap(), plain);
        let full = query(
            br#"{"query": "a", "top_k": 100, "mode": "text", "collection": "docs",
                "filter": {"source": "docs/*.md", "lang": "en"}, "answer": "none"}"#,
        )
        .unwrap();
        assert_eq!((full.top_k.get(), full.mode), (100, Mode::Text));
        assert_eq!(full.filter.source.as_deref(), Some("docs/*.md"));
        assert_eq!(full.answer, AnswerKind::None);
    }

    #[track_caller]
    fn assert_refused(cases: &[(&str, &str, &str)]) {
        for (body, field, says) in cases {
            let (status, named, detail) = refused(body);
            assert_eq!((status, named.as_str()), (422, *field), "{body}: {detail}");
            assert!(detail.contains(says), "{body}: {detail}");
        }
    }

    #[test]
    fn wrong_fields_are_422_and_named() {
        assert_refused(&[
            (r"{}", "query", "missing"),
            (r#"{"query": ""}"#, "query", "1 to 8192 bytes"),
            (r#"{"query": "  "}"#, "query", "white space"),
            (r#"{"query": 3}"#, "query", "must be a string, got 3"),
            (r#"{"query": null}"#, "query", "missing"),
            (r#"{"query": "a\u0000b"}"#, "query", "NUL"),
            (r#"{"query": "a", "top_k": 0}"#, "top_k", "got 0"),
            (r#"{"query": "a", "top_k": -1}"#, "top_k", "got -1"),
            (r#"{"query": "a", "top_k": 101}"#, "top_k", "got 101"),
            (
                r#"{"query": "a", "top_k": "3"}"#,
                "top_k",
                "must be an integer, got \"3\"",
            ),
            (
                r#"{"query": "a", "top_k": 1e30}"#,
                "top_k",
                "must be an integer",
            ),
            (
                r#"{"query": "a", "top_k": 3.0}"#,
                "top_k",
                "must be an integer, got 3.0",
            ),
            (
                r#"{"query": "a", "top_k": 99999999999999999999}"#,
                "top_k",
                "integer",
            ),
        ]);
    }

    #[test]
    fn wrong_words_and_shapes_are_422_and_named() {
        assert_refused(&[
            (
                r#"{"query": "a", "mode": "fast"}"#,
                "mode",
                "\"hybrid\" or \"vector\"",
            ),
            (r#"{"query": "a", "answer": true}"#, "answer", "got true"),
            (
                r#"{"query": "a", "collection": "A b"}"#,
                "collection",
                "a-z",
            ),
            (
                r#"{"query": "a", "filter": []}"#,
                "filter",
                "must be an object, got an array",
            ),
            (
                r#"{"query": "a", "filter": {"a": [1]}}"#,
                "filter",
                "nested",
            ),
            (
                r#"{"query": "a", "filter": {"source": 1}}"#,
                "filter",
                "glob",
            ),
            (
                r#"{"query": "a", "filter": {"source": "["}}"#,
                "filter",
                "source",
            ),
            (
                r#"{"query": "a", "topk": 3}"#,
                "topk",
                "did you mean `top_k`?",
            ),
            (r#"{"query": "a", "query": "b"}"#, "query", "twice"),
            (r#"["a"]"#, "", "must be an object, got an array"),
            (r#""a""#, "", "must be an object, got \"a\""),
        ]);
        let long = format!(r#"{{"query": "{}"}}"#, "x".repeat(8_193));
        assert!(refused(&long).2.contains("got 8193 bytes"));
    }

    #[test]
    fn right_to_left_and_astral_text_passes() {
        let read = query("{\"query\": \"\u{202e}שלום 👋 \\ud83d\\udc4b\"}".as_bytes()).unwrap();
        assert_eq!(read.text.as_str(), "\u{202e}שלום 👋 👋");
    }

    #[test]
    fn documents_are_refused_one_by_one() {
        let body = br#"[{"source": "a.md", "content": "x"}, {"source": "b.md"}, 7,
            {"source": "a.md", "content": "y"}, {"source": "", "content": "z"},
            {"source": "c.md", "content": "x", "metadata": {"a": {}}},
            {"source": "a.md", "content": "x", "collection": "other"}]"#;
        let Documents::Many(read) = documents(body).unwrap() else {
            panic!("an array")
        };
        let fields: Vec<_> = read
            .iter()
            .map(|(_, item)| {
                item.as_ref()
                    .err()
                    .map(|p| p.field.clone().unwrap_or_default())
            })
            .map(|field| field.map(String::from))
            .collect();
        let fields: Vec<_> = fields.iter().map(Option::as_deref).collect();
        assert_eq!(
            fields,
            [
                None,
                Some("content"),
                Some(""),
                Some("source"),
                Some("source"),
                Some("metadata"),
                None
            ]
        );
    }

    #[test]
    fn a_version_may_stand_for_the_content() {
        let one = |body: &str| match documents(body.as_bytes()).unwrap() {
            Documents::One(document) => document,
            Documents::Many(_) => panic!("one"),
        };
        let asked = one(r#"{"source": "a.md", "version": "v1"}"#).unwrap();
        assert_eq!(
            (asked.content, asked.version.as_deref()),
            (None, Some("v1"))
        );
        let field = |body: &str| one(body).unwrap_err().field.unwrap_or_default();
        assert_eq!(&*field(r#"{"source": "a.md", "version": ""}"#), "version");
        assert_eq!(&*field(r#"{"source": "a.md", "version": null}"#), "content");
        let long = format!(r#"{{"source": "a.md", "version": "{}"}}"#, "x".repeat(257));
        assert_eq!(&*field(&long), "version");
    }

    #[test]
    fn a_call_holds_at_most_a_thousand_documents() {
        let body = format!("[{}1]", "1,".repeat(MAX_DOCUMENTS));
        assert_eq!(
            documents(body.as_bytes()).err().unwrap().status.as_u16(),
            413
        );
    }
}
