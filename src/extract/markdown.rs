//! Markdown to blocks, each kept as written.
//!
//! CommonMark with tables, footnotes and front matter. Comments are dropped, HTML blocks are read
//! as HTML, the marks of block quotes are taken off.

use super::html;
use crate::domain::{Block, BlockKind, ExtractedText};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::ops::Range;

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
}

/// Reads Markdown. Never fails: any text is Markdown.
pub(super) fn read(source: &str) -> ExtractedText {
    let mut reader = Reader {
        source,
        ..Reader::default()
    };
    for (event, range) in Parser::new_ext(source, options()).into_offset_iter() {
        reader.event(&event, range);
    }
    ExtractedText {
        title: reader.front_title.or(reader.first_h1),
        blocks: reader.blocks,
    }
}

#[derive(Default)]
struct Reader<'a> {
    source: &'a str,
    blocks: Vec<Block>,
    front_title: Option<String>,
    first_h1: Option<String>,
    /// The heading that is being read.
    heading: Option<String>,
    /// Where the text of each open list item goes on; innermost last.
    items: Vec<usize>,
    /// Open block quotes.
    quotes: usize,
    /// Comments inside the text that is being read.
    comments: Vec<Range<usize>>,
}

impl Reader<'_> {
    fn event(&mut self, event: &Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, &range),
            Event::End(tag) => self.end(*tag, range),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut self.heading {
                    heading.push_str(text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut self.heading {
                    heading.push(' ');
                }
            }
            Event::InlineHtml(text) if text.starts_with("<!--") => self.comments.push(range),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: &Range<usize>) {
        match tag {
            Tag::Heading { .. } => {
                self.flush_item(range.start);
                self.heading = Some(String::new());
            }
            Tag::Item => {
                self.flush_item(range.start);
                self.items.push(range.start);
            }
            Tag::BlockQuote(_) => {
                self.flush_item(range.start);
                self.quotes += 1;
            }
            Tag::CodeBlock(_) | Tag::Table(_) | Tag::HtmlBlock | Tag::FootnoteDefinition(_) => {
                self.flush_item(range.start);
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Paragraph if self.items.is_empty() || self.quotes > 0 => {
                self.slice(BlockKind::Paragraph, range.clone());
                self.resume(range.end);
            }
            TagEnd::Heading(level) => {
                self.end_heading(level as u8);
                self.resume(range.end);
            }
            TagEnd::Item => {
                self.flush_item(range.end);
                self.items.pop();
                self.resume(range.end);
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                self.resume(range.end);
            }
            TagEnd::CodeBlock => {
                self.slice(BlockKind::Code, range.clone());
                self.resume(range.end);
            }
            TagEnd::Table => {
                self.slice(BlockKind::Table, range.clone());
                self.resume(range.end);
            }
            TagEnd::HtmlBlock => {
                self.html(range.clone());
                self.resume(range.end);
            }
            TagEnd::FootnoteDefinition => self.resume(range.end),
            TagEnd::MetadataBlock(_) => {
                self.front_title = self.source.get(range).and_then(front_matter_title);
            }
            _ => {}
        }
    }

    fn end_heading(&mut self, level: u8) {
        let text = one_line(&self.heading.take().unwrap_or_default());
        let text = without_attributes(&text);
        if text.is_empty() {
            return;
        }
        if level == 1 && self.first_h1.is_none() {
            self.first_h1 = Some(text.clone());
        }
        self.push(BlockKind::Heading(level), text);
    }

    /// Ends the part of the innermost item that was read so far.
    fn flush_item(&mut self, end: usize) {
        let Some(&start) = self.items.last() else {
            return;
        };
        if start < end {
            self.slice(BlockKind::ListItem, start..end);
            self.resume(end);
        }
    }

    /// The innermost item goes on here.
    fn resume(&mut self, at: usize) {
        if let Some(start) = self.items.last_mut() {
            *start = at.max(*start);
        }
    }

    fn html(&mut self, range: Range<usize>) {
        let Some(source) = self.source.get(range) else {
            return;
        };
        let trimmed = source.trim();
        let comment_only = trimmed.starts_with("<!--")
            && trimmed
                .find("-->")
                .is_none_or(|end| end + 3 == trimmed.len());
        if !comment_only {
            let source = self.without_quote_marks(source);
            self.blocks.append(&mut html::fragment(&source));
        }
    }

    /// The source of `range` as a block: comments cut out, quote marks taken off.
    fn slice(&mut self, kind: BlockKind, range: Range<usize>) {
        let start = self.start_of_line(range.start);
        let mut text = String::with_capacity(range.len());
        let mut at = start;
        for comment in std::mem::take(&mut self.comments) {
            if comment.start >= at && comment.end <= range.end {
                text.push_str(self.source.get(at..comment.start).unwrap_or_default());
                at = comment.end;
            }
        }
        text.push_str(self.source.get(at..range.end).unwrap_or_default());
        let text = self.without_quote_marks(&text);
        let text = text.trim_end().trim_start_matches('\n');
        let bare_marker = kind == BlockKind::ListItem && !text.chars().any(char::is_alphanumeric);
        if bare_marker && text.trim().len() < 4 {
            return;
        }
        let text = if kind == BlockKind::Paragraph {
            text.trim()
        } else {
            text
        };
        self.push(kind, text.to_owned());
    }

    /// The start of the line of `at`, when only white space stands before it.
    fn start_of_line(&self, at: usize) -> usize {
        let before = self.source.get(..at).unwrap_or_default();
        let line = before.trim_end_matches([' ', '\t']);
        if line.is_empty() || line.ends_with('\n') {
            line.len()
        } else {
            at
        }
    }

    fn without_quote_marks(&self, text: &str) -> String {
        if self.quotes == 0 {
            return text.to_owned();
        }
        let strip = |line: &str| {
            let mut rest = line;
            for _ in 0..self.quotes {
                let Some(inner) = rest.trim_start().strip_prefix('>') else {
                    break;
                };
                rest = inner.strip_prefix(' ').unwrap_or(inner);
            }
            rest.to_owned()
        };
        text.lines().map(strip).collect::<Vec<_>>().join("\n")
    }

    fn push(&mut self, kind: BlockKind, text: String) {
        if !text.trim().is_empty() {
            self.blocks.push(Block {
                kind,
                text,
                page: None,
            });
        }
    }
}

/// `title: …` of YAML or `title = …` of TOML front matter.
fn front_matter_title(source: &str) -> Option<String> {
    let value = source.lines().find_map(|line| {
        let rest = line.strip_prefix("title")?.trim_start();
        rest.strip_prefix([':', '='])
    })?;
    let value = value.trim();
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let title = one_line(unquoted.unwrap_or(value));
    (!title.is_empty()).then_some(title)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A heading without the anchor or class at its end (`{#anchor}`, `{.class}`). Other braces, as in
/// `/v1/documents/{id}`, are text.
fn without_attributes(heading: &str) -> String {
    let attributes = heading
        .strip_suffix('}')
        .and_then(|rest| rest.rsplit_once('{'))
        .filter(|(_, inside)| inside.trim_start().starts_with(['#', '.']));
    attributes
        .map_or(heading, |(before, _)| before.trim_end())
        .to_owned()
}

#[cfg(test)]
mod tests;
