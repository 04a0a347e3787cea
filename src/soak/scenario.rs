//! What a run is to do: settings resolved and checked once.

use super::check::Check;
use super::findings::StepBudget;
use super::load::{Load, MIN_WINDOW};
use super::queries::{Order, PathError, QUERY, QueriesError, QuerySet, Requests, Template};
use super::record::ScenarioRecord;
use super::recorder::settings::Recording;
use super::sampler::Sampling;
use super::settings::{ArrivalKind, ScenarioError, Settings, StatusRange};
use super::threshold::{Metric, Scope, Threshold};
use super::units::{Rate, nanoseconds, show_duration};
use crate::client::{Endpoint, Target, Trust};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What is posted when nothing else is said.
const DEFAULT_BODY: &str = r#"{"query": "{{query}}", "top_k": 3}"#;
/// Windows that may be open at once: a window stays open until its requests end, at worst by their
/// timeout, and an open one costs under 1 MiB.
const MAX_OPEN_WINDOWS: u32 = 100;
/// Longest wait for requests in flight at the end that nobody asked for; also bounded by the request
/// timeout. A longer wait would let a dead target hold up the verdict, a shorter one would call
/// answers of a slow but living one unfinished.
const DEFAULT_MAX_GRACE: Duration = Duration::from_mins(1);
/// Longest that may be asked for, as the longest timeout.
const MAX_GRACE: Duration = Duration::from_hours(1);
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
    /// Template of path and query.
    pub path: Template,
    /// Template of the body.
    pub body: Template,
    /// File of queries; always there when the template needs one.
    pub queries: Option<PathBuf>,
    /// Whether each pass over the queries has an order of its own.
    pub shuffle: bool,
    /// Whether every query is made different.
    pub unique: bool,
    /// How much is asked, and for how long.
    pub load: Load,
    /// Length of a window.
    pub window: Duration,
    /// Request timeout, from send.
    pub timeout: Duration,
    /// How long requests in flight are waited for at the end.
    pub grace: Duration,
    /// Most connections at a time.
    pub connections: Option<usize>,
    /// Whose certificates are trusted over https.
    pub trust: Trust,
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
    /// What answers must hold besides.
    pub checks: Vec<Check>,
    /// What is sampled beside the windows.
    pub sampling: Sampling,
    /// What evidence is taken in a bad moment; `None`: none is.
    pub recording: Option<Recording>,
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
        let load = Load::resolve(&settings)?;
        let sampling = Sampling::resolve(&settings, &target)?;
        let recording = Recording::resolve(settings.recorder.as_ref())?;
        let method = parse_method(settings.method.as_deref().unwrap_or("POST"))?;
        let [path, body] = templates(&target, &method, settings.body.as_deref())?;
        let columns = Template::columns([&path, &body]);
        if !columns.is_empty() && settings.queries.is_none() {
            return Err(missing(
                "query set",
                "name a file of queries with --queries FILE",
            ));
        }
        let unique = settings.unique.unwrap_or(false);
        if unique && !columns.iter().any(|column| column == QUERY) {
            return Err(ScenarioError::Value(format!(
                "unique appends to the query, and neither body nor path has {{{{{QUERY}}}}}"
            )));
        }
        let window = check_window(settings.window, load.duration)?;
        let trust = trust(settings.ca_file, settings.insecure)?;
        let timeout = settings.timeout.unwrap_or(Duration::from_secs(10));
        Ok(Self {
            name: clean_name(settings.name.as_deref().unwrap_or("soak")),
            target,
            method,
            headers: header_map(settings.headers.unwrap_or_default())?,
            path,
            body,
            queries: settings.queries.map(absolute),
            shuffle: settings.shuffle.unwrap_or(false),
            unique,
            connections: settings.connections.map(check_connections).transpose()?,
            trust,
            thresholds: check_scopes(thresholds_of(settings.thresholds), window, load.duration)?,
            load,
            window,
            timeout: check_timeout(timeout, window)?,
            grace: check_grace(settings.grace.unwrap_or(timeout.min(DEFAULT_MAX_GRACE)))?,
            max_in_flight: check_in_flight(settings.max_in_flight.unwrap_or(10_000))?,
            drift: settings.drift.unwrap_or_default(),
            steps: settings.steps.unwrap_or_default(),
            expected_status: settings
                .expected_status
                .unwrap_or_else(|| vec![StatusRange::SUCCESS]),
            checks: settings.checks.unwrap_or_default(),
            sampling,
            recording,
            file: settings.file,
        })
    }

    /// Reads the query set, when there is one: what the templates ask for.
    ///
    /// # Errors
    /// As [`QuerySet::read`].
    pub fn query_set(&self) -> Result<QuerySet, QueriesError> {
        match &self.queries {
            Some(file) => QuerySet::read(file, &Template::columns([&self.path, &self.body])),
            None => Ok(QuerySet::default()),
        }
    }

    /// The requests of the run `id` from its query set.
    ///
    /// # Errors
    /// When a query makes a path that is none.
    pub fn requests(&self, set: QuerySet, id: &str) -> Result<Requests, PathError> {
        let order = Order {
            shuffle: self.shuffle.then_some(self.load.seed),
            mark: self.unique.then(|| id.to_owned()),
        };
        Requests::new(set, self.path.clone(), self.body.clone(), order)
    }

    /// As it goes into `run.json`.
    #[must_use]
    pub fn record(&self, queries: &QuerySet) -> ScenarioRecord {
        let milliseconds =
            |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        ScenarioRecord {
            method: self.method.to_string(),
            body: self.body.text().to_owned(),
            header_names: self.headers.keys().map(ToString::to_string).collect(),
            queries: self.queries.as_ref().map(|path| path.display().to_string()),
            queries_blake3: queries.digest(),
            query_count: queries.len() as u64,
            unique: self.unique,
            shuffle: self.shuffle,
            qps: self.load.rate.map_or(0.0, Rate::per_s),
            stages: self.load.stages.clone(),
            count: self.load.count,
            duration_s: self.load.duration.as_secs_f64(),
            window_s: self.window.as_secs_f64(),
            warmup_s: self.load.warmup.as_secs_f64(),
            arrivals: match self.load.arrivals {
                ArrivalKind::Uniform => "uniform".to_owned(),
                ArrivalKind::Poisson => "poisson".to_owned(),
            },
            seed: self.load.seed,
            timeout_ms: milliseconds(self.timeout),
            grace_ms: milliseconds(self.grace),
            max_in_flight: self.max_in_flight as u64,
            expected_status: self
                .expected_status
                .iter()
                .map(ToString::to_string)
                .collect(),
            connections: self.connections.map(|count| count as u64),
            trust: matches!(self.target.endpoint, Endpoint::Tls { .. }).then(|| {
                match &self.trust {
                    Trust::System => "system".to_owned(),
                    Trust::Anybody => "anybody".to_owned(),
                    Trust::File(file) => file.display().to_string(),
                }
            }),
            checks: self.checks.iter().map(ToString::to_string).collect(),
            thresholds: self.thresholds.iter().map(ToString::to_string).collect(),
            drift: self.drift.iter().map(ToString::to_string).collect(),
            steps: self.steps.iter().map(ToString::to_string).collect(),
            sample: self.sampling.record(),
            recorder: self.recording.as_ref().map(Recording::record),
        }
    }
}

/// The thresholds that were said, else the defaults. Who says some and none on errors has the default
/// one on errors: a target that fails at once is within every limit of its latency. An empty list
/// holds nothing.
fn thresholds_of(said: Option<Vec<Threshold>>) -> Vec<Threshold> {
    let is_on_errors = |threshold: &Threshold| {
        matches!(threshold.metric(), Metric::ErrorRate | Metric::Throughput)
    };
    let mut thresholds = said.unwrap_or_else(|| vec![default_threshold("p95<300ms")]);
    if !thresholds.is_empty() && !thresholds.iter().any(is_on_errors) {
        thresholds.push(default_threshold("error_rate<1%"));
    }
    thresholds
}

#[expect(
    clippy::expect_used,
    reason = "two constants, read in every test of this module"
)]
fn default_threshold(text: &str) -> Threshold {
    text.parse().expect("a threshold")
}

/// Templates of the path and of the body; a method that has no body by custom sends none.
fn templates(
    target: &Target,
    method: &http::Method,
    body: Option<&str>,
) -> Result<[Template; 2], ScenarioError> {
    let has_none = [http::Method::GET, http::Method::HEAD, http::Method::DELETE].contains(method);
    let body = body.unwrap_or(if has_none { "" } else { DEFAULT_BODY });
    let template = |text| Template::new(text).map_err(ScenarioError::Value);
    let (path, body) = (template(&target.path)?, template(body)?);
    let columns = Template::columns([&path, &body]);
    Ok([path.bound(&columns), body.bound(&columns)])
}

/// A run is also gone on with from another folder.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn trust(ca_file: Option<PathBuf>, insecure: Option<bool>) -> Result<Trust, ScenarioError> {
    match (ca_file, insecure.unwrap_or(false)) {
        (Some(_), true) => Err(ScenarioError::Value(
            "ca_file names whom to trust, and insecure trusts anybody: leave one out".to_owned(),
        )),
        (Some(file), false) => Ok(Trust::File(absolute(file))),
        (None, true) => Ok(Trust::Anybody),
        (None, false) => Ok(Trust::System),
    }
}

fn check_connections(most: usize) -> Result<usize, ScenarioError> {
    if (1..=MAX_IN_FLIGHT).contains(&most) {
        return Ok(most);
    }
    Err(ScenarioError::Value(format!(
        "connections must be 1 to {MAX_IN_FLIGHT}, got {most}"
    )))
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

fn check_grace(grace: Duration) -> Result<Duration, ScenarioError> {
    if grace <= MAX_GRACE {
        return Ok(grace);
    }
    Err(ScenarioError::Value(format!(
        "the grace must be 0s to {}, got {}",
        show_duration(MAX_GRACE),
        show_duration(grace)
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

    #[test]
    fn errors_have_a_threshold_unless_one_is_given_or_none_is_wanted() {
        let held = |said: Option<&[&str]>| {
            let said = said.map(|said| said.iter().map(|text| text.parse().unwrap()).collect());
            let thresholds = thresholds_of(said);
            thresholds
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(held(None), ["p95<300ms", "error_rate<1%"]);
        assert_eq!(held(Some(&["p95<2s"])), ["p95<2s", "error_rate<1%"]);
        assert_eq!(held(Some(&["error_rate<5%"])), ["error_rate<5%"]);
        assert_eq!(held(Some(&["throughput>9/s"])), ["throughput>9/s"]);
        assert!(held(Some(&[])).is_empty());
    }

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
        assert_eq!(scenario.load.schedule().count(), 9_000);
        assert_eq!(scenario.grace, Duration::from_secs(2));
        assert!(scenario.queries.as_ref().unwrap().is_absolute());
        let record = scenario.record(&QuerySet::default());
        assert_eq!(record.expected_status, ["200", "404-410"]);
        assert_eq!(record.header_names, ["authorization"]);
        assert_eq!(
            record.thresholds,
            ["p99<1s", "p99<2s in every 5m", "error_rate<1%"]
        );
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
        assert_eq!(scenario.load.rate.unwrap().to_string(), "100");
        assert_eq!(scenario.load.seed, 9);
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
            ("target = \"ftp://x/\"", "must begin with"),
            ("body = \"{{query\"", "without }}"),
            ("body = \"{}\"\nunique = true", "neither body nor path"),
            ("ca_file = \"a\"\ninsecure = true", "leave one out"),
            ("connections = 0", "must be 1"),
            ("checks = [\"status\"]", "is none of"),
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
