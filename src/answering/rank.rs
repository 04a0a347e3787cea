//! How well each passage answers.
//!
//! A passage is scored by BM25 among all of them, so that a word that is everywhere counts for
//! little. Words that stand only in the headings above it or in its table's header count in part:
//! they say what it is about. The score then grows with the part of the question that the headings
//! have, most for the first passage under them, since a section opens with what it has to say; and
//! for a passage with a number, when the question asks for one. It falls with the rank of the
//! citation.

use super::{Passage, Passages, Question, answers, is_data};
use crate::sentences::UnitKind;

/// BM25's usual saturation weight (Robertson and Zaragoza 2009).
const K1: f64 = 1.2;
/// BM25's length weight: less than the usual 0.75, since a long sentence is not about more things
/// than a short one, as a long document is.
const B: f64 = 0.4;
/// A word in a heading above or in the table's header counts as this much of one in the passage.
const CONTEXT_WEIGHT: f64 = 0.4;
/// What a heading that has the whole question adds to a score, as a part of it.
const SECTION_WEIGHT: f64 = 1.0;
/// What it adds to the first passage under it, as a part of that.
const LEAD_WEIGHT: f64 = 0.5;
/// How much each further citation counts less.
const RANK_STEP: f64 = 0.2;
/// A listing is read as an example of what its text says.
const CODE_WEIGHT: f64 = 0.6;
/// What a number adds to a score when the question asks for one, as a part of it.
const NUMBER_WEIGHT: f64 = 0.25;

/// What a question is to all passages.
struct Measure {
    /// The weight of each of its words.
    weights: Vec<f64>,
    /// How many of its words stand anywhere.
    known: usize,
    /// Mean length of a passage, in words.
    mean: f64,
    wants_number: bool,
}

/// Scores all passages.
pub(super) fn score(passages: &mut Passages<'_>, question: Question) {
    let weights = weights(passages, question.words);
    cover(passages, &weights);
    let total: usize = passages.all.iter().map(|passage| passage.length).sum();
    let measure = Measure {
        known: weights.iter().filter(|&&weight| weight > 0.0).count(),
        weights,
        mean: (to_f64(total) / to_f64(passages.all.len().max(1))).max(1.0),
        wants_number: question.wants_number,
    };
    let scores: Vec<f64> = passages
        .all
        .iter()
        .map(|passage| measure.score(passages, passage))
        .collect();
    for (passage, score) in passages.all.iter_mut().zip(scores) {
        passage.score = score;
    }
}

/// The inverse document frequency of each word of the question among the passages; 0 for a word
/// that stands nowhere.
fn weights(passages: &Passages<'_>, wanted: usize) -> Vec<f64> {
    let mut passages_with = vec![0_usize; wanted];
    let mut last = vec![usize::MAX; wanted];
    for (at, passage) in passages.all.iter().enumerate() {
        for &word in &passage.words {
            if last[word] != at {
                last[word] = at;
                passages_with[word] += 1;
            }
        }
    }
    let mut known: Vec<bool> = passages_with.iter().map(|&n| n > 0).collect();
    for &word in passages.sections.iter().flat_map(|section| &section.words) {
        known[word] = true;
    }
    let count = to_f64(passages.all.len());
    let weight = |(n, known): (usize, bool)| {
        let n = to_f64(n);
        let idf = (1.0 + (count - n + 0.5) / (n + 0.5)).ln();
        if known { idf } else { 0.0 }
    };
    passages_with.into_iter().zip(known).map(weight).collect()
}

/// Which part of the question each section's headings have.
fn cover(passages: &mut Passages<'_>, weights: &[f64]) {
    let all: f64 = weights.iter().sum();
    for section in &mut passages.sections {
        let there: f64 = section.words.iter().map(|&word| weights[word]).sum();
        section.coverage = if all > 0.0 { there / all } else { 0.0 };
    }
}

impl Measure {
    fn score(&self, passages: &Passages<'_>, passage: &Passage<'_>) -> f64 {
        if !answers(passage.unit.kind) {
            return 0.0;
        }
        let long = K1 * (1.0 - B + B * to_f64(passage.length) / self.mean);
        let mut words: Vec<(usize, f64)> = Vec::with_capacity(passage.words.len());
        for &word in &passage.words {
            match words.iter_mut().find(|(other, _)| *other == word) {
                Some((_, tf)) => *tf += 1.0,
                None => words.push((word, 1.0)),
            }
        }
        let is_code = passage.unit.kind == UnitKind::Code;
        // A listing is quoted for what is in it.
        let says_little = is_data(passage.unit.text) && words.len() * 2 <= self.known;
        if is_code && (words.is_empty() || says_little) {
            return 0.0;
        }
        for (_, tf) in &mut words {
            *tf = (*tf * (K1 + 1.0) / (*tf + long)).max(CONTEXT_WEIGHT);
        }
        for word in passages.context(passage) {
            if !words.iter().any(|(other, _)| *other == word) {
                words.push((word, CONTEXT_WEIGHT));
            }
        }
        let score: f64 = words
            .iter()
            .map(|(word, part)| self.weights[*word] * part)
            .sum();
        let coverage = passages.sections[passage.section].coverage;
        let lead = if passage.leads { LEAD_WEIGHT } else { 0.0 };
        let kind = if is_code { CODE_WEIGHT } else { 1.0 };
        let has_number = self.wants_number && has_number(passage.unit.text);
        let number = if has_number { NUMBER_WEIGHT } else { 0.0 };
        let rank = 1.0 + RANK_STEP * to_f64(passage.citation);
        score * (1.0 + SECTION_WEIGHT * coverage) * (1.0 + lead * coverage) * (1.0 + number) * kind
            / rank
    }
}

/// Whether a word begins with a digit.
fn has_number(text: &str) -> bool {
    let mut before = ' ';
    text.chars().any(|c| {
        let begins = c.is_ascii_digit() && !before.is_alphanumeric();
        before = c;
        begins
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a few hundred passages of a few hundred words"
)]
fn to_f64(count: usize) -> f64 {
    count as f64
}
