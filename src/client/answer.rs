//! PURE: reads one HTTP/1.1 answer as its bytes come, however they are split (RFC 9112).
//!
//! What it makes of an answer is what hyper makes of it; a test compares the two. Interim answers
//! (1xx) are skipped. Memory is bounded by [`MAX_HEADER_BYTES`] and [`BodyLimits::keep_bytes`], work
//! by the bytes that come: a header section is looked at again only at a new line, of which there are
//! no more than [`MAX_HEADERS`], or when it has doubled.

use super::chunked::Chunked;
use super::malformed::Malformed;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::mem::MaybeUninit;

/// Longest header section of an answer, those of interim answers before it included, in bytes.
pub const MAX_HEADER_BYTES: usize = 256 * 1024;
/// Most header fields of an answer, as in hyper.
const MAX_HEADERS: usize = 100;
/// A larger buffer is not kept for the next answer.
const MAX_IDLE_BYTES: usize = 64 * 1024;

/// How much of an answer is read, and how much of it is kept.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Past this the answer is [`Fault::TooLarge`].
    pub max_bytes: u64,
    /// A body up to this size is kept; of a larger one only the length is known.
    pub keep_bytes: u64,
}

/// Why an answer is read no further.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It is no HTTP/1.1.
    Malformed(Malformed),
    /// Its body is larger than [`BodyLimits::max_bytes`].
    TooLarge,
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What became of bytes that were fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// So many from the front were taken. The rest comes first in what is fed next.
    pub used: usize,
    /// The answer is complete. Bytes that are left belong to no answer.
    pub is_done: bool,
}

/// The body of an answer, as far as it came.
#[derive(Debug)]
pub(super) struct Body {
    limits: BodyLimits,
    kept: Vec<u8>,
    length: u64,
}

impl Body {
    pub(super) fn take(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.length = self.length.saturating_add(data.len() as u64);
        if self.length > self.limits.max_bytes {
            return Err(Fault::TooLarge);
        }
        if self.length <= self.limits.keep_bytes {
            self.kept.extend_from_slice(data);
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Place {
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// One answer after the other, of one connection.
#[derive(Debug)]
pub struct Answer {
    /// It is one to a HEAD request, which never has a body.
    to_head: bool,
    place: Place,
    /// So many bytes of the header section were there when it was last looked at.
    looked: usize,
    /// Bytes of what came before: interim answers, empty lines.
    before: usize,
    status: u16,
    keep_alive: bool,
    headers: Option<HeaderMap>,
    body: Body,
}

impl Answer {
    /// Of requests with `method`.
    #[must_use]
    pub fn new(method: &http::Method, limits: BodyLimits) -> Self {
        Self {
            to_head: method == http::Method::HEAD,
            place: Place::Head,
            looked: 0,
            before: 0,
            status: 0,
            keep_alive: false,
            headers: None,
            body: Body {
                limits,
                kept: Vec::new(),
                length: 0,
            },
        }
    }

    /// Keeps the headers too.
    #[must_use]
    pub fn with_headers(mut self) -> Self {
        self.headers = Some(HeaderMap::new());
        self
    }

    /// Begins with the next answer.
    pub fn restart(&mut self, limits: BodyLimits) {
        self.place = Place::Head;
        (self.looked, self.before) = (0, 0);
        if let Some(headers) = &mut self.headers {
            headers.clear();
        }
        self.body.limits = limits;
        self.body.length = 0;
        self.body.kept.clear();
        self.body.kept.shrink_to(MAX_IDLE_BYTES);
    }

    /// Takes bytes from the front of `input`.
    ///
    /// # Errors
    /// When the answer cannot be read any further; the connection is of no use then.
    pub fn feed(&mut self, input: &[u8]) -> Result<Fed, Fault> {
        let mut used = 0;
        while used < input.len() && !matches!(self.place, Place::Done) {
            let rest = &input[used..];
            let taken = match &mut self.place {
                Place::Head => self.head(rest)?,
                Place::Length(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let data = &rest[..most.min(rest.len())];
                    self.body.take(data)?;
                    *left -= data.len() as u64;
                    data.len()
                }
                Place::Chunked(chunked) => chunked.feed(rest, &mut self.body)?,
                Place::UntilClose => {
                    self.body.take(rest)?;
                    rest.len()
                }
                Place::Done => 0,
            };
            let complete = match &self.place {
                Place::Length(left) => *left == 0,
                Place::Chunked(chunked) => chunked.is_done(),
                _ => false,
            };
            if complete {
                self.place = Place::Done;
            }
            if taken == 0 && !complete {
                break;
            }
            used += taken;
        }
        let is_done = matches!(self.place, Place::Done);
        Ok(Fed { used, is_done })
    }

    /// The connection ended, with `rest` fed and not taken: whether that completes the answer.
    ///
    /// # Errors
    /// When what came is no HTTP/1.1, of which nothing was said yet.
    pub fn end(&mut self, rest: &[u8]) -> Result<bool, Fault> {
        self.looked = 0;
        self.feed(rest)?;
        if matches!(self.place, Place::UntilClose) {
            self.place = Place::Done;
        }
        Ok(matches!(self.place, Place::Done))
    }

    /// How much is read and kept.
    #[must_use]
    pub fn limits(&self) -> BodyLimits {
        self.body.limits
    }

    /// The status; 0 before it came.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the connection may be used again after this answer.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The body, when it is no larger than [`BodyLimits::keep_bytes`].
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        (self.body.length <= self.body.limits.keep_bytes).then_some(&*self.body.kept)
    }

    /// Headers, when they were to be kept, and the body, taken out.
    #[must_use]
    pub fn into_parts(self) -> (HeaderMap, Vec<u8>) {
        (self.headers.unwrap_or_default(), self.body.kept)
    }

    /// Reads the header section: how many bytes were taken, 0 when it is not all there.
    fn head(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let room = MAX_HEADER_BYTES - self.before;
        let empty_line = match input {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        if (1..=room).contains(&empty_line) {
            self.before += empty_line;
            self.looked = 0;
            return Ok(empty_line);
        }
        let input = &input[..input.len().min(room)];
        let fresh = &input[self.looked.min(input.len())..];
        let is_worth_a_look = self.looked == 0
            || input.len() == room
            || input.len() >= 2 * self.looked
            || memchr::memchr(b'\n', fresh).is_some();
        if !is_worth_a_look {
            return Ok(0);
        }
        self.looked = input.len();
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut head, input, &mut fields)
            .map_err(Malformed::Head)?;
        let httparse::Status::Complete(length) = parsed else {
            if input.len() == room {
                return Err(Malformed::HeadTooLong.into());
            }
            return Ok(0);
        };
        self.looked = 0;
        self.begin(&head)?;
        if matches!(self.place, Place::Head) {
            self.before += length;
        }
        Ok(length)
    }

    /// What `head` says of the body and of the connection.
    fn begin(&mut self, head: &httparse::Response<'_, '_>) -> Result<(), Fault> {
        let said = Said::of(head.headers);
        self.status = head.code.unwrap_or(0);
        let is_old = head.version == Some(0);
        self.keep_alive = !said.close && (!is_old || said.keep_alive);
        self.place = match self.status {
            ..100 => return Err(Malformed::Status.into()),
            // Whatever comes after it is another protocol's.
            101 => {
                self.keep_alive = false;
                Place::Done
            }
            102..200 | 100 => return Ok(()),
            204 | 304 => Place::Done,
            _ if self.to_head => Place::Done,
            _ if said.coding != Coding::None && is_old => {
                return Err(Malformed::TransferEncoding.into());
            }
            _ if said.coding == Coding::Chunked => Place::Chunked(Chunked::new()),
            _ if said.coding == Coding::Other => Place::UntilClose,
            _ => match said.length {
                Length::None => Place::UntilClose,
                Length::Invalid => return Err(Malformed::ContentLength.into()),
                Length::Bytes(0) => Place::Done,
                Length::Bytes(bytes) if bytes > self.body.limits.max_bytes => {
                    return Err(Fault::TooLarge);
                }
                Length::Bytes(bytes) => Place::Length(bytes),
            },
        };
        self.keep_alive &= !matches!(self.place, Place::UntilClose);
        if let Some(headers) = &mut self.headers {
            for field in &*head.headers {
                // httparse has checked both; a name it allows and `http` does not is left out.
                let name = HeaderName::from_bytes(field.name.as_bytes());
                let value = HeaderValue::from_bytes(field.value);
                if let (Ok(name), Ok(value)) = (name, value) {
                    headers.append(name, value);
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Length {
    None,
    Invalid,
    Bytes(u64),
}

/// The last transfer coding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    Other,
}

/// What the header fields say of framing.
struct Said {
    close: bool,
    keep_alive: bool,
    coding: Coding,
    length: Length,
}

impl Said {
    fn of(fields: &[httparse::Header<'_>]) -> Self {
        let mut said = Self {
            close: false,
            keep_alive: false,
            coding: Coding::None,
            length: Length::None,
        };
        for field in fields {
            // The length of a name tells most fields apart without a comparison.
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            match field.name.len() {
                10 if is("connection") => {
                    said.close |= has_token(field.value, b"close");
                    said.keep_alive |= has_token(field.value, b"keep-alive");
                }
                14 if is("content-length") => {
                    for text in field.value.split(|byte| *byte == b',') {
                        said.length = said.length.and(digits(text.trim_ascii()));
                    }
                }
                17 if is("transfer-encoding") => {
                    let last = field.value.rsplit(|byte| *byte == b',').next();
                    let last = last.unwrap_or_default().trim_ascii();
                    said.coding = if last.eq_ignore_ascii_case(b"chunked") {
                        Coding::Chunked
                    } else {
                        Coding::Other
                    };
                }
                _ => {}
            }
        }
        said
    }
}

impl Length {
    /// Several lengths must be the same.
    fn and(self, bytes: Option<u64>) -> Self {
        match (self, bytes) {
            (Self::None, Some(bytes)) => Self::Bytes(bytes),
            (Self::Bytes(before), Some(bytes)) if before == bytes => self,
            _ => Self::Invalid,
        }
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Digits alone: no sign.
fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests;
