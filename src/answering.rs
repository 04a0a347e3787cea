//! PURE: an extractive answer: the passages of the citations that answer best, quoted, with
//! footnotes.
//!
//! Every sentence, list item, table row and code block of the best citations is a passage. A
//! passage is scored by BM25 among all of them (so that a word that is everywhere counts for
//! little), with the headings above it counting in part, and by the rank of its citation. The
//! best passage is taken first; another only when it brings words of the question that are not
//! there yet, or is nearly as good. Nothing is ever rewritten: what is quoted is in the excerpt.

use crate::sentences::{Unit, UnitKind, units};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// Citations that are read for passages; later ones are too weak to answer.
const MAX_CITATIONS: usize = 5;
/// Passages of one citation that are read, so that a long chunk costs no more than a page.
const MAX_UNITS: usize = 64;
/// Most passages in an answer.
const MAX_PASSAGES: usize = 3;
/// Longest passage that is quoted whole, in characters; prose beyond is cut with an ellipsis.
const MAX_PASSAGE_CHARS: usize = 600;
/// BM25's usual saturation and length weights (Robertson and Zaragoza 2009).
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// A word in the heading above counts as this much of a word in the passage.
const HEADING_WEIGHT: f64 = 0.4;
/// A passage that brings no new word is added only from this part of the best score on.
const NEARLY_AS_GOOD: f64 = 0.8;
/// A passage that brings a new word is added only from this part of the best score on.
const WORTH_ADDING: f64 = 0.45;

/// What an answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The headings above the text, on one line.
    pub headings: &'a str,
    /// The text.
    pub text: &'a str,
}

struct Passage<'a> {
    citation: usize,
    order: usize,
    unit: Unit<'a>,
    words: Vec<String>,
    score: f64,
}

/// The answer to a question of these `wanted` words, from `sources`, best first. `words` is the
/// analysis that made `wanted`. `None` when there is no source.
#[must_use]
pub fn extractive(
    wanted: &[String],
    sources: &[Source<'_>],
    words: &dyn Fn(&str) -> Vec<String>,
) -> Option<String> {
    let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    let mut passages = Vec::new();
    for (citation, source) in sources.iter().take(MAX_CITATIONS).enumerate() {
        for (order, unit) in units(source.text).into_iter().take(MAX_UNITS).enumerate() {
            let words = words(unit.text);
            passages.push(Passage {
                citation,
                order,
                unit,
                words,
                score: 0.0,
            });
        }
    }
    score(&mut passages, &wanted, sources, words);
    let mut chosen = choose(&passages, &wanted);
    if chosen.is_empty() {
        chosen = passages.iter().take(1).collect();
    }
    chosen.sort_by_key(|passage| (passage.citation, passage.order));
    (!chosen.is_empty()).then(|| render(&chosen))
}

fn score(
    passages: &mut [Passage<'_>],
    wanted: &HashSet<&str>,
    sources: &[Source<'_>],
    words: &dyn Fn(&str) -> Vec<String>,
) {
    let headings: Vec<HashSet<String>> = sources
        .iter()
        .take(MAX_CITATIONS)
        .map(|source| words(source.headings).into_iter().collect())
        .collect();
    let mut passages_with: HashMap<&str, f64> = HashMap::new();
    for passage in passages.iter() {
        let here: HashSet<&str> = passage.words.iter().map(String::as_str).collect();
        for word in wanted.intersection(&here) {
            *passages_with.entry(word).or_default() += 1.0;
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a few hundred passages of a few hundred words"
    )]
    let (count, total) = (
        passages.len() as f64,
        passages.iter().map(|p| p.words.len()).sum::<usize>() as f64,
    );
    let mean = (total / count.max(1.0)).max(1.0);
    let idf = |word: &str| {
        let n = passages_with.get(word).copied().unwrap_or(0.0);
        (1.0 + (count - n + 0.5) / (n + 0.5)).ln()
    };
    let scores: Vec<f64> = passages
        .iter()
        .map(|passage| {
            let heading = &headings[passage.citation];
            let one = |word: &&str| {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a count of words in one passage"
                )]
                let (tf, length) = (
                    passage.words.iter().filter(|other| other == word).count() as f64,
                    passage.words.len() as f64,
                );
                let in_text = tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length / mean));
                let in_heading = if heading.contains(*word) {
                    HEADING_WEIGHT
                } else {
                    0.0
                };
                idf(word) * in_text.max(in_heading)
            };
            #[expect(clippy::cast_precision_loss, reason = "a rank below 5")]
            let rank = 1.0 / (1.0 + 0.25 * passage.citation as f64);
            wanted.iter().map(one).sum::<f64>() * rank * kind_weight(passage.unit.kind)
        })
        .collect();
    for (passage, score) in passages.iter_mut().zip(scores) {
        passage.score = score;
    }
}

/// A heading, of a section or a table, announces an answer and is none.
fn kind_weight(kind: UnitKind) -> f64 {
    match kind {
        UnitKind::Heading | UnitKind::TableHeader => 0.1,
        UnitKind::Sentence | UnitKind::ListItem | UnitKind::TableRow | UnitKind::Code => 1.0,
    }
}

fn choose<'p, 'a>(passages: &'p [Passage<'a>], wanted: &HashSet<&str>) -> Vec<&'p Passage<'a>> {
    let mut ranked: Vec<&Passage<'_>> = passages.iter().filter(|p| p.score > 0.0).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.order.cmp(&b.order)));
    let Some(best) = ranked.first().map(|passage| passage.score) else {
        return Vec::new();
    };
    let mut missing = wanted.clone();
    let mut chosen: Vec<&Passage<'_>> = Vec::new();
    let mut seen = HashSet::new();
    for passage in ranked {
        let brings = passage
            .words
            .iter()
            .any(|word| missing.contains(word.as_str()));
        let enough = if brings { WORTH_ADDING } else { NEARLY_AS_GOOD };
        if chosen.len() >= MAX_PASSAGES || passage.score < enough * best {
            continue;
        }
        if !seen.insert(passage.unit.text.trim()) {
            continue;
        }
        missing.retain(|word| !passage.words.iter().any(|other| other == word));
        chosen.push(passage);
        // "Run:" is answered by the block that follows it.
        if passage.unit.text.trim_end().ends_with(':') {
            let follows = |other: &&Passage<'_>| {
                other.citation == passage.citation && other.order == passage.order + 1
            };
            if let Some(next) = passages.iter().find(follows)
                && seen.insert(next.unit.text.trim())
            {
                chosen.push(next);
            }
        }
    }
    chosen
}

fn render(chosen: &[&Passage<'_>]) -> String {
    let mut text = String::new();
    for passage in chosen {
        let quote = passage.unit.text.trim();
        let is_block = matches!(
            passage.unit.kind,
            UnitKind::Code | UnitKind::TableHeader | UnitKind::TableRow
        );
        let is_line = is_block || passage.unit.kind == UnitKind::ListItem;
        if !text.is_empty() {
            text.push(if is_line { '\n' } else { ' ' });
        }
        if is_block {
            text.push_str(quote);
            let mark = if passage.unit.kind == UnitKind::Code {
                '\n'
            } else {
                ' '
            };
            let _ = write!(text, "{mark}[^{}]", passage.citation + 1);
        } else {
            let quote = crate::domain::query::shorten(quote, MAX_PASSAGE_CHARS);
            let _ = write!(text, "{quote} [^{}]", passage.citation + 1);
        }
    }
    text
}
