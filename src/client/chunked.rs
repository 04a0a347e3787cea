//! PURE: takes the chunked transfer coding (RFC 9112, 7.1) off a body as its bytes come.
//!
//! As strict as hyper: every line ends in CR LF, sizes are hexadecimal digits and fit 64 bits.
//! Extensions and trailers are skipped, up to a limit.

use super::answer::{Body, Fault};
use super::malformed::Malformed;

/// Most bytes of chunk extensions in one body; nobody reads them.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;
/// Most bytes of trailers after one body; nobody reads them.
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first digit of a size.
    Start,
    Size,
    /// In the blanks after a size.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// A chunked body, as far as it came.
#[derive(Debug)]
pub(super) struct Chunked {
    place: Place,
    /// The size that is being read, then what is left of that chunk.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Start,
            left: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Whether the last byte of the body was taken.
    pub(super) fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    /// Takes bytes from the front of `input`, data into `body`: all of them, or those up to the end
    /// of the body. How many that were.
    pub(super) fn feed(&mut self, input: &[u8], body: &mut Body) -> Result<usize, Fault> {
        let mut used = 0;
        while used < input.len() && self.place != Place::Done {
            if self.place == Place::Data {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let data = &input[used..][..left.min(input.len() - used)];
                body.take(data)?;
                used += data.len();
                self.left -= data.len() as u64;
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
            } else {
                self.place = self.step(input[used]).map_err(Malformed::Chunk)?;
                used += 1;
            }
        }
        Ok(used)
    }

    /// Where the byte after `byte` belongs; every byte but data.
    fn step(&mut self, byte: u8) -> Result<Place, &'static str> {
        match (self.place, byte) {
            (Place::Start | Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                let size = self.left.checked_mul(16).ok_or("a chunk size too large")?;
                self.left = size + u64::from(digit);
                Ok(Place::Size)
            }
            (Place::Size | Place::Blank, b' ' | b'\t') => Ok(Place::Blank),
            (Place::Size | Place::Blank, b';') => Ok(Place::Extension),
            (Place::Size | Place::Blank | Place::Extension, b'\r') => Ok(Place::SizeLf),
            (Place::Start | Place::Size | Place::Blank, _) => Err("no chunk size"),
            (Place::Extension, b'\n') => Err("a bare newline in a chunk extension"),
            (Place::Extension, _) => {
                self.extension_bytes += 1;
                if self.extension_bytes > MAX_EXTENSION_BYTES {
                    return Err("chunk extensions too long");
                }
                Ok(Place::Extension)
            }
            (Place::SizeLf, b'\n') if self.left == 0 => Ok(Place::TrailerStart),
            (Place::SizeLf, b'\n') => Ok(Place::Data),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => Ok(Place::Start),
            (Place::SizeLf | Place::DataCr | Place::DataLf, _) => {
                Err("a chunk without its line end")
            }
            (Place::TrailerStart, b'\r') => Ok(Place::EndLf),
            (Place::TrailerLf, b'\n') => Ok(Place::TrailerStart),
            (Place::EndLf, b'\n') => Ok(Place::Done),
            (Place::TrailerLf | Place::EndLf, _) => Err("a trailer without its line end"),
            (Place::TrailerStart | Place::Trailer, _) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > MAX_TRAILER_BYTES {
                    return Err("trailers too long");
                }
                let ends = byte == b'\r';
                Ok(if ends {
                    Place::TrailerLf
                } else {
                    Place::Trailer
                })
            }
            (Place::Data | Place::Done, _) => Err("a byte out of its place"),
        }
    }
}
