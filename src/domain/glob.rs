//! PURE: a glob on the source, and the regular expression that means the same.
//!
//! `*` and `?` stay within a segment, `**` crosses segments, `[ab]`, `[!ab]` and `{a,b}` are alternatives, a
//! backslash takes a character for itself. A character is a Unicode code point, and neither `?` nor a class
//! stands for a `/`. Both stores get their expression from here, so that a filter means the same in each.

/// Whose regular expressions: they differ in how a class leaves out the `/`.
#[derive(Clone, Copy)]
enum Flavour {
    /// PostgreSQL's "advanced" ones, which can look ahead.
    Postgres,
    /// Those of the crate `regex`, which can intersect classes.
    Rust,
}

/// Deepest nesting of an expression: a glob of [`super::Filter::MAX_BYTES`] can open a brace with each of them.
const NESTING_MAX: u32 = 2 * 1_024;

/// A glob on the source, ready to be asked.
#[derive(Clone, Debug)]
pub struct SourceGlob(regex::Regex);

impl SourceGlob {
    /// # Errors
    /// A sentence on what is malformed in `glob`.
    pub fn new(glob: &str) -> Result<Self, String> {
        check(glob)?;
        regex::RegexBuilder::new(&to_regex(glob, Flavour::Rust))
            .dot_matches_new_line(true)
            .nest_limit(NESTING_MAX)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Whether the whole of `source` is what the glob describes.
    #[must_use]
    pub fn is_match(&self, source: &str) -> bool {
        self.0.is_match(source)
    }
}

/// Whether `glob` is well formed.
fn check(glob: &str) -> Result<(), String> {
    globset::GlobBuilder::new(glob)
        .literal_separator(true)
        .build()
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The regular expression of PostgreSQL that matches what `glob` does; `None` where that is malformed.
#[must_use]
pub fn postgres_regex(glob: &str) -> Option<String> {
    check(glob).ok()?;
    Some(to_regex(glob, Flavour::Postgres))
}

/// The anchored expression that matches what the glob does.
fn to_regex(glob: &str, flavour: Flavour) -> String {
    if !glob.is_empty() && glob.replace("**/", "").is_empty() {
        // Nothing after it: as `**`.
        return "^.*$".to_owned();
    }
    let mut regex = String::new();
    // What stood before each open brace, and its alternatives so far.
    let mut open: Vec<(String, Vec<String>)> = Vec::new();
    let characters: Vec<char> = glob.chars().collect();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        at += 1;
        match character {
            '*' => at = stars(&characters, at, &mut regex),
            '?' => regex.push_str("[^/]"),
            '[' => match class(&characters, at, flavour) {
                Some((text, end)) => {
                    regex.push_str(&text);
                    at = end;
                }
                None => push_literal(&mut regex, '['),
            },
            '{' => open.push((std::mem::take(&mut regex), Vec::new())),
            ',' | '}' => match open.pop() {
                None => push_literal(&mut regex, character),
                Some((before, mut alternatives)) => {
                    // An empty alternative is none.
                    alternatives.extend(Some(std::mem::take(&mut regex)).filter(|a| !a.is_empty()));
                    if character == ',' {
                        open.push((before, alternatives));
                    } else {
                        regex = before;
                        push_group(&mut regex, &alternatives);
                    }
                }
            },
            '\\' => {
                let next = characters.get(at).copied().unwrap_or('\\');
                push_literal(&mut regex, next);
                at += 1;
            }
            other => push_literal(&mut regex, other),
        }
    }
    format!("^{regex}$")
}

fn push_group(regex: &mut String, alternatives: &[String]) {
    if !alternatives.is_empty() {
        regex.push_str("(?:");
        regex.push_str(&alternatives.join("|"));
        regex.push(')');
    }
}

/// After one `*` at `at - 1`: `**` as a whole segment crosses segments, all else does not.
fn stars(characters: &[char], at: usize, regex: &mut String) -> usize {
    let before = at.checked_sub(2).and_then(|index| characters.get(index));
    let starts_segment = before.is_none_or(|c| matches!(c, '/' | '{' | ','));
    if characters.get(at) != Some(&'*') {
        regex.push_str("[^/]*");
        return at;
    }
    let after = characters.get(at + 1);
    if starts_segment && after == Some(&'/') {
        // `**/`: any number of whole segments, none included.
        regex.push_str("(?:.*/)?");
        return at + 2;
    }
    if starts_segment && after.is_none_or(|c| matches!(c, '}' | ',')) {
        // A last `**`: everything below.
        regex.push_str(".*");
        return at + 1;
    }
    regex.push_str("[^/]*[^/]*");
    at + 1
}

/// The class that begins after the `[` before `at`, and where it ends.
fn class(characters: &[char], at: usize, flavour: Flavour) -> Option<(String, usize)> {
    let negated = matches!(characters.get(at), Some('!' | '^'));
    let first = at + usize::from(negated);
    // A `]` that comes first is a member.
    let length = characters
        .get(first + 1..)?
        .iter()
        .position(|character| *character == ']')?;
    let members = characters.get(first..=first + length)?;
    let mut text = String::from(match flavour {
        Flavour::Postgres => "(?:(?!/)[",
        Flavour::Rust => "[[",
    });
    if negated {
        text.push('^');
    }
    let mut index = 0;
    while let Some(&member) = members.get(index) {
        let range_end = members
            .get(index + 2)
            .filter(|_| members.get(index + 1) == Some(&'-'));
        push_member(&mut text, member);
        index += 1;
        if let Some(&end) = range_end {
            text.push('-');
            push_member(&mut text, end);
            index += 2;
        }
    }
    text.push_str(match flavour {
        Flavour::Postgres => "])",
        Flavour::Rust => "]&&[^/]]",
    });
    Some((text, first + length + 2))
}

fn push_member(regex: &mut String, character: char) {
    // A backslash escapes inside of brackets too, in both flavours. `&&`, `--` and `~~` join classes in one.
    if matches!(character, '\\' | ']' | '[' | '^' | '-' | '&' | '~') {
        regex.push('\\');
    }
    regex.push(character);
}

fn push_literal(regex: &mut String, character: char) {
    // An escaped `<` or `>` would be the edge of a word.
    if character.is_ascii_punctuation() && !matches!(character, '/' | '_' | '<' | '>') {
        regex.push('\\');
    }
    regex.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_anchored_expressions() {
        let to_regex = |glob| to_regex(glob, Flavour::Postgres);
        assert_eq!(to_regex("docs/*.md"), r"^docs/[^/]*\.md$");
        assert_eq!(to_regex("docs/**/*.md"), r"^docs/(?:.*/)?[^/]*\.md$");
        assert_eq!(to_regex("docs/**"), r"^docs/.*$");
        assert_eq!(to_regex("{,a}{}b"), r"^(?:a)b$");
        assert_eq!(to_regex("**/"), "^.*$");
        assert_eq!(to_regex("{a,b}?"), r"^(?:a|b)[^/]$");
        assert_eq!(to_regex(r"\*[[]x]"), r"^\*(?:(?!/)[\[])x\]$");
        assert_eq!(to_regex("[!a-c]"), r"^(?:(?!/)[^a-c])$");
    }

    #[test]
    fn a_character_is_a_code_point() {
        let matches = |glob: &str, source: &str| SourceGlob::new(glob).unwrap().is_match(source);
        assert!(matches("gr?ße.md", "größe.md"));
        assert!(matches("gr[!a]ße.md", "größe.md"));
        assert!(matches("[а-я]", "ж"));
        assert!(!matches("??", "ö"));
        // The same letter, written as an `o` and two dots over it.
        assert!(matches("??", "o\u{308}"));
        assert!(matches("?", "\n"));
        assert!(!matches("a", "a\n"));
    }

    #[test]
    fn no_class_stands_for_a_slash() {
        for glob in ["a[!b]c", "a[/]c", "a[+-0]c", "a?c"] {
            assert!(!SourceGlob::new(glob).unwrap().is_match("a/c"), "{glob}");
        }
        assert!(SourceGlob::new("a[!b]c").unwrap().is_match("a-c"));
    }

    #[test]
    fn signs_that_mean_something_to_expressions_are_themselves() {
        for sign in (0..=127_u8).map(char::from).filter(|sign| *sign != '/') {
            let source = format!("a{sign}b");
            let globs = [
                format!("a\\{sign}b"),
                format!("a[{sign}]b"),
                format!("a[{sign}{sign}c]b"),
            ];
            // A second `]` ends the class.
            let globs = &globs[..if sign == ']' { 2 } else { 3 }];
            for glob in globs {
                // `[!]` and `[^]` are not closed.
                let Ok(matcher) = SourceGlob::new(glob) else {
                    assert!("!^".contains(sign), "{glob:?}");
                    continue;
                };
                let negated = "!^".contains(sign) && glob.contains('[');
                assert_eq!(matcher.is_match(&source), !negated, "{glob:?}");
                assert!(!matcher.is_match("ab"), "{glob:?}");
            }
        }
    }

    #[test]
    fn the_longest_globs_are_taken() {
        for part in ["?", "[!ä]", "{?,", "{a,", "*", "**/", "[\u{1}-\u{10ffff}]"] {
            let mut glob = part.repeat(crate::domain::Filter::MAX_BYTES / (part.len() + 1));
            if part.starts_with('{') {
                glob.push('b');
                glob.push_str(&"}".repeat(glob.matches('{').count()));
            }
            let taken = SourceGlob::new(&glob);
            assert!(taken.is_ok(), "{part}: {}", taken.err().unwrap_or_default());
        }
    }

    #[test]
    fn what_is_malformed_is_refused_for_both() {
        for glob in ["{a", "a}", "[a", "[b-a]"] {
            assert!(
                SourceGlob::new(glob).is_err() && postgres_regex(glob).is_none(),
                "{glob}"
            );
        }
    }
}
