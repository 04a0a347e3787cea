//! PURE: a glob on the source as a regular expression of PostgreSQL.
//!
//! The globs are those of [`crate::domain::Filter`]: `*` and `?` stay within a segment, `**`
//! crosses segments, `[ab]`, `[!ab]` and `{a,b}` are alternatives, a backslash takes a character
//! for itself. They were checked when the filter was made, so what does not parse matches nothing.

/// The regular expression (PostgreSQL's "advanced" flavour) that matches what the glob does.
pub(crate) fn to_regex(glob: &str) -> String {
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
            '[' => match class(&characters, at) {
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
fn class(characters: &[char], at: usize) -> Option<(String, usize)> {
    let negated = matches!(characters.get(at), Some('!' | '^'));
    let first = at + usize::from(negated);
    // A `]` that comes first is a member.
    let length = characters
        .get(first + 1..)?
        .iter()
        .position(|character| *character == ']')?;
    let members = characters.get(first..=first + length)?;
    let mut text = String::from(if negated { "(?:(?!/)[^" } else { "(?:(?!/)[" });
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
    text.push_str("])");
    Some((text, first + length + 2))
}

fn push_member(regex: &mut String, character: char) {
    // In an "advanced" expression a backslash escapes inside of brackets too.
    if matches!(character, '\\' | ']' | '[' | '^' | '-') {
        regex.push('\\');
    }
    regex.push(character);
}

fn push_literal(regex: &mut String, character: char) {
    if character.is_ascii_punctuation() && !matches!(character, '/' | '_') {
        regex.push('\\');
    }
    regex.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_anchored_expressions() {
        assert_eq!(to_regex("docs/*.md"), r"^docs/[^/]*\.md$");
        assert_eq!(to_regex("docs/**/*.md"), r"^docs/(?:.*/)?[^/]*\.md$");
        assert_eq!(to_regex("docs/**"), r"^docs/.*$");
        assert_eq!(to_regex("{,a}{}b"), r"^(?:a)b$");
        assert_eq!(to_regex("**/"), "^.*$");
        assert_eq!(to_regex("{a,b}?"), r"^(?:a|b)[^/]$");
        assert_eq!(to_regex(r"\*[[]x]"), r"^\*(?:(?!/)[\[])x\]$");
        assert_eq!(to_regex("[!a-c]"), r"^(?:(?!/)[^a-c])$");
    }
}
