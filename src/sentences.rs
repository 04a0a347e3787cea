//! PURE: text to sentences, and a chunk to the units that an answer is made of.
//!
//! Sentence ends are those of Unicode (UAX #29), corrected where they are wrong for prose: a line
//! end inside a paragraph ends no sentence, nor does the full stop of an abbreviation, an initial
//! or a numbered heading. A sentence always ends at white space, so that tokens stay countable.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A part of a chunk that can stand alone in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// What it is.
    pub kind: UnitKind,
    /// Its text, without surrounding white space; never empty.
    pub text: &'a str,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnitKind {
    /// A heading inside the chunk, with its marks.
    Heading,
    /// A sentence of running text.
    Sentence,
    /// An item of a list, with its marker and continuation lines.
    ListItem,
    /// A whole code block, fences or indentation included.
    Code,
    /// The header of a table: its first row.
    TableHeader,
    /// Another row of a table.
    TableRow,
}

/// The sentences of a paragraph, in order: each with the white space that follows it, so that they
/// join to `text` again.
#[must_use]
pub fn sentences(text: &str) -> Vec<&str> {
    // A line end would end a sentence (rule SB4); as a space of the same length it does not.
    let flat: String = text
        .chars()
        .map(|c| if c == '\n' { ' ' } else { c })
        .collect();
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for bound in flat.split_sentence_bounds() {
        end += bound.len();
        let so_far = text.get(start..end).unwrap_or_default();
        if ends_here(so_far, text.get(end..).unwrap_or_default()) {
            sentences.push(so_far);
            start = end;
        }
    }
    if let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        sentences.push(rest);
    }
    sentences
}

/// Words before whose full stop a sentence goes on. Lower case, without the stop.
const ABBREVIATIONS: [&str; 46] = [
    "al", "approx", "art", "ca", "cf", "ch", "chap", "co", "corp", "dept", "dr", "e.g", "ed",
    "eds", "eq", "eqn", "eqs", "esp", "fig", "figs", "gen", "i.e", "inc", "jr", "lt", "ltd", "max",
    "min", "mr", "mrs", "ms", "mt", "p", "pp", "prof", "ref", "refs", "rev", "sec", "sect", "sr",
    "st", "tab", "vol", "vs", "viz",
];

fn ends_here(sentence: &str, rest: &str) -> bool {
    if rest.is_empty() {
        return true;
    }
    if !sentence.ends_with(char::is_whitespace) {
        return false;
    }
    let trimmed = sentence.trim_end();
    let Some(stopped) = trimmed.strip_suffix('.') else {
        return trimmed.ends_with(|c: char| !c.is_alphanumeric());
    };
    let word = stopped.rsplit(char::is_whitespace).next().unwrap_or("");
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let number_alone = word.len() == stopped.trim_start().len()
        && !word.is_empty()
        && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let lower = word.to_lowercase();
    let number_follows = rest.starts_with(|c: char| c.is_ascii_digit());
    let numbered = matches!(lower.as_str(), "no" | "nos" | "nr" | "art" | "ver") && number_follows;
    !(initial || number_alone || numbered || ABBREVIATIONS.contains(&lower.as_str()))
}

/// The units of a chunk's text, in order. Understands the Markdown that chunks are written in:
/// fenced code, lists, tables and headings; everything else is running text.
#[must_use]
pub fn units(text: &str) -> Vec<Unit<'_>> {
    let mut splitter = Splitter {
        text,
        units: Vec::new(),
        open: None,
    };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        splitter.line(line, at);
        at += line.len();
    }
    splitter.close();
    splitter.units
}

/// What the lines that were read last belong to.
enum Open {
    Prose(Range<usize>),
    Item(Range<usize>),
    Fence { range: Range<usize>, marks: String },
    Indented(Range<usize>),
    Table,
}

struct Splitter<'a> {
    text: &'a str,
    units: Vec<Unit<'a>>,
    open: Option<Open>,
}

impl Splitter<'_> {
    fn line(&mut self, line: &str, at: usize) {
        let range = at..at + line.len();
        let trimmed = line.trim();
        if let Some(Open::Fence { range: open, marks }) = &mut self.open {
            open.end = range.end;
            let all_marks = trimmed.starts_with(marks.as_str())
                && trimmed.chars().all(|c| marks.starts_with(c));
            if all_marks {
                self.close();
            }
            return;
        }
        if let Some(Open::Indented(open)) = &mut self.open {
            if is_indented(line) {
                open.end = range.end;
                return;
            }
            if trimmed.is_empty() {
                return;
            }
            self.close();
        }
        if trimmed.is_empty() {
            self.close();
        } else if self.begins_listing(line) {
            self.close();
            self.open = Some(Open::Indented(range));
        } else if let Some(marks) = fence_marks(trimmed) {
            self.close();
            self.open = Some(Open::Fence { range, marks });
        } else if trimmed.starts_with('|') {
            self.table_line(trimmed, range);
        } else if is_heading(line) {
            self.close();
            self.push(UnitKind::Heading, range);
        } else if is_item(trimmed) {
            self.close();
            self.open = Some(Open::Item(range));
        } else if let Some(Open::Prose(open) | Open::Item(open)) = &mut self.open {
            open.end = range.end;
        } else {
            self.close();
            self.open = Some(Open::Prose(range));
        }
    }

    /// An indented line is code where no paragraph is open, and no item that it may belong to.
    fn begins_listing(&self, line: &str) -> bool {
        let after_item = self.units.last().map(|unit| unit.kind) == Some(UnitKind::ListItem);
        let in_block = matches!(self.open, Some(Open::Prose(_) | Open::Item(_)));
        is_indented(line) && !in_block && !after_item
    }

    fn table_line(&mut self, trimmed: &str, range: Range<usize>) {
        let ruler = trimmed.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
        if matches!(self.open, Some(Open::Table)) {
            if !ruler {
                self.push(UnitKind::TableRow, range);
            }
            return;
        }
        self.close();
        self.open = Some(Open::Table);
        if !ruler {
            self.push(UnitKind::TableHeader, range);
        }
    }

    fn close(&mut self) {
        match self.open.take() {
            Some(Open::Fence { range, .. } | Open::Indented(range)) => {
                self.push(UnitKind::Code, range);
            }
            Some(Open::Item(range)) => self.push(UnitKind::ListItem, range),
            Some(Open::Prose(range)) => {
                let prose = self.text.get(range.clone()).unwrap_or_default();
                let mut at = range.start;
                for sentence in sentences(prose) {
                    self.push(UnitKind::Sentence, at..at + sentence.len());
                    at += sentence.len();
                }
            }
            Some(Open::Table) | None => {}
        }
    }

    fn push(&mut self, kind: UnitKind, range: Range<usize>) {
        let text = self.text.get(range).unwrap_or_default();
        let text = if kind == UnitKind::Code {
            text.trim_end()
        } else {
            text.trim()
        };
        if !text.is_empty() {
            self.units.push(Unit { kind, text });
        }
    }
}

/// The run of backticks or tildes that opens a fence.
pub(crate) fn fence_marks(trimmed: &str) -> Option<String> {
    let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let marks: String = trimmed.chars().take_while(|&c| c == mark).collect();
    let info = trimmed.get(marks.len()..).unwrap_or_default();
    (marks.len() >= 3 && !info.contains('`')).then_some(marks)
}

/// Whether a line that is not blank is indented as code is.
fn is_indented(line: &str) -> bool {
    (line.starts_with("    ") || line.starts_with('\t')) && !line.trim().is_empty()
}

fn is_heading(line: &str) -> bool {
    let hashes = line.chars().take_while(|&c| c == '#').count();
    (1..=6).contains(&hashes)
        && line
            .chars()
            .nth(hashes)
            .is_some_and(|after| after == ' ' || after == '\t')
}

/// Whether a line begins an item: a bullet or a number of at most nine digits, then white space.
pub(crate) fn is_item(trimmed: &str) -> bool {
    let after_marker = trimmed.strip_prefix(['-', '*', '+', '•']).or_else(|| {
        let digits = trimmed.chars().take_while(char::is_ascii_digit).count();
        let rest = trimmed.get(digits..)?;
        (1..=9)
            .contains(&digits)
            .then(|| rest.strip_prefix(['.', ')']))?
    });
    after_marker.is_some_and(|rest| rest.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trimmed(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(str::trim).collect()
    }

    #[test]
    fn abbreviations_and_initials_end_no_sentence() {
        let text = "Dr. J. Smith came, e.g. Monday. See Fig. 3 for it! Really? Yes.";
        assert_eq!(
            trimmed(text),
            [
                "Dr. J. Smith came, e.g. Monday.",
                "See Fig. 3 for it!",
                "Really?",
                "Yes."
            ]
        );
    }

    #[test]
    fn line_ends_and_decimals_end_no_sentence() {
        let text = "Version 1.5 of\nthe daemon runs. It needs\n2.5 GB. See No. 7 there.";
        assert_eq!(
            trimmed(text),
            [
                "Version 1.5 of\nthe daemon runs.",
                "It needs\n2.5 GB.",
                "See No. 7 there."
            ]
        );
    }

    #[test]
    fn a_numbered_heading_stays_with_its_words() {
        assert_eq!(trimmed("3. Results were good."), ["3. Results were good."]);
    }

    #[test]
    fn units_of_markdown() {
        let text = "## Upgrade\n\nRun this. Then wait.\n\n```sh\nhelm upgrade\n\nx\n```\n\
                    - one\n  more\n- two\n\n1. first\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\nEnd.";
        let found: Vec<_> = units(text).iter().map(|u| (u.kind, u.text)).collect();
        assert_eq!(
            found,
            [
                (UnitKind::Heading, "## Upgrade"),
                (UnitKind::Sentence, "Run this."),
                (UnitKind::Sentence, "Then wait."),
                (UnitKind::Code, "```sh\nhelm upgrade\n\nx\n```"),
                (UnitKind::ListItem, "- one\n  more"),
                (UnitKind::ListItem, "- two"),
                (UnitKind::ListItem, "1. first"),
                (UnitKind::TableHeader, "| a | b |"),
                (UnitKind::TableRow, "| 1 | 2 |"),
                (UnitKind::TableRow, "| 3 | 4 |"),
                (UnitKind::Sentence, "End."),
            ]
        );
    }

    #[test]
    fn indented_lines_are_code_where_they_cannot_be_text() {
        let text = "Run:\n\n    helm repo update\n\n    helm upgrade\n\nThen\n    wait.\n\n- item\n\n    goes on";
        let found: Vec<_> = units(text).iter().map(|u| (u.kind, u.text)).collect();
        assert_eq!(
            found,
            [
                (UnitKind::Sentence, "Run:"),
                (UnitKind::Code, "    helm repo update\n\n    helm upgrade"),
                (UnitKind::Sentence, "Then\n    wait."),
                (UnitKind::ListItem, "- item"),
                (UnitKind::Sentence, "goes on"),
            ]
        );
    }

    #[test]
    fn an_open_fence_reaches_to_the_end() {
        let units = units("```\na. B c.\n\nd");
        assert_eq!(units.len(), 1);
        assert_eq!(units[0].kind, UnitKind::Code);
    }

    proptest! {
        #[test]
        fn sentences_join_to_the_text(text in "(\\PC|\n|[.!?] ){0,80}") {
            prop_assert_eq!(sentences(&text).concat(), text.clone());
            let whole = sentences(&text);
            for sentence in whole.iter().rev().skip(1) {
                prop_assert!(sentence.ends_with(char::is_whitespace));
            }
        }

        #[test]
        fn units_lose_no_word(text in "([a-z]{1,5}|[-#|`*. \n]){0,80}") {
            let kept: String = units(&text).iter().map(|unit| unit.text).collect();
            let words = |s: &str| s.chars().filter(char::is_ascii_lowercase).collect::<String>();
            prop_assert_eq!(words(&kept), words(&text));
        }
    }
}
