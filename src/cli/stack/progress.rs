//! How far the start of services is: a line a service.

use crate::cli::output;
use crate::cli::progress::LINE_EVERY;
use crate::clock::{Clock as _, SystemClock};
use crate::stack::Service;
use crate::stack::up::Watcher;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// On a terminal a line for each service that changes in place; elsewhere a line when one is ready, and every 10 s
/// what is waited for.
pub(super) struct Lines {
    bars: Option<MultiProgress>,
    lines: BTreeMap<Service, Line>,
}

struct Line {
    bar: Option<ProgressBar>,
    last_told: Instant,
}

impl Lines {
    pub(super) fn start() -> Self {
        Self {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
            lines: BTreeMap::new(),
        }
    }
}

impl Watcher for Lines {
    fn begins(&mut self, service: Service) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:12} {wide_msg}") {
                bar.set_style(style.tick_strings(&["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "✓"]));
            }
            bar.set_prefix(service.name());
            bar.set_message("waiting");
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let last_told = SystemClock.monotonic();
        self.lines.insert(service, Line { bar, last_told });
    }

    fn waits(&mut self, service: Service, cause: &str) {
        let Some(line) = self.lines.get_mut(&service) else {
            return;
        };
        let now = SystemClock.monotonic();
        match &line.bar {
            Some(bar) => bar.set_message(format!("waiting: {cause}")),
            None if now - line.last_told >= LINE_EVERY => {
                line.last_told = now;
                output::error(&format!("{service} is not ready yet: {cause}"));
            }
            None => {}
        }
    }

    fn is_ready(&mut self, service: Service, after: Duration) {
        let text = format!("ready after {:.1} s", after.as_secs_f64());
        match self.lines.get(&service).and_then(|line| line.bar.as_ref()) {
            Some(bar) => bar.finish_with_message(text),
            None => output::error(&format!("{service} is {text}")),
        }
    }
}
