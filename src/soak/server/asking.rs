//! Asks a Prometheus at the end of a run: waits for the last scrape, reads the samples, compares.
//!
//! Times are placed by its own clock, which is asked for first: neither a wall clock of this machine that is
//! wrong nor one that was set in the run moves the interval.

use super::api::{Api, Unanswered};
use super::compare::{Client, SCHEDULING_MS, compare};
use super::increase::{Increase, Series, Span};
use super::network::connect_ms;
use super::record::{AllowanceRecord, INTERRUPTED, NOT_CHECKED, ServerRecord};
use super::settings::Prometheus;
use crate::client::{Target, Trust};
use crate::clock::Clock;
use crate::soak::capacity::halt::Halt;
use crate::soak::monotonic::monotonic_ns;
use crate::soak::run::Watch;
use crate::soak::stats::numbers::median;
use crate::soak::units::{seconds, show_duration, signed};
use std::time::Duration;

/// Tries to get an answer, and the pause between two.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// Before the start the last scrape is looked for as far back as Prometheus itself does.
const LOOKBACK_S: f64 = 300.0;
/// Prometheus' own default; a longer scrape interval is not waited for either.
const MAX_INTERVAL_S: f64 = 60.0;
/// Scrape intervals that are waited.
const INTERVALS: f64 = 2.0;
/// A scrape takes its time, too.
const SLACK_S: f64 = 2.0;
/// Between two looks whether the last scrape is there.
const LOOKS_S: (f64, f64) = (0.2, 1.0);
/// How soon a signal is seen.
const TICK: Duration = Duration::from_millis(50);
/// Samples are read in pieces of an hour, or longer ones of a run that would have more than this many.
const PIECE_S: f64 = 3_600.0;
const MAX_PIECES: f64 = 500.0;

/// Whom to ask, of what.
pub(in crate::soak) struct Question<'a> {
    pub(in crate::soak) prometheus: &'a Prometheus,
    pub(in crate::soak) target: &'a Target,
    pub(in crate::soak) trust: &'a Trust,
    /// `CLOCK_MONOTONIC` at the end of the warm-up; below 0 when the machine was started since.
    pub(in crate::soak) origin_ns: i64,
    /// When the last request had ended, in seconds from there.
    pub(in crate::soak) done_s: f64,
    pub(in crate::soak) client: Client<'a>,
    pub(in crate::soak) clock: &'a dyn Clock,
}

/// What the server says of itself beside what the client measured.
pub(in crate::soak) fn ask(question: &Question<'_>, watch: &mut dyn Watch) -> ServerRecord {
    let prometheus = question.prometheus;
    let asker = Asker {
        question,
        api: Api::new(prometheus.url.clone(), question.trust.clone()),
        halt: Halt::listen().ok(),
    };
    let mut record = asker.ask(watch).unwrap_or_else(|why| ServerRecord {
        status: NOT_CHECKED.to_owned(),
        reasons: vec![why],
        client_requests: question.client.requests(),
        ..ServerRecord::default()
    });
    record.url = prometheus.url.to_string();
    record.selector = prometheus.selector.to_string();
    record
}

struct Asker<'a> {
    question: &'a Question<'a>,
    api: Api,
    halt: Option<Halt>,
}

/// How the scrapes of the counts stand.
struct Standing {
    /// The newest of each process.
    newest_s: Vec<f64>,
    interval_s: Option<f64>,
}

impl Asker<'_> {
    fn ask(&self, watch: &mut dyn Watch) -> Result<ServerRecord, String> {
        // The same moment on the run's time line and by Prometheus: its answer comes half way.
        let origin_s = self.patiently(watch, || {
            let before_s = self.run_s();
            let theirs_s = self.api.time_s()?;
            Ok(theirs_s - f64::midpoint(before_s, self.run_s()))
        })?;
        let span = Span {
            from_s: origin_s,
            done_s: origin_s + self.question.done_s,
        };
        self.await_last_scrape(span, watch)?;
        let mut increase = Increase::new(span);
        let start_s = span.from_s - LOOKBACK_S;
        let end_s = origin_s + self.run_s();
        let piece_s = PIECE_S.max((end_s - start_s) / MAX_PIECES);
        let series = self.question.prometheus.selector.all();
        let mut at_s = start_s;
        while at_s < end_s && !increase.is_whole() {
            at_s = (at_s + piece_s).min(end_s);
            let found = self.patiently(watch, || {
                self.api.samples(&series, in_ms(piece_s), Some(at_s))
            })?;
            increase.add(found);
        }
        let counted = increase.counted().ok_or_else(|| self.nothing())?;
        let allowance = AllowanceRecord {
            given_ms: self
                .question
                .prometheus
                .allowance
                .map(|given| given.as_secs_f64() * 1e3),
            scheduling_ms: SCHEDULING_MS,
            connect_ms: connect_ms(self.question.target, self.question.trust),
        };
        Ok(compare(
            &self.question.client,
            &counted,
            span.from_s,
            allowance,
        ))
    }

    /// Waits until every process that is scraped was scraped after the last request had ended: two scrape
    /// intervals at most, counted from then.
    fn await_last_scrape(&self, span: Span, watch: &mut dyn Watch) -> Result<(), String> {
        let mut is_told = false;
        loop {
            let counts = self.question.prometheus.selector.counts();
            let found =
                self.patiently(watch, || self.api.samples(&counts, in_ms(LOOKBACK_S), None))?;
            let now_s = span.from_s + self.run_s();
            let standing = Standing::of(&found);
            let interval_s = standing.interval_s.unwrap_or(MAX_INTERVAL_S);
            let interval_s = interval_s.min(MAX_INTERVAL_S);
            let most_s = INTERVALS * interval_s + SLACK_S;
            // Of what was never scraped there is nothing to compare with either.
            let is_unknown = standing.newest_s.is_empty();
            let is_late = now_s > span.done_s + most_s;
            if is_unknown || is_late || standing.is_done(span.done_s, now_s, interval_s) {
                return Ok(());
            }
            if !is_told {
                is_told = true;
                let longest = Duration::try_from_secs_f64(most_s.ceil()).unwrap_or_default();
                watch.waiting(&format!(
                    "waiting for the last scrape by Prometheus, for {} at most",
                    show_duration(longest)
                ));
            }
            let pause_s = (interval_s / 10.0).clamp(LOOKS_S.0, LOOKS_S.1);
            let pause = Duration::try_from_secs_f64(pause_s).unwrap_or(PAUSE);
            self.pause(pause, watch)?;
        }
    }

    /// Asks again when there is no answer, a few times.
    fn patiently<T>(
        &self,
        watch: &mut dyn Watch,
        question: impl Fn() -> Result<T, Unanswered>,
    ) -> Result<T, String> {
        let mut tries = 0;
        loop {
            tries += 1;
            match question() {
                Ok(answer) => return Ok(answer),
                Err(failed) if failed.may_pass && tries < TRIES => self.pause(PAUSE, watch)?,
                Err(failed) if tries == 1 => return Err(failed.why),
                Err(failed) => return Err(format!("{} (tried {tries} times)", failed.why)),
            }
        }
    }

    /// Lets time pass. Who asked for an end is not kept waiting.
    fn pause(&self, length: Duration, watch: &mut dyn Watch) -> Result<(), String> {
        let from_ns = monotonic_ns();
        while seconds(monotonic_ns().saturating_sub(from_ns)) < length.as_secs_f64() {
            if self.halt.as_ref().is_some_and(Halt::is_asked) {
                return Err(INTERRUPTED.to_owned());
            }
            watch.alive();
            self.question.clock.sleep(TICK);
        }
        Ok(())
    }

    /// Now, in seconds from the end of the warm-up.
    fn run_s(&self) -> f64 {
        let since_ns = signed(monotonic_ns()) - self.question.origin_ns;
        let distance_s = seconds(since_ns.unsigned_abs());
        if since_ns < 0 {
            -distance_s
        } else {
            distance_s
        }
    }

    fn nothing(&self) -> String {
        let selector = &self.question.prometheus.selector;
        format!(
            "{} has no scrape of retrieval_latency_ms{{{selector}}} both before and after the end of the run",
            self.question.prometheus.url
        )
    }
}

impl Standing {
    fn of(found: &[Series]) -> Self {
        let times = |series: &Series| -> Vec<f64> {
            series.samples.iter().map(|(at_s, _)| *at_s).collect()
        };
        let mut gaps_s: Vec<f64> = found
            .iter()
            .map(times)
            .flat_map(|times| {
                times
                    .windows(2)
                    .map(|two| two[1] - two[0])
                    .collect::<Vec<_>>()
            })
            .collect();
        Self {
            newest_s: found
                .iter()
                .filter_map(|series| series.samples.last().map(|(at_s, _)| *at_s))
                .collect(),
            interval_s: median(&mut gaps_s),
        }
    }

    /// Whether all were scraped at or after `done_s`, those aside that were not scraped for a while: they are
    /// gone.
    fn is_done(&self, done_s: f64, now_s: f64, interval_s: f64) -> bool {
        let is_there = |newest_s: &&f64| now_s - **newest_s <= 3.0 * interval_s;
        let mut there = self.newest_s.iter().filter(is_there).peekable();
        there.peek().is_some() && there.all(|newest_s| *newest_s >= done_s)
    }
}

/// A length of time for PromQL, at least a millisecond.
fn in_ms(length_s: f64) -> u64 {
    (crate::soak::stats::numbers::whole((length_s * 1e3).ceil()) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(times: &[f64]) -> Series {
        Series {
            samples: times.iter().map(|at_s| (*at_s, 1.0)).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn the_last_scrape_is_there_when_all_that_are_scraped_have_it() {
        let done = |found: &[Series], now_s| {
            let standing = Standing::of(found);
            standing.is_done(100.0, now_s, standing.interval_s.unwrap_or(60.0))
        };
        let (ended, late) = (series(&[85.0, 95.0, 105.0]), series(&[88.0, 98.0]));
        assert!(done(std::slice::from_ref(&ended), 106.0));
        assert!(!done(&[ended.clone(), late.clone()], 106.0));
        assert!(done(&[ended, late.clone()], 129.0), "the other one is gone");
        assert!(!done(&[late], 129.0), "nobody is there");
        assert!(!done(&[], 106.0));
        assert!(done(&[series(&[100.0])], 101.0));
        assert_eq!(Standing::of(&[series(&[1.0])]).interval_s, None);
    }
}
