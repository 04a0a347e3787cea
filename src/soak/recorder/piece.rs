//! PURE: what one source gave: files, lines of the summary, and what is missing.

use crate::plain;
use crate::soak::evidence::{FileRecord, MissingRecord};

/// Longest line of a summary, in characters.
const MAX_LINE: usize = 240;
/// Most lines that one source adds to it.
const MAX_LINES: usize = 6;

/// What one source gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    pub(super) files: Vec<(FileRecord, Vec<u8>)>,
    pub(super) missing: Vec<MissingRecord>,
    pub(super) summary: Vec<String>,
}

impl Piece {
    /// A file `name` of `content`, cut at `max_bytes`.
    pub(super) fn file(name: &str, what: &str, mut content: Vec<u8>, max_bytes: u64) -> Self {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let cut = content.len() > most;
        content.truncate(most);
        let what = if cut {
            format!("{what} (its first {most} bytes)")
        } else {
            what.to_owned()
        };
        let file = FileRecord {
            name: name.to_owned(),
            what,
            bytes: Some(content.len() as u64),
        };
        Self {
            files: vec![(file, content)],
            ..Self::default()
        }
    }

    /// Nothing but the reason.
    pub(super) fn missing(what: &str, why: &str) -> Self {
        let mut piece = Self::default();
        piece.lacks(what, why);
        piece
    }

    /// `what` could not be taken.
    pub(super) fn lacks(&mut self, what: &str, why: &str) {
        self.missing.push(MissingRecord {
            what: what.to_owned(),
            why: plain(why, MAX_LINE),
        });
    }

    /// Adds a line to the summary.
    pub(super) fn say(&mut self, line: &str) {
        if self.summary.len() < MAX_LINES {
            self.summary.push(plain(line, MAX_LINE));
        }
    }

    /// Adds what another source gave.
    pub(super) fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.missing.extend(other.missing);
        self.summary.extend(other.summary);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|(file, _)| file.bytes).sum()
    }
}

/// `text` in one line of at most `most` characters that no terminal takes for a command: others chose it.
pub(super) fn plain(text: &str, most: usize) -> String {
    let text = text.trim();
    let mut line: String = plain::one_line(text).chars().take(most).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

/// Several lines so.
pub(super) fn plain_lines(text: &str) -> String {
    plain::lines(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_chose_is_harmless_and_short() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d", 99), "a·[31mb·c·d");
        assert_eq!(plain(&"x".repeat(9), 4), "xxxx…");
        assert_eq!(plain_lines("a\n\tb\u{7}\r"), "a\n\tb··");
    }

    #[test]
    fn files_are_cut_and_say_so() {
        let piece = Piece::file("a.txt", "letters", b"abcdef".to_vec(), 4);
        assert_eq!(piece.bytes(), 4);
        assert_eq!(piece.files[0].0.what, "letters (its first 4 bytes)");
        let mut whole = Piece::file("a.txt", "letters", b"abcd".to_vec(), 4);
        assert_eq!(whole.files[0].0.what, "letters");
        whole.add(Piece::missing("b", "why\n"));
        (0..9).for_each(|n| whole.say(&n.to_string()));
        assert_eq!(
            (whole.missing[0].why.as_str(), whole.summary.len()),
            ("why", 6)
        );
    }
}
