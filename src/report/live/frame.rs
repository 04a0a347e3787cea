//! PURE: the screen as lines, cut to the size of the terminal.
//!
//! Each line has a place in the order in which lines are given up when the terminal is too low for
//! all of them; columns of the table are given up when it is too narrow.

use super::glyphs::Glyphs;
use super::margin::Standing;
use super::words::{clock, kinds, short, shown};
use crate::report::text::Palette;
use crate::soak::driver::Phase;
use crate::soak::latency::Percentiles;
use crate::soak::tally::Counts;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

/// Closed windows that have a row.
pub(super) const ROWS: usize = 12;
/// Closed windows that the sparkline is drawn from.
pub(super) const SPARK_WINDOWS: usize = 120;
/// Widest line: more is hard to read.
const MOST_COLUMNS: usize = 110;
/// Cells of the progress bar.
const BAR: (usize, usize) = (8, 40);

/// How much room there is, in rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Counts and percentiles of a window, of the open ones, or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) counts: Counts,
    pub(super) latency: Percentiles<u64>,
}

/// What the run was so far: bounded, however long it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) name: String,
    pub(super) target: String,
    pub(super) load: String,
    pub(super) folder: String,
    pub(super) rows: VecDeque<Row>,
    /// p95 of the last windows.
    pub(super) p95s: VecDeque<Option<u64>>,
    /// The unit under test in the last window.
    pub(super) unit: Option<String>,
    /// What a signal asked for.
    pub(super) interrupted: Option<String>,
}

/// What is known at this moment.
#[derive(Clone, Debug)]
pub(super) struct Now {
    pub(super) phase: Phase,
    pub(super) warmup: (Duration, Duration),
    pub(super) measured: Duration,
    pub(super) planned: Duration,
    pub(super) left: Duration,
    /// The planned end by the wall clock: `14:05`.
    pub(super) ends: String,
    /// The window that is open, 1-based, and how many there are.
    pub(super) window: (u64, u64),
    pub(super) in_flight: u64,
    pub(super) oldest: Option<Duration>,
    pub(super) open: Row,
    pub(super) total: Row,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) standings: Vec<Standing>,
    /// That requests go out too late for any verdict.
    pub(super) late: Option<String>,
}

/// How it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) palette: Palette,
    pub(super) glyphs: Glyphs,
}

impl Course {
    /// Takes in a window that closed.
    pub(super) fn window(&mut self, row: Row) {
        self.p95s.push_back(row.latency.p95);
        self.rows.push_back(row);
        while self.rows.len() > ROWS {
            self.rows.pop_front();
        }
        while self.p95s.len() > SPARK_WINDOWS {
            self.p95s.pop_front();
        }
    }
}

/// A line, and when it is given up: the highest first.
type Line = (usize, String);

/// At most `size.rows - 1` lines of less than `size.columns` columns; the cursor is below them.
pub(super) fn lines(course: &Course, now: &Now, look: &Look, size: Size) -> Vec<String> {
    let width = size.columns.saturating_sub(1).clamp(1, MOST_COLUMNS);
    let mut lines = heading(course, look);
    progress(now, course, look, width, &mut lines);
    lines.push((70, String::new()));
    table(course, now, look, width, &mut lines);
    lines.push((71, String::new()));
    beside(course, now, look, width, &mut lines);
    thresholds(now, look, &mut lines);
    let most = size.rows.saturating_sub(1).max(1);
    while lines.len() > most {
        let last = (0..lines.len()).max_by_key(|place| lines[*place].0);
        lines.remove(last.unwrap_or(0));
    }
    lines
        .into_iter()
        .map(|(_, line)| console::truncate_str(&line, width, look.glyphs.ellipsis).into_owned())
        .collect()
}

fn heading(course: &Course, look: &Look) -> Vec<Line> {
    let name = look.palette.strong.apply_to(&course.name);
    let folder = look.palette.quiet.apply_to(&course.folder);
    vec![
        (40, format!("{name}  {}  {}", course.target, course.load)),
        (60, folder.to_string()),
    ]
}

fn progress(now: &Now, course: &Course, look: &Look, width: usize, lines: &mut Vec<Line>) {
    let share = now.measured.as_secs_f64() / now.planned.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut told = format!(
        "  {:>3.0} %  {} of {}",
        (share * 100.0).clamp(0.0, 100.0).floor(),
        clock(now.measured.as_secs_f64().floor()),
        clock(now.planned.as_secs_f64())
    );
    if now.phase != Phase::Draining && now.phase != Phase::Over {
        let left = clock(now.left.as_secs_f64().ceil());
        let _ = write!(told, "  {left} left, ends {}", now.ends);
    }
    let cells = width
        .saturating_sub(told.chars().count())
        .clamp(BAR.0, BAR.1);
    lines.push((0, look.glyphs.bar(share, cells) + &told));
    lines.push((35, doing(now)));
    if let Some(late) = &now.late {
        lines.push((9, look.palette.doubtful.apply_to(late).to_string()));
    }
    if let Some(interrupted) = &course.interrupted {
        lines.push((10, look.palette.doubtful.apply_to(interrupted).to_string()));
    }
}

fn doing(now: &Now) -> String {
    let (window, windows) = now.window;
    let mut text = match now.phase {
        Phase::WarmingUp => format!(
            "warming up, not counted: {} of {}",
            clock(now.warmup.0.as_secs_f64().floor()),
            clock(now.warmup.1.as_secs_f64())
        ),
        Phase::Measuring => format!("window {} of {}", short(window), short(windows)),
        Phase::Draining => "all requests are sent".to_owned(),
        Phase::Over => "judging".to_owned(),
    };
    let _ = write!(text, "  in flight {}", short(now.in_flight));
    if let Some(age) = now.oldest.filter(|age| *age >= Duration::from_secs(1)) {
        let _ = write!(text, ", the oldest for {:.1} s", age.as_secs_f64());
    }
    text
}

/// A column: its heading, its width, and when it is given up.
type Column = (&'static str, usize, u8);

const COLUMNS: [Column; 9] = [
    ("", 9, 0),
    ("due", 9, 5),
    ("ok", 9, 8),
    ("errors", 8, 2),
    ("shed", 8, 7),
    ("p50", 9, 4),
    ("p95", 9, 0),
    ("p99", 9, 3),
    ("max", 9, 6),
];

/// The columns that fit into `width`, by their place.
fn fitting(width: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..COLUMNS.len()).collect();
    let taken = |places: &[usize]| places.iter().map(|place| COLUMNS[*place].1).sum::<usize>();
    while taken(&places) > width {
        let least = places.iter().copied().max_by_key(|place| COLUMNS[*place].2);
        let Some(least) = least.filter(|place| COLUMNS[*place].2 > 0) else {
            break;
        };
        places.retain(|place| *place != least);
    }
    places
}

fn table(course: &Course, now: &Now, look: &Look, width: usize, lines: &mut Vec<Line>) {
    let places = fitting(width);
    let palette = &look.palette;
    let write = |cells: [String; 9]| {
        places.iter().fold(String::new(), |mut line, place| {
            let _ = write!(line, "{:>width$}", cells[*place], width = COLUMNS[*place].1);
            line
        })
    };
    let head = write(COLUMNS.map(|(name, _, _)| name.to_owned()));
    lines.push((30, palette.quiet.apply_to(head).to_string()));
    for (age, row) in course.rows.iter().rev().enumerate().rev() {
        let failed = row.counts.due > row.counts.ok;
        let style = if failed { &palette.bad } else { &palette.quiet };
        let line = style.apply_to(write(cells(row))).to_string();
        lines.push((80 + age, line));
    }
    lines.push((20, write(cells(&now.open))));
    let total = palette.strong.apply_to(write(cells(&now.total)));
    lines.push((5, total.to_string()));
}

fn cells(row: &Row) -> [String; 9] {
    let (counts, latency) = (&row.counts, &row.latency);
    [
        row.name.clone(),
        short(counts.due),
        short(counts.ok),
        short(counts.error),
        short(counts.shed),
        shown(latency.p50),
        shown(latency.p95),
        shown(latency.p99),
        shown(latency.max),
    ]
}

/// The sparkline, the errors and the unit under test, each where there is something to show.
fn beside(course: &Course, now: &Now, look: &Look, width: usize, lines: &mut Vec<Line>) {
    let quiet = |name: &str| look.palette.quiet.apply_to(format!("{name:<8}"));
    let least = course.p95s.iter().flatten().min();
    let most = course.p95s.iter().flatten().max();
    if let (Some(least), Some(most)) = (least, most) {
        let range = format!("  {} to {}", shown(Some(*least)), shown(Some(*most)));
        let room = width.saturating_sub(8 + range.chars().count()).max(8);
        let skipped = course.p95s.len().saturating_sub(room);
        let values = course.p95s.iter().skip(skipped).copied();
        let spark = look.glyphs.sparkline(values);
        lines.push((50, format!("{}{spark}{range}", quiet("p95"))));
    }
    if !now.errors.is_empty() {
        let told = look.palette.bad.apply_to(kinds(&now.errors));
        lines.push((15, format!("{}{told}", quiet("errors"))));
    }
    if let Some(unit) = &course.unit {
        lines.push((45, format!("{}{unit}", quiet("unit"))));
    }
    if !now.standings.is_empty() {
        lines.push((72, String::new()));
    }
}

fn thresholds(now: &Now, look: &Look, lines: &mut Vec<Line>) {
    let widest = now
        .standings
        .iter()
        .map(|standing| standing.text.chars().count())
        .max()
        .unwrap_or(0);
    let (palette, glyphs) = (&look.palette, &look.glyphs);
    for (place, standing) in now.standings.iter().enumerate() {
        let (style, tick, rank) = match standing.holds {
            Some(true) => (&palette.good, glyphs.good, 25),
            Some(false) => (&palette.bad, glyphs.bad, 6),
            None => (&palette.quiet, glyphs.unknown, 55),
        };
        let line = format!(
            "{} {:<widest$}  {}",
            style.apply_to(tick),
            standing.text,
            standing.value
        );
        // Beyond a handful the further ones go before anything else that matters.
        let rank = if place < 5 { rank } else { rank.max(52) };
        lines.push((rank, line));
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
