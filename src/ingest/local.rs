//! The sink that embeds in this process and writes the store it opened.

use super::files::{FoundFile, Place};
use super::pipeline::{Event, FileError, Known, Options, ReadFile, Sink};
use super::{IngestError, Ingester, Prepared, plan};
use crate::domain::{EmbeddedDocument, ExtractedText, SourceName, UpsertStatus};
use crate::extract::ExtractError;

impl Sink for Ingester {
    type Ready = Prepared;

    fn known(&self, files: &[&FoundFile], options: &Options) -> Result<Vec<Known>, IngestError> {
        let sources: Vec<SourceName> = files.iter().map(|file| file.source.clone()).collect();
        let stored = self.stored_hashes(&options.collection, &sources)?;
        let known = |(file, stored): (&&FoundFile, _)| match (&file.place, file.format, stored) {
            (_, _, None) => Known::Nothing,
            (
                Place::Object {
                    version: Some(version),
                },
                Some(format),
                stored,
            ) if plan::need(
                self.version_hash(format, version, None, &options.metadata),
                stored,
            ) == plan::Need::Nothing =>
            {
                Known::This
            }
            _ => Known::Another,
        };
        Ok(files.iter().zip(stored).map(known).collect())
    }

    fn prepare(
        &self,
        read: ReadFile<'_>,
        options: &Options,
    ) -> Result<Option<Prepared>, FileError> {
        let ReadFile {
            file,
            format,
            bytes,
            version,
        } = read;
        let content_hash = match version {
            Some(version) => self.version_hash(format, version, None, &options.metadata),
            None => self.hash(format, bytes, None, &options.metadata),
        };
        let stored = self.stored_hash(&options.collection, &file.source)?;
        if plan::need(content_hash, stored) == plan::Need::Nothing {
            return Ok(None);
        }
        let is_stored = stored.is_some();
        let text = match (self.extract)(format, bytes) {
            // What it held before must not be quoted any more.
            Err(ExtractError::Empty) if is_stored => ExtractedText::default(),
            text => text?,
        };
        let document = EmbeddedDocument {
            collection: options.collection.clone(),
            source: file.source.clone(),
            title: text.title.clone().unwrap_or_default(),
            metadata: options.metadata.clone(),
            content_hash,
            bytes: bytes.len() as u64,
            chunks: Vec::new(),
        };
        let prepared = Ingester::prepare(self, document, &text);
        if prepared.chunk_count() == 0 && !is_stored {
            return Err(ExtractError::Empty.into());
        }
        Ok(Some(prepared))
    }

    fn describe(&self, ready: &Prepared) -> (String, usize) {
        (ready.source().to_string(), ready.chunk_count())
    }

    /// A batch of chunks fills a call to the model.
    fn is_enough(&self, waiting: &[Prepared]) -> bool {
        waiting.iter().map(Prepared::chunk_count).sum::<usize>() >= self.batch
    }

    fn store(
        &self,
        ready: Vec<Prepared>,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), IngestError> {
        let sources: Vec<String> = ready.iter().map(|p| p.source().to_string()).collect();
        let outcomes = Ingester::store(self, ready, &mut |chunks| report(Event::Embedded(chunks)))?;
        for (source, outcome) in sources.into_iter().zip(outcomes) {
            report(match outcome {
                Ok(stored) if stored.status == UpsertStatus::Unchanged => Event::Unchanged(source),
                Ok(stored) => Event::Stored {
                    source,
                    status: stored.status,
                    chunks: stored.chunks,
                },
                Err(error) => Event::Failed {
                    source,
                    error: error.into(),
                },
            });
        }
        Ok(())
    }
}
