//! The screen on a terminal: drawn anew in place, four times a second.
//!
//! It is not the alternate screen: lines that stay, as warnings, remain above it, and a process that is
//! killed leaves the terminal as it was. A drawing is one write: the cursor goes up over the last
//! drawing, each line is overwritten, and what is left below is erased, so nothing flickers.

use super::frame::{self, Course, Look, Now, Row, Size};
use super::glyphs::{ASCII, BLOCKS};
use super::margin::Standings;
use super::words::{clock, event_text, failing_text, interrupt_text, late_text, memory};
use crate::clock::{Clock as _, SystemClock};
use crate::plain;
use crate::report::text::Palette;
use crate::soak::driver::Interrupt;
use crate::soak::event::EventRecord;
use crate::soak::latency::Series;
use crate::soak::record::{RunRecord, UnitSample, WindowRecord};
use crate::soak::threshold::Threshold;
use crate::soak::units::nanoseconds;
use crate::soak::verdict::lag_limit_ms;
use crate::soak::view::Whole;
use crate::soak::{Failing, Progress, Watch};
use chrono::{DateTime, Datelike as _, Local, TimeZone, Timelike as _};
use console::Term;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Ticks between two drawings: 4 a second at 20 ticks.
const TICKS_PER_DRAWING: u32 = 5;

pub(super) struct Screen {
    term: Term,
    look: Look,
    standings: Standings,
    lag_limit_ms: f64,
    course: Course,
    /// What the unit under test is called.
    unit: String,
    /// The lines that are on the terminal now.
    drawn: Vec<String>,
    ticks: u32,
}

impl Screen {
    pub(super) fn new(term: Term, thresholds: Vec<Threshold>, is_ascii: bool) -> Self {
        Self {
            look: Look {
                palette: Palette::new(console::colors_enabled_stderr()),
                glyphs: if is_ascii { ASCII } else { BLOCKS },
            },
            term,
            lag_limit_ms: lag_limit_ms(&thresholds),
            standings: Standings::new(thresholds),
            course: Course::default(),
            unit: String::new(),
            drawn: Vec::new(),
            ticks: 0,
        }
    }

    /// A line that stays, above the screen.
    fn say_above(&mut self, line: &str) {
        let text = self.erase() + line + "\n";
        self.put(&text);
    }

    /// What takes the last drawing away.
    fn erase(&mut self) -> String {
        let up = taken(&self.drawn, self.size().columns);
        self.drawn.clear();
        let mut text = "\r".to_owned();
        if up > 0 {
            let _ = write!(text, "\x1b[{up}A");
        }
        text + "\x1b[J"
    }

    fn draw(&mut self, lines: Vec<String>) {
        let up = taken(&self.drawn, self.size().columns);
        let mut text = "\r".to_owned();
        if up > 0 {
            let _ = write!(text, "\x1b[{up}A");
        }
        for line in &lines {
            let _ = write!(text, "{line}\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines;
        self.put(&text);
    }

    /// On an error there is nobody to tell.
    fn put(&self, text: &str) {
        let _ = self.term.write_str(text);
        let _ = self.term.flush();
    }

    fn size(&self) -> Size {
        let (rows, columns) = self.term.size();
        Size {
            rows: usize::from(rows),
            columns: usize::from(columns),
        }
    }

    fn now(&self, progress: &Progress<'_>) -> Now {
        let (open, mut total) = progress.tallies();
        let total_row = Row {
            name: "so far".to_owned(),
            counts: total.counts,
            latency: total.percentiles(Series::Response),
        };
        // What is in flight has not failed yet.
        let counts = &mut total.counts;
        counts.due = counts.ok + counts.error + counts.shed;
        let measured = progress.measured().unwrap_or_default();
        let whole = Whole {
            tally: &total,
            measured_ns: nanoseconds(measured),
        };
        let left = progress.left();
        Now {
            phase: progress.phase(),
            warmup: progress.warmup(),
            measured,
            planned: progress.planned(),
            left,
            ends: ends(&DateTime::<Local>::from(SystemClock.wall()), left),
            window: progress.window(),
            in_flight: progress.in_flight() as u64,
            oldest: progress.oldest_in_flight(),
            open: Row {
                name: "now".to_owned(),
                counts: open.counts,
                latency: open.percentiles(Series::Response),
            },
            standings: self.standings.now(&whole),
            late: late_text(
                total.percentiles(Series::Lag).in_ms().p99,
                self.lag_limit_ms,
            ),
            errors: total.errors_by_kind(),
            total: total_row,
        }
    }
}

impl Watch for Screen {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        self.standings.started(run.scenario.window_s);
        let sample = &run.scenario.sample;
        self.unit = match (&sample.unit, sample.pid) {
            (Some(unit), _) => format!("{unit}: "),
            (None, Some(pid)) => format!("process {pid}: "),
            (None, None) => String::new(),
        };
        self.unit = plain::one_line(&self.unit);
        // Of a run that is resumed they are as its folder has them.
        self.course.name = plain::one_line(&run.name);
        self.course.target = plain::one_line(&run.target);
        self.course.load = run.scenario.load();
        self.course.folder = plain::one_line(&folder.display().to_string());
    }

    fn window(&mut self, window: &WindowRecord) {
        self.standings.window(window);
        self.course.window(Row {
            name: clock(window.start_s),
            counts: window.counts,
            latency: window.response_us,
        });
        if let Some(unit) = &window.unit {
            let told = unit_text(unit, window.length_s);
            self.course.unit = (!told.is_empty()).then(|| format!("{}{told}", self.unit));
        }
    }

    fn tick(&mut self, progress: &Progress<'_>) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks % TICKS_PER_DRAWING == 1 {
            let now = self.now(progress);
            let lines = frame::lines(&self.course, &now, &self.look, self.size());
            self.draw(lines);
        }
    }

    fn failing(&mut self, failing: &Failing) {
        self.say_above(&failing_text(failing));
    }

    fn event(&mut self, event: &EventRecord) {
        self.say_above(&event_text(event));
    }

    fn waiting(&mut self, for_what: &str) {
        self.say_above(for_what);
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        self.course.interrupted = Some(interrupt_text(interrupt));
    }
}

impl Drop for Screen {
    /// The report that follows has everything: the screen makes room for it.
    fn drop(&mut self) {
        let text = self.erase();
        self.put(&text);
    }
}

/// Rows that lines take on a terminal of so many columns: one that was made narrower since has broken
/// them.
fn taken(lines: &[String], columns: usize) -> usize {
    let rows = |line: &String| {
        console::measure_text_width(line)
            .div_ceil(columns.max(1))
            .max(1)
    };
    lines.iter().map(rows).sum()
}

/// What was sampled of the unit, in words.
fn unit_text(unit: &UnitSample, length_s: f64) -> String {
    let mut parts = Vec::new();
    if let Some(rss) = unit.rss_bytes {
        parts.push(format!("memory {}", memory(rss)));
    }
    if let Some(cpu_s) = unit.cpu_s.filter(|_| length_s > 0.0) {
        parts.push(format!("CPU {:.2} cores", cpu_s / length_s));
    }
    if let Some(descriptors) = unit.descriptors {
        parts.push(format!("{descriptors} descriptors"));
    }
    if let Some(errors) = unit.journal_errors.filter(|errors| *errors > 0) {
        parts.push(format!("logged {errors} errors"));
    }
    parts.join(", ")
}

/// The moment that is so far ahead, as `14:05:10` within an hour, else as `14:05`, `Tue 14:05` or
/// `2026-12-02 14:05`.
fn ends<Tz: TimeZone>(now: &DateTime<Tz>, left: Duration) -> String {
    let ahead = chrono::Duration::from_std(left).unwrap_or_default();
    let Some(end) = now.clone().checked_add_signed(ahead) else {
        return String::new();
    };
    let time = format!("{:02}:{:02}", end.hour(), end.minute());
    if left < Duration::from_hours(1) {
        return format!("{time}:{:02}", end.second());
    }
    if end.date_naive() == now.date_naive() {
        return time;
    }
    if left < Duration::from_hours(6 * 24) {
        return format!("{} {time}", end.weekday());
    }
    format!("{} {time}", end.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_as_precisely_as_it_is_near() {
        let hour = 3_600;
        let now = chrono::FixedOffset::east_opt(hour)
            .unwrap()
            .with_ymd_and_hms(2026, 11, 30, 22, 30, 5)
            .unwrap();
        for (left_s, told) in [
            (35, "22:30:40"),
            (3_599, "23:30:04"),
            (3_600, "23:30"),
            (2 * 3_600, "Tue 00:30"),
            (72 * 3_600, "Thu 22:30"),
            (10 * 86_400, "2026-12-10 22:30"),
        ] {
            assert_eq!(ends(&now, Duration::from_secs(left_s)), told);
        }
        assert_eq!(
            ends(&now, Duration::MAX),
            "22:30",
            "as far as it can be told"
        );
    }

    #[test]
    fn lines_on_a_terminal_that_was_made_narrower_take_more_rows() {
        let lines = [
            "a".repeat(79),
            String::new(),
            "\x1b[31mred\x1b[0m".to_owned(),
        ];
        assert_eq!(taken(&lines, 80), 3);
        assert_eq!(taken(&lines, 40), 4);
        assert_eq!(taken(&lines, 20), 6);
        assert_eq!(taken(&[], 0), 0);
    }

    #[test]
    fn the_unit_is_told_as_far_as_it_was_sampled() {
        let unit = UnitSample {
            rss_bytes: Some(126_134_272),
            cpu_s: Some(3.5),
            ..UnitSample::default()
        };
        assert_eq!(unit_text(&unit, 10.0), "memory 120.3 MiB, CPU 0.35 cores");
        assert_eq!(unit_text(&UnitSample::default(), 10.0), "");
    }
}
