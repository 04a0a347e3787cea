//! PURE: text to the terms that the text index holds.
//!
//! A term is a Unicode word (UAX #29), folded (compatibility forms and Latin diacritics removed,
//! lower case) and stemmed. An identifier such as `POSTGRES_DSN`, `EmbeddingRepo` or
//! `alfred.service` gives itself, unstemmed, and its parts, so that it is found by its full name
//! and by a word of it. Scripts written without spaces (Han, Kana) give single characters and
//! overlapping pairs. Terms hold letters, digits and `_` only: nothing in them means anything to a
//! query language.
//!
//! Stemming: words in ASCII letters go through Snowball's English stemmer, Cyrillic ones through
//! the Russian. Text and query pass through the same function, so that words of other languages
//! in Latin script still find themselves; they are merely conflated a little differently.

use rust_stemmers::{Algorithm, Stemmer};
use std::collections::{HashMap, HashSet};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Longest term, in characters; longer ones (hashes, base64) are cut, in text and query alike.
const MAX_TERM_CHARS: usize = 64;

/// The terms of a text in order, repetitions included.
#[must_use]
pub fn index_terms(text: &str) -> Vec<String> {
    let mut terms = Vec::with_capacity(text.len() / 5);
    collect(text, Purpose::Index, &mut |term, _| terms.push(term));
    terms
}

/// The distinct terms of a query in order, without stop words unless it has nothing else.
#[must_use]
pub fn query_terms(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut content = Vec::new();
    let mut stopped = Vec::new();
    collect(text, Purpose::Query, &mut |term, is_stop_word| {
        if seen.insert(term.clone()) {
            if is_stop_word {
                stopped.push(term);
            } else {
                content.push(term);
            }
        }
    });
    if content.is_empty() { stopped } else { content }
}

/// Finds the terms of one question in texts.
///
/// Costs less than [`index_terms`]: stemming keeps the first letter of an English word, so a word
/// that begins as none of the terms does is counted and neither stemmed nor copied.
#[derive(Debug)]
pub struct TermFinder<'t> {
    terms: HashMap<&'t str, usize>,
    initials: [bool; 256],
}

impl<'t> TermFinder<'t> {
    /// A finder of `terms`, as [`query_terms`] gives them.
    #[must_use]
    pub fn new(terms: &'t [String]) -> Self {
        let mut initials = [false; 256];
        for first in terms.iter().filter_map(|term| term.bytes().next()) {
            initials[usize::from(first)] = true;
        }
        Self {
            terms: terms.iter().map(String::as_str).zip(0..).collect(),
            initials,
        }
    }

    /// Calls `found` with the index of the term for each occurrence in `text`, in order, and
    /// returns how many terms [`index_terms`] would give.
    pub fn find(&self, text: &str, found: &mut dyn FnMut(usize)) -> usize {
        let mut length = 0;
        let mut others = 0;
        let begins_otherwise = |word: &str| {
            let first = word.as_bytes().first().map(u8::to_ascii_lowercase);
            let may_be = first.is_some_and(|first| self.initials[usize::from(first)]);
            let skip = !may_be && is_plain(word);
            others += usize::from(skip);
            skip
        };
        collect_unless(text, Purpose::Index, begins_otherwise, &mut |term, _| {
            length += 1;
            if let Some(&index) = self.terms.get(term.as_str()) {
                found(index);
            }
        });
        length + others
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Index,
    Query,
}

/// Calls `emit` with each term and whether it comes from a stop word.
fn collect(text: &str, purpose: Purpose, emit: &mut dyn FnMut(String, bool)) {
    collect_unless(text, purpose, |_| false, emit);
}

/// The same, without the words that `skip` names.
fn collect_unless(
    text: &str,
    purpose: Purpose,
    mut skip: impl FnMut(&str) -> bool,
    emit: &mut dyn FnMut(String, bool),
) {
    let stemmers = Stemmers::new();
    let mut run = Ideographs::default();
    for (start, word) in text.unicode_word_indices() {
        if let Some(character) = single_ideograph(word) {
            run.push(start, character, purpose, emit);
            continue;
        }
        run.finish(purpose, emit);
        if !skip(word) {
            word_terms(word, &stemmers, emit);
        }
    }
    run.finish(purpose, emit);
}

/// A run of characters of a script without spaces.
#[derive(Default)]
struct Ideographs {
    previous: Option<char>,
    end: usize,
    length: usize,
}

impl Ideographs {
    fn push(
        &mut self,
        start: usize,
        character: char,
        purpose: Purpose,
        emit: &mut dyn FnMut(String, bool),
    ) {
        if self.end != start {
            self.finish(purpose, emit);
        }
        if purpose == Purpose::Index {
            emit(character.to_string(), false);
        }
        if let Some(previous) = self.previous {
            emit([previous, character].iter().collect(), false);
        }
        self.previous = Some(character);
        self.end = start + character.len_utf8();
        self.length += 1;
    }

    /// A query of one character has no pair and asks for the character itself.
    fn finish(&mut self, purpose: Purpose, emit: &mut dyn FnMut(String, bool)) {
        if let (Some(character), 1, Purpose::Query) = (self.previous, self.length, purpose) {
            emit(character.to_string(), false);
        }
        *self = Self::default();
    }
}

fn single_ideograph(word: &str) -> Option<char> {
    let mut chars = word.chars();
    let character = chars.next()?;
    let is_ideograph = matches!(character,
        '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    (is_ideograph && chars.next().is_none()).then_some(character)
}

/// The terms of one word: its parts, and the whole when it has several.
fn word_terms(word: &str, stemmers: &Stemmers, emit: &mut dyn FnMut(String, bool)) {
    if let Some((term, stop)) = plain_term(word, stemmers) {
        return emit(term, stop);
    }
    if word
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
    {
        let number: String = word.chars().filter(|c| *c != ',').collect();
        return emit(cut(&number.replace('.', "_")), false);
    }
    let word = word.replace('\u{2019}', "'");
    let word = word
        .strip_suffix("'s")
        .or(word.strip_suffix("'S"))
        .unwrap_or(&word);
    let parts: Vec<&str> = word
        .split(is_ascii_symbol)
        .flat_map(humps)
        .filter(|part| !part.is_empty())
        .collect();
    let [_, _, ..] = parts[..] else {
        if let Some(only) = parts.first() {
            let folded = fold(only);
            let stop = is_stop_word(&folded);
            emit(stemmers.stem(cut(&folded)), stop);
        }
        return;
    };
    if word.contains('\'') {
        return elision_terms(&parts, stemmers, emit);
    }
    let whole = fold(word).replace(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric(), "_");
    emit(cut(whole.trim_matches('_')), false);
    for part in parts {
        let folded = fold(part);
        if folded.chars().nth(1).is_some() {
            let stop = is_stop_word(&folded);
            emit(stemmers.stem(cut(&folded)), stop);
        }
    }
}

/// A word in ASCII letters with no capital but the first, as most words of most text are. It has
/// one term.
fn is_plain(word: &str) -> bool {
    let letters = word.as_bytes().split_first();
    word.len() <= MAX_TERM_CHARS
        && letters.is_some_and(|(first, rest)| {
            first.is_ascii_alphabetic() && rest.iter().all(u8::is_ascii_lowercase)
        })
}

/// The term of a plain word, with one allocation instead of the general case's six.
fn plain_term(word: &str, stemmers: &Stemmers) -> Option<(String, bool)> {
    is_plain(word).then(|| {
        let folded = word.to_ascii_lowercase();
        let stop = is_stop_word(&folded);
        (stemmers.stem(folded), stop)
    })
}

/// `l'avion` gives `avion`, `O'Reilly` gives `reilly`, `don't` gives `don`.
fn elision_terms(parts: &[&str], stemmers: &Stemmers, emit: &mut dyn FnMut(String, bool)) {
    let mut any = false;
    for part in parts {
        let folded = fold(part);
        if folded.chars().nth(2).is_some() {
            any = true;
            let stop = is_stop_word(&folded) || CONTRACTED.contains(&folded.as_str());
            emit(stemmers.stem(cut(&folded)), stop);
        }
    }
    if !any {
        emit(cut(&fold(&parts.concat())), true);
    }
}

/// Splits `EmbeddingRepo` to `Embedding`, `Repo` and `HTTPServer` to `HTTP`, `Server`.
fn humps(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    for index in 1..chars.len() {
        let (at, current) = chars[index];
        let previous = chars[index - 1].1;
        let next_is_lower = chars.get(index + 1).is_some_and(|(_, c)| c.is_lowercase());
        let rises = previous.is_lowercase() && current.is_uppercase();
        let falls = previous.is_uppercase() && current.is_uppercase() && next_is_lower;
        if rises || falls {
            parts.push(&word[start..at]);
            start = at;
        }
    }
    parts.push(&word[start..]);
    parts
}

/// Lower case, without compatibility forms and without the diacritics of Latin letters.
fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let mut after_latin = false;
    let without_marks = word.nfkd().filter(|c| {
        if is_invisible(*c) {
            return false;
        }
        let is_mark = ('\u{300}'..='\u{36f}').contains(c);
        if !is_mark {
            after_latin = c.is_ascii() || ('\u{c0}'..='\u{24f}').contains(c);
        }
        !(is_mark && after_latin)
    });
    let lower = without_marks.nfc().flat_map(char::to_lowercase);
    lower.fold(String::with_capacity(word.len()), |mut folded, c| {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' => folded.push('d'),
            'ı' => folded.push('i'),
            other => folded.push(other),
        }
        folded
    })
}

/// Soft hyphens, joiners, marks of direction: in the text, but not in the word.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// At most [`MAX_TERM_CHARS`], and without what folding may have brought in (`¸` has a space in it).
fn cut(term: &str) -> String {
    let term = match term.char_indices().nth(MAX_TERM_CHARS) {
        Some((end, _)) => &term[..end],
        None => term,
    };
    term.replace(is_ascii_symbol, "_")
}

fn is_ascii_symbol(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric()
}

struct Stemmers {
    english: Stemmer,
    russian: Stemmer,
}

impl Stemmers {
    fn new() -> Self {
        Self {
            english: Stemmer::create(Algorithm::English),
            russian: Stemmer::create(Algorithm::Russian),
        }
    }

    fn stem(&self, word: String) -> String {
        if word.len() > 2 && word.bytes().all(|b| b.is_ascii_lowercase()) {
            return self.english.stem(&word).into_owned();
        }
        if word.chars().all(|c| ('\u{430}'..='\u{451}').contains(&c)) {
            return self.russian.stem(&word).into_owned();
        }
        word
    }
}

fn is_stop_word(folded: &str) -> bool {
    STOP_WORDS.binary_search(&folded).is_ok()
}

/// What is left of `don't`, `isn't`, `they'll` after the cut at the apostrophe.
const CONTRACTED: [&str; 16] = [
    "aren", "couldn", "didn", "doesn", "don", "hadn", "hasn", "haven", "isn", "shan", "shouldn",
    "wasn", "weren", "won", "wouldn", "they",
];

/// Words that say nothing of what a text is about; sorted. Articles, pronouns, prepositions,
/// conjunctions and auxiliaries of English; other languages' are caught by their frequency.
const STOP_WORDS: [&str; 123] = [
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at",
    "be", "because", "been", "before", "being", "between", "both", "but", "by", "can", "cannot",
    "could", "did", "do", "does", "doing", "down", "during", "each", "either", "few", "for",
    "from", "further", "had", "has", "have", "having", "he", "her", "here", "hers", "him", "his",
    "how", "i", "if", "in", "into", "is", "it", "its", "itself", "just", "may", "me", "might",
    "more", "most", "must", "my", "no", "nor", "not", "of", "off", "on", "once", "only", "or",
    "other", "our", "ours", "out", "over", "own", "same", "she", "should", "so", "some", "such",
    "than", "that", "the", "their", "theirs", "them", "then", "there", "these", "they", "this",
    "those", "through", "to", "too", "under", "until", "up", "us", "very", "was", "we", "were",
    "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with",
    "would", "you", "your", "yours",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_folded_and_stemmed() {
        assert_eq!(
            index_terms("Upgrading the Charts"),
            ["upgrad", "the", "chart"]
        );
        assert_eq!(
            index_terms("Überraschung café ﬁle"),
            ["uberraschung", "cafe", "file"]
        );
        assert_eq!(index_terms("up\u{ad}grade\u{200e}"), ["upgrad"]);
        assert_eq!(index_terms("the server's load"), ["the", "server", "load"]);
        assert_eq!(index_terms("обновления"), index_terms("обновление"));
    }

    #[test]
    fn identifiers_keep_their_name_and_give_their_parts() {
        assert_eq!(
            index_terms("POSTGRES_DSN"),
            ["postgres_dsn", "postgr", "dsn"]
        );
        assert_eq!(
            index_terms("retrieval_latency_ms"),
            ["retrieval_latency_ms", "retriev", "latenc", "ms"]
        );
        assert_eq!(
            index_terms("EmbeddingRepo"),
            ["embeddingrepo", "embed", "repo"]
        );
        assert_eq!(
            index_terms("alfred.service"),
            ["alfred_service", "alfr", "servic"]
        );
        assert_eq!(
            index_terms("p95 v1 1,000 3.5"),
            ["p95", "v1", "1000", "3_5"]
        );
    }

    #[test]
    fn queries_lose_stop_words_unless_they_have_nothing_else() {
        assert_eq!(
            query_terms("How do I upgrade the Helm chart?"),
            ["upgrad", "helm", "chart"]
        );
        assert_eq!(query_terms("to be or not to be"), ["to", "be", "or", "not"]);
        assert_eq!(query_terms("don't panic"), ["panic"]);
        assert_eq!(query_terms("?!"), Vec::<String>::new());
    }

    #[test]
    fn scripts_without_spaces_are_found_by_pairs() {
        assert_eq!(index_terms("数据库"), ["数", "据", "数据", "库", "据库"]);
        assert_eq!(query_terms("数据库"), ["数据", "据库"]);
        assert_eq!(query_terms("数"), ["数"]);
    }

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP_WORDS.is_sorted());
    }

    proptest! {
        #[test]
        fn terms_hold_nothing_that_a_query_language_reads(text in "\\PC{0,80}") {
            for term in index_terms(&text) {
                prop_assert!(!term.is_empty());
                prop_assert!(term.chars().count() <= MAX_TERM_CHARS);
                prop_assert!(term
                    .chars()
                    .all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || c == '_'));
            }
        }

        #[test]
        fn a_finder_finds_what_the_index_has(
            text in "([a-z]{1,7}(ing|ed|es|ly|ies)?|[A-Z_a-z.'数据É]{1,5}|[ .]){0,40}",
            question in "[a-zA-Z_ 数据É]{1,30}",
        ) {
            let indexed = index_terms(&text);
            let wanted = query_terms(&format!("{question} {}", text.get(..8).unwrap_or("")));
            let mut found = Vec::new();
            let length = TermFinder::new(&wanted).find(&text, &mut |index| found.push(index));
            prop_assert_eq!(length, indexed.len());
            let place = |term: &String| wanted.iter().position(|other| other == term);
            prop_assert_eq!(found, indexed.iter().filter_map(place).collect::<Vec<_>>());
        }

        #[test]
        fn every_query_term_is_in_the_index_of_the_same_text(text in "[a-zA-Z_.' 数据Éß]{0,60}") {
            let indexed = index_terms(&text);
            for term in query_terms(&text) {
                prop_assert!(indexed.contains(&term), "{} not in {:?}", term, indexed);
            }
        }
    }
}
