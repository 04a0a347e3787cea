//! The child process in which documents of unknown make are read.
//!
//! It reads requests from its standard input and answers each on its standard output, until the
//! input ends. A request is the format as one byte, the length as eight bytes (little endian) and
//! the document; an answer is a length of eight bytes and JSON. Before it reads anything the
//! process limits itself: memory, processor time for each document, no core files, no files
//! written, no new privileges.

use super::{ExtractError, Format, extract, limits};
use crate::domain::ExtractedText;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most memory (address space) of a worker: its stack, the largest file a few times over, and the
/// tree of the largest HTML page.
pub const MEMORY_BYTES: u64 = 3 << 30;

/// Stack for the parsers, which recurse on nested input. Only what is used is taken.
const STACK_BYTES: usize = 64 << 20;

/// Largest answer: the text limit with room for JSON's escapes.
pub(super) const ANSWER_BYTES: u64 = 4 * limits::TEXT_BYTES as u64;

/// What comes back for one document.
pub(super) type Answer = Result<ExtractedText, ExtractError>;

/// Serves requests from `input` until it ends. Limits the whole process for good.
///
/// # Errors
/// When the limits cannot be set or the pipes fail; the parent then starts another worker.
pub fn run(input: impl Read + Send, output: impl Write + Send) -> io::Result<()> {
    restrict()?;
    // The answer names a panic; nobody reads this process's messages.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || serve(input, output))?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the worker's thread panicked")))
    })
}

fn restrict() -> io::Result<()> {
    let limit = |resource, value| {
        let both = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, both)
    };
    limit(Resource::As, MEMORY_BYTES)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    while let Some((format, bytes)) = read_request(&mut input)? {
        allow_processor_time(limits::processor_seconds(format, bytes.len() as u64))?;
        let answer = catch_unwind(AssertUnwindSafe(|| extract(format, &bytes)));
        let answer = answer.unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            let message = crate::domain::query::shorten(message, 200);
            Err(ExtractError::Malformed(format!(
                "the parser panicked: {message}"
            )))
        });
        drop(bytes);
        let json = serde_json::to_vec(&answer)?;
        output.write_all(&(json.len() as u64).to_le_bytes())?;
        output.write_all(&json)?;
        output.flush()?;
    }
    Ok(())
}

/// Lets the process use so much time from now on; beyond it the kernel ends the process.
fn allow_processor_time(seconds: u64) -> io::Result<()> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = u64::try_from(used.tv_sec).unwrap_or(0);
    let limit = Rlimit {
        current: Some(used + seconds + 1),
        maximum: None,
    };
    Ok(setrlimit(Resource::Cpu, limit)?)
}

fn read_request(input: &mut impl Read) -> io::Result<Option<(Format, Vec<u8>)>> {
    let mut format = [0];
    if input.read(&mut format)? == 0 {
        return Ok(None);
    }
    let [code] = format;
    let format = Format::ALL
        .into_iter()
        .find(|format| *format as u8 == code)
        .ok_or_else(|| io::Error::other("unknown format"))?;
    let bytes = read_frame(input, limits::file_bytes(format))?;
    Ok(Some((format, bytes)))
}

/// A length of eight bytes and as many bytes, at most `limit`.
pub(super) fn read_frame(input: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > limit {
        return Err(io::Error::other("frame over the limit"));
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
