//! Files → workers that read and prepare them → one thread that hands them to a [`Sink`].
//!
//! Memory is bounded: at most `workers` files are being taken apart, and at most
//! [`QUEUE_DOCUMENTS`] wait for the sink.

use super::IngestError;
use super::files::FoundFile;
use crate::domain::{CollectionName, Metadata, UpsertStatus};
use crate::extract::{ExtractError, Format};
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

impl Event {
    /// The file it is the end of; `None` for how the work goes on.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Unchanged(source)
            | Self::Empty(source)
            | Self::Stored { source, .. }
            | Self::Failed { source, .. } => Some(source),
            Self::Embedded(_) => None,
        }
    }
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

/// A file that was read.
#[derive(Clone, Copy, Debug)]
pub struct ReadFile<'a> {
    /// Where it was found, and what it is known by.
    pub file: &'a FoundFile,
    /// Its format.
    pub format: Format,
    /// The whole of it.
    pub bytes: &'a [u8],
}

/// Where documents go: a store that this process opened, or a running daemon.
pub trait Sink: Sync {
    /// A document on its way.
    type Ready: Send;

    /// Makes a document of a file; called on many threads. `None` when it is stored already.
    ///
    /// # Errors
    /// When it cannot become a document; [`ExtractError::Empty`] when there is no text in it.
    fn prepare(
        &self,
        read: ReadFile<'_>,
        options: &Options,
    ) -> Result<Option<Self::Ready>, FileError>;

    /// What it is known by, and how many chunks it has (as far as known).
    fn describe(&self, ready: &Self::Ready) -> (String, usize);

    /// Whether these are worth a call to [`Sink::store`].
    fn is_enough(&self, waiting: &[Self::Ready]) -> bool;

    /// Stores documents, each whole or refused by itself; `report` hears of each once.
    ///
    /// # Errors
    /// When the store as a whole refuses; nothing of this call is stored then.
    fn store(
        &self,
        ready: Vec<Self::Ready>,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), IngestError>;
}

enum Work<R> {
    Ready(R),
    Done(Event),
}

/// Stores `files`; `report` hears of each exactly once.
///
/// # Errors
/// When the sink as a whole refuses; documents stored before stay.
pub fn run<S: Sink>(
    sink: &S,
    files: &[FoundFile],
    options: &Options,
    report: &mut dyn FnMut(Event),
) -> Result<(), IngestError> {
    let next = AtomicUsize::new(0);
    let is_stopped = AtomicBool::new(false);
    let (sender, receiver) = crossbeam_channel::bounded(QUEUE_DOCUMENTS);
    let work_through = |sender: crossbeam_channel::Sender<Work<S::Ready>>| {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let work = work_on(sink, file, options);
            if is_stopped.load(Ordering::Relaxed) || sender.send(work).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.workers.max(1) {
            let sender = sender.clone();
            scope.spawn(|| work_through(sender));
        }
        drop(sender);
        let result = store_all(sink, &receiver, options, report);
        is_stopped.store(true, Ordering::Relaxed);
        drop(receiver);
        result
    })
}

/// Gathers documents until there are enough of them, then stores them.
fn store_all<S: Sink>(
    sink: &S,
    receiver: &crossbeam_channel::Receiver<Work<S::Ready>>,
    options: &Options,
    report: &mut dyn FnMut(Event),
) -> Result<(), IngestError> {
    let mut waiting = Vec::new();
    for work in receiver {
        match work {
            Work::Done(event) => report(event),
            Work::Ready(ready) if options.dry_run => {
                let (source, chunks) = sink.describe(&ready);
                report(Event::Stored {
                    source,
                    status: UpsertStatus::Created,
                    chunks,
                });
            }
            Work::Ready(ready) => {
                // A large document takes long: those before it need not wait for it.
                if !waiting.is_empty() && sink.is_enough(std::slice::from_ref(&ready)) {
                    sink.store(std::mem::take(&mut waiting), report)?;
                }
                waiting.push(ready);
            }
        }
        if sink.is_enough(&waiting) {
            sink.store(std::mem::take(&mut waiting), report)?;
        }
    }
    if waiting.is_empty() {
        Ok(())
    } else {
        sink.store(waiting, report)
    }
}

fn work_on<S: Sink>(sink: &S, file: &FoundFile, options: &Options) -> Work<S::Ready> {
    let source = || file.source.to_string();
    let prepare = || {
        let format = file.format.ok_or(FileError::UnknownFormat)?;
        let bytes = read(&file.path)?;
        sink.prepare(
            ReadFile {
                file,
                format,
                bytes: &bytes,
            },
            options,
        )
    };
    let crashed = |_| {
        let problem = "the parser crashed on it; please report it".to_owned();
        Err(ExtractError::Malformed(problem).into())
    };
    match catch_unwind(AssertUnwindSafe(prepare)).unwrap_or_else(crashed) {
        Ok(Some(ready)) => Work::Ready(ready),
        Ok(None) => Work::Done(Event::Unchanged(source())),
        Err(FileError::Document(IngestError::Extract(ExtractError::Empty))) => {
            Work::Done(Event::Empty(source()))
        }
        Err(error) => Work::Done(Event::Failed {
            source: source(),
            error,
        }),
    }
}

/// The whole file, refused before it is read when it is too large; a file that grows meanwhile is
/// read up to the limit and refused too.
fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let too_large = |bytes| {
        ExtractError::TooLarge {
            bytes,
            limit: MAX_FILE_BYTES,
        }
        .into()
    };
    // Before it is opened: opening a named pipe would wait for a writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(FileError::Read(std::io::Error::other(
            "it is not a regular file",
        )));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}
