//! The walk through a page's elements that makes its blocks.

use super::inline::{Run, one_line};
use super::table;
use crate::domain::{Block, BlockKind};
use ego_tree::NodeId;
use ego_tree::iter::Edge;
use scraper::node::Element;
use scraper::{ElementRef, Node};

/// What happens to menus, banners and forms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Furniture {
    /// They are left out.
    Dropped,
    /// They are read like the rest.
    Kept,
}

/// The blocks below `root`, in the order of the page.
pub(super) fn blocks(root: ElementRef<'_>, furniture: Furniture) -> Vec<Block> {
    let mut walk = Walk {
        furniture,
        blocks: Vec::new(),
        run: Run::default(),
        kind: BlockKind::Paragraph,
        lists: Vec::new(),
        marker: None,
        skipping: None,
    };
    for edge in root.traverse() {
        match edge {
            Edge::Open(node) if walk.skipping.is_none() => match node.value() {
                Node::Text(text) => walk.run.push(text),
                Node::Element(element) => {
                    if let Some(element_ref) = ElementRef::wrap(node) {
                        walk.open(element, element_ref);
                    }
                }
                _ => {}
            },
            Edge::Close(node) => match walk.skipping {
                Some(id) if id == node.id() => walk.skipping = None,
                Some(_) => {}
                None => {
                    if let Node::Element(element) = node.value() {
                        walk.close(element);
                    }
                }
            },
            Edge::Open(_) => {}
        }
    }
    walk.flush();
    walk.blocks
}

struct Walk {
    furniture: Furniture,
    blocks: Vec<Block>,
    run: Run,
    /// What the text that is being read belongs to.
    kind: BlockKind,
    /// Open lists, innermost last: the next number, `None` for bullets.
    lists: Vec<Option<u64>>,
    /// What the next block of the open item begins with.
    marker: Option<String>,
    /// The element whose end ends the skipping.
    skipping: Option<NodeId>,
}

impl Walk {
    fn open(&mut self, element: &Element, whole: ElementRef<'_>) {
        let name = element.name();
        if self.is_skipped(element) {
            self.skipping = Some(whole.id());
            return;
        }
        match name {
            "br" => self.run.line_break(),
            "img" => self.run.push(element.attr("alt").unwrap_or_default()),
            "pre" => self.listing(whole),
            "table" => {
                self.flush();
                if let Some(text) = table::text(whole) {
                    self.push(BlockKind::Table, text);
                    self.skipping = Some(whole.id());
                }
            }
            "ul" | "menu" => self.open_list(None),
            "ol" => {
                let first = element.attr("start").and_then(|start| start.parse().ok());
                self.open_list(Some(first.unwrap_or(1)));
            }
            "li" => self.open_item(),
            "td" | "th" => self.run.space(),
            _ => {
                if let Some(level) = heading_level(name) {
                    self.flush();
                    self.kind = BlockKind::Heading(level);
                } else if is_block(name) {
                    self.flush();
                }
            }
        }
    }

    fn close(&mut self, element: &Element) {
        let name = element.name();
        match name {
            "ul" | "ol" | "menu" => {
                self.flush();
                self.lists.pop();
            }
            "li" => {
                self.flush();
                self.marker = None;
            }
            _ => {
                if heading_level(name).is_some() || is_block(name) {
                    self.flush();
                    if matches!(self.kind, BlockKind::Heading(_)) {
                        self.kind = BlockKind::Paragraph;
                    }
                }
            }
        }
    }

    fn open_list(&mut self, first: Option<u64>) {
        self.flush();
        self.lists.push(first);
    }

    fn open_item(&mut self) {
        self.flush();
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(8));
        self.marker = Some(match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{indent}{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            _ => format!("{indent}- "),
        });
    }

    /// Ends the block that is being read.
    fn flush(&mut self) {
        let text = self.run.take();
        if text.is_empty() {
            return;
        }
        if let BlockKind::Heading(level) = self.kind {
            let text = one_line(text.trim_matches(['¶', '#', '§']));
            self.push(BlockKind::Heading(level), text);
        } else if let Some(marker) = self.marker.take() {
            self.push(BlockKind::ListItem, marker + &text);
        } else if self.lists.is_empty() {
            self.push(BlockKind::Paragraph, text);
        } else {
            self.push(BlockKind::ListItem, text);
        }
    }

    fn listing(&mut self, pre: ElementRef<'_>) {
        self.flush();
        let mut text = String::new();
        for node in pre.descendants() {
            match node.value() {
                Node::Text(part) => text.push_str(part),
                Node::Element(e) if e.name() == "br" => text.push('\n'),
                _ => {}
            }
        }
        let text = text.trim_end().trim_start_matches('\n');
        if !text.trim().is_empty() {
            let fence = fence_for(text);
            let language = language(pre);
            self.push(
                BlockKind::Code,
                format!("{fence}{language}\n{text}\n{fence}"),
            );
        }
        self.skipping = Some(pre.id());
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

    fn is_skipped(&self, element: &Element) -> bool {
        let name = element.name();
        let no_content = matches!(
            name,
            "script"
                | "style"
                | "template"
                | "noscript"
                | "head"
                | "iframe"
                | "object"
                | "svg"
                | "canvas"
                | "audio"
                | "video"
                | "select"
                | "input"
                | "textarea"
                | "dialog"
        );
        let hidden = element.attr("hidden").is_some()
            || element.attr("aria-hidden") == Some("true")
            || element.has_class("headerlink", scraper::CaseSensitivity::CaseSensitive);
        if no_content || hidden {
            return true;
        }
        let role = element.attr("role").unwrap_or_default();
        self.furniture == Furniture::Dropped
            && (matches!(name, "nav" | "footer" | "button")
                || matches!(role, "navigation" | "search" | "banner" | "contentinfo"))
    }
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Elements that a browser shows on lines of their own.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "center"
            | "dd"
            | "details"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "header"
            | "hgroup"
            | "hr"
            | "legend"
            | "main"
            | "nav"
            | "p"
            | "section"
            | "summary"
            | "table"
            | "tr"
            | "caption"
            | "option"
    )
}

/// A fence longer than any run of backticks in `text`.
fn fence_for(text: &str) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

/// The language that highlighters note in a class of the listing or of what it is in.
fn language(pre: ElementRef<'_>) -> &str {
    let code = pre.child_elements().find(|e| e.value().name() == "code");
    let around = pre.ancestors().take(3).filter_map(ElementRef::wrap);
    let language = code
        .into_iter()
        .chain([pre])
        .chain(around)
        .flat_map(|element| element.value().classes().collect::<Vec<_>>())
        .find_map(|class| {
            class
                .strip_prefix("language-")
                .or_else(|| class.strip_prefix("lang-"))
                .or_else(|| class.strip_prefix("highlight-"))
        })
        .unwrap_or_default();
    if matches!(language, "default" | "none" | "plaintext" | "text") {
        ""
    } else {
        language
    }
}
