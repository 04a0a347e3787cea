//! Pieces that pages of both sections share.

use clap_mangen::roff::{Roff, bold, roman};

/// What the pages belong to, as their footer says.
pub(super) const MANUAL: &str = "alfred manual";

/// The version in the footer of every page.
pub(super) fn source() -> String {
    format!("alfred {}", env!("CARGO_PKG_VERSION"))
}

/// Text as people wrote it for a terminal, below a heading: indented lines stay as they are, others
/// are filled.
pub(super) fn plain_text(roff: &mut Roff, text: &str) {
    let mut verbatim = false;
    let mut fresh = false;
    let mut begun = false;
    for line in text.lines() {
        let indented = line.starts_with(' ');
        if verbatim && !indented {
            end_verbatim(roff);
            verbatim = false;
            fresh = true;
        }
        if line.trim().is_empty() {
            fresh = true;
            continue;
        }
        if begun && (fresh || (indented && !verbatim)) {
            roff.control("PP", []);
        }
        if indented && !verbatim {
            roff.control("RS", ["4"]);
            roff.control("nf", []);
            verbatim = true;
        }
        begun = true;
        fresh = false;
        let shown = if indented {
            line.strip_prefix("  ").unwrap_or(line)
        } else {
            line
        };
        roff.text([roman(shown)]);
    }
    if verbatim {
        end_verbatim(roff);
    }
}

fn end_verbatim(roff: &mut Roff) {
    roff.control("fi", []);
    roff.control("RE", []);
}

/// A section of tagged paragraphs.
pub(super) fn tagged(roff: &mut Roff, heading: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (tag, text) in entries {
        roff.control("TP", []);
        roff.text([bold(*tag)]);
        roff.text([roman(*text)]);
    }
}

/// The last section: other pages, as `name(section)`.
pub(super) fn see_also(roff: &mut Roff, pages: &[String]) {
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len().saturating_sub(1);
    for (index, page) in pages.iter().enumerate() {
        let (name, section) = page.split_once('(').unwrap_or((page, "1)"));
        let comma = if index == last { "" } else { "," };
        roff.text([bold(name), roman(format!("({section}{comma}"))]);
    }
}
