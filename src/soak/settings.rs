//! What flags and a scenario file say, before anything is filled in or checked together.

use super::check::Check;
use super::findings::StepBudget;
use super::recorder::settings::RecorderSettings;
use super::relevance::RelevanceSettings;
use super::server::settings::PrometheusSettings;
use super::stage::Stage;
use super::threshold::Threshold;
use super::units::{Rate, parse_duration};
use crate::client::Target;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Settings as a scenario file or the command line gives them; `None` is not said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name of the scenario; default: the file's, else `soak`.
    pub name: Option<String>,
    /// Where requests go.
    #[serde(deserialize_with = "parsed")]
    pub target: Option<Target>,
    /// Method; default `POST`.
    pub method: Option<String>,
    /// Headers to add.
    pub headers: Option<BTreeMap<String, String>>,
    /// Body template with `{{query}}`.
    pub body: Option<String>,
    /// File of queries: lines of text, lines of JSON, or CSV.
    pub queries: Option<PathBuf>,
    /// Whether each pass over the query set has an order of its own.
    pub shuffle: Option<bool>,
    /// Whether to make every query different.
    pub unique: Option<bool>,
    /// Requests a second.
    #[serde(deserialize_with = "rate")]
    pub qps: Option<Rate>,
    /// How the rate changes, from `qps` (else 0) on; instead of a duration.
    pub stages: Option<Vec<Stage>>,
    /// The most requests.
    pub count: Option<u64>,
    /// How long is measured.
    #[serde(deserialize_with = "duration")]
    pub duration: Option<Duration>,
    /// Length of a window; default 10 s.
    #[serde(deserialize_with = "duration")]
    pub window: Option<Duration>,
    /// Before the duration, not counted; default 0.
    #[serde(deserialize_with = "duration")]
    pub warmup: Option<Duration>,
    /// How arrivals are spread; default uniform.
    pub arrivals: Option<ArrivalKind>,
    /// Seed of random arrivals; default 1.
    pub seed: Option<u64>,
    /// Request timeout, from send; default 10 s.
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// How long requests in flight are waited for at the end; default: the timeout, at most 60 s.
    #[serde(deserialize_with = "duration")]
    pub grace: Option<Duration>,
    /// Most connections at a time; default: the in-flight cap.
    pub connections: Option<usize>,
    /// PEM file of the authorities to trust over https; default: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate is taken over https.
    pub insecure: Option<bool>,
    /// In-flight cap; default 10,000.
    pub max_in_flight: Option<usize>,
    /// What must hold; default `p95<300ms` and `error_rate<1%`.
    #[serde(deserialize_with = "parsed_list")]
    pub thresholds: Option<Vec<Threshold>>,
    /// How far figures may rise an hour in a long run, as `rss = "1MiB"`; default none.
    #[serde(deserialize_with = "drift")]
    pub drift: Option<Vec<Threshold>>,
    /// How far figures may step up, as `p95 = "10%"`; default none.
    #[serde(deserialize_with = "steps")]
    pub steps: Option<Vec<StepBudget>>,
    /// Statuses that are not errors; default 200–299.
    #[serde(deserialize_with = "parsed_list")]
    pub expected_status: Option<Vec<StatusRange>>,
    /// What answers must hold besides.
    #[serde(deserialize_with = "parsed_list")]
    pub checks: Option<Vec<Check>>,
    /// Which sources answer which query; default: nothing is known.
    pub relevance: Option<RelevanceSettings>,
    /// A Prometheus that scrapes the target; default: none is asked.
    pub prometheus: Option<PrometheusSettings>,
    /// The systemd unit under test, sampled beside the windows.
    pub unit: Option<String>,
    /// Else the process under test.
    pub pid: Option<u32>,
    /// Its metrics; default, where a unit or process is sampled: `/metrics` of the target.
    #[serde(deserialize_with = "parsed")]
    pub metrics: Option<Target>,
    /// Which of them to keep.
    pub metrics_series: Option<Vec<String>>,
    /// What evidence is taken in a bad moment; default: see [`RecorderSettings`].
    pub recorder: Option<RecorderSettings>,
    /// The file that this was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// How arrivals are spread, without the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ArrivalKind {
    /// Evenly.
    #[default]
    Uniform,
    /// As a Poisson process: independent users.
    Poisson,
}

/// Statuses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// 200–299.
    pub const SUCCESS: Self = Self {
        first: 200,
        last: 299,
    };

    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            text.trim()
                .parse::<u16>()
                .ok()
                .filter(|status| (100..=999).contains(status))
                .ok_or_else(|| format!("{text:?} is not an HTTP status such as 200 or 200-299"))
        };
        let (first, last) = (status(first)?, status(last)?);
        if first > last {
            return Err(format!("{text:?} ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(formatter, "{}", self.first);
        }
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has a key that does not exist.
    #[error("the scenario {} has the unknown key `{key}`", path.display())]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The closest that exists.
        closest: &'static str,
    },
    /// The file is not TOML, or a value has the wrong type.
    #[error("the scenario {} is wrong: {problem}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where, and what.
        problem: String,
    },
    /// Something that has no default was not said.
    #[error("no {what} was given")]
    Missing {
        /// What.
        what: &'static str,
        /// How to say it.
        hint: &'static str,
    },
    /// A value is out of range, or contradicts another.
    #[error("{0}")]
    Value(String),
}

const KEYS: [&str; 34] = [
    "name",
    "target",
    "method",
    "headers",
    "body",
    "queries",
    "shuffle",
    "unique",
    "qps",
    "stages",
    "count",
    "duration",
    "window",
    "warmup",
    "arrivals",
    "seed",
    "timeout",
    "grace",
    "connections",
    "ca_file",
    "insecure",
    "max_in_flight",
    "thresholds",
    "drift",
    "steps",
    "expected_status",
    "checks",
    "relevance",
    "prometheus",
    "unit",
    "pid",
    "metrics",
    "metrics_series",
    "recorder",
];

impl Settings {
    /// Reads a scenario file. A relative query file is looked for beside it.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has an unknown key or a wrong value.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// What the file `path` says, which is `text`.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let wrong = |error: toml::de::Error| ScenarioError::Wrong {
            path: path.to_owned(),
            problem: problem_of(text, &error),
        };
        let table: toml::Table = toml::from_str(text).map_err(wrong)?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ScenarioError::UnknownKey {
                path: path.to_owned(),
                key: key.clone(),
                closest: closest_key(key),
            });
        }
        let mut settings: Self = toml::from_str(text).map_err(wrong)?;
        if settings.name.is_none() {
            settings.name = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned());
        }
        settings.file = std::path::absolute(path).ok();
        if let Some(folder) = path.parent() {
            let judged = settings.relevance.as_mut().map(|said| &mut said.file);
            let files = [&mut settings.queries, &mut settings.ca_file];
            for file in files.into_iter().chain(judged).flatten() {
                *file = folder.join(&*file);
            }
        }
        Ok(settings)
    }

    /// These settings, and what they leave open from `base`.
    #[must_use]
    pub fn or(self, mut base: Self) -> Self {
        // Stages and a duration exclude each other: what is said here stands.
        if self.stages.is_some() {
            base.duration = None;
        } else if self.duration.is_some() {
            base.stages = None;
        }
        Self {
            name: self.name.or(base.name),
            target: self.target.or(base.target),
            method: self.method.or(base.method),
            headers: self.headers.or(base.headers),
            body: self.body.or(base.body),
            queries: self.queries.or(base.queries),
            shuffle: self.shuffle.or(base.shuffle),
            unique: self.unique.or(base.unique),
            qps: self.qps.or(base.qps),
            stages: self.stages.or(base.stages),
            count: self.count.or(base.count),
            duration: self.duration.or(base.duration),
            window: self.window.or(base.window),
            warmup: self.warmup.or(base.warmup),
            arrivals: self.arrivals.or(base.arrivals),
            seed: self.seed.or(base.seed),
            timeout: self.timeout.or(base.timeout),
            grace: self.grace.or(base.grace),
            connections: self.connections.or(base.connections),
            ca_file: self.ca_file.or(base.ca_file),
            insecure: self.insecure.or(base.insecure),
            max_in_flight: self.max_in_flight.or(base.max_in_flight),
            thresholds: self.thresholds.or(base.thresholds),
            drift: self.drift.or(base.drift),
            steps: self.steps.or(base.steps),
            expected_status: self.expected_status.or(base.expected_status),
            checks: self.checks.or(base.checks),
            relevance: said_or(self.relevance, base.relevance, RelevanceSettings::or),
            prometheus: said_or(self.prometheus, base.prometheus, PrometheusSettings::or),
            unit: self.unit.or(base.unit),
            pid: self.pid.or(base.pid),
            metrics: self.metrics.or(base.metrics),
            metrics_series: self.metrics_series.or(base.metrics_series),
            recorder: said_or(self.recorder, base.recorder, RecorderSettings::or),
            file: self.file.or(base.file),
        }
    }
}

/// What is said, and what it leaves open from `base`.
fn said_or<T>(said: Option<T>, base: Option<T>, or: fn(T, T) -> T) -> Option<T> {
    match (said, base) {
        (Some(said), Some(base)) => Some(or(said, base)),
        (said, base) => said.or(base),
    }
}

/// Where and what, without the line itself: it may hold a header's value.
fn problem_of(text: &str, error: &toml::de::Error) -> String {
    const SECRETIVE: [&str; 7] = [
        "header", "auth", "cookie", "token", "secret", "password", "key",
    ];
    let Some(span) = error.span() else {
        return error.message().to_owned();
    };
    let before = text.get(..span.start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let line = line.to_ascii_lowercase();
    let what = if SECRETIVE.iter().any(|word| line.contains(word)) {
        "the line cannot be read; it is not shown, since it may hold a secret"
    } else {
        error.message()
    };
    format!("line {number}, column {column}: {what}")
}

fn closest_key(key: &str) -> &'static str {
    KEYS.iter()
        .copied()
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)))
        .unwrap_or(KEYS[0])
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A number or a string.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number or a string")]
enum Scalar {
    Integer(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Float(number) => write!(formatter, "{number}"),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    let text = Scalar::deserialize(deserializer)?.to_string();
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn parsed_list<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let items = Vec::<Scalar>::deserialize(deserializer)?;
    let parse = |item: &Scalar| item.to_string().parse().map_err(serde::de::Error::custom);
    items.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

/// A table of figures and budgets, each read as the text that `written` makes of them.
fn budgets<'de, D, T>(
    deserializer: D,
    written: fn(&str, &str) -> String,
) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let table = BTreeMap::<String, String>::deserialize(deserializer)?;
    let parse = |(figure, budget): (&String, &String)| {
        written(figure, budget)
            .parse()
            .map_err(serde::de::Error::custom)
    };
    table.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

fn drift<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Threshold>>, D::Error> {
    budgets(deserializer, |figure, budget| {
        let an_hour = if budget.ends_with("/h") { "" } else { "/h" };
        format!("{figure}_growth<{budget}{an_hour}")
    })
}

fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<StepBudget>>, D::Error> {
    budgets(deserializer, |figure, budget| format!("{figure}<{budget}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_to_the_list() {
        let unknown = toml::from_str::<Settings>("zzz = 1")
            .unwrap_err()
            .to_string();
        for key in KEYS {
            assert!(unknown.contains(&format!("`{key}`")), "{key}");
        }
        assert_eq!(unknown.matches('`').count() / 2, KEYS.len() + 1);
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        let problem = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Settings::read(&path).unwrap_err().to_string()
        };
        let told = problem("qps = 1\nheaders = { Authorization = \"Bearer SECRET\" oops }\n");
        assert!(
            told.contains("line 2, column ") && !told.contains("SECRET"),
            "{told}"
        );
        let told = problem("qps = 1\nheaders = \"SECRET\"\n");
        assert!(!told.contains("SECRET"), "{told}");
        let told = problem("window = 5\n");
        assert!(
            told.contains("line 1, column 10: invalid type: integer"),
            "{told}"
        );
    }
}
