//! PURE: how much is asked, and for how long: a rate or stages, a duration or a number of requests.

use super::rates::{MAX_RAMP, Rates};
use super::schedule::{Arrivals, Schedule};
use super::settings::{ArrivalKind, ScenarioError, Settings};
use super::stage::{MAX_PER_S, Stage};
use super::units::{Rate, nanoseconds, show_duration};
use std::time::Duration;

/// Shortest window, and so the shortest run.
pub const MIN_WINDOW: Duration = Duration::from_millis(100);

/// How much is asked, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// The rate, or that from which the first stage begins; `None` for a first stage from 0.
    pub rate: Option<Rate>,
    /// Stages; empty for a constant rate.
    pub stages: Vec<Stage>,
    /// The most requests.
    pub count: Option<u64>,
    /// How long is measured.
    pub duration: Duration,
    /// Before the duration, at the rate; not counted.
    pub warmup: Duration,
    /// How arrivals are spread.
    pub arrivals: ArrivalKind,
    /// Seed of what is random.
    pub seed: u64,
}

impl Load {
    /// What `settings` say of it.
    ///
    /// # Errors
    /// When something is missing, out of range, or said twice.
    pub fn resolve(settings: &Settings) -> Result<Self, ScenarioError> {
        let stages = settings.stages.clone().unwrap_or_default();
        let warmup = settings.warmup.unwrap_or_default();
        let rate = settings.qps;
        if settings.count == Some(0) {
            return Err(value("a count must be above 0"));
        }
        let longest = if stages.is_empty() {
            constant(rate, settings)?
        } else {
            check_stages(&stages, settings)?
        };
        if longest < MIN_WINDOW {
            let shown = show_duration(longest);
            return Err(value(&format!(
                "the duration must be at least 100ms, got {shown}"
            )));
        }
        let mut load = Self {
            rate,
            stages,
            count: settings.count,
            duration: longest,
            warmup,
            arrivals: settings.arrivals.unwrap_or_default(),
            seed: settings.seed.unwrap_or(1),
        };
        if load.schedule().count() == 0 {
            return Err(value("the stages never ask for a request"));
        }
        let length = Duration::from_nanos(load.schedule().length_ns());
        if settings.count.is_some() && length < longest {
            load.duration = length.max(MIN_WINDOW);
        }
        Ok(load)
    }

    /// When requests of the warm-up are due.
    #[must_use]
    pub fn warmup_schedule(&self) -> Schedule {
        let stages = [];
        let rates = match self.rate {
            Some(rate) => Rates::constant(rate, nanoseconds(self.warmup)),
            None => Rates::staged(None, &stages),
        };
        Schedule::new(rates, None, self.arrivals_with(self.seed.wrapping_add(1)))
    }

    /// When measured requests are due.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        let rates = match self.rate {
            Some(rate) if self.stages.is_empty() => {
                Rates::constant(rate, nanoseconds(self.duration))
            }
            start => Rates::staged(start, &self.stages),
        };
        Schedule::new(rates, self.count, self.arrivals_with(self.seed))
    }

    fn arrivals_with(&self, seed: u64) -> Arrivals {
        match self.arrivals {
            ArrivalKind::Uniform => Arrivals::Uniform,
            ArrivalKind::Poisson => Arrivals::Poisson { seed },
        }
    }
}

/// The longest that a run at a constant rate may last.
fn constant(rate: Option<Rate>, settings: &Settings) -> Result<Duration, ScenarioError> {
    let missing = |what, hint| ScenarioError::Missing { what, hint };
    let rate = rate.ok_or(missing(
        "rate",
        "say how many requests a second with --qps 10",
    ))?;
    match (settings.duration, settings.count) {
        (Some(duration), _) => Ok(duration),
        (None, Some(count)) => {
            let after_s = super::units::float(count) / rate.per_s();
            // A nanosecond more than it takes: the count ends it.
            let duration = Duration::try_from_secs_f64(after_s * 1.001 + 1.0);
            duration.map_err(|_| value(&format!("{count} requests at {rate}/s never end")))
        }
        (None, None) => Err(missing("duration", "say how long with --duration 60s")),
    }
}

fn check_stages(stages: &[Stage], settings: &Settings) -> Result<Duration, ScenarioError> {
    if settings.duration.is_some() {
        return Err(value(
            "stages have durations of their own: leave out either the stages or the duration",
        ));
    }
    if settings.warmup.is_some_and(|warmup| !warmup.is_zero()) && settings.qps.is_none() {
        return Err(value(
            "a warm-up before stages needs a rate to begin with, as --qps 10",
        ));
    }
    if let Some(long) = stages.iter().find(|stage| stage.duration > MAX_RAMP) {
        return Err(value(&format!(
            "the stage {long} is longer than {}: make two of it",
            show_duration(MAX_RAMP)
        )));
    }
    debug_assert!(stages.iter().all(|stage| stage.per_s <= MAX_PER_S));
    stages
        .iter()
        .try_fold(Duration::ZERO, |sum, stage| sum.checked_add(stage.duration))
        .ok_or_else(|| value("the stages never end"))
}

fn value(problem: &str) -> ScenarioError {
    ScenarioError::Value(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<Load, String> {
        let settings: Settings = toml::from_str(toml).unwrap();
        Load::resolve(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_count_ends_a_run() {
        let by_count = load("qps = 10\ncount = 25").unwrap();
        assert_eq!(by_count.duration, Duration::from_millis(2_500));
        assert_eq!(by_count.schedule().count(), 25);
        let by_duration = load("qps = 10\ncount = 25\nduration = \"1s\"").unwrap();
        assert_eq!(by_duration.duration, Duration::from_secs(1));
        assert_eq!(by_duration.schedule().count(), 10);
        let one = load("qps = 1000\ncount = 1").unwrap();
        assert_eq!((one.duration, one.schedule().count()), (MIN_WINDOW, 1));
    }

    #[test]
    fn stages_have_their_own_duration() {
        let staged = load("stages = [\"10s:100\", \"20s:100\"]").unwrap();
        assert_eq!(staged.duration, Duration::from_secs(30));
        assert_eq!(staged.schedule().count(), 2_500);
        assert_eq!(staged.warmup_schedule().count(), 0);
        let warm = load("qps = 10\nwarmup = \"2s\"\nstages = [\"10s:10\"]").unwrap();
        assert_eq!(warm.warmup_schedule().count(), 20);
        assert_eq!(warm.schedule().count(), 100);
        let limited = load("stages = [\"10s:100\", \"20s:100\"]\ncount = 125").unwrap();
        assert_eq!(limited.duration, Duration::from_secs(5));
    }

    #[test]
    fn says_what_is_wrong() {
        for (toml, problem) in [
            ("duration = \"1m\"", "no rate"),
            ("qps = 10", "no duration"),
            ("qps = 10\ncount = 0", "above 0"),
            ("qps = 10\nduration = \"0s\"", "at least 100ms"),
            ("stages = [\"1m:0\"]", "never ask"),
            (
                "stages = [\"1m:5\"]\nduration = \"1m\"",
                "durations of their own",
            ),
            ("stages = [\"1m:5\"]\nwarmup = \"5s\"", "needs a rate"),
            ("stages = [\"100h:5\"]", "make two"),
            ("qps = 0.000001\ncount = 1000000000000000", "never end"),
        ] {
            let error = load(toml).unwrap_err();
            assert!(error.contains(problem), "{toml}: {error}");
        }
    }
}
