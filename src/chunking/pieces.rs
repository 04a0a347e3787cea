//! Sections to pieces: parts of the text that no chunk cuts, each counted once.

use super::ChunkLimits;
use super::sections::Section;
use crate::domain::{Block, BlockKind};
use crate::sentences::{fence_marks, sentences};

/// A part of the text that is never cut.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Its text. Never blank.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: usize,
    /// What stands between it and the piece before it in the same section.
    pub join: Join,
    /// Which section it is part of.
    pub section: usize,
    /// The page of its block.
    pub page: Option<u32>,
    /// Whether it is a whole sentence or item, which the next chunk may repeat.
    pub repeatable: bool,
    /// The lines around the listing or table that it is part of, as an index into
    /// [`Pieces::wraps`].
    pub wrap: Option<usize>,
}

/// What stands between two pieces; later ones are better places to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Join {
    /// Nothing: a word that was cut.
    Glue,
    /// A space inside a sentence or line that was cut.
    Word,
    /// A space between sentences.
    Sentence,
    /// A line end between lines of a listing, rows, or lines of prose.
    Line,
    /// A line end between items of a list.
    Item,
    /// A blank line between blocks.
    Block,
}

impl Join {
    /// The characters that stand for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Glue => "",
            Self::Word | Self::Sentence => " ",
            Self::Line | Self::Item => "\n",
            Self::Block => "\n\n",
        }
    }
}

/// The lines that are repeated around each part of a listing or table that was cut.
#[derive(Debug)]
pub(super) struct Wrap<'a> {
    /// The opening fence, or the table's header; the first part has it too.
    pub open: &'a str,
    /// The closing fence; empty for a table.
    pub close: &'a str,
    /// Tokens of both.
    pub tokens: usize,
}

/// All pieces of a document, in order.
#[derive(Default)]
pub(super) struct Pieces<'a> {
    /// The pieces.
    pub all: Vec<Piece<'a>>,
    /// What stands around some of them.
    pub wraps: Vec<Wrap<'a>>,
}

/// Longest word that is kept whole, in bytes: longer ones are data, not words, and a model reads
/// them as one unknown token whatever their length.
const WORD_MAX_BYTES: usize = 256;

/// Tokens of the runs of words that a too long sentence or line is cut into: a fraction of a chunk,
/// so that chunks still fill.
const RUN_FRACTION: usize = 8;

/// Cuts sections into pieces that each fit a chunk under their section's full title path.
pub(super) fn pieces<'a>(
    sections: &[Section<'a>],
    limits: ChunkLimits,
    count: &dyn Fn(&str) -> usize,
) -> Pieces<'a> {
    let mut cutter = Cutter {
        out: Pieces::default(),
        count,
        limits,
        section: 0,
        room: 0,
        wrap: None,
        page: None,
    };
    let separator = count(">");
    for (index, section) in sections.iter().enumerate() {
        cutter.section = index;
        let path = section.path_tokens(section.path.len(), separator);
        cutter.room = limits.max_tokens.saturating_sub(path).max(1);
        let mut before = None;
        for block in &section.blocks {
            let item_after_item =
                block.kind == BlockKind::ListItem && before == Some(BlockKind::ListItem);
            let join = if item_after_item {
                Join::Item
            } else {
                Join::Block
            };
            cutter.block(block, join);
            before = Some(block.kind);
        }
    }
    cutter.out
}

struct Cutter<'a, 'c> {
    out: Pieces<'a>,
    count: &'c dyn Fn(&str) -> usize,
    limits: ChunkLimits,
    /// The section that is being cut.
    section: usize,
    /// Tokens that its title path leaves for text.
    room: usize,
    /// What stands around the pieces that are being made.
    wrap: Option<usize>,
    /// The page of the block that is being cut.
    page: Option<u32>,
}

impl<'a> Cutter<'a, '_> {
    fn block(&mut self, block: &'a Block, join: Join) {
        self.page = block.page;
        self.wrap = None;
        let text = block.text.as_str();
        match block.kind {
            BlockKind::Paragraph | BlockKind::Heading(_) => self.prose(text, join),
            BlockKind::ListItem => {
                let tokens = (self.count)(text);
                if self.fits(text, tokens) {
                    self.push(text, tokens, join, true);
                } else {
                    self.prose(text, join);
                }
            }
            BlockKind::Code | BlockKind::Table => {
                let tokens = (self.count)(text);
                if self.fits(text, tokens) {
                    self.push(text, tokens, join, false);
                } else if block.kind == BlockKind::Code {
                    self.listing(text, join);
                } else {
                    self.table(text, join);
                }
            }
        }
    }

    fn prose(&mut self, text: &'a str, join: Join) {
        let mut join = join;
        for sentence in sentences(text) {
            let trimmed = sentence.trim_matches(['\n', ' ']);
            let tokens = (self.count)(trimmed);
            if self.fits(trimmed, tokens) {
                self.push(trimmed, tokens, join, true);
            } else {
                self.words(trimmed, join);
            }
            let end = sentence.trim_end();
            let space = sentence.get(end.len()..).unwrap_or_default();
            join = if space.contains('\n') {
                Join::Line
            } else {
                Join::Sentence
            };
        }
    }

    fn listing(&mut self, text: &'a str, join: Join) {
        let first = text.lines().next().unwrap_or_default();
        let Some(marks) = fence_marks(first.trim()) else {
            self.lines(text, join);
            return;
        };
        let body = text.get(first.len()..).unwrap_or_default();
        let body = body.strip_prefix('\n').unwrap_or(body);
        let last_at = body.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let last = body.get(last_at..).unwrap_or_default().trim();
        let closed = last.starts_with(&marks) && last.chars().all(|c| marks.starts_with(c));
        let (body, close) = if closed {
            (body.get(..last_at).unwrap_or_default(), last)
        } else {
            (body, first.trim().get(..marks.len()).unwrap_or_default())
        };
        self.wrapped(text, body, (first, close), join);
    }

    fn table(&mut self, text: &'a str, join: Join) {
        let mut join = join;
        let mut table = text;
        // What stands before the rows is a caption.
        if let Some(start) = text.find("\n|").filter(|_| !text.starts_with('|')) {
            let (caption, rows) = text.split_at(start + 1);
            self.prose(caption.trim(), join);
            (join, table) = (Join::Block, rows);
        }
        let mut header = table.find('\n').unwrap_or(table.len());
        let rest = table.get(header..).unwrap_or_default();
        let second = rest.lines().nth(1).unwrap_or_default();
        let ruler = second.contains('-')
            && second
                .chars()
                .all(|c| matches!(c, '|' | '-' | ':' | '+' | '=' | ' '));
        if ruler {
            header += 1 + second.len();
        }
        let (header, rows) = table.split_at(header);
        self.wrapped(table, rows, (header, ""), join);
    }

    /// Lines that have `open` and `close` around them in every chunk; as plain lines where these
    /// would take half of the room.
    fn wrapped(&mut self, whole: &'a str, body: &'a str, around: (&'a str, &'a str), join: Join) {
        let (open, close) = around;
        let body = body.trim_start_matches('\n');
        let tokens = (self.count)(open) + (self.count)(close);
        let too_long = open.len() + close.len() > self.limits.max_bytes() / 4;
        if tokens * 2 > self.room || too_long || body.trim().is_empty() {
            self.lines(whole, join);
            return;
        }
        self.out.wraps.push(Wrap {
            open,
            close,
            tokens,
        });
        self.wrap = Some(self.out.wraps.len() - 1);
        self.lines(body, join);
        self.wrap = None;
    }

    /// Each line a piece; blank lines go with the line after them.
    fn lines(&mut self, text: &'a str, join: Join) {
        let mut join = join;
        let mut start = 0;
        let mut end = 0;
        for line in text.split_inclusive('\n') {
            end += line.len();
            if line.trim().is_empty() && end - start < WORD_MAX_BYTES {
                continue;
            }
            let piece = text.get(start..end).unwrap_or_default();
            start = end;
            let piece = piece.strip_suffix('\n').unwrap_or(piece);
            if piece.trim().is_empty() {
                continue;
            }
            let tokens = (self.count)(piece);
            if self.fits(piece, tokens) {
                self.push(piece, tokens, join, false);
            } else {
                self.words(piece, join);
            }
            join = Join::Line;
        }
    }

    /// Runs of words of a sentence or line that is too long for a chunk.
    fn words(&mut self, text: &'a str, join: Join) {
        let most = (self.room_here() / RUN_FRACTION).max(1);
        let mut join = join;
        let mut run = 0..0;
        let mut run_tokens = 0;
        let mut at = 0;
        for word in text.split_inclusive(char::is_whitespace) {
            let place = at..at + word.len();
            at = place.end;
            let trimmed = word.trim_end();
            if trimmed.is_empty() {
                continue;
            }
            let tokens = (self.count)(trimmed);
            let fits_run = run_tokens + tokens <= most
                && place.end - run.start <= most * ChunkLimits::BYTES_PER_TOKEN;
            if !run.is_empty() && !fits_run {
                self.run(text.get(run.clone()).unwrap_or_default(), run_tokens, join);
                join = Join::Word;
                run = place.start..place.start;
                run_tokens = 0;
            }
            if tokens > self.room_here() || trimmed.len() > WORD_MAX_BYTES {
                self.letters(trimmed, most, join);
                join = Join::Word;
                run = place.end..place.end;
            } else {
                let start = if run.is_empty() {
                    place.start
                } else {
                    run.start
                };
                run = start..place.end;
                run_tokens += tokens;
            }
        }
        self.run(text.get(run).unwrap_or_default(), run_tokens, join);
    }

    fn run(&mut self, text: &'a str, tokens: usize, join: Join) {
        let text = text.trim_end();
        if !text.is_empty() {
            self.push(text, tokens, join, false);
        }
    }

    /// Parts of a word that is too long, cut between characters.
    fn letters(&mut self, word: &'a str, most: usize, join: Join) {
        let mut join = join;
        let mut rest = word;
        while !rest.is_empty() {
            let mut end = floor_char(rest, (most * 4).min(WORD_MAX_BYTES));
            let mut tokens = (self.count)(rest.get(..end).unwrap_or_default());
            let one = rest.chars().next().map_or(1, char::len_utf8);
            while tokens > most && end > one {
                end = floor_char(rest, end / 2).max(one);
                tokens = (self.count)(rest.get(..end).unwrap_or_default());
            }
            let (part, after) = rest.split_at(end);
            self.push(part, tokens, join, false);
            join = Join::Glue;
            rest = after;
        }
    }

    fn room_here(&self) -> usize {
        let around = self.wrap.and_then(|wrap| self.out.wraps.get(wrap));
        self.room
            .saturating_sub(around.map_or(0, |wrap| wrap.tokens))
    }

    fn fits(&self, text: &str, tokens: usize) -> bool {
        tokens <= self.room_here() && text.len() <= self.limits.max_bytes() / 2
    }

    fn push(&mut self, text: &'a str, tokens: usize, join: Join, repeatable: bool) {
        if text.trim().is_empty() {
            return;
        }
        self.out.all.push(Piece {
            text,
            tokens,
            join,
            section: self.section,
            page: self.page,
            repeatable,
            wrap: self.wrap,
        });
    }
}

/// The greatest character boundary up to `at`, but at least one character.
fn floor_char(text: &str, at: usize) -> usize {
    let floor = text.floor_char_boundary(at);
    if floor == 0 {
        text.chars().next().map_or(0, char::len_utf8)
    } else {
        floor
    }
}
