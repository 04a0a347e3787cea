//! Positioned text to lines in reading order.
//!
//! The order in which a page draws its text is nearly always the order in which it is read, columns
//! included. Where it is not (lines jump up inside one column), the library's column-aware order is
//! taken, and for vertical, rotated and right-to-left pages its finished text.

use pdf_oxide::layout::TextSpan;
use pdf_oxide::structure::McidScope;
use pdf_oxide::{Error, PdfDocument, ReadingOrder};
use unicode_normalization::char::compose;

/// One line of text as it stands on the page, in points from the lower left corner.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// Its text, one space between words.
    pub text: String,
    /// Left end.
    pub left: f32,
    /// Right end.
    pub right: f32,
    /// Base line.
    pub y: f32,
    /// Font size of most of its text; 0 when unknown.
    pub size: f32,
    /// Whether all of it is bold.
    pub bold: bool,
    /// Whether all of it is in a font of fixed width.
    pub fixed: bool,
    /// Whether a paragraph ends before it, whatever the positions say.
    pub breaks: bool,
}

/// Gap between two runs, in parts of the font size, from which on words are apart.
const WORD_GAP: f32 = 0.15;

/// Forms on one page that are told apart.
const SCOPES_MAX: usize = 64;

/// Share of lines that may jump up inside a column before the drawing order is not believed.
const JUMPS_MAX: f32 = 0.2;

/// Share of the text that makes a page vertical, rotated or right-to-left.
const UNUSUAL_MIN: f32 = 0.3;

/// The lines of a page (0-based).
pub(super) fn of_page(document: &PdfDocument, page: usize) -> Result<Vec<Line>, Error> {
    let mut spans = document.extract_spans(page)?;
    if is_unusual(&spans) {
        let options = pdf_oxide::converters::ConversionOptions {
            extract_tables: false,
            include_form_fields: false,
            ..Default::default()
        };
        let text = document.extract_text_with_options(page, &options)?;
        return Ok(of_text(&text));
    }
    sort_as_drawn(&mut spans);
    let lines = of_spans(&spans);
    if !is_scrambled(&lines) {
        return Ok(lines);
    }
    let spans = document.extract_spans_with_reading_order(page, ReadingOrder::ColumnAware)?;
    Ok(of_spans(&spans))
}

/// Restores the drawing order. Forms (figures, mostly) number their runs over again, so each comes
/// by itself.
fn sort_as_drawn(spans: &mut [TextSpan]) {
    spans.sort_by_key(|span| span.sequence);
    let mut scopes: Vec<Option<McidScope>> = Vec::new();
    for span in spans.iter() {
        if !scopes.contains(&span.mcid_scope) && scopes.len() < SCOPES_MAX {
            scopes.push(span.mcid_scope.clone());
        }
    }
    let place = |span: &TextSpan| scopes.iter().position(|scope| *scope == span.mcid_scope);
    spans.sort_by_cached_key(|span| place(span).unwrap_or(SCOPES_MAX));
}

fn is_unusual(spans: &[TextSpan]) -> bool {
    let mut all = 0.0_f32;
    let mut unusual = 0.0_f32;
    for span in spans {
        let turned = span.wmode == 1 || span.rotation_degrees.abs() > 1.0;
        for c in span.text.chars() {
            all += 1.0;
            if turned || is_right_to_left(c) {
                unusual += 1.0;
            }
        }
    }
    unusual > all * UNUSUAL_MIN
}

/// Hebrew, Arabic, Syriac, Thaana, NKo and their presentation forms.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

/// Lines of finished text; a blank line ends a paragraph.
fn of_text(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut breaks = true;
    for line in text.lines() {
        let text = clean(line).trim().to_owned();
        if text.is_empty() {
            breaks = true;
            continue;
        }
        lines.push(Line {
            text,
            breaks: std::mem::take(&mut breaks),
            ..Line::default()
        });
    }
    lines
}

fn of_spans(spans: &[TextSpan]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open = Open::default();
    for span in spans {
        // Text across the flow is a stamp or a label of an axis.
        let finite = span.bbox.x.is_finite() && span.bbox.y.is_finite() && span.font_size > 0.0;
        if !finite || span.rotation_degrees.abs() > 1.0 {
            continue;
        }
        if !open.takes(span) {
            lines.extend(std::mem::take(&mut open).close());
        }
        open.add(span);
    }
    lines.extend(open.close());
    lines
}

/// A line while runs are added.
#[derive(Default)]
struct Open {
    line: Line,
    /// Characters by size: size, count, bold, fixed.
    runs: Vec<(f32, usize, bool, bool)>,
}

impl Open {
    fn takes(&self, span: &TextSpan) -> bool {
        if self.runs.is_empty() {
            return true;
        }
        let larger = self.line.size.max(span.font_size);
        let smaller = self.line.size.min(span.font_size);
        // A smaller run beside the line may be raised or lowered: a footnote mark, an index.
        let slack = if smaller < larger * 0.85 { 0.7 } else { 0.35 };
        let same_line = (span.bbox.y - self.line.y).abs() <= larger * slack;
        let goes_on = span.bbox.x >= self.line.right - larger * 1.5;
        same_line && goes_on
    }

    fn add(&mut self, span: &TextSpan) {
        let text = clean(&span.text);
        let first = self.runs.is_empty();
        if first {
            self.line.left = span.bbox.x;
            self.line.y = span.bbox.y;
        }
        let gap = span.bbox.x - self.line.right;
        let apart = gap > span.font_size.min(self.line.size.max(1.0)) * WORD_GAP;
        let spaced = self.line.text.ends_with(' ') || text.starts_with(' ');
        if !first && apart && !spaced {
            self.line.text.push(' ');
        }
        self.line.text.push_str(&text);
        self.line.right = self.line.right.max(span.bbox.x + span.bbox.width);
        if first || span.font_size > self.line.size {
            // The base line of the largest text is that of the line.
            self.line.size = span.font_size;
            self.line.y = span.bbox.y;
        }
        let letters = text.chars().filter(|c| !c.is_whitespace()).count();
        let fixed = span.is_monospace || is_fixed_width(&span.font_name);
        self.runs
            .push((span.font_size, letters, span.font_weight.is_bold(), fixed));
    }

    fn close(mut self) -> Option<Line> {
        let fixed = self.runs.iter().all(|run| run.1 == 0 || run.3);
        self.line.text = with_accents(&self.line.text);
        let text = if fixed {
            self.line.text.trim_end().to_owned()
        } else {
            without_leaders(&self.line.text)
        };
        if text.trim().is_empty() {
            return None;
        }
        self.line.text = text;
        self.line.fixed = fixed;
        self.line.bold = self.runs.iter().all(|run| run.1 == 0 || run.2);
        let most = self.runs.iter().max_by_key(|run| run.1);
        self.line.size = most.map_or(self.line.size, |run| run.0);
        Some(self.line)
    }
}

fn is_fixed_width(font: &str) -> bool {
    let font = font.to_ascii_lowercase();
    [
        "mono",
        "courier",
        "consol",
        "cmtt",
        "typewriter",
        "sftt",
        "ectt",
    ]
    .iter()
    .any(|mark| font.contains(mark))
}

/// Whether lines often jump up inside one column.
fn is_scrambled(lines: &[Line]) -> bool {
    let jumps = lines.windows(2).filter(|pair| {
        let [above, below] = pair else { return false };
        let overlap = above.right.min(below.right) - above.left.max(below.left);
        let up = below.y > above.y + below.size.max(above.size) * 0.5;
        up && overlap > 0.0
    });
    let jumps = jumps.count();
    jumps > 3 && ratio(jumps, lines.len()) > JUMPS_MAX
}

/// A share, for comparing with a threshold.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of lines stay far below 2^23"
)]
pub(super) fn ratio(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

/// Ligatures as their letters; no control characters.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{fb00}' => clean.push_str("ff"),
            '\u{fb01}' => clean.push_str("fi"),
            '\u{fb02}' => clean.push_str("fl"),
            '\u{fb03}' => clean.push_str("ffi"),
            '\u{fb04}' => clean.push_str("ffl"),
            '\u{fb05}' | '\u{fb06}' => clean.push_str("st"),
            '\t' | '\n' | '\u{a0}' => clean.push(' '),
            '\u{feff}' | '\u{200b}' | '\u{fffd}' => {}
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

/// Accents that old fonts draw as marks before their letter, as one character with it.
fn with_accents(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(mark) = combining(c) else {
            out.push(c);
            continue;
        };
        let letter = chars.peek().copied().filter(|next| next.is_alphabetic());
        match letter.and_then(|letter| compose(undotted(letter), mark)) {
            Some(composed) => {
                chars.next();
                out.push(composed);
            }
            None => out.push(c),
        }
    }
    out
}

fn combining(c: char) -> Option<char> {
    Some(match c {
        '´' => '\u{301}',
        '¨' => '\u{308}',
        'ˆ' => '\u{302}',
        '˜' => '\u{303}',
        'ˇ' => '\u{30c}',
        '˚' => '\u{30a}',
        '¸' => '\u{327}',
        _ => return None,
    })
}

fn undotted(c: char) -> char {
    if c == 'ı' { 'i' } else { c }
}

/// One space between words, and the dots that lead to a page number as an ellipsis.
fn without_leaders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut dots = 0;
    for word in text.split_whitespace() {
        let stripped = word.trim_end_matches('.');
        let leaders = word.len() - stripped.len();
        if stripped.is_empty() || leaders > 3 {
            dots += leaders;
            if dots > 3 && !out.ends_with('…') && stripped.is_empty() {
                while out.ends_with(['.', ' ']) {
                    out.pop();
                }
                out.push_str(" …");
                continue;
            }
            if dots > 3 && stripped.is_empty() {
                continue;
            }
        } else {
            dots = 0;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        if leaders > 3 {
            out.push_str(stripped);
            out.push_str(" …");
        } else {
            out.push_str(word);
        }
    }
    out
}
