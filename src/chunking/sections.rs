//! Blocks to sections: what stands under the same headings.

use super::ChunkLimits;
use crate::domain::{Block, BlockKind, ExtractedText};

/// The blocks between one heading and the next.
pub(super) struct Section<'a> {
    /// Headings above, outermost first, the document's title before them.
    pub path: Vec<Heading>,
    /// What stands in it; a heading that has nothing under it stands in its parent.
    pub blocks: Vec<&'a Block>,
}

/// A heading in a title path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// Its text on one line.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
}

impl Section<'_> {
    /// Tokens of the first `length` headings of the path as one line, `separator` tokens between.
    pub(super) fn path_tokens(&self, length: usize, separator: usize) -> usize {
        let headings: usize = self.path.iter().take(length).map(|h| h.tokens).sum();
        headings + length.saturating_sub(1) * separator
    }
}

/// Cuts a document at its headings. Sections without a block are left out.
pub(super) fn sections<'a>(
    text: &'a ExtractedText,
    limits: ChunkLimits,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Section<'a>> {
    let heading_max = limits.max_tokens / 4;
    let title = text
        .title
        .as_deref()
        .map(|title| shorten(title, limits, count));
    let mut stack: Vec<(u8, Heading)> = Vec::new();
    let mut sections = Vec::new();
    let mut open = Section {
        path: path(title.as_ref(), &[], limits, count),
        blocks: Vec::new(),
    };
    for (index, block) in text.blocks.iter().enumerate() {
        let heading = match block.kind {
            BlockKind::Heading(level) => Some((level, one_line(&block.text))),
            _ => None,
        }
        .map(|(level, text)| (level, count(&text), text));
        let Some((level, tokens, heading)) = heading
            .filter(|(_, tokens, text)| *tokens <= heading_max && text.len() <= byte_max(limits))
        else {
            open.blocks.push(block);
            continue;
        };
        while stack.last().is_some_and(|(above, _)| *above >= level) {
            stack.pop();
        }
        let next = text.blocks.get(index + 1).map(|block| block.kind);
        let childless = match next {
            Some(BlockKind::Heading(below)) => below <= level,
            Some(_) => false,
            None => true,
        };
        let parent = childless.then(|| path(title.as_ref(), &stack, limits, count));
        stack.push((
            level,
            Heading {
                text: heading,
                tokens,
            },
        ));
        let path = parent.unwrap_or_else(|| path(title.as_ref(), &stack, limits, count));
        sections.push(std::mem::replace(
            &mut open,
            Section {
                path,
                blocks: if childless { vec![block] } else { Vec::new() },
            },
        ));
    }
    sections.push(open);
    sections.retain(|section| !section.blocks.is_empty());
    sections
}

/// Title and headings, without the top heading where it is the title; headings in the middle go
/// first when they would leave less than half of a chunk for its text.
fn path(
    title: Option<&Heading>,
    stack: &[(u8, Heading)],
    limits: ChunkLimits,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Heading> {
    let mut path: Vec<Heading> = stack.iter().map(|(_, heading)| heading.clone()).collect();
    if let Some(title) = title {
        let same = path
            .first()
            .is_some_and(|top| top.text.eq_ignore_ascii_case(&title.text));
        if !same {
            path.insert(0, title.clone());
        }
    }
    let separator = count(">");
    let tokens =
        |path: &[Heading]| -> usize { path.iter().map(|heading| heading.tokens + separator).sum() };
    while path.len() > 2 && tokens(&path) > limits.max_tokens / 2 {
        path.remove(1);
    }
    if tokens(&path) > limits.max_tokens / 2 {
        path.remove(0);
    }
    path
}

/// As many words of a title as fit a quarter of a chunk.
fn shorten(title: &str, limits: ChunkLimits, count: &dyn Fn(&str) -> usize) -> Heading {
    let mut heading = Heading {
        text: String::new(),
        tokens: 0,
    };
    for word in title.split_whitespace() {
        let tokens = count(word);
        if heading.tokens + tokens > limits.max_tokens / 4
            || heading.text.len() + word.len() >= byte_max(limits)
        {
            break;
        }
        if !heading.text.is_empty() {
            heading.text.push(' ');
        }
        heading.text.push_str(word);
        heading.tokens += tokens;
    }
    heading
}

/// Most bytes of one heading.
fn byte_max(limits: ChunkLimits) -> usize {
    limits.max_bytes() / 8
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
