//! HTML that reports are made of: text escaped, tables that are read out well, and the look that all
//! pages share.

use super::escaped;
use std::fmt::Write as _;

/// Colours of ink and paper, tables and print, for every page.
pub(super) const STYLE: &str = include_str!("markup.css");

/// Text as HTML, in an element or in an attribute between double quotes.
pub(super) fn escape(text: &str) -> String {
    escaped(text, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        // What HTML cannot hold, and what would turn the text after it around.
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
            Some("\u{fffd}")
        }
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("\u{fffd}"),
        _ => None,
    })
}

/// A relative address: what is not a letter, digit, `-`, `.`, `_`, `~` or `/` is percent-encoded, so
/// that it needs no escaping in an attribute and names no scheme.
pub(super) fn address(path: &str) -> String {
    path.bytes().fold(String::new(), |mut address, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            address.push(char::from(byte));
        } else {
            let _ = write!(address, "%{byte:02X}");
        }
        address
    })
}

/// A table. All of it is plain text and escaped here; the first cell of a row is its heading.
pub(super) struct Table<'a> {
    /// What it is, for those who hear it.
    pub(super) label: &'a str,
    /// Shown above it; may be empty.
    pub(super) caption: &'a str,
    /// Headings of columns.
    pub(super) head: &'a [&'a str],
    /// Whether the last column is of words, and may be wrapped.
    pub(super) last_is_words: bool,
}

impl Table<'_> {
    /// Adds it to `page`.
    pub(super) fn write(&self, page: &mut String, rows: impl IntoIterator<Item = Vec<String>>) {
        let words = if self.last_is_words {
            " class=\"words\""
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table{words}>",
            escape(self.label)
        );
        if !self.caption.is_empty() {
            let _ = writeln!(page, "<caption>{}</caption>", escape(self.caption));
        }
        page.push_str("<thead><tr>");
        for name in self.head {
            let _ = write!(page, "<th scope=\"col\">{}</th>", escape(name));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            page.push_str("<tr>");
            for (place, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let _ = if place == 0 {
                    write!(page, "<th scope=\"row\">{cell}</th>")
                } else {
                    write!(page, "<td>{cell}</td>")
                };
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_text_or_attributes() {
        let hostile = "</td><script>alert('x')</script>\" onload=\"\u{202e}\u{0}&";
        let safe = escape(hostile);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{202e}', '\u{0}']));
        assert!(safe.contains("&lt;script&gt;"));
        let mut page = String::new();
        let table = Table {
            label: hostile,
            caption: hostile,
            head: &[hostile],
            last_is_words: false,
        };
        table.write(&mut page, [vec![hostile.to_owned()]]);
        assert!(!page.contains("<script>") && !page.contains("\" onload"));
    }

    #[test]
    fn addresses_stay_relative_and_plain() {
        let plain = "evidence/12-stall/profile.pb.gz";
        assert_eq!(address(plain), plain);
        assert_eq!(address("javascript:alert(1)"), "javascript%3Aalert%281%29");
        assert_eq!(address("a b\"<ä>"), "a%20b%22%3C%C3%A4%3E");
    }
}
