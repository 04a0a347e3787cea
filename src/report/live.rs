//! A run while it goes on: a table that updates in place on a terminal, a line every 10 s elsewhere.
//! Both on stderr; stdout is for the report.

use super::text::Palette;
use crate::soak::driver::Interrupt;
use crate::soak::driver::Phase;
use crate::soak::event::EventRecord;
use crate::soak::latency::{Percentiles, Series};
use crate::soak::record::{RunRecord, WindowRecord};
use crate::soak::tally::{Counts, Tally};
use crate::soak::threshold::{Scope, Threshold};
use crate::soak::units::{nanoseconds, show_count, show_latency_us};
use crate::soak::view::Whole;
use crate::soak::{Failing, Progress, Watch};
use console::Term;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Rows of closed windows that are kept on the screen.
const ROWS: usize = 12;
/// Ticks between two drawings: 4 a second at 20 ticks.
const TICKS_PER_DRAWING: u32 = 5;
/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Widest line.
const WIDTH: usize = 100;

/// The live view for stderr: [`Screen`] on a terminal, [`Lines`] elsewhere.
#[must_use]
pub fn view(thresholds: Vec<Threshold>) -> Box<dyn Watch> {
    let term = Term::buffered_stderr();
    if term.features().is_attended() {
        Box::new(Screen {
            palette: Palette::new(console::colors_enabled_stderr()),
            term,
            thresholds,
            heading: String::new(),
            window_s: 0.0,
            rows: VecDeque::new(),
            drawn: 0,
            ticks: 0,
        })
    } else {
        Box::new(Lines {
            term,
            next: LINE_EVERY,
        })
    }
}

/// A table that is drawn anew in place.
struct Screen {
    term: Term,
    palette: Palette,
    thresholds: Vec<Threshold>,
    heading: String,
    window_s: f64,
    rows: VecDeque<String>,
    drawn: usize,
    ticks: u32,
}

/// A line now and then.
struct Lines {
    term: Term,
    next: Duration,
}

impl Watch for Screen {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        self.window_s = run.scenario.window_s;
        self.heading = format!(
            "{}  {}  {}  {}",
            self.palette.strong.apply_to(&run.name),
            run.target,
            run.scenario.load(),
            self.palette.quiet.apply_to(folder.display()),
        );
    }

    fn window(&mut self, window: &WindowRecord) {
        let row = row(&clock(window.start_s), &window.counts, &window.response_us);
        let sound = window.counts.error_rate() == Some(0.0) || window.counts.due == 0;
        let row = if sound {
            row
        } else {
            self.palette.bad.apply_to(row).to_string()
        };
        self.rows.push_back(row);
        if self.rows.len() > ROWS {
            self.rows.pop_front();
        }
    }

    fn tick(&mut self, progress: &Progress<'_>) {
        self.ticks += 1;
        if self.ticks % TICKS_PER_DRAWING == 1 {
            let lines = self.lines(progress);
            self.draw(&lines);
        }
    }

    fn failing(&mut self, failing: &Failing) {
        self.say_above(&failing_text(failing));
    }

    fn event(&mut self, event: &EventRecord) {
        self.say_above(&event_text(event));
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        self.say_above(&interrupt_text(interrupt));
    }
}

impl Drop for Screen {
    /// The report that follows has everything: the table makes room for it.
    fn drop(&mut self) {
        let _ = self.term.clear_last_lines(self.drawn);
        let _ = self.term.flush();
    }
}

impl Screen {
    /// A line that stays, above the table.
    fn say_above(&mut self, line: &str) {
        let _ = self.term.clear_last_lines(self.drawn);
        self.drawn = 0;
        let _ = self.term.write_line(line);
        let _ = self.term.flush();
    }

    fn lines(&self, progress: &Progress<'_>) -> Vec<String> {
        let (open, mut total) = progress.tallies();
        let head = format!(
            "{:>9}{:>10}{:>10}{:>8}{:>7}{:>11}{:>11}{:>11}{:>11}",
            "window", "due", "ok", "errors", "shed", "p50", "p95", "p99", "max"
        );
        let mut lines = vec![
            self.heading.clone(),
            self.palette.quiet.apply_to(head).to_string(),
        ];
        lines.extend(self.rows.iter().cloned());
        let now = row("now", &open.counts, &open.percentiles(Series::Response));
        lines.push(self.palette.quiet.apply_to(now).to_string());
        let all = row("total", &total.counts, &total.percentiles(Series::Response));
        lines.push(self.palette.strong.apply_to(all).to_string());
        lines.push(String::new());
        lines.push(bar(progress));
        // What is in flight has not failed yet.
        let counts = &mut total.counts;
        counts.due = counts.ok + counts.error + counts.shed;
        lines.push(self.threshold_line(progress, &total));
        lines
    }

    fn threshold_line(&self, progress: &Progress<'_>, total: &Tally) -> String {
        let measured_ns = nanoseconds(progress.measured().unwrap_or_default());
        let whole = Whole {
            tally: total,
            measured_ns,
        };
        // Stretches and growth are judged at the end, from the windows.
        let now = |threshold: &&Threshold| {
            threshold.scope() == Scope::Run && threshold.budget().is_none()
        };
        self.thresholds
            .iter()
            .filter(now)
            .fold(String::new(), |mut line, threshold| {
                let value = threshold.value(&whole);
                let tick = match value {
                    Some(_) => self.palette.tick(threshold.holds(value)),
                    None => " ".to_owned(),
                };
                let _ = write!(line, "{tick} {threshold} {}   ", threshold.show(value));
                line
            })
    }

    fn draw(&mut self, lines: &[String]) {
        let width = usize::from(self.term.size().1).min(WIDTH);
        let _ = self.term.clear_last_lines(self.drawn);
        for line in lines {
            let _ = self
                .term
                .write_line(&console::truncate_str(line, width, "…"));
        }
        self.drawn = lines.len();
        let _ = self.term.flush();
    }
}

impl Watch for Lines {
    fn started(&mut self, folder: &Path, run: &RunRecord) {
        let line = format!(
            "soak {} at {}, recorded in {}",
            run.target,
            run.scenario.load(),
            folder.display()
        );
        self.say(&line);
    }

    fn window(&mut self, _window: &WindowRecord) {}

    fn tick(&mut self, progress: &Progress<'_>) {
        let Some(measured) = progress
            .measured()
            .filter(|measured| *measured >= self.next)
        else {
            return;
        };
        while self.next <= measured {
            self.next += LINE_EVERY;
        }
        let (_, total) = progress.tallies();
        let latency = total.percentiles(Series::Response);
        let line = format!(
            "soak {} of {}: due {}, ok {}, errors {}, shed {}, p50 {}, p95 {}, p99 {}, max {}",
            clock(measured.as_secs_f64()),
            clock(progress.planned().as_secs_f64()),
            show_count(total.counts.due),
            show_count(total.counts.ok),
            show_count(total.counts.error),
            show_count(total.counts.shed),
            shown(latency.p50),
            shown(latency.p95),
            shown(latency.p99),
            shown(latency.max)
        );
        self.say(&line);
    }

    fn failing(&mut self, failing: &Failing) {
        self.say(&failing_text(failing));
    }

    fn event(&mut self, event: &EventRecord) {
        self.say(&event_text(event));
    }

    fn interrupted(&mut self, interrupt: Interrupt) {
        self.say(&interrupt_text(interrupt));
    }
}

impl Lines {
    fn say(&self, line: &str) {
        let _ = self.term.write_line(line);
        let _ = self.term.flush();
    }
}

fn failing_text(failing: &Failing) -> String {
    let requests = match failing.requests {
        1 => "the first request".to_owned(),
        more => format!("all of the first {} requests", show_count(more)),
    };
    format!(
        "warning: {requests} to {} failed: {}",
        failing.target, failing.cause
    )
}

fn event_text(event: &EventRecord) -> String {
    format!("soak {}: {}", clock(event.at_s.max(0.0)), event.event)
}

fn interrupt_text(interrupt: Interrupt) -> Cow<'static, str> {
    match interrupt {
        Interrupt::Stop => {
            "interrupted: ending with this window, then judging; interrupt again to abort".into()
        }
        Interrupt::Abort(signal) => format!("aborting: {signal}").into(),
    }
}

fn row(name: &str, counts: &Counts, latency: &Percentiles<u64>) -> String {
    format!(
        "{name:>9}{:>10}{:>10}{:>8}{:>7}{:>11}{:>11}{:>11}{:>11}",
        show_count(counts.due),
        show_count(counts.ok),
        show_count(counts.error),
        show_count(counts.shed),
        shown(latency.p50),
        shown(latency.p95),
        shown(latency.p99),
        shown(latency.max)
    )
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), show_latency_us)
}

fn bar(progress: &Progress<'_>) -> String {
    let planned = progress.planned();
    let measured = progress.measured().unwrap_or_default();
    let share = measured.as_secs_f64() / planned.as_secs_f64().max(f64::MIN_POSITIVE);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 40 cells"
    )]
    let cells = (share.clamp(0.0, 1.0) * 40.0).round() as usize;
    let doing = match progress.phase() {
        Phase::WarmingUp => "warming up",
        Phase::Measuring => "",
        Phase::Draining => "waiting for what is in flight",
        Phase::Over => "judging",
    };
    let oldest = progress
        .oldest_in_flight()
        .filter(|age| *age >= Duration::from_secs(1))
        .map_or_else(String::new, |age| {
            format!(", the oldest for {:.1} s", age.as_secs_f64())
        });
    format!(
        "{}{}  {} of {}  in flight {}{oldest}  {doing}",
        "█".repeat(cells),
        "░".repeat(40 - cells),
        clock(measured.as_secs_f64()),
        clock(planned.as_secs_f64()),
        show_count(progress.in_flight() as u64)
    )
}

/// `0:42`, `12:30`, `1:02:03`; tenths where seconds are not whole.
fn clock(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let (s, tenths) = (whole.as_secs(), whole.subsec_millis() / 100);
    let (hours, minutes, rest) = (s / 3_600, s / 60 % 60, s % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else if tenths > 0 && s < 60 {
        format!("{minutes}:{rest:02}.{tenths}")
    } else {
        format!("{minutes}:{rest:02}")
    }
}
