//! Bytes of a file to text with headings and pages.
//!
//! [`extract`] is the pure function; [`Extractor`] calls it in worker processes, and is what files
//! of unknown make go through. [`limits`] says what one document may cost.

mod decode;
mod html;
mod isolated;
pub mod limits;
mod markdown;
mod pdf;
mod plain;
pub mod worker;

pub use isolated::Extractor;

use crate::domain::ExtractedText;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// CommonMark with tables; `.md`, `.markdown`.
    Markdown,
    /// `.pdf`.
    Pdf,
    /// `.html`, `.htm`, `.xhtml`.
    Html,
    /// `.txt`, `.text`, `.rst`, `.log`.
    Text,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Markdown, Self::Pdf, Self::Html, Self::Text];

    /// The format that a source's extension names, if it is one that is read.
    #[must_use]
    pub fn of_source(source: &str) -> Option<Self> {
        let (_, extension) = source.rsplit('/').next()?.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Some(Self::Markdown),
            "pdf" => Some(Self::Pdf),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            "txt" | "text" | "rst" | "log" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Raised whenever extraction or chunking changes what comes out, so that documents are redone.
pub const VERSION: u32 = 1;

/// Takes the text out of `bytes`, in this process. The parsers of PDF, HTML and Markdown can be made
/// to crash or to take very long: give them files of unknown make through an [`Extractor`].
///
/// # Errors
/// When the bytes are not of the format, are encrypted, binary, empty or over a limit.
pub fn extract(format: Format, bytes: &[u8]) -> Result<ExtractedText, ExtractError> {
    limits::check(format, bytes.len() as u64)?;
    let text = match format {
        Format::Markdown => markdown::read(&decode::text(bytes)?),
        Format::Html => html::read(&decode::html(bytes)?),
        Format::Text => plain::read(&decode::text(bytes)?),
        Format::Pdf => pdf::read(bytes)?,
    };
    if text.blocks.is_empty() {
        return Err(ExtractError::Empty);
    }
    let bytes: usize = text.blocks.iter().map(|block| block.text.len()).sum();
    if bytes > limits::TEXT_BYTES {
        return Err(limits::too_much_text());
    }
    Ok(text)
}

/// Why no text came out. The message continues "cannot read FILE: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum ExtractError {
    /// There is no text in it: a warning, not an error.
    #[error("there is no text in it")]
    Empty,
    /// It is not text: NUL bytes, or mostly control characters.
    #[error("it is binary, not text (byte {offset} is {byte:#04x})")]
    Binary {
        /// Where.
        offset: usize,
        /// What.
        byte: u8,
    },
    /// It is not in UTF-8 (or UTF-16 with a byte order mark).
    #[error("it is not UTF-8 (first bad byte at {offset}); convert it, as with `iconv -t UTF-8`")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// It needs a password.
    #[error("it is encrypted")]
    Encrypted,
    /// It is over a limit.
    #[error("it is {bytes} bytes, over the limit of {limit} bytes for this format")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The parser refused it, crashed, or took too long or too much memory.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// Not the document's fault: the process that reads documents cannot be started.
    #[error("the extraction worker cannot be started: {0}")]
    Worker(String),
}
