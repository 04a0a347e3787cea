//! The sink that hands documents to the running daemon, which embeds and stores them.

use super::daemon::Daemon;
use crate::domain::{Block, BlockKind, CollectionName, ExtractedText, UpsertStatus};
use crate::extract::{ExtractError, Format};
use crate::failure::Failure;
use crate::ingest::files::{FoundFile, Place};
use crate::ingest::pipeline::{Event, FileError, Known, Options, ReadFile, Sink};
use crate::ingest::{Extract, IngestError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Content of one call, in bytes: half of the daemon's default for a body, as JSON escapes some.
const CALL_BYTES: usize = 1 << 20;
/// Documents of one call: the daemon takes 1,000.
const CALL_DOCUMENTS: usize = 100;

/// Hands documents to a daemon.
pub(super) struct DaemonSink {
    daemon: Daemon,
    extract: Arc<Extract>,
}

/// A document as `POST /v1/documents` takes it.
pub(super) struct Offered {
    source: String,
    bytes: usize,
    /// There is no text in it: the daemon takes it only where it clears what is stored.
    is_empty: bool,
    body: Value,
}

impl DaemonSink {
    pub(super) fn new(daemon: Daemon, extract: Arc<Extract>) -> Self {
        Self { daemon, extract }
    }

    /// The ids of all documents of a collection by source; empty when there is no such collection.
    pub(super) fn documents(
        &self,
        collection: &CollectionName,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let known = self.daemon.get("/v1/collections")?;
        let is_known = known["collections"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one["name"] == collection.as_str()));
        let mut documents = BTreeMap::new();
        if !is_known {
            return Ok(documents);
        }
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/documents?collection={collection}&limit=1000{cursor}");
            let page = self.daemon.get(&path)?;
            for document in page["documents"].as_array().into_iter().flatten() {
                if let (Some(source), Some(id)) =
                    (document["source"].as_str(), document["id"].as_str())
                {
                    documents.insert(source.to_owned(), id.to_owned());
                }
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        Ok(documents)
    }

    /// Deletes a document.
    pub(super) fn delete(&self, id: &str) -> Result<(), Failure> {
        self.daemon
            .delete(&format!("/v1/documents/{id}"))
            .map(|_| ())
    }

    fn offer(&self, documents: Vec<Value>) -> Result<Value, IngestError> {
        self.daemon
            .post("/v1/documents", &Value::Array(documents))
            .map_err(|failure| IngestError::Daemon(failure.to_string()))
    }

    /// What the daemon is to read: a PDF is taken apart here, where the file is.
    fn content(&self, format: Format, bytes: &[u8]) -> Result<String, ExtractError> {
        match (format, std::str::from_utf8(bytes)) {
            (Format::Markdown | Format::Html | Format::Text, Ok(text)) => Ok(text.to_owned()),
            _ => (self.extract)(format, bytes).map(|text| written_out(&text)),
        }
    }
}

impl Sink for DaemonSink {
    type Ready = Offered;

    /// Documents with a version and no content: stored in that version, or refused.
    fn known(&self, files: &[&FoundFile], options: &Options) -> Result<Vec<Known>, IngestError> {
        let question = |file: &&FoundFile| {
            let version = match &file.place {
                Place::Object { version } => version.as_deref(),
                Place::File(_) => None,
            };
            json!({
                "source": file.source.as_str(),
                "version": version,
                "collection": options.collection.as_str(),
                "metadata": options.metadata.as_map(),
            })
        };
        let questions = files.iter().map(question).collect();
        let reply = self.offer(questions)?;
        let known = |index: usize| match reply["documents"][index]["status"].as_str() {
            Some("unchanged") => Known::This,
            _ => Known::Another,
        };
        Ok((0..files.len()).map(known).collect())
    }

    fn prepare(&self, read: ReadFile<'_>, options: &Options) -> Result<Option<Offered>, FileError> {
        let content = match self.content(read.format, read.bytes) {
            Err(ExtractError::Empty) => String::new(),
            content => content?,
        };
        let source = read.file.source.to_string();
        let bytes = content.len();
        let content_is_empty = content.trim().is_empty();
        let mut body = json!({
            "content": content,
            "source": source,
            "collection": options.collection.as_str(),
            "metadata": options.metadata.as_map(),
        });
        if let Some(version) = read.version {
            body["version"] = version.into();
        }
        Ok(Some(Offered {
            source,
            bytes,
            is_empty: content_is_empty,
            body,
        }))
    }

    fn describe(&self, ready: &Offered) -> (String, usize) {
        (ready.source.clone(), 0)
    }

    fn is_enough(&self, waiting: &[Offered]) -> bool {
        waiting.len() >= CALL_DOCUMENTS
            || waiting.iter().map(|offered| offered.bytes).sum::<usize>() >= CALL_BYTES
    }

    fn store(&self, ready: Vec<Offered>, report: &mut dyn FnMut(Event)) -> Result<(), IngestError> {
        let (sources, bodies): (Vec<(String, bool)>, Vec<Value>) = ready
            .into_iter()
            .map(|offered| ((offered.source, offered.is_empty), offered.body))
            .unzip();
        let reply = self.offer(bodies)?;
        let outcomes = reply["documents"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (index, (source, is_empty)) in sources.into_iter().enumerate() {
            let outcome = outcomes.get(index).unwrap_or(&Value::Null);
            let chunks = outcome["chunks"]
                .as_u64()
                .and_then(|chunks| usize::try_from(chunks).ok());
            let chunks = chunks.unwrap_or(0);
            let stored = |source, status| Event::Stored {
                source,
                status,
                chunks,
            };
            let event = match outcome["status"].as_str() {
                Some("unchanged") => Event::Unchanged(source),
                Some("created") => stored(source, UpsertStatus::Created),
                Some("replaced") => stored(source, UpsertStatus::Replaced),
                Some("refused") if is_empty => Event::Empty(source),
                _ => {
                    let detail = outcome["detail"]
                        .as_str()
                        .unwrap_or("the daemon gave no reason");
                    Event::Failed {
                        source,
                        error: IngestError::Daemon(detail.to_owned()).into(),
                    }
                }
            };
            if matches!(event, Event::Stored { .. }) {
                report(Event::Embedded(chunks));
            }
            report(event);
        }
        Ok(())
    }
}

/// Extracted text as Markdown: headings marked, pages parted by form feeds as `pdftotext` does.
fn written_out(text: &ExtractedText) -> String {
    let mut out = String::new();
    let mut page = text.blocks.first().and_then(|block| block.page);
    for Block {
        kind,
        text,
        page: on,
    } in &text.blocks
    {
        if *on != page {
            page = *on;
            out.push('\u{c}');
        }
        if let BlockKind::Heading(level) = kind {
            out.push_str(&"#".repeat(usize::from(*level)));
            out.push(' ');
        }
        out.push_str(text);
        out.push_str("\n\n");
    }
    out
}
