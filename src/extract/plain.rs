//! Plain text to blocks: paragraphs between blank lines, underlined headings, indented listings.

use crate::domain::{Block, BlockKind, ExtractedText};

/// A paragraph of more lines is a log or a listing rather than prose, and is cut at lines.
const PROSE_MAX_LINES: usize = 40;

/// Shortest underline that makes a heading.
const UNDERLINE_MIN: usize = 3;

/// Reads plain text. Never fails: any text is some paragraphs.
pub(super) fn read(text: &str) -> ExtractedText {
    let mut reader = Reader::default();
    for line in text.lines() {
        reader.line(line);
    }
    reader.flush();
    ExtractedText {
        title: reader.title,
        blocks: reader.blocks,
    }
}

#[derive(Default)]
struct Reader<'a> {
    title: Option<String>,
    blocks: Vec<Block>,
    lines: Vec<&'a str>,
    /// Underline characters in order of appearance; the place gives the level, as in reStructuredText.
    underlines: Vec<char>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        if line.trim().is_empty() {
            self.flush();
            return;
        }
        if let [heading] = self.lines.as_slice()
            && let Some(mark) = underline_of(heading, line)
        {
            let heading = *heading;
            self.lines.clear();
            self.heading(heading, mark);
            return;
        }
        self.lines.push(line);
    }

    fn heading(&mut self, text: &str, mark: char) {
        let rank = self.underlines.iter().position(|&seen| seen == mark);
        let rank = rank.unwrap_or_else(|| {
            self.underlines.push(mark);
            self.underlines.len() - 1
        });
        let text = text.trim().to_owned();
        if self.title.is_none() && rank == 0 {
            self.title = Some(text.clone());
        }
        self.blocks.push(Block {
            kind: BlockKind::Heading(u8::try_from(rank + 1).unwrap_or(6).min(6)),
            text,
            page: None,
        });
    }

    fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let indented = self.lines.iter().all(|line| line.starts_with([' ', '\t']));
        let kind = if indented || self.lines.len() > PROSE_MAX_LINES {
            BlockKind::Code
        } else {
            BlockKind::Paragraph
        };
        let text = self.lines.join("\n");
        let text = if kind == BlockKind::Code {
            text.trim_end().to_owned()
        } else {
            text.trim().to_owned()
        };
        self.lines.clear();
        self.blocks.push(Block {
            kind,
            text,
            page: None,
        });
    }
}

/// The character that underlines `heading`, when `line` is an underline at least as long as it.
fn underline_of(heading: &str, line: &str) -> Option<char> {
    let line = line.trim_end();
    let mark = line.chars().next()?;
    let length = line.chars().count();
    let wide_enough = length >= UNDERLINE_MIN && length >= heading.trim_end().chars().count();
    let uniform = "=-~^\"'`#*+".contains(mark) && line.chars().all(|c| c == mark);
    let heading_has_words = heading.chars().any(char::is_alphanumeric);
    let flush_left = !heading.starts_with([' ', '\t']);
    (wide_enough && uniform && heading_has_words && flush_left).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(BlockKind, String)> {
        read(text)
            .blocks
            .into_iter()
            .map(|block| (block.kind, block.text))
            .collect()
    }

    #[test]
    fn paragraphs_end_at_blank_lines() {
        assert_eq!(
            kinds("one\ntwo\n\n  \nthree\n"),
            [
                (BlockKind::Paragraph, "one\ntwo".to_owned()),
                (BlockKind::Paragraph, "three".to_owned())
            ]
        );
    }

    #[test]
    fn underlines_make_headings_in_order_of_appearance() {
        let text = "Guide\n=====\n\nIntro\n-----\ntext\n\nMore\n----\n";
        let read = read(text);
        assert_eq!(read.title.as_deref(), Some("Guide"));
        let levels: Vec<_> = read.blocks.iter().map(|block| block.kind).collect();
        assert_eq!(
            levels,
            [
                BlockKind::Heading(1),
                BlockKind::Heading(2),
                BlockKind::Paragraph,
                BlockKind::Heading(2)
            ]
        );
    }

    #[test]
    fn a_long_log_is_cut_at_lines() {
        let log = "2026-11-23 started\n".repeat(100);
        assert_eq!(read(&log).blocks.len(), 1);
        assert_eq!(read(&log).blocks[0].kind, BlockKind::Code);
    }
}
