//! Runs of text inside one block: white space collapsed as a browser shows it.

use scraper::{ElementRef, Node};

/// Text whose white space collapses while it grows.
#[derive(Default)]
pub(super) struct Run {
    text: String,
    space_due: bool,
}

impl Run {
    /// Appends text as it stands in the source.
    pub(super) fn push(&mut self, text: &str) {
        for (index, word) in text.split(is_html_space).enumerate() {
            self.space_due |= index > 0;
            if word.is_empty() {
                continue;
            }
            if std::mem::take(&mut self.space_due) && !self.at_line_start() {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
    }

    /// A forced line break.
    pub(super) fn line_break(&mut self) {
        if !self.at_line_start() {
            self.text.push('\n');
        }
        self.space_due = false;
    }

    /// Marks a place where words end, as between two cells.
    pub(super) fn space(&mut self) {
        self.space_due = true;
    }

    /// The text so far, and begins anew.
    pub(super) fn take(&mut self) -> String {
        self.space_due = false;
        let text = std::mem::take(&mut self.text);
        if text.ends_with(char::is_whitespace) || text.starts_with(char::is_whitespace) {
            return text.trim().to_owned();
        }
        text
    }

    fn at_line_start(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }
}

/// White space that collapses; a no-break space does not.
fn is_html_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// All of `text` on one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters of an element's text that are not white space, scripts and styles left out.
pub(super) fn text_len(element: ElementRef<'_>) -> usize {
    let in_code = |parent: Option<ego_tree::NodeRef<'_, Node>>| {
        parent.is_some_and(|node| {
            matches!(node.value(), Node::Element(e) if matches!(e.name(), "script" | "style"))
        })
    };
    element
        .descendants()
        .filter(|node| !in_code(node.parent()))
        .filter_map(|node| {
            node.value()
                .as_text()
                .map(|text| text.trim().chars().count())
        })
        .sum()
}
