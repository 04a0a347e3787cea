//! PURE: text that others chose, so that no terminal takes it for a command and no line of it is read
//! backwards.

use std::fmt::Write as _;

/// What stands in the place of a character that is left out.
const LEFT_OUT: char = '·';

/// `text` in one line: control characters, line breaks among them, become `·`.
#[must_use]
pub fn one_line(text: &str) -> String {
    let shown = |c: char| if is_harmless(c) { c } else { LEFT_OUT };
    text.chars().map(shown).collect()
}

/// Several lines so; line breaks and tabs stay.
#[must_use]
pub fn lines(text: &str) -> String {
    let shown = |c: char| {
        if is_harmless(c) || c == '\n' || c == '\t' {
            c
        } else {
            LEFT_OUT
        }
    };
    text.chars().map(shown).collect()
}

/// JSON with control characters in its texts escaped: serde_json leaves U+007F to U+009F as they are, and
/// U+009B begins a command.
#[must_use]
pub fn json(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        if is_harmless(c) || c == '\n' {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        }
        escaped
    })
}

/// At most `most` characters of `text`, the last of them `…` where it was longer.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// Neither a control character nor one that changes the direction of what follows.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_chose_is_harmless() {
        assert_eq!(one_line("a\u{1b}[31mb\nc\u{202e}dé"), "a·[31mb·c·dé");
        assert_eq!(lines("a\n\tb\u{7}\r\u{9b}"), "a\n\tb···");
    }

    #[test]
    fn json_means_the_same_and_commands_nothing() {
        let value = serde_json::json!({"a": "\u{1b}[31m\u{9b}\u{7f}\n\u{202e}é"});
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(
            text.contains("\\u009b") && text.contains("\\u202e"),
            "{text}"
        );
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("", 0), "");
    }
}
