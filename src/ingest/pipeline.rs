//! Files → workers that read and prepare them → one thread that hands them to a [`Sink`].
//!
//! Objects that the sink has in their very version are left alone before any work is begun.
//!
//! Memory is bounded: at most `workers` files are being taken apart, at most [`FETCHES`] objects
//! are being fetched, and at most [`QUEUE_DOCUMENTS`] wait for the sink.

use super::IngestError;
use super::files::{Found, FoundFile, Place};
use super::objects::{FETCHES, ObjectError, Objects};
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

/// Objects that are compared in one look at the sink.
const COMPARED_TOGETHER: usize = 500;

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
    /// It was deleted after it was found; a warning.
    Vanished(String),
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
            | Self::Vanished(source)
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
    /// It could not be fetched.
    #[error(transparent)]
    Object(ObjectError),
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
    /// What stands for its content in the store's hash, for objects.
    pub version: Option<&'a str>,
}

/// What a sink has of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing under its source.
    Nothing,
    /// Another version, or it was worked on in another way.
    Another,
    /// This version.
    This,
}

/// Where documents go: a store that this process opened, or a running daemon.
pub trait Sink: Sync {
    /// A document on its way.
    type Ready: Send;

    /// What is there of files that have a version and a format, in their order.
    ///
    /// # Errors
    /// When the sink as a whole refuses.
    fn known(&self, files: &[&FoundFile], options: &Options) -> Result<Vec<Known>, IngestError>;

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

/// Stores what was found; `report` hears of each exactly once.
///
/// # Errors
/// When the sink as a whole refuses; documents stored before stay.
pub fn run<S: Sink>(
    sink: &S,
    found: &Found,
    options: &Options,
    report: &mut dyn FnMut(Event),
) -> Result<(), IngestError> {
    let files = compare(sink, &found.files, options, report)?;
    let workers = options.workers.max(1);
    let has_objects = files.iter().any(|file| file.place.is_object());
    let threads = workers.max(if has_objects { FETCHES } else { 1 });
    let bench = Bench {
        sink,
        options,
        objects: found.objects.as_ref(),
        turns: Turns::new(workers),
    };
    let next = AtomicUsize::new(0);
    let is_stopped = AtomicBool::new(false);
    let (sender, receiver) = crossbeam_channel::bounded(QUEUE_DOCUMENTS);
    let work_through = |sender: crossbeam_channel::Sender<Work<S::Ready>>| {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let work = bench.work_on(file);
            if is_stopped.load(Ordering::Relaxed) || sender.send(work).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
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

/// Reports the objects that need no work, and returns the other files.
fn compare<'a, S: Sink>(
    sink: &S,
    files: &'a [FoundFile],
    options: &Options,
    report: &mut dyn FnMut(Event),
) -> Result<Vec<&'a FoundFile>, IngestError> {
    let is_versioned = |file: &&FoundFile| {
        file.format.is_some()
            && file.bytes <= MAX_FILE_BYTES
            && matches!(file.place, Place::Object { version: Some(_) })
    };
    let (objects, mut rest): (Vec<_>, Vec<_>) = files.iter().partition(is_versioned);
    for objects in objects.chunks(COMPARED_TOGETHER) {
        for (file, known) in objects.iter().zip(sink.known(objects, options)?) {
            let source = || file.source.to_string();
            match known {
                Known::This => report(Event::Unchanged(source())),
                // Nothing is fetched to say what would be done.
                _ if options.dry_run && file.bytes == 0 => report(Event::Empty(source())),
                known if options.dry_run => report(Event::Stored {
                    source: source(),
                    status: match known {
                        Known::Another => UpsertStatus::Replaced,
                        _ => UpsertStatus::Created,
                    },
                    chunks: 0,
                }),
                _ => rest.push(file),
            }
        }
    }
    Ok(rest)
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

/// Where files are taken apart.
struct Bench<'a, S> {
    sink: &'a S,
    options: &'a Options,
    objects: Option<&'a Objects>,
    turns: Turns,
}

impl<S: Sink> Bench<'_, S> {
    fn work_on(&self, file: &FoundFile) -> Work<S::Ready> {
        let source = || file.source.to_string();
        let prepare = || {
            let format = file.format.ok_or(FileError::UnknownFormat)?;
            let (bytes, version) = self.read(file)?;
            let read = ReadFile {
                file,
                format,
                bytes: &bytes,
                version: version.as_deref(),
            };
            let _turn = self.turns.take();
            self.sink.prepare(read, self.options)
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
            Err(FileError::Object(ObjectError::NoObject)) => Work::Done(Event::Vanished(source())),
            Err(error) => Work::Done(Event::Failed {
                source: source(),
                error,
            }),
        }
    }

    /// The whole of it, and its version if it is an object that has one.
    fn read(&self, file: &FoundFile) -> Result<(Vec<u8>, Option<String>), FileError> {
        match (&file.place, self.objects) {
            (Place::File(path), _) => Ok((read(path)?, None)),
            (Place::Object { .. }, _) if file.bytes > MAX_FILE_BYTES => Err(too_large(file.bytes)),
            // Nothing to fetch.
            (Place::Object { version }, _) if file.bytes == 0 => Ok((Vec::new(), version.clone())),
            (Place::Object { .. }, None) => Err(FileError::Object(ObjectError::NoObject)),
            (Place::Object { .. }, Some(objects)) => match objects.get(&file.source) {
                Ok(body) => Ok((body.bytes, body.version)),
                Err(ObjectError::TooLarge { bytes }) => Err(too_large(bytes)),
                Err(error) => Err(FileError::Object(error)),
            },
        }
    }
}

/// A turn for each worker: those who fetch are more than those who take apart.
struct Turns(
    crossbeam_channel::Sender<()>,
    crossbeam_channel::Receiver<()>,
);

/// One turn, given back when it goes out of scope.
struct Turn<'a>(&'a crossbeam_channel::Receiver<()>);

impl Turns {
    fn new(most: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(most);
        Self(sender, receiver)
    }

    /// Waits until fewer than the most have a turn.
    fn take(&self) -> Turn<'_> {
        // Both ends are here: the channel is never closed.
        let _ = self.0.send(());
        Turn(&self.1)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

fn too_large(bytes: u64) -> FileError {
    ExtractError::TooLarge {
        bytes,
        limit: MAX_FILE_BYTES,
    }
    .into()
}

/// The whole file, refused before it is read when it is too large; a file that grows meanwhile is
/// read up to the limit and refused too.
fn read(path: &Path) -> Result<Vec<u8>, FileError> {
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
