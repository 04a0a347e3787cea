//! Passages as their reader would see them.
//!
//! Marks of Markdown go, the words stay: emphasis, link targets, bullets, HTML tags, fences.
//! Backticks around code stay, since an answer is itself read as Markdown, and so does the number
//! of a step. A row of a table is written with its header: `Name: alfred.conf; Default: 300 ms`. A
//! listing of one line stands in backticks, a longer one indented, in whole lines.

use super::{Find, Passage, Passages, Source, distinct, found};
use crate::domain::query::shorten;
use crate::sentences::{UnitKind, fence_marks};
use pulldown_cmark::{BrokenLink, CowStr, Event, LinkType, Options, Parser, Tag};
use std::fmt::Write as _;
use std::ops::Range;

/// Longest passage that is quoted whole, in characters; more is cut at a word, with an ellipsis.
const MAX_PASSAGE_CHARS: usize = 600;
/// Most lines of a listing.
const MAX_CODE_LINES: usize = 8;

/// The answer: `chosen` in their order, each with its footnote. A listing shares that of what it
/// follows, when both are of the same citation.
pub(super) fn render(
    passages: &Passages<'_>,
    chosen: &[&Passage<'_>],
    sources: &[Source<'_>],
    find: &Find<'_>,
) -> String {
    let mut text = String::new();
    let mut after_block = false;
    // The citation whose footnote stands last.
    let mut noted = None;
    for (at, passage) in chosen.iter().enumerate() {
        let is_markdown = sources[passage.citation].is_markdown;
        let raw = passage.unit.text;
        let quote = match passage.unit.kind {
            UnitKind::Code => code(raw, find),
            UnitKind::TableRow => {
                let header = passage.header.and_then(|at| passages.all.get(at));
                row(header.map(|header| header.unit.text), raw, is_markdown)
            }
            UnitKind::Sentence | UnitKind::ListItem | UnitKind::Heading | UnitKind::TableHeader => {
                readable(raw, is_markdown)
            }
        };
        if quote.is_empty() {
            continue;
        }
        let is_block = quote.starts_with("    ");
        let own_line = matches!(passage.unit.kind, UnitKind::ListItem | UnitKind::TableRow);
        if !text.is_empty() {
            text.push_str(if is_block {
                "\n\n"
            } else if own_line || after_block {
                "\n"
            } else {
                " "
            });
        }
        text.push_str(&quote);
        // What a sentence announces shares its footnote.
        let shares = raw.ends_with(':')
            && chosen.get(at + 1).is_some_and(|next| {
                next.citation == passage.citation && next.order == passage.order + 1
            });
        after_block = is_block;
        if shares {
            noted = None;
        } else if !(is_block && noted == Some(passage.citation)) {
            noted = Some(passage.citation);
            let space = if is_block { "\n\n" } else { " " };
            let _ = write!(text, "{space}[^{}]", passage.citation + 1);
        }
    }
    text
}

/// A heading as a title.
pub(super) fn title(heading: &str, is_markdown: bool) -> String {
    let title = if is_markdown {
        inline(heading)
    } else {
        heading.to_owned()
    };
    title.replace('`', "")
}

fn readable(text: &str, is_markdown: bool) -> String {
    let text = if is_markdown {
        inline(text)
    } else {
        let text = text.trim_start();
        let text = ["- ", "* ", "+ ", "• "]
            .iter()
            .find_map(|bullet| text.strip_prefix(bullet))
            .unwrap_or(text);
        one_line(&without_footnotes(text))
    };
    bounded(&text)
}

/// Markdown on one line, without its marks.
fn inline(text: &str) -> String {
    // `[text][label]`: the label is defined elsewhere. `[text]` alone may mean itself.
    let label = |link: BrokenLink<'_>| {
        let is_label = matches!(
            link.link_type,
            LinkType::Reference
                | LinkType::ReferenceUnknown
                | LinkType::Collapsed
                | LinkType::CollapsedUnknown
        );
        is_label.then(|| (CowStr::from(""), CowStr::from("")))
    };
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut out = String::with_capacity(text.len());
    let mut next_number = None;
    for event in Parser::new_with_broken_link_callback(text, options, Some(label)) {
        match event {
            Event::Start(Tag::List(first)) => next_number = first,
            Event::Start(Tag::Item) => {
                if let Some(number) = &mut next_number {
                    let _ = write!(out, "{number}. ");
                    *number += 1;
                }
            }
            Event::Text(text) => out.push_str(&text),
            Event::Code(code) => {
                let marks = if code.contains('`') { "``" } else { "`" };
                let _ = write!(out, "{marks}{code}{marks}");
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                out.push_str(if is_html(&html) { "" } else { &html });
                if html.starts_with("<br") {
                    out.push(' ');
                }
            }
            Event::SoftBreak | Event::HardBreak | Event::Rule => out.push(' '),
            Event::End(end) if is_block_end(end) => out.push(' '),
            _ => {}
        }
    }
    one_line(&without_footnotes(&without_stray_marks(&out)))
}

fn is_block_end(end: pulldown_cmark::TagEnd) -> bool {
    use pulldown_cmark::TagEnd;
    matches!(
        end,
        TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::CodeBlock
    )
}

/// Tags that lay out or mark text; `<name>` and `<String>` are text that was not escaped.
const TAGS: [&str; 44] = [
    "a",
    "abbr",
    "b",
    "big",
    "blockquote",
    "br",
    "center",
    "code",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "picture",
    "pre",
    "s",
    "small",
    "source",
    "span",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "td",
    "tr",
    "u",
    "ul",
];

fn is_html(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix('<') else {
        return false;
    };
    let rest = rest.trim_start_matches('/');
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(rest.len());
    let name = rest.get(..end).unwrap_or_default();
    rest.starts_with("!--") || TAGS.contains(&name.to_ascii_lowercase().as_str())
}

/// Without `**` whose other half stands in another sentence.
fn without_stray_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("**") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        out.push_str(before);
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let (left, right) = (out.chars().next_back(), after.chars().next());
        let opens = is_space(left) && !is_space(right) && right != Some('`');
        let closes = is_space(right) && !is_space(left) && left != Some('`');
        if !(opens || closes) || (is_word(left) && is_word(right)) {
            out.push_str("**");
        }
        rest = after;
    }
    out + rest
}

/// Without `[^name]`, which would be read as a footnote of the answer.
fn without_footnotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("[^") {
        let (before, mark) = rest.split_at(at);
        out.push_str(before);
        let end = mark.find(']').filter(|&end| {
            end < 32
                && !mark
                    .get(..end)
                    .unwrap_or_default()
                    .contains(char::is_whitespace)
        });
        rest = if let Some(end) = end {
            &mark[end + 1..]
        } else {
            out.push_str("[^");
            &mark[2..]
        };
    }
    out + rest
}

/// A row with the names of its columns.
fn row(header: Option<&str>, row: &str, is_markdown: bool) -> String {
    let names = header.map(cells).unwrap_or_default();
    let mut out = String::new();
    for (at, cell) in cells(row).iter().enumerate() {
        let show = |cell: &str| {
            if is_markdown {
                inline(cell)
            } else {
                one_line(cell)
            }
        };
        let cell = show(cell);
        if cell.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push_str("; ");
        }
        let name = names.get(at).map(|name| show(name)).unwrap_or_default();
        if !name.is_empty() {
            let _ = write!(out, "{name}: ");
        }
        out.push_str(&cell);
    }
    bounded(&out)
}

/// The cells of a row: what stands between bars that no backslash is before.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim();
    let row = row.strip_prefix('|').unwrap_or(row);
    let mut cells = vec![String::new()];
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = c == '\\' && chars.peek() == Some(&'|');
        if c == '|' {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(if escaped { '|' } else { c });
        }
        if escaped {
            chars.next();
        }
    }
    cells
}

/// A listing without its fences: in backticks, or as indented lines.
fn code(text: &str, find: &Find<'_>) -> String {
    let is_blank = |line: &&str| line.trim().is_empty();
    let is_fence = |line: &&str| fence_marks(line.trim()).is_some();
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.first().is_some_and(is_fence) {
        lines.remove(0);
        lines.pop_if(|line| is_fence(&&**line));
    }
    while lines.pop_if(|line| is_blank(&&**line)).is_some() {}
    lines.drain(..lines.iter().take_while(|line| is_blank(line)).count());
    if let [line] = lines[..]
        && !line.contains('`')
    {
        return if line.is_empty() {
            String::new()
        } else {
            format!("`{}`", bounded(line.trim()))
        };
    }
    let kept = best_lines(&lines, find);
    let (cut_before, cut_after) = (kept.start > 0, kept.end < lines.len());
    let kept = lines.get(kept).unwrap_or_default();
    let filled = kept.iter().filter(|line| !is_blank(line));
    let indent = filled
        .map(|line| line.len() - line.trim_start().len())
        .min();
    let mut shown = Vec::with_capacity(kept.len() + 2);
    shown.extend(cut_before.then_some("…"));
    let dedented = kept.iter().map(|line| line.get(indent.unwrap_or(0)..));
    shown.extend(dedented.map(Option::unwrap_or_default));
    shown.extend(cut_after.then_some("…"));
    let shown = shown.iter().map(|line| match line.trim_end() {
        "" => String::new(),
        line => format!("    {line}"),
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// At most [`MAX_CODE_LINES`] neighbouring lines of at most [`MAX_PASSAGE_CHARS`] bytes, one line
/// at least: those with the most words of the question, the earlier of two that are as good.
fn best_lines(lines: &[&str], find: &Find<'_>) -> Range<usize> {
    let fits = |lines: &[&str]| {
        lines.len() <= MAX_CODE_LINES
            && lines.iter().map(|line| line.len()).sum::<usize>() <= MAX_PASSAGE_CHARS
    };
    if fits(lines) {
        return 0..lines.len();
    }
    let words: Vec<Vec<usize>> = lines.iter().map(|line| found(find, line).0).collect();
    let mut best = (0, 0..0);
    for start in 0..lines.len() {
        let mut end = start + 1;
        while end < lines.len() && fits(&lines[start..=end]) {
            end += 1;
        }
        let words = distinct(words[start..end].concat()).len();
        if start == 0 || words > best.0 {
            best = (words, start..end);
        }
    }
    best.1
}

/// A text of at most [`MAX_PASSAGE_CHARS`], cut between words, no code left open.
fn bounded(text: &str) -> String {
    if text.len() <= MAX_PASSAGE_CHARS || text.chars().count() <= MAX_PASSAGE_CHARS {
        return text.to_owned();
    }
    let cut = shorten(text, MAX_PASSAGE_CHARS);
    let cut = cut.trim_end_matches('…');
    let whole_words = cut
        .rfind(char::is_whitespace)
        .filter(|at| at * 2 > cut.len());
    let mut cut = cut
        .get(..whole_words.unwrap_or(cut.len()))
        .unwrap_or(cut)
        .to_owned();
    if cut.matches('`').count() % 2 == 1 {
        cut.push('`');
    }
    cut + "…"
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
