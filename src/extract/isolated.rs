//! Extraction that a bad file cannot take the process down with.

use super::worker::{ANSWER_BYTES, Answer, MEMORY_BYTES, read_frame};
use super::{ExtractError, Format, extract, limits};
use crate::domain::ExtractedText;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Documents after which a worker is replaced, so that what its parsers leak or keep goes.
const USES_MAX: usize = 200;

/// A document of more bytes leaves a worker large; it is replaced.
const LARGE_BYTES: usize = 16 << 20;

/// Workers kept for the next document.
const IDLE_MAX: usize = 8;

/// Reads documents in worker processes: one for each thread that calls, started when first needed,
/// used for many documents, and replaced when a document makes it crash, hang or grow.
///
/// Plain text is read right here, as nothing in it can go wrong.
#[derive(Debug)]
pub struct Extractor {
    program: Option<PathBuf>,
    timeout: Option<Duration>,
    idle: Mutex<Vec<Worker>>,
}

impl Extractor {
    /// The verb of the program that runs [`super::worker::run`].
    pub const VERB: &'static str = "extract-worker";

    /// Workers of this same program, also after its file was replaced by an upgrade.
    #[must_use]
    pub fn of_this_program() -> Self {
        Self::new("/proc/self/exe")
    }

    /// Workers of `program`, which runs [`super::worker::run`] when given [`Extractor::VERB`].
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: Some(program.into()),
            timeout: None,
            idle: Mutex::default(),
        }
    }

    /// Without workers, everything in this process: for tests, and for text that is trusted.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            program: None,
            timeout: None,
            idle: Mutex::default(),
        }
    }

    /// The same with another limit on the time of one document than [`limits::wall_time`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Takes the text out of `bytes`; blocks until it is done or the time is up.
    ///
    /// # Errors
    /// As [`extract`]; also [`ExtractError::Malformed`] when the parser crashed or went over a
    /// limit of [`limits`], and [`ExtractError::Worker`] when no worker can be started.
    pub fn extract(&self, format: Format, bytes: &[u8]) -> Result<ExtractedText, ExtractError> {
        let Some(program) = self.program.as_deref().filter(|_| format != Format::Text) else {
            return extract(format, bytes);
        };
        limits::check(format, bytes.len() as u64)?;
        let idle = self.lock().pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::start(program)?,
        };
        let timeout = self
            .timeout
            .unwrap_or_else(|| limits::wall_time(format, bytes.len() as u64));
        match worker.ask(format, bytes, timeout) {
            Ok(answer) => {
                worker.uses += 1;
                let mut idle = self.lock();
                let small = bytes.len() <= LARGE_BYTES;
                if small && worker.uses < USES_MAX && idle.len() < IDLE_MAX {
                    idle.push(worker);
                }
                answer
            }
            Err(Lost::Slow) => Err(ExtractError::Malformed(format!(
                "the parser took more than {} s",
                timeout.as_secs_f32()
            ))),
            Err(lost) => {
                let seconds = limits::processor_seconds(format, bytes.len() as u64);
                let words = worker.last_words(&lost, seconds);
                Err(ExtractError::Malformed(words))
            }
        }
    }

    /// Ends the workers that have nothing to do, before the process does: what outlives it would have
    /// to be cleared away by others.
    pub fn dismiss(&self) {
        // Each is killed and waited for when it is dropped.
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a worker gave no answer.
enum Lost {
    /// The time was up; it is killed.
    Slow,
    /// It went away.
    Gone,
    /// It sent what is no answer; how it ends after that is our doing.
    Garbled,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
    uses: usize,
}

impl Worker {
    fn start(program: &Path) -> Result<Self, ExtractError> {
        // No environment: what reads strangers' files needs no secrets.
        let mut child = Command::new(program)
            .arg(Extractor::VERB)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| ExtractError::Worker(error.to_string()))?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(input), Some(output), Some(errors)) => Ok(Self {
                child,
                input,
                output,
                errors,
                uses: 0,
            }),
            _ => Err(ExtractError::Worker("it has no pipes".to_owned())),
        }
    }

    /// Sends one document and waits for its answer, at most `timeout`.
    fn ask(&mut self, format: Format, bytes: &[u8], timeout: Duration) -> Result<Answer, Lost> {
        let Self {
            child,
            input,
            output,
            ..
        } = self;
        std::thread::scope(|scope| {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            scope.spawn(move || sender.send(talk(input, output, format, bytes)));
            if let Ok(answer) = receiver.recv_timeout(timeout) {
                return answer.map_err(|error| match error.kind() {
                    io::ErrorKind::Other => Lost::Garbled,
                    _ => Lost::Gone,
                });
            }
            // Ends the pipes, and with them the thread above.
            let _ = child.kill();
            Err(Lost::Slow)
        })
    }

    /// Why it went away, in words for the person whose file it was.
    fn last_words(mut self, lost: &Lost, seconds: u64) -> String {
        // A process that is dying has its status before its pipes close: this does not change it.
        let _ = self.child.kill();
        let status = self
            .child
            .wait()
            .ok()
            .filter(|_| !matches!(lost, Lost::Garbled));
        let mut words = Vec::new();
        let _ = (&mut self.errors).take(2_048).read_to_end(&mut words);
        describe(status, &String::from_utf8_lossy(&words), seconds)
    }
}

fn describe(status: Option<ExitStatus>, words: &str, seconds: u64) -> String {
    let signal = status.and_then(|status| status.signal());
    let cpu = rustix::process::Signal::XCPU.as_raw();
    if words.contains("overflowed its stack") {
        "its nesting overflows the parser's stack".to_owned()
    } else if words.contains("memory allocation of") {
        let gib = MEMORY_BYTES >> 30;
        format!("the parser needs more than {gib} GiB of memory")
    } else if signal == Some(cpu) {
        format!("the parser took more than {seconds} s of processor time")
    } else if let Some(signal) = signal {
        format!("the parser crashed (signal {signal})")
    } else {
        let words = crate::domain::query::shorten(words.trim(), 200);
        format!("the parser ended without an answer: {words}")
    }
}

/// One request and its answer.
fn talk(
    input: &mut ChildStdin,
    output: &mut ChildStdout,
    format: Format,
    bytes: &[u8],
) -> io::Result<Answer> {
    input.write_all(&[format as u8])?;
    input.write_all(&(bytes.len() as u64).to_le_bytes())?;
    input.write_all(bytes)?;
    input.flush()?;
    let answer = read_frame(output, ANSWER_BYTES)?;
    serde_json::from_slice(&answer).map_err(io::Error::other)
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
