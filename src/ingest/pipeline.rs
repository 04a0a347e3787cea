//! Files → workers that read, hash, extract and chunk → one thread that embeds and stores.
//!
//! Memory is bounded: at most `workers` files are being taken apart, and at most
//! [`QUEUE_DOCUMENTS`] wait for the model. A document is stored once all its chunks have vectors.

use super::files::FoundFile;
use super::{IngestError, Ingester, Prepared, plan};
use crate::domain::{CollectionName, EmbeddedDocument, Metadata, UpsertStatus};
use crate::extract::ExtractError;
use crate::store::StoreError;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Documents that may wait between extraction and the model: enough to fill batches of small
/// documents, few enough that a thousand large ones do not pile up.
const QUEUE_DOCUMENTS: usize = 64;

/// Largest file that is read at all, in bytes; a format may be stricter.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// What happened to one file, or how the work goes on.
#[derive(Debug)]
pub enum Event {
    /// The content is already stored.
    Unchanged(String),
    /// It was stored.
    Stored {
        /// Its source.
        source: String,
        /// Created or replaced.
        status: UpsertStatus,
        /// Its chunks.
        chunks: usize,
    },
    /// There is no text in it; a warning.
    Empty(String),
    /// It was not stored.
    Failed {
        /// Its source.
        source: String,
        /// Why.
        error: FileError,
    },
    /// Vectors were made for this many chunks.
    Embedded(usize),
}

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused, or it is a pipe or device.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// Its extension is not one that is read.
    #[error("its format is not one that is read; there are: md, pdf, html, txt, rst, log")]
    UnknownFormat,
    /// Its document was refused.
    #[error(transparent)]
    Document(#[from] IngestError),
}

impl From<ExtractError> for FileError {
    fn from(error: ExtractError) -> Self {
        Self::Document(IngestError::Extract(error))
    }
}

impl From<StoreError> for FileError {
    fn from(error: StoreError) -> Self {
        Self::Document(IngestError::Store(error))
    }
}

/// How a run of the pipeline is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the documents go.
    pub collection: CollectionName,
    /// Attached to every document.
    pub metadata: Metadata,
    /// Threads that read files and take them apart, at least 1.
    pub workers: usize,
    /// Find out what would be done, and store nothing.
    pub dry_run: bool,
}

enum Work {
    Ready(Prepared),
    Done(Event),
}

/// Stores `files`; `report` hears of each exactly once.
///
/// # Errors
/// When the store or the model as a whole refuses; documents stored before stay.
pub fn run(
    ingester: &Ingester,
    files: &[FoundFile],
    options: &Options,
    report: &mut dyn FnMut(Event),
) -> Result<(), IngestError> {
    let next = AtomicUsize::new(0);
    let is_stopped = AtomicBool::new(false);
    let (sender, receiver) = crossbeam_channel::bounded::<Work>(QUEUE_DOCUMENTS);
    std::thread::scope(|scope| {
        for _ in 0..options.workers.max(1) {
            let sender = sender.clone();
            let (next, is_stopped) = (&next, &is_stopped);
            scope.spawn(move || {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let work = work_on(ingester, file, options);
                    if is_stopped.load(Ordering::Relaxed) || sender.send(work).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let result = store_all(ingester, &receiver, options, report);
        is_stopped.store(true, Ordering::Relaxed);
        drop(receiver);
        result
    })
}

/// Gathers documents until a batch of chunks is full, then embeds and stores them.
fn store_all(
    ingester: &Ingester,
    receiver: &crossbeam_channel::Receiver<Work>,
    options: &Options,
    report: &mut dyn FnMut(Event),
) -> Result<(), IngestError> {
    let mut waiting: Vec<Prepared> = Vec::new();
    for work in receiver {
        match work {
            Work::Done(event) => report(event),
            Work::Ready(prepared) if options.dry_run => report(Event::Stored {
                source: prepared.source().to_string(),
                status: UpsertStatus::Created,
                chunks: prepared.chunk_count(),
            }),
            Work::Ready(prepared) => waiting.push(prepared),
        }
        if waiting.iter().map(Prepared::chunk_count).sum::<usize>() >= ingester.batch {
            store(ingester, std::mem::take(&mut waiting), report)?;
        }
    }
    store(ingester, waiting, report)
}

fn store(
    ingester: &Ingester,
    prepared: Vec<Prepared>,
    report: &mut dyn FnMut(Event),
) -> Result<(), IngestError> {
    let sources: Vec<String> = prepared.iter().map(|p| p.source().to_string()).collect();
    let outcomes = ingester.store(prepared, &mut |chunks| report(Event::Embedded(chunks)))?;
    for (source, outcome) in sources.into_iter().zip(outcomes) {
        report(match outcome {
            Ok(stored) if stored.status == UpsertStatus::Unchanged => Event::Unchanged(source),
            Ok(stored) => Event::Stored { source, status: stored.status, chunks: stored.chunks },
            Err(error) => Event::Failed { source, error: error.into() },
        });
    }
    Ok(())
}

fn work_on(ingester: &Ingester, file: &FoundFile, options: &Options) -> Work {
    let source = || file.source.to_string();
    let prepared = catch_unwind(AssertUnwindSafe(|| prepare(ingester, file, options)));
    let crashed = |_| {
        let problem = "the parser crashed on it; please report it".to_owned();
        Err(ExtractError::Malformed(problem).into())
    };
    match prepared.unwrap_or_else(crashed) {
        Ok(Some(prepared)) => Work::Ready(prepared),
        Ok(None) => Work::Done(Event::Unchanged(source())),
        Err(FileError::Document(IngestError::Extract(ExtractError::Empty))) => Work::Done(Event::Empty(source())),
        Err(error) => Work::Done(Event::Failed { source: source(), error }),
    }
}

/// `None` when the very same content is stored already.
fn prepare(
    ingester: &Ingester,
    file: &FoundFile,
    options: &Options,
) -> Result<Option<Prepared>, FileError> {
    let format = file.format.ok_or(FileError::UnknownFormat)?;
    let bytes = read(&file.path)?;
    let content_hash = ingester.hash(format, &bytes, None, &options.metadata);
    let stored = ingester
        .repo
        .content_hashes(&options.collection, std::slice::from_ref(&file.source))
        .or_else(|error| match error {
            StoreError::UnknownCollection { .. } => Ok(vec![None]),
            other => Err(other),
        })?;
    if plan::need(content_hash, stored.first().copied().flatten()) == plan::Need::Nothing {
        return Ok(None);
    }
    let text = (ingester.extract)(format, &bytes)?;
    let document = EmbeddedDocument {
        collection: options.collection.clone(),
        source: file.source.clone(),
        title: text.title.clone().unwrap_or_default(),
        metadata: options.metadata.clone(),
        content_hash,
        bytes: bytes.len() as u64,
        chunks: Vec::new(),
    };
    let prepared = ingester.prepare(document, &text);
    if prepared.chunk_count() == 0 {
        return Err(ExtractError::Empty.into());
    }
    Ok(Some(prepared))
}

/// The whole file, refused before it is read when it is too large; a file that grows meanwhile is
/// read up to the limit and refused too.
fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let too_large = |bytes| ExtractError::TooLarge { bytes, limit: MAX_FILE_BYTES }.into();
    // Before it is opened: opening a named pipe would wait for a writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(FileError::Read(std::io::Error::other("it is not a regular file")));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}
