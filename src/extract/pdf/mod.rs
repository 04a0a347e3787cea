//! PDF to blocks with page numbers.
//!
//! The library reads fonts and content streams; the lines, columns, paragraphs and headings are
//! found here ([`lines`], [`furniture`], [`blocks`]) from where it says the text stands. Measured
//! on real manuals and two-column papers, that keeps words in the order they are read in more
//! often than the library's own text does, and it is what gives headings.
//!
//! A file can make the library crash, spin or take all memory: outside tests this runs in the
//! worker process of [`super::Extractor`].

mod blocks;
mod furniture;
mod lines;
mod tree;

use super::{ExtractError, limits};
use crate::domain::ExtractedText;
use lines::Line;
use pdf_oxide::{Error, PdfDocument};

/// How far from the end of the file its trailer may begin; readers search a like distance.
const TRAILER_BYTES: usize = 4_096;

/// How far from the start of the file its header may begin.
const HEADER_BYTES: usize = 1_024;

/// Reads a PDF.
pub(super) fn read(bytes: &[u8]) -> Result<ExtractedText, ExtractError> {
    check_ends(bytes)?;
    let document = PdfDocument::from_bytes(bytes.to_vec()).map_err(malformed)?;
    if document.is_encrypted() && !document.authenticate(b"").unwrap_or(false) {
        return Err(ExtractError::Encrypted);
    }
    tree::check(&document)?;
    let count = document.page_count().map_err(malformed)?;
    if count == 0 {
        return Err(ExtractError::Malformed("it has no pages".to_owned()));
    }
    if count > limits::PAGES {
        return Err(ExtractError::Malformed(format!(
            "it has {count} pages, over the limit of {}",
            limits::PAGES
        )));
    }
    let mut pages = pages(&document, count)?;
    furniture::drop_from(&mut pages);
    let mut text = ExtractedText {
        title: stated_title(&document),
        blocks: blocks::of_pages(&pages),
    };
    if text.title.is_none() {
        text.title = blocks::title_of(&text.blocks);
    }
    Ok(text)
}

/// The lines of every page. One bad page costs that page; when most are bad, the file is.
fn pages(document: &PdfDocument, count: usize) -> Result<Vec<Vec<Line>>, ExtractError> {
    let mut pages = Vec::with_capacity(count);
    let mut first_error = None;
    let mut bad = 0;
    let mut bytes = 0;
    for page in 0..count {
        match lines::of_page(document, page) {
            Ok(lines) => {
                bytes += lines.iter().map(|line| line.text.len()).sum::<usize>();
                pages.push(lines);
            }
            Err(error) => {
                bad += 1;
                first_error.get_or_insert((page + 1, error));
                pages.push(Vec::new());
            }
        }
        if bytes > limits::TEXT_BYTES {
            return Err(limits::too_much_text());
        }
    }
    match first_error {
        Some((_, Error::EncryptedPdf)) => Err(ExtractError::Encrypted),
        Some((page, error)) if bad * 2 > count => {
            let problem = format!("page {page} of {count}: {error}");
            Err(ExtractError::Malformed(problem))
        }
        _ => Ok(pages),
    }
}

fn check_ends(bytes: &[u8]) -> Result<(), ExtractError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ExtractError::Empty);
    }
    let head = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
    if !contains(head, b"%PDF-") {
        let problem = "it does not begin as a PDF does (`%PDF-`)";
        return Err(ExtractError::Malformed(problem.to_owned()));
    }
    let tail = bytes.get(bytes.len().saturating_sub(TRAILER_BYTES)..);
    if !contains(tail.unwrap_or(bytes), b"startxref") {
        let problem = "it is truncated: the trailer at the end (`startxref`) is missing";
        return Err(ExtractError::Malformed(problem.to_owned()));
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn malformed(error: Error) -> ExtractError {
    match error {
        Error::EncryptedPdf => ExtractError::Encrypted,
        error => ExtractError::Malformed(error.to_string()),
    }
}

/// Endings of titles that are file names left over by a writing program.
const FILE_ENDINGS: [&str; 9] = [
    ".doc", ".docx", ".dvi", ".tex", ".indd", ".pdf", ".qxd", ".odt", ".rtf",
];

/// `/Title` of the document's information, when a person wrote it.
fn stated_title(document: &PdfDocument) -> Option<String> {
    let info = document.trailer().as_dict()?.get("Info")?;
    let info = document.resolve_object(info).ok()?;
    let title = document
        .resolve_object(info.as_dict()?.get("Title")?)
        .ok()?;
    let title = pdf_oxide::optional_content::decode_pdf_text_string(title.as_string()?);
    let title = lines::clean(&title);
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = title.strip_prefix("Microsoft Word - ").unwrap_or(&title);
    let lower = title.to_lowercase();
    let leftover = lower.starts_with("untitled")
        || FILE_ENDINGS.iter().any(|ending| lower.ends_with(ending))
        || (!title.contains(' ') && title.contains(|c: char| c.is_ascii_digit() || c == '_'))
        || title.chars().filter(|c| c.is_alphabetic()).count() < 3;
    (!leftover).then(|| title.to_owned())
}

#[cfg(test)]
mod tests;
