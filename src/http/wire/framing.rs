//! PURE: where requests begin and end in a stream of bytes (RFC 9112), and which are refused.

use httparse::Status;
use std::mem::MaybeUninit;

/// Most header fields of one request; as hyper's own limit.
const MAX_HEADERS: usize = 100;
/// Longest chunk extension or trailer section, in bytes; nobody uses either.
const MAX_CHUNK_EXTRA_BYTES: usize = 4 * 1024;
/// Most hexadecimal digits of a chunk size: 2^60 bytes is beyond every limit.
const MAX_CHUNK_SIZE_DIGITS: u8 = 15;

/// Why a request is refused before it is read further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The head is over a limit: 431.
    HeadTooLarge(String),
    /// The head is not HTTP/1.x, or says two things at once: 400.
    BadHead(String),
    /// The head took too long: 408.
    SlowHead,
    /// The chunks of the body do not add up; the handler sees the body end early.
    BadChunk,
}

/// A refused request: why, and the request id it came with if that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    pub(crate) request_id: Option<Vec<u8>>,
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self {
            why,
            request_id: None,
        }
    }
}

/// What to do with the bytes at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first `n` bytes are a whole request head.
    Head(usize),
    /// The first `n` bytes belong to a body.
    Body(usize),
    /// More bytes are needed to tell.
    More,
    /// Nothing from here on may pass.
    Refuse(Refused),
}

/// Follows one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    max_head_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between requests or inside a head, of which `scanned` bytes hold no end.
    Head {
        scanned: usize,
    },
    Length(u64),
    Chunked(Chunk),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size { value: u64, digits: u8 },
    Extra { value: u64, bytes: usize },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailer { line: usize, bytes: usize },
    TrailerLf { line: usize, bytes: usize },
}

impl Framing {
    pub(crate) fn new(max_head_bytes: usize) -> Self {
        Self {
            state: State::Head { scanned: 0 },
            max_head_bytes,
        }
    }

    /// Whether the next byte belongs to a head.
    pub(crate) fn at_head(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Looks at `bytes`, which start where the last step ended.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Step {
        match self.state {
            State::Head { scanned } => self.head(bytes, scanned),
            State::Length(left) => {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                self.state = if left == 0 {
                    State::Head { scanned: 0 }
                } else {
                    State::Length(left)
                };
                Step::Body(taken)
            }
            State::Chunked(chunk) => self.chunks(bytes, chunk),
        }
    }

    fn head(&mut self, bytes: &[u8], scanned: usize) -> Step {
        let blank = bytes
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        let Some(end) = end_of_head(bytes, scanned.saturating_sub(3).max(blank)) else {
            if bytes.len() >= self.max_head_bytes {
                return Step::Refuse(self.too_large().into());
            }
            self.state = State::Head {
                scanned: bytes.len(),
            };
            return Step::More;
        };
        if end > self.max_head_bytes {
            return Step::Refuse(self.too_large().into());
        }
        match check_head(&bytes[..end]) {
            Ok(body) => {
                self.state = body;
                Step::Head(end)
            }
            Err(refused) => Step::Refuse(refused),
        }
    }

    fn too_large(&self) -> Refusal {
        Refusal::HeadTooLarge(format!(
            "the request line and headers are over {} bytes",
            self.max_head_bytes
        ))
    }

    fn chunks(&mut self, bytes: &[u8], mut chunk: Chunk) -> Step {
        let mut at = 0;
        while at < bytes.len() {
            if let Chunk::Data(left) = chunk {
                let room = bytes.len() - at;
                let taken = room.min(usize::try_from(left).unwrap_or(usize::MAX));
                at += taken;
                let left = left - taken as u64;
                chunk = if left == 0 {
                    Chunk::DataCr
                } else {
                    Chunk::Data(left)
                };
                continue;
            }
            match chunk.byte(bytes[at]) {
                Ok(Some(next)) => chunk = next,
                Ok(None) => {
                    self.state = State::Head { scanned: 0 };
                    return Step::Body(at + 1);
                }
                Err(()) => return Step::Refuse(Refusal::BadChunk.into()),
            }
            at += 1;
        }
        self.state = State::Chunked(chunk);
        Step::Body(at)
    }
}

impl Chunk {
    /// The state after one byte that is not chunk data; `None` after the last one of the body.
    fn byte(self, byte: u8) -> Result<Option<Self>, ()> {
        let next = match (self, byte) {
            (Self::Size { value, digits }, b) if b.is_ascii_hexdigit() => {
                if digits == MAX_CHUNK_SIZE_DIGITS {
                    return Err(());
                }
                let digit = char::from(b).to_digit(16).map_or(0, u64::from);
                Self::Size {
                    value: value * 16 + digit,
                    digits: digits + 1,
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(()),
            (Self::Size { value, .. } | Self::Extra { value, .. }, b'\r') => Self::SizeLf(value),
            (Self::Size { value, .. }, b';' | b' ' | b'\t') => Self::Extra { value, bytes: 1 },
            (Self::Extra { value, bytes }, b) if b != b'\n' && bytes < MAX_CHUNK_EXTRA_BYTES => {
                Self::Extra {
                    value,
                    bytes: bytes + 1,
                }
            }
            (Self::SizeLf(0), b'\n') => Self::Trailer { line: 0, bytes: 0 },
            (Self::SizeLf(value), b'\n') => Self::Data(value),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size {
                value: 0,
                digits: 0,
            },
            (Self::Trailer { line, bytes }, b'\r') => Self::TrailerLf { line, bytes },
            (Self::Trailer { line, bytes }, b) if b != b'\n' && bytes < MAX_CHUNK_EXTRA_BYTES => {
                Self::Trailer {
                    line: line + 1,
                    bytes: bytes + 1,
                }
            }
            (Self::TrailerLf { line: 0, .. }, b'\n') => return Ok(None),
            (Self::TrailerLf { bytes, .. }, b'\n') => Self::Trailer { line: 0, bytes },
            _ => return Err(()),
        };
        Ok(Some(next))
    }
}

/// The index after the empty line that ends a head, looked for from `start` on.
fn end_of_head(bytes: &[u8], start: usize) -> Option<usize> {
    let newlines = bytes[start..].iter().enumerate();
    for (index, _) in newlines.filter(|(_, byte)| **byte == b'\n') {
        let rest = &bytes[start + index + 1..];
        if rest.starts_with(b"\n") {
            return Some(start + index + 2);
        }
        if rest.starts_with(b"\r\n") {
            return Some(start + index + 3);
        }
    }
    None
}

/// What the head says about the body, as far as it matters here.
#[derive(Default)]
struct Claims<'a> {
    length: Option<u64>,
    chunked: bool,
    hosts: usize,
    request_id: Option<&'a [u8]>,
    problem: Option<String>,
}

fn check_head(head: &[u8]) -> Result<State, Refused> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(bad("the request head ends early")),
        Err(httparse::Error::TooManyHeaders) => {
            let problem = format!("there are more than {MAX_HEADERS} headers");
            return Err(Refusal::HeadTooLarge(problem).into());
        }
        Err(error) => return Err(bad(&format!("the request is not HTTP/1.1: {error}"))),
    }
    let mut claims = Claims::default();
    for header in request.headers.iter() {
        claims.take(header);
    }
    let http_11 = request.version == Some(1);
    let problem = claims.problem(http_11).or_else(|| {
        let target = request.path.unwrap_or_default();
        let sound = target.parse::<http::Uri>().is_ok() && request.method != Some("CONNECT");
        (!sound).then(|| "the request target is not a path or URL".to_owned())
    });
    if let Some(problem) = problem {
        return Err(Refused {
            why: Refusal::BadHead(problem),
            request_id: claims.request_id.map(<[u8]>::to_vec),
        });
    }
    Ok(match (claims.chunked, claims.length) {
        (true, _) => State::Chunked(Chunk::Size {
            value: 0,
            digits: 0,
        }),
        (false, None | Some(0)) => State::Head { scanned: 0 },
        (false, Some(length)) => State::Length(length),
    })
}

fn bad(problem: &str) -> Refused {
    Refusal::BadHead(problem.to_owned()).into()
}

impl<'a> Claims<'a> {
    fn take(&mut self, header: &httparse::Header<'a>) {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            let length = parse_length(header.value);
            if length.is_none() || self.length.is_some_and(|known| Some(known) != length) {
                self.problem = Some("`content-length` is not one number".to_owned());
            }
            self.length = length.or(self.length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let is_chunked = header.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if !is_chunked || self.chunked {
                self.problem = Some("`transfer-encoding` must be `chunked`".to_owned());
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case("x-request-id") {
            self.request_id = Some(header.value);
        }
    }

    fn problem(&mut self, http_11: bool) -> Option<String> {
        let problem = if self.chunked && self.length.is_some() {
            "`content-length` and `transfer-encoding` must not come together"
        } else if self.chunked && !http_11 {
            "`transfer-encoding` needs HTTP/1.1"
        } else if self.hosts == 0 && http_11 {
            "the `host` header is missing"
        } else if self.hosts > 1 {
            "there are several `host` headers"
        } else {
            return self.problem.take();
        };
        Some(problem.to_owned())
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
