//! The kept corpus through every target, and what proptest makes of it.

use super::TARGETS;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Most bytes of the whole corpus: it is in everybody's clone.
const CORPUS_MAX_BYTES: usize = 2 << 20;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// The kept inputs of a target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut inputs: Vec<(PathBuf, Vec<u8>)> =
        std::fs::read_dir(folder().join("corpus").join(target))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
    inputs.sort();
    assert!(inputs.len() >= 3, "{target} has {} inputs", inputs.len());
    inputs
}

fn run(target: &str, input: &[u8]) {
    let (_, call) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    call(input);
}

#[test]
fn every_target_is_built_and_has_a_small_corpus() {
    let named: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let built = manifest["bin"].as_array().unwrap();
    let built = built
        .iter()
        .map(|bin| bin["name"].as_str().unwrap().to_owned());
    assert_eq!(built.collect::<BTreeSet<_>>(), named);
    let kept = std::fs::read_dir(folder().join("corpus")).unwrap();
    let kept = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(kept.collect::<BTreeSet<_>>(), named);
    let bytes: usize = named
        .iter()
        .flat_map(|target| corpus(target))
        .map(|(_, input)| input.len())
        .sum();
    assert!(bytes <= CORPUS_MAX_BYTES, "the corpus has {bytes} bytes");
}

/// One change to an input.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Word(Index, &'static str),
    Remove(Index, usize),
    /// So many bytes from here, so many times.
    Repeat(Index, usize, usize),
    /// A part of another input.
    Splice(Index, Index, usize),
    Cut(Index),
}

const WORDS: [&str; 24] = [
    "\0",
    "\u{202e}",
    "{{",
    "}}",
    "[^1]",
    "[^9]",
    "<script>",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"",
    "'",
    "\n",
    "\r\n\r\n",
    "]]>",
    "null",
    "NaN",
    "[[[[",
    "{\"a\":",
    "\\u0000",
    "0x7fffffff",
    "../",
    "\u{1b}[31m",
    "%00",
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (at(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), prop::sample::select(WORDS.to_vec())).prop_map(|(at, word)| Change::Word(at, word)),
        (at(), 1_usize..64).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), 1_usize..32, 2_usize..40).prop_map(|(at, n, times)| Change::Repeat(at, n, times)),
        (at(), at(), 1_usize..200).prop_map(|(at, from, n)| Change::Splice(at, from, n)),
        at().prop_map(Change::Cut),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>, others: &[(PathBuf, Vec<u8>)]) {
        let place = |at: &Index, length: usize| at.index(length + 1);
        let length = input.len();
        match self {
            Self::Flip(at, byte) if length > 0 => input[at.index(length)] ^= byte,
            Self::Flip(..) => {}
            Self::Insert(at, bytes) => insert(input, place(at, length), bytes),
            Self::Word(at, word) => insert(input, place(at, length), word.as_bytes()),
            Self::Remove(at, count) => {
                let at = place(at, length);
                input.drain(at..length.min(at + count));
            }
            Self::Repeat(at, count, times) => {
                let at = place(at, length);
                let part = input[at..length.min(at + count)].repeat(*times);
                insert(input, at, &part);
            }
            Self::Splice(at, from, count) => {
                let other = &others[from.index(others.len())].1;
                let from = place(from, other.len());
                let part = &other[from..other.len().min(from + count)];
                insert(input, place(at, length), part);
            }
            Self::Cut(at) => input.truncate(place(at, length)),
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

fn mutations_are_read(target: &str, cases: u32) {
    let inputs = corpus(target);
    let config = ProptestConfig {
        cases,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let strategy = (any::<Index>(), prop::collection::vec(change(), 1..6));
    let mut runner = TestRunner::new(config);
    let result = runner.run(&strategy, |(seed, changes)| {
        let mut input = inputs[seed.index(inputs.len())].1.clone();
        for change in &changes {
            change.apply(&mut input, &inputs);
        }
        run(target, &input);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{target}: {error}");
    }
}

macro_rules! targets {
    ($($name:ident: $cases:literal,)*) => {$(
        mod $name {
            #[test]
            fn the_corpus_is_read() {
                for (path, input) in super::corpus(stringify!($name)) {
                    println!("{}", path.display());
                    super::run(stringify!($name), &input);
                }
            }

            #[test]
            fn mutations_of_the_corpus_are_read() {
                super::mutations_are_read(stringify!($name), $cases);
            }

            #[test]
            fn long_mutations_of_the_corpus_are_read() {
                super::mutations_are_read(stringify!($name), 100 * $cases);
            }
        }
    )*

    #[test]
    fn every_target_is_tested() {
        let tested = [$(stringify!($name)),*];
        assert_eq!(TARGETS.map(|(name, _)| name), tested);
    }
    };
}

// So many cases as take about a second or two.
targets! {
    configuration: 400,
    filter: 2_000,
    html: 400,
    http_framing: 4_000,
    markdown: 400,
    model_files: 1_000,
    pdf: 200,
    provider_answers: 2_000,
    query_json: 4_000,
    run_files: 100,
    scenario: 1_000,
}
