//! HTML to blocks: headings, paragraphs, lists, tables and listings, without the page's furniture.
//!
//! The tree is walked without recursion, so depth costs no stack. Where a page says which part of
//! it is the content (`main`, or a single `article`), only that part is read.

mod inline;
mod table;
mod walk;

use crate::domain::{Block, BlockKind, ExtractedText};
use scraper::{ElementRef, Html, Node};

/// Less text than this in `main` or `article` is not taken for the content of the page.
const CONTENT_MIN_CHARS: usize = 80;

/// Reads a whole page. Never fails: any text is HTML.
pub(super) fn read(source: &str) -> ExtractedText {
    let page = Html::parse_document(source);
    let root = content_root(&page);
    let mut blocks = walk::blocks(root, walk::Furniture::Dropped);
    if blocks.is_empty() {
        blocks = walk::blocks(page.root_element(), walk::Furniture::Kept);
    }
    let title = title(&page, &blocks);
    ExtractedText { title, blocks }
}

/// Reads a piece of HTML that stands inside another document.
pub(super) fn fragment(source: &str) -> Vec<Block> {
    let page = Html::parse_fragment(source);
    walk::blocks(page.root_element(), walk::Furniture::Kept)
}

fn content_root(page: &Html) -> ElementRef<'_> {
    let long_enough = |element: &ElementRef<'_>| inline::text_len(*element) >= CONTENT_MIN_CHARS;
    let all = || page.root_element().descendent_elements();
    let is_main = |e: &ElementRef<'_>| e.value().name() == "main" || e.attr("role") == Some("main");
    if let Some(main) = all().find(is_main).filter(long_enough) {
        return main;
    }
    let mut articles = all().filter(|e| e.value().name() == "article");
    match (articles.next().filter(long_enough), articles.next()) {
        (Some(article), None) => article,
        _ => page.root_element(),
    }
}

/// The page's title: its first heading where `title` merely adds the site's name to it.
fn title(page: &Html, blocks: &[Block]) -> Option<String> {
    let heading = blocks
        .iter()
        .filter(|block| matches!(block.kind, BlockKind::Heading(_)))
        .min_by_key(|block| match block.kind {
            BlockKind::Heading(level) => level,
            _ => u8::MAX,
        })
        .map(|block| block.text.clone());
    let stated = page
        .root_element()
        .descendent_elements()
        .find(|e| e.value().name() == "title" && !inside_svg(e))
        .map(|e| inline::one_line(&e.text().collect::<String>()))
        .filter(|text| !text.is_empty());
    match (stated, heading) {
        (Some(stated), Some(heading)) if stated.starts_with(&heading) => Some(heading),
        (stated, heading) => stated.or(heading),
    }
}

fn inside_svg(element: &ElementRef<'_>) -> bool {
    element
        .ancestors()
        .any(|node| matches!(node.value(), Node::Element(e) if e.name() == "svg"))
}

#[cfg(test)]
mod tests;
