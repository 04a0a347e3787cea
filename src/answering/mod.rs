//! PURE: an extractive answer: the passages of the citations that answer best, quoted, with
//! footnotes.
//!
//! Every sentence, list item, table row and code block of the best citations is a passage.
//! [`rank`] scores them, `choose` takes the best and what belongs to it, [`quote`] writes each as
//! its reader would see it. Nothing is ever rewritten: the words of an answer, and their order, are
//! those of the excerpts; marks of Markdown are left out and a table's header is repeated.
//!
//! What is taken: the best passage; another only when it brings words of the question that are not
//! there yet, or is nearly as good. With a sentence comes what it announces (`Run:`, a list after a
//! colon) and a listing after it that has words of the question. Where the heading asks the whole
//! question, the sentences that follow the best one are its answer as well.

pub mod generated;
mod quote;
mod rank;

use crate::sentences::{Unit, UnitKind, units};
use std::collections::HashSet;

/// Citations that are read for passages; later ones are too weak to answer.
const MAX_CITATIONS: usize = 5;
/// Passages of one citation that are read, so that a long chunk costs no more than a page.
const MAX_UNITS: usize = 64;
/// Most passages in an answer, those that come with another not counted.
const MAX_PASSAGES: usize = 3;
/// Most items of a list that come with the sentence before it.
const MAX_ITEMS: usize = 6;
/// A passage that brings no new word is added only from this part of the best score on.
const NEARLY_AS_GOOD: f64 = 0.8;
/// A passage that brings a new word is added only from this part of the best score on.
const WORTH_ADDING: f64 = 0.45;
/// A heading asks the question when it has this part of it, by weight of the words.
const ASKS_IT: f64 = 0.9;

/// Finds words of the question in a text: calls back with the index of the word for each
/// occurrence, and returns how many words the text has.
pub type Find<'a> = dyn Fn(&str, &mut dyn FnMut(usize)) -> usize + 'a;

/// What is known of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// How many distinct words it has; [`Find`] names them by index.
    pub words: usize,
    /// Whether it asks for a number: see [`asks_for_a_number`].
    pub wants_number: bool,
}

/// What an answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The headings above the text, on one line.
    pub headings: &'a str,
    /// The text.
    pub text: &'a str,
    /// Whether the text is Markdown as it was written; else its marks mean themselves.
    pub is_markdown: bool,
}

/// An answer made of quotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The quotations with their footnotes.
    pub text: String,
    /// For each source that is quoted, the heading inside its text under which the best of its
    /// passages stands, when it stands under one.
    pub sections: Vec<(usize, String)>,
    /// How many words of the question stand in the sources that were read, headings included.
    pub found: usize,
}

/// A passage and what is known of it.
struct Passage<'a> {
    citation: usize,
    /// Its place among the passages of its citation.
    order: usize,
    unit: Unit<'a>,
    /// Words of the question in it, one for each occurrence.
    words: Vec<usize>,
    /// How many words it has.
    length: usize,
    /// The headings above it, as an index into [`Passages::sections`].
    section: usize,
    /// Whether it is the first one under its heading.
    leads: bool,
    /// The header of the table that it is a row of, as an index into [`Passages::all`].
    header: Option<usize>,
    score: f64,
}

/// The headings above some passages.
#[derive(Clone, Default)]
struct Section<'a> {
    /// The innermost heading inside the citation's text, with its marks.
    heading: Option<&'a str>,
    /// Distinct words of the question in all headings above.
    words: Vec<usize>,
    /// The part of the question that they are, by weight.
    coverage: f64,
}

/// All passages of an answer's sources.
#[derive(Default)]
struct Passages<'a> {
    all: Vec<Passage<'a>>,
    sections: Vec<Section<'a>>,
}

/// The answer to a question from `sources`, best first. `None` when there is nothing to quote.
///
/// Where no word of the question stands in them, the beginning of the best source is quoted:
/// whether that is an answer is for the caller to decide, by [`Quoted::found`].
#[must_use]
pub fn extractive(question: Question, sources: &[Source<'_>], find: &Find<'_>) -> Option<Quoted> {
    let mut passages = Passages::default();
    for (citation, source) in sources.iter().take(MAX_CITATIONS).enumerate() {
        passages.read(citation, source, find);
    }
    rank::score(&mut passages, question);
    let mut chosen = passages.choose(question.words);
    let sections = passages.quoted_sections(&chosen, sources);
    chosen.sort_unstable();
    let quotes: Vec<&Passage<'_>> = chosen.iter().map(|&at| &passages.all[at]).collect();
    let text = quote::render(&passages, &quotes, sources, find);
    (!text.is_empty()).then(|| Quoted {
        text,
        sections,
        found: passages.found(question.words),
    })
}

/// Whether a question asks for a number, in English: how many, how long, the largest. What holds a
/// number answers it rather than what holds none.
#[must_use]
pub fn asks_for_a_number(question: &str) -> bool {
    let lower = question.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).any(|pair| {
        pair.first() == Some(&"how") && pair.last().is_some_and(|word| MEASURES.contains(word))
    }) || words.iter().any(|word| EXTREMES.contains(word))
}

/// What follows "how" in a question for a number.
const MEASURES: [&str; 16] = [
    "big", "deep", "far", "fast", "few", "heavy", "high", "large", "long", "many", "much", "often",
    "old", "quickly", "small", "soon",
];
/// Words that ask for a bound.
const EXTREMES: [&str; 9] = [
    "highest", "largest", "limit", "longest", "max", "maximum", "minimum", "shortest", "smallest",
];

/// A heading, of a section or a table, announces an answer and is none.
fn answers(kind: UnitKind) -> bool {
    !matches!(kind, UnitKind::Heading | UnitKind::TableHeader)
}

/// Collects what `find` finds.
fn found(find: &Find<'_>, text: &str) -> (Vec<usize>, usize) {
    let mut words = Vec::new();
    let length = find(text, &mut |word| words.push(word));
    (words, length)
}

impl<'a> Passages<'a> {
    fn read(&mut self, citation: usize, source: &Source<'a>, find: &Find<'_>) {
        let above = Section {
            words: distinct(found(find, source.headings).0),
            ..Section::default()
        };
        // The headings inside the text that are open: level and section.
        let mut open: Vec<(usize, Section<'a>)> = Vec::new();
        let mut header = None;
        let mut leads = true;
        self.sections.push(above.clone());
        for (order, unit) in units(source.text).into_iter().take(MAX_UNITS).enumerate() {
            let (words, length) = found(find, unit.text);
            if unit.kind == UnitKind::Heading {
                let level = unit.text.bytes().take_while(|&b| b == b'#').count();
                open.retain(|(outer, _)| *outer < level);
                let outer = open.last().map_or(&above, |(_, section)| section);
                let section = Section {
                    heading: Some(unit.text),
                    words: distinct(outer.words.iter().chain(&words).copied().collect()),
                    coverage: 0.0,
                };
                self.sections.push(section.clone());
                open.push((level, section));
            }
            let at = self.all.len();
            header = match unit.kind {
                UnitKind::TableHeader => Some(at),
                UnitKind::TableRow => header,
                _ => None,
            };
            let is_answer = answers(unit.kind);
            self.all.push(Passage {
                citation,
                order,
                unit,
                words,
                length,
                section: self.sections.len() - 1,
                leads: leads && is_answer,
                header: header.filter(|&header| header != at),
                score: 0.0,
            });
            leads = unit.kind == UnitKind::Heading || (leads && !is_answer);
        }
    }

    /// Words of the question in the headings above a passage and in its table's header.
    fn context<'p>(&'p self, passage: &'p Passage<'_>) -> impl Iterator<Item = usize> + 'p {
        let header = passage.header.and_then(|at| self.all.get(at));
        let header = header.map_or(&[][..], |header| &header.words);
        let section = self.sections.get(passage.section);
        let above = section.map_or(&[][..], |section| &section.words);
        header.iter().chain(above).copied()
    }

    /// How many words of the question stand anywhere.
    fn found(&self, wanted: usize) -> usize {
        let mut seen = vec![false; wanted];
        let text = self.all.iter().flat_map(|passage| &passage.words);
        let above = self.sections.iter().flat_map(|section| &section.words);
        for &word in text.chain(above) {
            if let Some(seen) = seen.get_mut(word) {
                *seen = true;
            }
        }
        seen.into_iter().filter(|&seen| seen).count()
    }

    /// The passages to quote, best first, as indexes.
    fn choose(&self, wanted: usize) -> Vec<usize> {
        let mut ranked: Vec<usize> = (0..self.all.len())
            .filter(|&at| self.all[at].score > 0.0)
            .collect();
        ranked.sort_by(|&a, &b| self.all[b].score.total_cmp(&self.all[a].score));
        let mut chosen = Chosen::default();
        let Some(&best) = ranked.first() else {
            if let Some(lead) = self.all.iter().position(|p| answers(p.unit.kind)) {
                self.go_on(lead, &mut chosen);
                chosen.add(lead, &self.all[lead]);
            }
            return chosen.order;
        };
        let mut missing = vec![true; wanted];
        for at in ranked {
            let passage = &self.all[at];
            let brings = self.words_of(passage).any(|word| missing[word]);
            let enough = if brings { WORTH_ADDING } else { NEARLY_AS_GOOD };
            let is_weak = passage.score < enough * self.all[best].score;
            if chosen.passages >= MAX_PASSAGES || is_weak || !chosen.add(at, passage) {
                continue;
            }
            chosen.passages += 1;
            for word in self.words_of(passage) {
                missing[word] = false;
            }
            self.follow(at, &mut chosen);
        }
        if self.sections[self.all[best].section].coverage >= ASKS_IT {
            self.go_on(best, &mut chosen);
        }
        chosen.order
    }

    /// The words of the question that a passage and its table's header have.
    fn words_of<'p>(&'p self, passage: &'p Passage<'_>) -> impl Iterator<Item = usize> + 'p {
        let header = passage.header.and_then(|at| self.all.get(at));
        let header = header.map_or(&[][..], |header| &header.words);
        passage.words.iter().chain(header).copied()
    }

    /// Adds what belongs to a sentence or item: the list or listing that it announces, or a
    /// listing after it that has words of the question and is no data.
    fn follow(&self, at: usize, chosen: &mut Chosen<'a>) {
        let passage = &self.all[at];
        if !matches!(passage.unit.kind, UnitKind::Sentence | UnitKind::ListItem) {
            return;
        }
        let announces = passage.unit.text.ends_with(':');
        let after = self.all.iter().enumerate().skip(at + 1);
        let same = after.take_while(|(_, next)| next.section == passage.section);
        let mut kind = None;
        for (next_at, next) in same.take(MAX_ITEMS) {
            let belongs = match next.unit.kind {
                UnitKind::Code if kind.is_none() => {
                    announces || (!next.words.is_empty() && !is_data(next.unit.text))
                }
                UnitKind::ListItem if passage.unit.kind == UnitKind::Sentence => {
                    announces && kind != Some(UnitKind::Code)
                }
                _ => false,
            };
            if !belongs {
                break;
            }
            kind = Some(next.unit.kind);
            chosen.add(next_at, next);
        }
    }

    /// Adds the sentences after the best one in its section.
    fn go_on(&self, best: usize, chosen: &mut Chosen<'a>) {
        let section = self.all[best].section;
        let after = self.all.iter().enumerate().skip(best);
        let same = after.take_while(|(_, next)| {
            next.section == section && next.unit.kind == UnitKind::Sentence
        });
        for (at, next) in same {
            if chosen.passages >= MAX_PASSAGES {
                break;
            }
            if chosen.add(at, next) {
                chosen.passages += 1;
                self.follow(at, chosen);
            }
        }
    }

    /// For each citation among `chosen`, best first, the heading of its best passage.
    fn quoted_sections(&self, chosen: &[usize], sources: &[Source<'_>]) -> Vec<(usize, String)> {
        let mut seen = HashSet::new();
        let best = chosen.iter().map(|&at| &self.all[at]);
        let best = best.filter(|passage| seen.insert(passage.citation));
        best.filter_map(|passage| {
            let heading = self.sections[passage.section].heading?;
            let heading = heading.trim_start_matches('#').trim();
            let is_markdown = sources[passage.citation].is_markdown;
            Some((passage.citation, quote::title(heading, is_markdown)))
        })
        .collect()
    }
}

/// What was taken so far.
#[derive(Default)]
struct Chosen<'a> {
    /// As indexes, best first.
    order: Vec<usize>,
    /// How many count against the limit.
    passages: usize,
    texts: HashSet<&'a str>,
}

impl<'a> Chosen<'a> {
    /// Takes a passage unless its text was taken, from here or from another citation.
    fn add(&mut self, at: usize, passage: &Passage<'a>) -> bool {
        let is_new = self.texts.insert(passage.unit.text.trim());
        if is_new {
            self.order.push(at);
        }
        is_new
    }
}

/// Whether a listing is data, such as a reply in JSON, and not something to type.
fn is_data(code: &str) -> bool {
    let mut lines = code.lines().map(str::trim);
    let first =
        lines.find(|line| !line.is_empty() && crate::sentences::fence_marks(line).is_none());
    first.is_some_and(|line| line.starts_with(['{', '[', '<']))
}

fn distinct(mut words: Vec<usize>) -> Vec<usize> {
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests;
