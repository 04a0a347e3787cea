//! Lines of pages to headings, paragraphs, items and listings.

use super::lines::{Line, ratio};
use crate::domain::{Block, BlockKind};
use crate::sentences::is_item;
use std::collections::{HashMap, HashSet};

/// A line this much larger than the body is a heading.
const HEADING_SIZE: f32 = 1.15;

/// A bold line this much larger than the body is one too.
const BOLD_HEADING_SIZE: f32 = 1.05;

/// Longest heading, in characters and lines.
const HEADING_CHARS: usize = 200;

/// A size is for headings only when at most this share of all lines has it.
const HEADING_SHARE: f32 = 0.2;

/// From this many pages on, a size of headings is expected on more than one.
const LONG_PAGES: usize = 6;

/// The blocks of a document, in order, paragraphs going on over columns and pages.
pub(super) fn of_pages(pages: &[Vec<Line>]) -> Vec<Block> {
    let style = Style::of(pages);
    let mut builder = Builder {
        style: &style,
        blocks: Vec::new(),
        open: Vec::new(),
        page: 0,
        last_page: 0,
        kind: BlockKind::Paragraph,
    };
    for (index, page) in pages.iter().enumerate() {
        for line in page {
            builder.line(line, index + 1);
        }
    }
    builder.close();
    builder.blocks
}

/// The heading of the highest level on the first page with one, if that comes early.
pub(super) fn title_of(blocks: &[Block]) -> Option<String> {
    let early = blocks.iter().take(12);
    let headings = early.filter_map(|block| match block.kind {
        BlockKind::Heading(level) => Some((level, &block.text)),
        _ => None,
    });
    headings
        .min_by_key(|(level, _)| *level)
        .map(|(_, text)| text.clone())
}

/// What is usual in a document.
struct Style {
    /// Size of most of the text, in half points.
    body: u32,
    /// Base line to base line inside paragraphs, in parts of the size.
    leading: f32,
    /// Sizes of headings in half points, largest first; the place gives the level.
    headings: Vec<u32>,
}

impl Style {
    fn of(pages: &[Vec<Line>]) -> Self {
        let mut chars: HashMap<u32, usize> = HashMap::new();
        let mut lines: HashMap<u32, usize> = HashMap::new();
        let mut gaps: HashMap<u32, usize> = HashMap::new();
        let all = || pages.iter().flatten().filter(|line| line.size > 0.0);
        for line in all() {
            *chars.entry(halves(line.size)).or_default() += line.text.len();
            *lines.entry(halves(line.size)).or_default() += 1;
        }
        let body = most(&chars).unwrap_or(20);
        for page in pages {
            for pair in page.windows(2) {
                let [above, below] = pair else { continue };
                let gap = above.y - below.y;
                if halves(below.size) == body && gap > 0.0 && gap < below.size * 3.0 {
                    *gaps.entry(halves(gap * 10.0 / below.size)).or_default() += 1;
                }
            }
        }
        let leading = most(&gaps).map_or(1.2, |gap| f32::from(to_u16(gap)) / 20.0);
        let total = all().count();
        let largest = lines.keys().max().copied();
        // On the cover of a longer document, all but the title is large without being a heading.
        let mut on_pages: HashMap<u32, usize> = HashMap::new();
        for page in pages {
            let sizes: HashSet<u32> = page.iter().map(|line| halves(line.size)).collect();
            for size in sizes {
                *on_pages.entry(size).or_default() += 1;
            }
        }
        let recurs = |size: u32| {
            pages.len() < LONG_PAGES
                || largest == Some(size)
                || on_pages.get(&size).is_some_and(|&count| count > 1)
        };
        let is_heading = |size: u32, count: usize| {
            f32::from(to_u16(size)) >= f32::from(to_u16(body)) * BOLD_HEADING_SIZE
                && ratio(count, total) <= HEADING_SHARE
        };
        let mut headings: Vec<u32> = lines
            .into_iter()
            .filter(|&(size, count)| is_heading(size, count) && recurs(size))
            .map(|(size, _)| size)
            .collect();
        headings.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            body,
            leading,
            headings,
        }
    }

    /// The level of a line that looks like a heading.
    fn level(&self, line: &Line) -> Option<u8> {
        let letters = line.text.chars().filter(|c| c.is_alphabetic()).count();
        // An ellipsis leads to the page number in a table of contents.
        let contents = line.text.contains(" …") && line.text.ends_with(|c: char| c.is_numeric());
        let long = line.text.chars().count() > HEADING_CHARS;
        if letters < 2 || line.fixed || long || contents {
            return None;
        }
        let size = halves(line.size);
        let large = f32::from(to_u16(size)) >= f32::from(to_u16(self.body)) * HEADING_SIZE;
        let rank = self.headings.iter().position(|&heading| heading == size);
        if let Some(rank) = rank.filter(|_| large || line.bold) {
            return Some(u8::try_from(rank + 1).unwrap_or(6).min(6));
        }
        let as_body = size.abs_diff(self.body) <= 1;
        if as_body && line.bold && is_numbered(&line.text) {
            return Some(u8::try_from(self.headings.len() + 1).unwrap_or(6).min(6));
        }
        None
    }
}

/// `3 Results`, `3.1. Results`, `A.2 Proofs`.
fn is_numbered(text: &str) -> bool {
    let Some((number, rest)) = text.split_once(' ') else {
        return false;
    };
    let parts = number.trim_end_matches('.').split('.');
    let counted = parts.enumerate().all(|(index, part)| {
        let digits = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let letter = index == 0 && part.len() == 1 && part.chars().all(|c| c.is_ascii_uppercase());
        digits || (letter && number.contains('.'))
    });
    counted && number.len() <= 8 && rest.starts_with(char::is_alphabetic)
}

struct Builder<'a> {
    style: &'a Style,
    blocks: Vec<Block>,
    /// Lines of the block that is being read.
    open: Vec<&'a Line>,
    /// The page on which it began.
    page: usize,
    /// The page of the line before.
    last_page: usize,
    kind: BlockKind,
}

impl<'a> Builder<'a> {
    fn line(&mut self, line: &'a Line, page: usize) {
        let kind = self.kind_of(line);
        let turned = std::mem::replace(&mut self.last_page, page) != page;
        if self.open.is_empty() || !self.goes_on(line, kind, turned) {
            self.close();
            self.page = page;
            self.kind = kind;
        }
        self.open.push(line);
    }

    fn kind_of(&self, line: &Line) -> BlockKind {
        if let Some(level) = self.style.level(line) {
            BlockKind::Heading(level)
        } else if line.fixed {
            BlockKind::Code
        } else if is_item(&line.text) || is_bullet(&line.text) {
            BlockKind::ListItem
        } else {
            BlockKind::Paragraph
        }
    }

    /// Whether `line`, perhaps on a new page, is part of the block that is being read.
    fn goes_on(&self, line: &Line, kind: BlockKind, turned: bool) -> bool {
        let (Some(last), Some(first)) = (self.open.last(), self.open.first()) else {
            return false;
        };
        if line.breaks || kind == BlockKind::ListItem {
            return false;
        }
        let size = line.size.max(last.size);
        let gap = last.y - line.y;
        let near = !turned && gap > size * 0.3 && gap <= size * self.style.leading * 1.3;
        match (self.kind, kind) {
            (BlockKind::Heading(a), BlockKind::Heading(b)) => {
                let lines = self.open.len() < 4;
                a == b && lines && near && !is_numbered(&line.text)
            }
            (BlockKind::Code, BlockKind::Code) => !turned && gap > -size && gap <= size * 3.5,
            (BlockKind::Paragraph | BlockKind::ListItem, BlockKind::Paragraph) => {
                if last.size == 0.0 {
                    return !turned;
                }
                if halves(last.size).abs_diff(halves(line.size)) > 1 {
                    return false;
                }
                if near {
                    self.same_paragraph(line, last, first)
                } else {
                    (turned || gap <= size * 0.3) && flows_over(last, line)
                }
            }
            _ => false,
        }
    }

    /// Whether a line right below is no new paragraph: not indented, and no short line before it.
    fn same_paragraph(&self, line: &Line, last: &Line, first: &Line) -> bool {
        let em = line.size;
        let left = if self.open.len() > 1 {
            last.left
        } else {
            first.left
        };
        let indented = line.left - left;
        let widest = self.open.iter().map(|l| l.right).fold(line.right, f32::max);
        let last_is_short = last.right < widest - (widest - left) * 0.2;
        if self.open.len() > 1 && indented > em * 0.7 && indented < em * 4.0 {
            return false;
        }
        if self.kind == BlockKind::ListItem && indented < -em {
            return false;
        }
        !(last_is_short && (ends_sentence(&last.text) || indented > em * 0.7))
    }

    fn close(&mut self) {
        let lines = std::mem::take(&mut self.open);
        if lines.is_empty() {
            return;
        }
        let text = match self.kind {
            BlockKind::Code => listing(&lines),
            BlockKind::ListItem => as_item(&joined(&lines)),
            _ => joined(&lines),
        };
        if !text.trim().is_empty() {
            self.blocks.push(Block {
                kind: self.kind,
                text,
                page: u32::try_from(self.page).ok(),
            });
        }
    }
}

/// Whether a paragraph goes on in the next column or on the next page.
fn flows_over(last: &Line, line: &Line) -> bool {
    let unfinished = last.text.ends_with('-') || !ends_sentence(&last.text);
    let continues = line
        .text
        .starts_with(|c: char| c.is_lowercase() || c.is_ascii_digit());
    unfinished && continues
}

fn ends_sentence(text: &str) -> bool {
    let text = text
        .trim_end_matches(|c: char| matches!(c, ')' | ']' | '”' | '"' | '’') || c.is_ascii_digit());
    text.ends_with(['.', '!', '?', ':', ';', '。'])
}

fn is_bullet(text: &str) -> bool {
    let mut chars = text.chars();
    let bullet = chars.next().is_some_and(|c| {
        matches!(
            c,
            '•' | '◦' | '▪' | '■' | '●' | '○' | '‣' | '∙' | '·' | '–' | '—'
        )
    });
    bullet && chars.next() == Some(' ')
}

/// Items begin as they do in Markdown.
fn as_item(text: &str) -> String {
    match text.split_once(' ') {
        Some((_, rest)) if is_bullet(text) => format!("- {rest}"),
        _ => text.to_owned(),
    }
}

/// Lines as running text: hyphens at line ends are taken out where they only divide a word.
fn joined(lines: &[&Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let line = line.text.trim();
        if text.is_empty() {
            text.push_str(line);
            continue;
        }
        if text.ends_with('\u{ad}') || divides_word(&text, line) {
            text.pop();
        } else if !text.ends_with(['-', '/']) || text.ends_with(" -") {
            text.push(' ');
        }
        text.push_str(line);
    }
    text.replace('\u{ad}', "")
}

/// Whether the hyphen at the end of `text` divides a word: letters before it, a small letter after
/// it, and no other hyphen in the word.
fn divides_word(text: &str, next: &str) -> bool {
    let Some(before) = text.strip_suffix(['-', '\u{2010}']) else {
        return false;
    };
    let word = before.rsplit(char::is_whitespace).next().unwrap_or("");
    let letters = word.chars().rev().take(2).filter(|c| c.is_alphabetic());
    letters.count() == 2
        && !word.contains(['-', '/', '_', '.'])
        && next.starts_with(char::is_lowercase)
}

/// Lines of fixed width with their indentation, in a fence.
fn listing(lines: &[&Line]) -> String {
    let left = lines
        .iter()
        .map(|line| line.left)
        .fold(f32::INFINITY, f32::min);
    let mut text = String::from("```\n");
    for line in lines {
        let columns = ((line.left - left) / (line.size.max(1.0) * 0.6)).round();
        let columns = usize::from(to_u16(halves(columns.clamp(0.0, 40.0)))) / 2;
        text.push_str(&" ".repeat(columns));
        text.push_str(&line.text);
        text.push('\n');
    }
    text.push_str("```");
    text
}

/// Half points, so that sizes that are shown alike are alike.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn halves(points: f32) -> u32 {
    (points * 2.0).round().clamp(0.0, 20_000.0) as u32
}

fn to_u16(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// The key with the greatest count; the smallest of equals.
fn most(counts: &HashMap<u32, usize>) -> Option<u32> {
    let greatest = counts
        .iter()
        .max_by_key(|&(key, count)| (*count, std::cmp::Reverse(*key)));
    greatest.map(|(key, _)| *key)
}
