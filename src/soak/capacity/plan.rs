//! PURE: what a search is to do, from what was said, and what it may cost.

use super::search::Bounds;
use crate::soak::recorder::settings::RecorderSettings;
use crate::soak::scenario::Scenario;
use crate::soak::settings::{ScenarioError, Settings};
use crate::soak::threshold::Scope;
use crate::soak::units::{Rate, show_duration};
use std::time::Duration;

/// The lowest rate tried, where nothing else is said.
const FROM_PER_S: f64 = 10.0;
/// The highest.
const UP_TO_PER_S: f64 = 100_000.0;
/// The length of a step.
const STEP: Duration = Duration::from_secs(10);
/// How wide the interval may be, as a share.
const PRECISION: f64 = 0.03;
/// A shorter step shows no queue that grows.
const MIN_STEP: Duration = Duration::from_secs(1);
/// Windows of a step: enough to see whether latency rises within it.
const WINDOWS: u32 = 10;
/// Fewer are not.
const MIN_WINDOWS: u32 = 5;
/// The confirming run is so many steps long.
const CONFIRM_STEPS: u32 = 3;
/// Requests of the first step: of fewer no percentile can be told.
const MIN_REQUESTS: f64 = 10.0;
/// Warm-up of a step, as a share of it, and its limits.
const WARMUP_SHARE: u32 = 5;
const WARMUP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// All waits for the target to recover together.
pub(super) const RECOVERY: Duration = Duration::from_mins(2);

/// What the command line says besides the scenario; `None` is not said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The lowest rate to try.
    pub from: Option<Rate>,
    /// The highest.
    pub up_to: Option<Rate>,
    /// The length of a step.
    pub step: Option<Duration>,
    /// How wide the interval may be, as a share.
    pub precision: Option<f64>,
}

/// A search, complete and checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Between which rates, and how exactly.
    pub bounds: Bounds,
    /// The length of a step.
    pub step: Duration,
    /// The length of the confirming run.
    pub confirm: Duration,
    /// The step at the lowest rate.
    pub scenario: Scenario,
    settings: Settings,
}

/// Longest wait at the end of a step, unless another is given: a step beyond what the target holds leaves
/// much in flight, which counts against it in any case.
const GRACE: Duration = Duration::from_secs(5);

impl Plan {
    /// Fills in defaults and checks everything. Rate, stages, duration, count and window of the settings give way to
    /// those of steps; budgets of drift and steps belong to long runs and are left out.
    ///
    /// # Errors
    /// When something is missing or out of range, or a threshold cannot be judged in a step.
    pub fn resolve(settings: Settings, asked: &Asked) -> Result<Self, ScenarioError> {
        let step = asked.step.unwrap_or(STEP);
        if step < MIN_STEP {
            return Err(refused(format!(
                "a step must be at least {}, got {}",
                show_duration(MIN_STEP),
                show_duration(step)
            )));
        }
        let bounds = bounds(asked)?;
        if bounds.from * step.as_secs_f64() < MIN_REQUESTS {
            return Err(refused(format!(
                "at {}/s a step of {} has fewer than {MIN_REQUESTS} requests: begin with a higher \
                 --from, or give a longer --step-duration",
                bounds.from,
                show_duration(step)
            )));
        }
        check_thresholds(&settings, step)?;
        let mut settings = settings;
        let usable = |window: &Duration| *window * MIN_WINDOWS <= step;
        settings.window = settings.window.filter(usable).or(Some(step / WINDOWS));
        let warmup = (step / WARMUP_SHARE).clamp(WARMUP.0, WARMUP.1);
        settings.warmup = settings.warmup.or(Some(warmup));
        let timeout = settings.timeout.unwrap_or(GRACE);
        settings.grace = settings.grace.or(Some(timeout.min(GRACE)));
        (settings.drift, settings.steps) = (None, None);
        (settings.stages, settings.count) = (None, None);
        // Each step would wait for a scrape, and most are shorter than the distance of two.
        settings.prometheus = None;
        // A search goes beyond what the target holds on purpose.
        settings.recorder = Some(RecorderSettings::disabled());
        let scenario = of_rate(&settings, bounds.from, step)?;
        Ok(Self {
            bounds,
            step,
            confirm: step * CONFIRM_STEPS,
            scenario,
            settings,
        })
    }

    /// The run at `rate`.
    ///
    /// # Errors
    /// When the rate is out of range, which one between the bounds is not.
    pub fn run_at(&self, rate: f64, length: Duration) -> Result<Scenario, ScenarioError> {
        of_rate(&self.settings, rate, length)
    }

    /// The most steps that a search makes, the confirming ones included, and the longest that it
    /// takes. Most take a third of that.
    #[must_use]
    pub fn most(&self) -> (usize, Duration) {
        let (steps, confirms) = self.bounds.most_steps();
        let around = self.scenario.load.warmup + self.scenario.grace;
        let times = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let time = (self.step + around).saturating_mul(times(steps))
            + (self.confirm + around).saturating_mul(times(confirms))
            + RECOVERY;
        (steps + confirms, time)
    }
}

fn of_rate(settings: &Settings, rate: f64, length: Duration) -> Result<Scenario, ScenarioError> {
    let mut settings = settings.clone();
    settings.qps = Some(Rate::new(rate).map_err(ScenarioError::Value)?);
    settings.duration = Some(length);
    Scenario::resolve(settings)
}

fn bounds(asked: &Asked) -> Result<Bounds, ScenarioError> {
    let rate = |rate: Option<Rate>, or: f64| rate.map_or(or, Rate::per_s);
    let from = rate(asked.from, FROM_PER_S);
    let up_to = rate(asked.up_to, UP_TO_PER_S.max(from));
    if from > up_to {
        return Err(refused(format!(
            "--from {from} is above --up-to {up_to}: nothing lies between"
        )));
    }
    let precision = asked.precision.unwrap_or(PRECISION);
    if !(0.005..=0.5).contains(&precision) {
        return Err(refused(format!(
            "the precision must be 0.5% to 50%, got {}%",
            precision * 100.0
        )));
    }
    Ok(Bounds {
        from,
        up_to,
        precision,
    })
}

fn check_thresholds(settings: &Settings, step: Duration) -> Result<(), ScenarioError> {
    for threshold in settings.thresholds.iter().flatten() {
        if threshold.budget().is_some() {
            return Err(refused(format!(
                "{threshold} needs a run of 30m and cannot be judged in a step of {}: name the \
                 thresholds of the search with --threshold",
                show_duration(step)
            )));
        }
        if let Scope::Every(stretch) = threshold.scope()
            && stretch > step
        {
            return Err(refused(format!(
                "{threshold} needs steps of at least {stretch}, and a step is {step}: give \
                 --step-duration {stretch}, or name the thresholds of the search with --threshold",
                stretch = show_duration(stretch),
                step = show_duration(step)
            )));
        }
    }
    Ok(())
}

fn refused(why: String) -> ScenarioError {
    ScenarioError::Value(why)
}

/// Reads `3%` or `0.03`.
///
/// # Errors
/// When it is neither.
pub fn parse_precision(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.trim().strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text.trim(), 1.0),
    };
    let share = number.trim().parse::<f64>().ok().map(|n| n * unit);
    share
        .filter(|share| share.is_finite())
        .ok_or_else(|| format!("{text:?} is not a precision such as 3%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(thresholds: &[&str]) -> Settings {
        Settings {
            target: Some("http://127.0.0.1:9/".parse().unwrap()),
            body: Some(String::new()),
            window: Some(Duration::from_secs(30)),
            thresholds: (!thresholds.is_empty()).then(|| {
                thresholds
                    .iter()
                    .map(|text| text.parse().unwrap())
                    .collect()
            }),
            ..Settings::default()
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let plan = Plan::resolve(settings(&[]), &Asked::default()).unwrap();
        assert_eq!((plan.bounds.from, plan.bounds.up_to), (10.0, 100_000.0));
        assert_eq!(plan.scenario.load.duration, Duration::from_secs(10));
        assert_eq!(plan.scenario.window, Duration::from_secs(1));
        assert_eq!(plan.scenario.load.warmup, Duration::from_secs(2));
        let (steps, longest) = plan.most();
        assert_eq!(steps, 41);
        assert_eq!(longest, Duration::from_secs(35 * 17 + 6 * 37 + 120));
        let run = plan.run_at(113.1, plan.confirm).unwrap();
        assert_eq!(run.load.rate.unwrap().to_string(), "113.1");
        assert_eq!(run.window, Duration::from_secs(1));
    }

    #[test]
    fn what_a_step_cannot_judge_is_refused() {
        let rate = |text: &str| Some(text.parse().unwrap());
        let asked = Asked::default();
        let cases = [
            (&["p95<1s in every 5m"][..], asked, "--step-duration 5m"),
            (&["rss_growth<1MiB/h"], asked, "needs a run of 30m"),
            (
                &[],
                Asked {
                    step: Some(Duration::from_millis(900)),
                    ..asked
                },
                "at least 1s, got 900ms",
            ),
            (
                &[],
                Asked {
                    from: rate("0.5"),
                    ..asked
                },
                "fewer than 10 requests",
            ),
            (
                &[],
                Asked {
                    from: rate("20"),
                    up_to: rate("10"),
                    ..asked
                },
                "nothing lies between",
            ),
            (
                &[],
                Asked {
                    precision: Some(0.9),
                    ..asked
                },
                "0.5% to 50%",
            ),
        ];
        for (thresholds, asked, reason) in cases {
            let error = Plan::resolve(settings(thresholds), &asked).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(Plan::resolve(settings(&["p95<1s in every 2s"]), &asked).is_ok());
    }

    #[test]
    fn reads_precisions() {
        assert_eq!(parse_precision("3%"), Ok(0.03));
        assert_eq!(parse_precision("0.1"), Ok(0.1));
        assert!(parse_precision("much").is_err());
    }
}
