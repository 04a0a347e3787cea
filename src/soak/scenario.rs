//! What a run is to do: settings resolved and checked once.

use super::check::Check;
use super::findings::StepBudget;
use super::load::{Load, MIN_WINDOW};
use super::queries::{Order, PathError, QUERY, QueriesError, QuerySet, Requests, Template};
use super::record::ScenarioRecord;
use super::recorder::settings::Recording;
use super::relevance::{Judgments, Relevance, RelevanceError, RelevanceRecord, Relevant};
use super::sampler::Sampling;
use super::server::settings::Prometheus;
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
    /// What sources of answers are held against; `None`: nothing.
    pub relevance: Option<Relevance>,
    /// The Prometheus to ask of the target's own histogram at the end; `None`: none.
    pub prometheus: Option<Prometheus>,
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
        let relevance = Relevance::resolve(settings.relevance)?;
        check_relevance(relevance.as_ref(), settings.thresholds.as_deref(), &columns)?;
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
            relevance,
            prometheus: Prometheus::resolve(settings.prometheus)?,
            sampling,
            recording,
            file: settings.file,
        })
    }

    /// Whether a status of 500 and above may be a good answer.
    #[must_use]
    pub fn expects_server_errors(&self) -> bool {
        let mut ranges = self.expected_status.iter();
        ranges.any(|range| (500..600).any(|status| range.contains(status)))
    }

    /// Reads the query set, when there is one: what the templates ask for, and which sources answer it.
    ///
    /// # Errors
    /// As [`QuerySet::read`] and [`Judgments::read`], and when no query that is judged is asked.
    pub fn query_set(&self) -> Result<QuerySet, QueriesError> {
        let Some(file) = self.used_queries() else {
            return Ok(QuerySet::default());
        };
        let columns = Template::columns([&self.path, &self.body]);
        let set = QuerySet::read(file, &columns)?;
        let Some(relevance) = &self.relevance else {
            return Ok(set);
        };
        let judgments = Judgments::read(&relevance.file)?;
        let column = columns.iter().position(|column| column == QUERY);
        let texts = set.texts(column.unwrap_or(0));
        let relevant = Relevant::of(&judgments, relevance.pointer.clone(), texts);
        if relevant.judged() == 0 {
            let (_, first) = relevant.unasked();
            return Err(QueriesError::Relevance(RelevanceError::Unasked {
                path: relevance.file.clone(),
                queries: file.to_owned(),
                first: first.map_or_else(String::new, |(_, query)| query.clone()),
            }));
        }
        Ok(set.judged_by(relevant))
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
            queries: self.used_queries().map(|path| path.display().to_string()),
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
            relevance: self.relevance_record(queries),
            prometheus: self.prometheus.as_ref().map(Prometheus::record),
            thresholds: self.thresholds.iter().map(ToString::to_string).collect(),
            drift: self.drift.iter().map(ToString::to_string).collect(),
            steps: self.steps.iter().map(ToString::to_string).collect(),
            sample: self.sampling.record(),
            recorder: self.recording.as_ref().map(Recording::record),
        }
    }

    fn relevance_record(&self, queries: &QuerySet) -> Option<RelevanceRecord> {
        let (relevance, relevant) = (self.relevance.as_ref()?, queries.relevant()?);
        Some(RelevanceRecord {
            file: relevance.file.display().to_string(),
            pointer: relevance.pointer.to_string(),
            blake3: relevant.digest().to_owned(),
            queries: relevant.judged(),
        })
    }
}

/// Judgments are found by the query, and a hit rate needs judgments.
fn check_relevance(
    relevance: Option<&Relevance>,
    thresholds: Option<&[Threshold]>,
    columns: &[String],
) -> Result<(), ScenarioError> {
    let has_query = columns.iter().any(|column| column == QUERY);
    if relevance.is_some() && !has_query {
        return Err(ScenarioError::Value(format!(
            "relevance is known by the query, and neither body nor path has {{{{{QUERY}}}}}"
        )));
    }
    let mut thresholds = thresholds.into_iter().flatten();
    match thresholds.find(|threshold| threshold.metric() == Metric::HitRate) {
        Some(threshold) if relevance.is_none() => Err(ScenarioError::Value(format!(
            "{threshold} needs to know which sources answer which query: name a file of them with \
             --relevance FILE"
        ))),
        _ => Ok(()),
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
#[path = "scenario_tests.rs"]
mod tests;
