//! Documents: bytes to text to chunks.

use super::contained::contained;
use crate::chunking::{ChunkLimits, chunk};
use crate::domain::{BlockKind, ExtractedText};
use crate::extract::{ExtractError, Format, extract, limits};

/// Small, so that small documents are cut at every kind of place.
const LIMITS: ChunkLimits = ChunkLimits {
    max_tokens: 48,
    overlap_tokens: 12,
};

/// Markdown to chunks.
///
/// # Panics
/// When text is lost, or a chunk is over a limit.
pub fn markdown(data: &[u8]) {
    sound(extract(Format::Markdown, data));
}

/// HTML to chunks.
///
/// # Panics
/// As [`markdown`].
pub fn html(data: &[u8]) {
    sound(extract(Format::Html, data));
}

/// A PDF to chunks. A panic inside the library that reads PDFs is let pass: the worker process, which
/// is where PDFs of unknown make are read, answers it with an error. A panic of our own is none.
///
/// # Panics
/// As [`markdown`].
pub fn pdf(data: &[u8]) {
    if let Some(read) = contained(|| extract(Format::Pdf, data)) {
        sound(read);
    }
}

/// Counts as models do: a run of up to four letters is a token, so is any other character.
fn count(text: &str) -> usize {
    let (mut tokens, mut run) = (0, 0);
    for character in text.chars() {
        if character.is_alphanumeric() {
            run = (run + 1) % 4;
            tokens += usize::from(run == 1);
        } else {
            run = 0;
            tokens += usize::from(!character.is_whitespace());
        }
    }
    tokens
}

fn sound(read: Result<ExtractedText, ExtractError>) {
    let text = match read {
        Ok(text) => text,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(!text.blocks.is_empty());
    let bytes: usize = text.blocks.iter().map(|block| block.text.len()).sum();
    assert!(bytes <= limits::TEXT_BYTES);
    for block in &text.blocks {
        assert!(!block.text.trim().is_empty(), "{block:?}");
        assert!(block.page.is_none_or(|page| page >= 1));
    }
    let chunks = chunk(&text, LIMITS, &count);
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(usize::try_from(chunk.position), Ok(index));
        assert!(!chunk.text.trim().is_empty());
        assert!(chunk.text.len() <= LIMITS.max_bytes());
        let tokens = count(&chunk.embedding_text());
        assert_eq!(usize::try_from(chunk.tokens), Ok(tokens));
        assert!(tokens <= LIMITS.max_tokens, "{chunk:?}");
    }
    // Nothing that is not white space is lost, headings aside, whose paths may be cut.
    let mut kept = chunks.iter().flat_map(|chunk| visible(&chunk.text));
    for block in &text.blocks {
        if !matches!(block.kind, BlockKind::Heading(_)) {
            for character in visible(&block.text) {
                assert!(
                    kept.any(|other| other == character),
                    "{character:?} of {block:?} is lost"
                );
            }
        }
    }
}

fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|character| !character.is_whitespace())
}
