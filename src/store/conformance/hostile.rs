//! Filters that try to be something else.

use super::*;
use std::collections::BTreeSet;

/// Parts of globs and of sources: everything that a glob or a regular expression has a meaning for.
const PARTS: [&str; 31] = [
    "a", "b", "a", "b", "/", "/", "*", "**", "**/", "/**", "?", "[ab]", "[a-c]", "[]]", "[a-]",
    "[[]", "{a,b}", "{a,*/b}", "{,a}", "\\*", "\\a", "{", "}", "[", "]", ".", "^", "$", "(", "|",
    "+",
];

/// What a glob means is said by the matcher that checks it, in both stores. Left aside is what the matcher
/// takes byte by byte (`?` and `[!a]` for letters outside of ASCII) and `[!a]` for a `/`.
pub(crate) fn globs_mean_what_they_mean_elsewhere(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut random = Random(7);
    let mut sources: BTreeSet<String> =
        ["a", "b", "a/b", "a/a/b", "a.b", "[ab]", "a|b", "^a$", "]"]
            .map(str::to_owned)
            .into();
    while sources.len() < 60 {
        let source = random.joined(5);
        let is_path = !source.split('/').any(str::is_empty);
        sources.extend(is_path.then_some(source));
    }
    let documents: Vec<_> = (0_u64..)
        .zip(&sources)
        .map(|(n, source)| document(source, n, &["word"]))
        .collect();
    put(repo, &documents);
    let (mut globs, mut found) = (0, 0);
    while globs < 300 {
        let glob = random.joined(4);
        let filter = json!({"source": glob});
        let Ok(checked) = Filter::new(filter.as_object().unwrap().clone()) else {
            continue;
        };
        globs += 1;
        let matcher = checked.source_matcher().unwrap();
        let expected = sources.iter().filter(|source| matcher.is_match(source));
        let expected: BTreeSet<String> = expected.cloned().collect();
        let ask = Ask {
            filter,
            limit: 100,
            ..Ask::new(repo, Mode::Vector)
        };
        let got: BTreeSet<String> = ask.sources().into_iter().collect();
        assert_eq!(got, expected, "{glob:?}");
        found += got.len();
    }
    assert!(found > 300, "the globs find {found} sources");
}

/// Names and values that read like SQL, JSON paths or patterns are compared as they are.
pub(crate) fn metadata_is_never_syntax(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let odd = [
        "x' OR '1'='1",
        "x\"; DROP TABLE documents; --",
        "$.a",
        "$[0]",
        "a.b",
        "%",
        "_",
        "{}",
        "?|",
        "@>",
        "\\",
        "\u{202e}a",
        "*",
        "NULL",
    ];
    let documents: Vec<_> = (0_u64..)
        .zip(odd)
        .map(|(n, odd)| with_metadata(document(odd, n, &["word"]), &json!({odd: odd})))
        .collect();
    put(repo, &documents);
    for (index, key) in odd.into_iter().enumerate() {
        for value in odd {
            let ask = Ask {
                filter: json!({key: value}),
                ..Ask::new(repo, MODES[index % MODES.len()])
            };
            let expected = if key == value { vec![key] } else { Vec::new() };
            assert_eq!(ask.sources(), expected, "{key:?}: {value:?}");
        }
    }
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// One to `most` parts.
    fn joined(&mut self, most: usize) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }
}
