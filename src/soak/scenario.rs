//! What a run is to do: settings resolved and checked once.

use super::findings::StepBudget;
use super::record::ScenarioRecord;
use super::sampler::Sampling;
use super::schedule::{Arrivals, Schedule};
use super::settings::{ArrivalKind, ScenarioError, Settings, StatusRange};
use super::threshold::{Scope, Threshold};
use super::units::{Rate, nanoseconds, show_duration};
use crate::client::Target;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What is posted when nothing else is said.
const DEFAULT_BODY: &str = r#"{"query": "{{query}}", "top_k": 3}"#;
/// Shortest window: each costs two synced writes.
const MIN_WINDOW: Duration = Duration::from_millis(100);
/// Windows that may be open at once: a window stays open until its requests end, at worst by their
/// timeout, and an open one costs under 1 MiB.
const MAX_OPEN_WINDOWS: u32 = 100;
/// Longest wait for requests in flight at the end; also bounded by the request timeout. A longer
/// wait would let a dead target hold up the verdict, a shorter one would call answers of a slow but
/// living one unfinished.
const MAX_GRACE: Duration = Duration::from_secs(5);
/// Largest in-flight cap: each costs a connection.
const MAX_IN_FLIGHT: usize = 1_000_000;

/// What a run does, complete and checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where requests go.
    pub target: Target,
    /// The request's method.
    pub method: http::Method,
    /// Headers to add.
    pub headers: http::HeaderMap,
    /// Body template.
    pub body: String,
    /// File of queries; always there when the template needs one.
    pub queries: Option<PathBuf>,
    /// Whether every query is made different.
    pub unique: bool,
    /// Requests a second.
    pub rate: Rate,
    /// How long is measured.
    pub duration: Duration,
    /// Length of a window.
    pub window: Duration,
    /// Before the duration, not counted.
    pub warmup: Duration,
    /// How arrivals are spread.
    pub arrivals: ArrivalKind,
    /// Seed of random arrivals.
    pub seed: u64,
    /// Request timeout, from send.
    pub timeout: Duration,
    /// In-flight cap.
    pub max_in_flight: usize,
    /// What must hold.
    pub thresholds: Vec<Threshold>,
    /// How far figures may rise an hour, in a run that is long enough to tell.
    pub drift: Vec<Threshold>,
    /// How far figures may step up.
    pub steps: Vec<StepBudget>,
    /// Statuses that are not errors.
    pub expected_status: Vec<StatusRange>,
    /// What is sampled beside the windows.
    pub sampling: Sampling,
    /// The scenario file, if it came from one.
    pub file: Option<PathBuf>,
}

impl Scenario {
    /// Fills in defaults and checks everything.
    ///
    /// # Errors
    /// When something without a default is missing, or a value is out of range.
    pub fn resolve(settings: Settings) -> Result<Self, ScenarioError> {
        let missing = |what, hint| ScenarioError::Missing { what, hint };
        let target = settings.target.clone().ok_or(missing(
            "target",
            "name it with --target http://127.0.0.1:8080/v1/query",
        ))?;
        let rate = settings.qps.ok_or(missing(
            "rate",
            "say how many requests a second with --qps 10",
        ))?;
        let duration = settings
            .duration
            .ok_or(missing("duration", "say how long with --duration 60s"))?;
        let sampling = Sampling::resolve(&settings, &target)?;
        let body = settings.body.unwrap_or_else(|| DEFAULT_BODY.to_owned());
        if super::queries::Bodies::needs_queries(&body) && settings.queries.is_none() {
            return Err(missing(
                "query set",
                "name a file of one query a line with --queries FILE",
            ));
        }
        let duration = check_duration(duration)?;
        let window = check_window(settings.window, duration)?;
        let timeout = settings.timeout.unwrap_or(Duration::from_secs(10));
        Ok(Self {
            name: clean_name(settings.name.as_deref().unwrap_or("soak")),
            target,
            method: parse_method(settings.method.as_deref().unwrap_or("POST"))?,
            headers: header_map(settings.headers.unwrap_or_default())?,
            body,
            queries: settings.queries,
            unique: settings.unique.unwrap_or(false),
            rate,
            duration,
            window,
            warmup: settings.warmup.unwrap_or_default(),
            arrivals: settings.arrivals.unwrap_or_default(),
            seed: settings.seed.unwrap_or(1),
            timeout: check_timeout(timeout, window)?,
            max_in_flight: check_in_flight(settings.max_in_flight.unwrap_or(10_000))?,
            thresholds: check_scopes(
                settings.thresholds.unwrap_or_else(default_thresholds),
                window,
                duration,
            )?,
            drift: settings.drift.unwrap_or_default(),
            steps: settings.steps.unwrap_or_default(),
            expected_status: settings
                .expected_status
                .unwrap_or_else(|| vec![StatusRange::SUCCESS]),
            sampling,
            file: settings.file,
        })
    }

    /// How long requests in flight are waited for at the end: the request timeout, at most 5 s.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.timeout.min(MAX_GRACE)
    }

    /// When requests of the warm-up are due.
    #[must_use]
    pub fn warmup_schedule(&self) -> Schedule {
        let arrivals = self.arrivals_with(self.seed.wrapping_add(1));
        Schedule::new(self.rate, nanoseconds(self.warmup), arrivals)
    }

    /// When measured requests are due.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        let arrivals = self.arrivals_with(self.seed);
        Schedule::new(self.rate, nanoseconds(self.duration), arrivals)
    }

    fn arrivals_with(&self, seed: u64) -> Arrivals {
        match self.arrivals {
            ArrivalKind::Uniform => Arrivals::Uniform,
            ArrivalKind::Poisson => Arrivals::Poisson { seed },
        }
    }

    /// As it goes into `run.json`.
    #[must_use]
    pub fn record(&self, texts: &[String]) -> ScenarioRecord {
        let milliseconds =
            |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        ScenarioRecord {
            method: self.method.to_string(),
            body: self.body.clone(),
            header_names: self.headers.keys().map(ToString::to_string).collect(),
            queries: self.queries.as_ref().map(|path| path.display().to_string()),
            queries_blake3: digest(texts),
            query_count: texts.len() as u64,
            unique: self.unique,
            qps: self.rate.per_s(),
            duration_s: self.duration.as_secs_f64(),
            window_s: self.window.as_secs_f64(),
            warmup_s: self.warmup.as_secs_f64(),
            arrivals: match self.arrivals {
                ArrivalKind::Uniform => "uniform".to_owned(),
                ArrivalKind::Poisson => "poisson".to_owned(),
            },
            seed: self.seed,
            timeout_ms: milliseconds(self.timeout),
            grace_ms: milliseconds(self.grace()),
            max_in_flight: self.max_in_flight as u64,
            expected_status: self
                .expected_status
                .iter()
                .map(ToString::to_string)
                .collect(),
            thresholds: self.thresholds.iter().map(ToString::to_string).collect(),
            drift: self.drift.iter().map(ToString::to_string).collect(),
            steps: self.steps.iter().map(ToString::to_string).collect(),
            sample: self.sampling.record(),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "two constants, read in every test of this module"
)]
fn default_thresholds() -> Vec<Threshold> {
    ["p95<300ms", "error_rate<1%"]
        .map(|text| text.parse().expect("a threshold"))
        .to_vec()
}

/// Names the texts of a query set; empty for none.
fn digest(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(text.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

/// A stretch is made of whole windows, and fits into the run.
fn check_scopes(
    thresholds: Vec<Threshold>,
    window: Duration,
    duration: Duration,
) -> Result<Vec<Threshold>, ScenarioError> {
    for threshold in &thresholds {
        let Scope::Every(stretch) = threshold.scope() else {
            continue;
        };
        let fits = stretch <= duration && nanoseconds(stretch).is_multiple_of(nanoseconds(window));
        if !fits {
            return Err(ScenarioError::Value(format!(
                "{threshold}: the stretch must be a multiple of the window ({}) and at most the \
                 whole duration ({})",
                show_duration(window),
                show_duration(duration)
            )));
        }
    }
    Ok(thresholds)
}

fn clean_name(name: &str) -> String {
    let clean: String = name
        .chars()
        .take(64)
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let trimmed = clean.trim_matches(['.', '-']);
    if trimmed.is_empty() {
        "soak".to_owned()
    } else {
        trimmed.to_owned()
    }
}

fn check_duration(duration: Duration) -> Result<Duration, ScenarioError> {
    if duration < MIN_WINDOW {
        let shown = show_duration(duration);
        return Err(ScenarioError::Value(format!(
            "the duration must be at least 100ms, got {shown}"
        )));
    }
    Ok(duration)
}

fn check_window(window: Option<Duration>, duration: Duration) -> Result<Duration, ScenarioError> {
    let Some(window) = window else {
        return Ok(Duration::from_secs(10).min(duration));
    };
    if window < MIN_WINDOW || window > duration {
        return Err(ScenarioError::Value(format!(
            "a window must be 100ms to the whole duration ({}), got {}",
            show_duration(duration),
            show_duration(window)
        )));
    }
    Ok(window)
}

fn check_timeout(timeout: Duration, window: Duration) -> Result<Duration, ScenarioError> {
    let longest = Duration::from_hours(1).min(window * MAX_OPEN_WINDOWS);
    let range = Duration::from_millis(1)..=longest;
    if range.contains(&timeout) {
        return Ok(timeout);
    }
    Err(ScenarioError::Value(format!(
        "the request timeout must be 1ms to {} (1h, or {MAX_OPEN_WINDOWS} windows), got {}",
        show_duration(longest),
        show_duration(timeout)
    )))
}

fn check_in_flight(cap: usize) -> Result<usize, ScenarioError> {
    if (1..=MAX_IN_FLIGHT).contains(&cap) {
        return Ok(cap);
    }
    Err(ScenarioError::Value(format!(
        "max_in_flight must be 1 to {MAX_IN_FLIGHT}, got {cap}"
    )))
}

fn parse_method(method: &str) -> Result<http::Method, ScenarioError> {
    method
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| ScenarioError::Value(format!("{method:?} is not an HTTP method")))
}

fn header_map(headers: BTreeMap<String, String>) -> Result<http::HeaderMap, ScenarioError> {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        let wrong = |what| ScenarioError::Value(format!("{what} of the header {name:?} is wrong"));
        let parsed: http::HeaderName = name.parse().map_err(|_| wrong("the name"))?;
        map.append(parsed, value.parse().map_err(|_| wrong("the value"))?);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, ScenarioError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night ly.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path)
    }

    const WHOLE: &str = r#"
        target = "unix:/run/alfred/alfred.sock:/v1/query"
        queries = "queries.txt"
        qps = 2.5
        duration = "1h"
        window = "30s"
        warmup = "5s"
        arrivals = "poisson"
        seed = 9
        timeout = "2s"
        max_in_flight = 50
        thresholds = ["p99<1s", "p99<2s in every 5m"]
        drift = { rss = "1MiB", p95 = "5ms/h" }
        steps = { p95 = "10%" }
        expected_status = [200, "404-410"]
        headers = { Authorization = "Bearer x" }
    "#;

    #[test]
    fn a_file_says_everything() {
        let scenario = Scenario::resolve(read(WHOLE).unwrap()).unwrap();
        assert_eq!(scenario.name, "night-ly");
        assert_eq!(scenario.schedule().count(), 9_000);
        assert_eq!(scenario.grace(), Duration::from_secs(2));
        assert!(scenario.queries.as_ref().unwrap().is_absolute());
        let record = scenario.record(&[]);
        assert_eq!(record.expected_status, ["200", "404-410"]);
        assert_eq!(record.header_names, ["authorization"]);
        assert_eq!(record.thresholds, ["p99<1s", "p99<2s in every 5m"]);
        assert_eq!(record.drift, ["p95_growth<5ms/h", "rss_growth<1MiB/h"]);
        assert_eq!(record.steps, ["p95<10%"]);
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings {
            qps: Some(Rate::new(100.0).unwrap()),
            ..Settings::default()
        };
        let scenario = Scenario::resolve(flags.or(read(WHOLE).unwrap())).unwrap();
        assert_eq!(scenario.rate.to_string(), "100");
        assert_eq!(scenario.seed, 9);
    }

    #[test]
    fn unknown_keys_name_the_closest() {
        let error = read("treshold = []").unwrap_err();
        let ScenarioError::UnknownKey { key, closest, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((key.as_str(), closest), ("treshold", "thresholds"));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (text, reason) in [
            ("qps = 0", "above 0"),
            ("qps = 1000000000", "at most"),
            ("duration = 60", "invalid type"),
            ("duration = \"0s\"", "at least 100ms"),
            ("window = \"2h\"", "whole duration"),
            ("timeout = \"0s\"", "1ms to 50m"),
            ("timeout = \"51m\"", "1ms to 50m"),
            ("max_in_flight = 0", "must be 1"),
            ("target = \"https://x/\"", "https is not supported yet"),
            ("expected_status = [99]", "not an HTTP status"),
            ("thresholds = [\"p95\"]", "not a threshold"),
            (
                "thresholds = [\"p95<1s in every 45s\"]",
                "multiple of the window (30s)",
            ),
            ("thresholds = [\"p95<1s in every 2h\"]", "whole duration"),
            ("drift = { rss = \"1ms\" }", "not a limit such as 1MiB/h"),
            ("drift = { cats = \"1\" }", "cats_growth"),
            ("steps = { p95 = \"1%\" }", "at least 5%"),
            ("steps = { p95 = \"10ms\" }", "not a step budget"),
            ("method = \"G T\"", "not an HTTP method"),
            ("headers = { \"a b\" = \"x\" }", "header"),
            ("qps = ", "is wrong"),
        ] {
            let key = text.split(' ').next().unwrap();
            let base: String = WHOLE
                .lines()
                .filter(|line| !line.trim_start().starts_with(key))
                .fold(String::new(), |all, line| all + line + "\n");
            let error = read(&format!("{base}{text}\n"))
                .and_then(Scenario::resolve)
                .map_or_else(|error| error.to_string(), |_| "no error".to_owned());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn says_what_is_missing() {
        let error = Scenario::resolve(Settings::default()).unwrap_err();
        assert!(matches!(
            error,
            ScenarioError::Missing { what: "target", .. }
        ));
    }
}
