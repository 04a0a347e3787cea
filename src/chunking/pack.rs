//! Pieces to chunks.
//!
//! First neighbouring small sections form groups, then each group is filled into chunks of about
//! equal size, cut at the best place near the wanted size. The title path of a chunk is what the
//! paths of its sections have in common; the headings below it stand in the text.

use super::ChunkLimits;
use super::pieces::{Join, Piece, Pieces};
use super::sections::Section;
use crate::domain::Chunk;
use std::ops::Range;

/// A chunk, and how much of its text the chunk before has too.
#[derive(Debug)]
pub(super) struct Draft {
    /// The chunk.
    pub chunk: Chunk,
    /// Bytes at the start of the text that are repeated.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests subtract the overlap"))]
    pub overlap_bytes: usize,
}

/// A section below this fraction of a chunk joins its neighbours under the same parent.
const SMALL: usize = 3;
/// The same for the top sections of a document, which are less likely to be of one subject.
const SMALL_AT_TOP: usize = 6;
/// A section below this fraction is too small to be found by itself and joins any neighbour.
const TINY: usize = 12;

pub(super) struct Packer<'a> {
    sections: &'a [Section<'a>],
    pieces: &'a Pieces<'a>,
    limits: ChunkLimits,
    count: &'a dyn Fn(&str) -> usize,
    /// Tokens between two headings of a path on one line.
    separator: usize,
    /// Tokens of the marks of a heading inside the text, by level - 1.
    marks: [usize; 6],
}

impl<'a> Packer<'a> {
    pub(super) fn new(
        sections: &'a [Section<'a>],
        pieces: &'a Pieces<'a>,
        limits: ChunkLimits,
        count: &'a dyn Fn(&str) -> usize,
    ) -> Self {
        Self {
            sections,
            pieces,
            limits,
            count,
            separator: count(">"),
            marks: [1, 2, 3, 4, 5, 6].map(|level| count(&"#".repeat(level))),
        }
    }

    /// All chunks, in order.
    pub(super) fn pack(&self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for group in self.groups() {
            self.fill(group, &mut drafts);
        }
        drafts
    }

    /// Ranges of pieces that may share chunks.
    fn groups(&self) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut open: Option<Group> = None;
        let mut at = 0;
        for pieces in self.pieces.all.chunk_by(|a, b| a.section == b.section) {
            let range = at..at + pieces.len();
            at = range.end;
            let next = Group {
                section: pieces.first().map_or(0, |piece| piece.section),
                path: self.path_len(pieces),
                tokens: self.tokens_of(&range),
                sections: 1,
            };
            match (&mut open, groups.last_mut()) {
                (Some(group), Some(last)) if self.joins(group, &next) => {
                    last.end = range.end;
                    group.path = self.common(group.section, next.section).min(group.path);
                    group.tokens += next.tokens + self.heading_tokens(next.section, group.path);
                    group.sections += 1;
                }
                _ => {
                    groups.push(range);
                    open = Some(next);
                }
            }
        }
        groups
    }

    fn path_len(&self, pieces: &[Piece<'_>]) -> usize {
        let section = pieces.first().and_then(|p| self.sections.get(p.section));
        section.map_or(0, |section| section.path.len())
    }

    fn tokens_of(&self, range: &Range<usize>) -> usize {
        let pieces = self.pieces.all.get(range.clone()).unwrap_or_default();
        pieces.iter().map(|piece| piece.tokens).sum()
    }

    /// Whether a section goes on in the group before it.
    fn joins(&self, group: &Group, next: &Group) -> bool {
        let common = self.common(group.section, next.section).min(group.path);
        let max = self.limits.max_tokens;
        let small = match common {
            0 => max / TINY,
            1 => max / SMALL_AT_TOP,
            _ => max / SMALL,
        };
        // Parent and child, or children of one parent.
        let related = common > 0 && common + 1 >= group.path.max(next.path);
        let tiny = |tokens: usize| tokens < max / TINY;
        let together = group.tokens
            + next.tokens
            + self.heading_tokens(group.section, common)
            + self.heading_tokens(next.section, common)
            + self.path_tokens(next.section, common);
        if together > max {
            // What is too small to stand alone leads into what follows, or ends what went before.
            let leads_in = group.sections == 1 && common == group.path && tiny(group.tokens);
            return related && (leads_in || tiny(next.tokens));
        }
        let wanted = group.tokens < small || next.tokens < small / 2;
        (related && wanted) || tiny(group.tokens) || (tiny(next.tokens) && next.path > 0)
    }

    /// How many headings two sections have in common.
    fn common(&self, a: usize, b: usize) -> usize {
        let path = |section: usize| self.sections.get(section).map_or(&[][..], |s| &s.path);
        let pairs = path(a).iter().zip(path(b));
        pairs.take_while(|(a, b)| a == b).count()
    }

    /// Tokens of a section's headings below the first `shown`, as they stand in the text.
    fn heading_tokens(&self, section: usize, shown: usize) -> usize {
        let path = self.sections.get(section).map_or(&[][..], |s| &s.path);
        let below = path.iter().enumerate().skip(shown);
        below
            .map(|(depth, heading)| heading.tokens + self.mark(depth))
            .sum()
    }

    fn mark(&self, depth: usize) -> usize {
        self.marks.get(depth.min(5)).copied().unwrap_or_default()
    }

    fn path_tokens(&self, section: usize, length: usize) -> usize {
        let section = self.sections.get(section);
        section.map_or(0, |section| section.path_tokens(length, self.separator))
    }

    /// Cuts one group into chunks.
    fn fill(&self, group: Range<usize>, drafts: &mut Vec<Draft>) {
        let mut remaining = self.tokens_of(&group);
        let mut lead = group.start;
        let mut start = group.start;
        while start < group.end {
            let mut end = self.reach(lead, group.end);
            if end <= start {
                lead = start;
                end = self.reach(lead, group.end).max(start + 1);
            }
            if end < group.end {
                end = self.best_cut(start..end, remaining, start - lead);
            }
            let mut draft = self.draft(Span { lead, start, end }, drafts.len());
            // Only words that were cut can count more together than apart.
            while draft.chunk.tokens as usize > self.limits.max_tokens && end > start + 1 {
                end -= 1;
                draft = self.draft(Span { lead, start, end }, drafts.len());
            }
            drafts.push(draft);
            remaining = remaining.saturating_sub(self.tokens_of(&(start..end)));
            lead = self.overlap_start(start.max(lead + 1), end);
            start = end;
        }
    }

    /// The end of the longest run of pieces from `lead` that fits one chunk.
    fn reach(&self, lead: usize, most: usize) -> usize {
        let mut size = Size::default();
        let mut end = lead;
        for piece in self.pieces.all.get(lead..most).unwrap_or_default() {
            size.add(self, piece);
            if size.tokens(self) > self.limits.max_tokens || size.bytes > self.limits.max_bytes() {
                break;
            }
            end += 1;
        }
        end
    }

    /// Where to end a chunk that begins with piece `fresh.start`, at `fresh.end` at the latest:
    /// near an equal share of what remains, and rather between blocks than inside one.
    fn best_cut(&self, fresh: Range<usize>, remaining: usize, repeated: usize) -> usize {
        let all = &self.pieces.all;
        let most = self.tokens_of(&fresh).max(1);
        let chunks = remaining.div_ceil(most).max(1);
        let wanted = to_f64(remaining) / to_f64(chunks);
        let mut best = (f64::INFINITY, fresh.end);
        let mut filled = 0;
        for at in fresh.clone() {
            filled += all.get(at).map_or(0, |piece| piece.tokens);
            let (Some(before), Some(after)) = (all.get(at), all.get(at + 1)) else {
                break;
            };
            // A chunk of little more than what it repeats says nothing new.
            if filled * 4 < most && repeated > 0 {
                continue;
            }
            let off = (to_f64(filled) - wanted).abs() / to_f64(most);
            let score = off + cut_cost(before, after);
            if score <= best.0 {
                best = (score, at + 1);
            }
        }
        best.1
    }

    /// The first piece that the chunk from piece `next` on repeats; `next` when it repeats none.
    /// Those before `first` are not repeated again.
    fn overlap_start(&self, first: usize, next: usize) -> usize {
        let all = &self.pieces.all;
        let Some(section) = all.get(next).map(|piece| piece.section) else {
            return next;
        };
        let mut lead = next;
        let mut tokens = 0;
        while lead > first {
            let Some(piece) = all.get(lead - 1) else {
                break;
            };
            tokens += piece.tokens;
            if !piece.repeatable || piece.section != section || tokens > self.limits.overlap_tokens
            {
                break;
            }
            lead -= 1;
        }
        lead
    }

    fn draft(&self, span: Span, position: usize) -> Draft {
        let pieces = self.pieces.all.get(span.lead..span.end).unwrap_or_default();
        let mut size = Size::default();
        for piece in pieces {
            size.add(self, piece);
        }
        let mut text = Text::new(self, size.common);
        let mut overlap_bytes = 0;
        for (index, piece) in pieces.iter().enumerate() {
            if span.lead + index == span.start {
                overlap_bytes = text.out.len();
            }
            text.add(piece);
        }
        let first = size.first.and_then(|section| self.sections.get(section));
        let path = first.map_or(&[][..], |section| &section.path);
        let mut chunk = Chunk {
            position: u32::try_from(position).unwrap_or(u32::MAX),
            title_path: path
                .iter()
                .take(size.common)
                .map(|h| h.text.clone())
                .collect(),
            page: pieces.first().and_then(|piece| piece.page),
            text: text.finish(),
            tokens: 0,
        };
        let cut_word = pieces.iter().skip(1).any(|piece| piece.join == Join::Glue);
        let tokens = if cut_word {
            (self.count)(&chunk.embedding_text())
        } else {
            size.tokens(self)
        };
        chunk.tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        Draft {
            chunk,
            overlap_bytes,
        }
    }
}

/// What a group amounts to while it grows.
struct Group {
    /// Its first section.
    section: usize,
    /// How many headings all of its sections have in common.
    path: usize,
    /// Tokens of its text.
    tokens: usize,
    /// How many sections it has.
    sections: usize,
}

/// Pieces `lead..end` as one chunk, of which those before `start` are repeated.
#[derive(Clone, Copy)]
struct Span {
    lead: usize,
    start: usize,
    end: usize,
}

/// How bad it is to end a chunk between two pieces, in fractions of a chunk.
fn cut_cost(before: &Piece<'_>, after: &Piece<'_>) -> f64 {
    if before.section != after.section {
        return 0.0;
    }
    let cost = match after.join {
        Join::Block => 0.1,
        Join::Item => 0.15,
        Join::Sentence | Join::Line => 0.25,
        Join::Word => 0.5,
        Join::Glue => 0.7,
    };
    // What follows a colon belongs to it.
    let announced = before.text.trim_end().ends_with(':');
    if announced { cost + 0.25 } else { cost }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tokens stay far below 2^52"
)]
fn to_f64(tokens: usize) -> f64 {
    tokens as f64
}

/// What a chunk amounts to while pieces are added.
#[derive(Default)]
struct Size {
    text_tokens: usize,
    bytes: usize,
    first: Option<usize>,
    last: Option<usize>,
    /// How many headings all sections so far have in common.
    common: usize,
    wrap: Option<usize>,
}

impl Size {
    fn add(&mut self, packer: &Packer<'_>, piece: &Piece<'_>) {
        if self.last != Some(piece.section) {
            let path = packer
                .sections
                .get(piece.section)
                .map_or(0, |s| s.path.len());
            if let (Some(first), Some(last)) = (self.first, self.last) {
                let shown = packer.common(last, piece.section);
                self.text_tokens += packer.heading_tokens(piece.section, shown);
                self.common = self.common.min(packer.common(first, piece.section));
            } else {
                self.first = Some(piece.section);
                self.common = path;
            }
            self.last = Some(piece.section);
        }
        if piece.wrap != self.wrap {
            self.wrap = piece.wrap;
            if let Some(wrap) = piece.wrap.and_then(|wrap| packer.pieces.wraps.get(wrap)) {
                self.text_tokens += wrap.tokens;
                self.bytes += wrap.open.len() + wrap.close.len() + 2;
            }
        }
        self.text_tokens += piece.tokens;
        self.bytes += piece.text.len() + piece.join.as_str().len();
    }

    fn tokens(&self, packer: &Packer<'_>) -> usize {
        let Some(first) = self.first else {
            return 0;
        };
        self.text_tokens
            + packer.path_tokens(first, self.common)
            + packer.heading_tokens(first, self.common)
    }
}

/// The text of a chunk while pieces are added.
struct Text<'p, 'a> {
    packer: &'p Packer<'a>,
    out: String,
    last: Option<usize>,
    /// Headings that the title path shows.
    common: usize,
    wrap: Option<usize>,
}

impl<'p, 'a> Text<'p, 'a> {
    fn new(packer: &'p Packer<'a>, common: usize) -> Self {
        Self {
            packer,
            out: String::new(),
            last: None,
            common,
            wrap: None,
        }
    }

    fn add(&mut self, piece: &Piece<'_>) {
        if self.wrap != piece.wrap {
            self.close();
        }
        if self.last != Some(piece.section) {
            self.headings(piece.section);
        } else if self.wrap.is_some() || piece.wrap.is_none() {
            self.out.push_str(piece.join.as_str());
        } else {
            self.out.push_str(Join::Block.as_str());
        }
        self.last = Some(piece.section);
        if self.wrap != piece.wrap {
            self.wrap = piece.wrap;
            if let Some(wrap) = piece
                .wrap
                .and_then(|wrap| self.packer.pieces.wraps.get(wrap))
            {
                self.out.push_str(wrap.open);
                self.out.push('\n');
            }
        }
        let at_start = self.out.is_empty() || self.out.ends_with('\n');
        self.out.push_str(if at_start {
            piece.text.trim_start_matches('\n')
        } else {
            piece.text
        });
    }

    /// The headings of a section that neither the title path nor the section before shows.
    fn headings(&mut self, section: usize) {
        let shown = match self.last {
            Some(last) => self.packer.common(last, section),
            None => self.common,
        };
        let path = self
            .packer
            .sections
            .get(section)
            .map_or(&[][..], |s| &s.path);
        if !self.out.is_empty() {
            self.out.push_str("\n\n");
        }
        for (depth, heading) in path.iter().enumerate().skip(shown) {
            self.out.push_str(&"#".repeat(depth.min(5) + 1));
            self.out.push(' ');
            self.out.push_str(&heading.text);
            self.out.push_str("\n\n");
        }
    }

    fn close(&mut self) {
        let wrap = self
            .wrap
            .take()
            .and_then(|wrap| self.packer.pieces.wraps.get(wrap));
        if let Some(wrap) = wrap.filter(|wrap| !wrap.close.is_empty()) {
            self.out.push('\n');
            self.out.push_str(wrap.close);
        }
    }

    fn finish(mut self) -> String {
        self.close();
        self.out
    }
}
