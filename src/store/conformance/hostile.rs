//! Filters that try to be something else.

use super::*;
use std::collections::BTreeSet;

/// Parts of globs and of sources: everything that a glob or a regular expression has a meaning for.
const PARTS: [&str; 31] = [
    "a", "b", "a", "b", "/", "/", "*", "**", "**/", "/**", "?", "[ab]", "[a-c]", "[]]", "[a-]",
    "[[]", "{a,b}", "{a,*/b}", "{,a}", "\\*", "\\a", "{", "}", "[", "]", ".", "^", "$", "(", "|",
    "+",
];

/// Globs mean in both stores what they mean to `globset`, which takes letters outside of ASCII byte by byte and
/// `[!a]` for a `/` too: see [`globs_take_characters_whole`] for these.
pub(crate) fn globs_mean_what_they_mean_elsewhere(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let mut random = Random(7);
    let mut sources: BTreeSet<String> =
        ["a", "b", "a/b", "a/a/b", "a.b", "[ab]", "a|b", "^a$", "]"]
            .map(str::to_owned)
            .into();
    put_sixty(repo, &mut random, &PARTS, &mut sources);
    let (mut globs, mut found) = (0, 0);
    while globs < 300 {
        let glob = random.joined(&PARTS, 4);
        let filter = json!({"source": glob});
        let Ok(checked) = Filter::new(filter.as_object().unwrap().clone()) else {
            continue;
        };
        globs += 1;
        let matcher = globset::GlobBuilder::new(checked.source.as_deref().unwrap())
            .literal_separator(true)
            .build()
            .unwrap()
            .compile_matcher();
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

/// Stores sixty documents: of `sources`, and of paths made of `parts`, which are added to them.
fn put_sixty(
    repo: &dyn EmbeddingRepo,
    random: &mut Random,
    parts: &[&str],
    sources: &mut BTreeSet<String>,
) {
    while sources.len() < 60 {
        let source = random.joined(parts, 5);
        let is_path = !source.split('/').any(str::is_empty);
        sources.extend(is_path.then_some(source));
    }
    let documents: Vec<_> = (0_u64..)
        .zip(&*sources)
        .map(|(n, source)| document(source, n, &["word"]))
        .collect();
    put(repo, &documents);
}

/// Letters of one to four bytes, and what stands for one character.
const WIDE_PARTS: [&str; 14] = [
    "ö",
    "o\u{308}",
    "ß",
    "ж",
    "数",
    "🦀",
    "a",
    "/",
    "?",
    "??",
    "[!a]",
    "[!ö/]",
    "[а-я]",
    "[\u{80}-\u{10ffff}]",
];

/// A character is one code point, and never half of one: `?` and `[!a]` stand for `ö`, for a Chinese character
/// and for an emoji, and for no `/`.
pub(crate) fn globs_take_characters_whole(fixture: &Fixture) {
    let repo = &*fixture.repo;
    let said = [
        "größe", "grösse", "o\u{308}", "ж", "数据", "🦀", "a/b", "a-b",
    ];
    let mut random = Random(11);
    let mut sources: BTreeSet<String> = said.map(str::to_owned).into();
    put_sixty(repo, &mut random, &WIDE_PARTS[..8], &mut sources);
    let found = |filter| -> BTreeSet<String> {
        let ask = Ask {
            filter,
            limit: 100,
            ..Ask::new(repo, Mode::Vector)
        };
        ask.sources().into_iter().collect()
    };
    for (glob, of_said) in [
        ("gr?ße", vec!["größe"]),
        ("gr[!a]?*e", vec!["größe", "grösse"]),
        ("gr[ä-ü]ße", vec!["größe"]),
        ("gr??ße", vec![]),
        ("[а-я]", vec!["ж"]),
        ("[!a][!a]", vec!["o\u{308}", "数据"]),
        ("?", vec!["ж", "🦀"]),
        ("a?b", vec!["a-b"]),
        ("a[!x]b", vec!["a-b"]),
        ("a[/-]b", vec!["a-b"]),
    ] {
        let mut got = found(json!({"source": glob}));
        got.retain(|source| said.contains(&&**source));
        assert_eq!(
            got,
            of_said.into_iter().map(str::to_owned).collect(),
            "{glob:?}"
        );
    }
    let mut total = 0;
    for _ in 0..300 {
        let glob = random.joined(&WIDE_PARTS, 4);
        let filter = json!({"source": glob});
        let matcher = Filter::new(filter.as_object().unwrap().clone())
            .unwrap()
            .source_matcher()
            .unwrap();
        let expected: BTreeSet<String> = sources
            .iter()
            .filter(|source| matcher.is_match(source))
            .cloned()
            .collect();
        let got = found(filter);
        assert_eq!(got, expected, "{glob:?}");
        total += got.len();
    }
    assert!(total > 300, "the globs find {total} sources");
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

    /// One to `most` of `parts`.
    fn joined(&mut self, parts: &[&str], most: usize) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| parts[self.below(parts.len())]).collect()
    }
}
