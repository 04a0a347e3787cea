//! What the flight recorder is to do: the table `[recorder]` of a scenario, filled in and checked.

use crate::client::Target;
use crate::soak::scenario::Scenario;
use crate::soak::settings::ScenarioError;
use crate::soak::threshold::parse_bytes;
use serde::{Deserialize, Serialize};

/// Defaults, and the ranges of what may be said instead.
const PROFILE_S: (u64, std::ops::RangeInclusive<u64>) = (5, 1..=60);
/// 49 a second is out of step with timers of 10 and 100 ms, and costs half of the usual 99.
const FREQUENCY_HZ: (u64, std::ops::RangeInclusive<u64>) = (49, 1..=999);
const QUIET_S: (u64, std::ops::RangeInclusive<u64>) = (300, 1..=86_400);
const MAX_TAKINGS: (u64, std::ops::RangeInclusive<u64>) = (20, 1..=1_000);
const MAX_BYTES: (u64, std::ops::RangeInclusive<u64>) =
    (8 * 1024 * 1024, 64 * 1024..=64 * 1024 * 1024);
/// All evidence of a run is at most so many times as large as the largest of one taking.
pub const TOTAL_SHARE: u64 = 8;

/// The table `[recorder]` as a scenario file gives it; `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecorderSettings {
    /// Whether evidence is taken; default true.
    pub enabled: Option<bool>,
    /// Seconds of a CPU profile, 1 to 60; default 5.
    pub profile_s: Option<u64>,
    /// Samples a second of it, 1 to 999; default 49.
    pub frequency_hz: Option<u64>,
    /// Whether a heap profile is taken too; default true.
    pub heap: Option<bool>,
    /// Seconds between two takings for the same reason, 1 to 86,400; default 300. Between any two are
    /// at least a fifth of it.
    pub quiet_s: Option<u64>,
    /// Most takings of a run, 1 to 1,000; default 20.
    pub max_takings: Option<u64>,
    /// Largest taking, as `8MiB`: 64 KiB to 64 MiB; default 8 MiB. All of a run are at most eight times
    /// as large.
    pub max_bytes: Option<String>,
    /// Where `/debug/pprof/` is; default: at the target.
    pub pprof: Option<String>,
    /// Resident memory beyond which evidence is taken, as `512MiB`; default: 1.5 times that of the
    /// beginning.
    pub memory_mark: Option<String>,
    /// How `psql` connects to read `pg_stat_activity`; default: it is not read. Without a password.
    pub pg_stat_activity: Option<String>,
}

impl RecorderSettings {
    /// These, and what they leave open from `base`.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        Self {
            enabled: self.enabled.or(base.enabled),
            profile_s: self.profile_s.or(base.profile_s),
            frequency_hz: self.frequency_hz.or(base.frequency_hz),
            heap: self.heap.or(base.heap),
            quiet_s: self.quiet_s.or(base.quiet_s),
            max_takings: self.max_takings.or(base.max_takings),
            max_bytes: self.max_bytes.or(base.max_bytes),
            pprof: self.pprof.or(base.pprof),
            memory_mark: self.memory_mark.or(base.memory_mark),
            pg_stat_activity: self.pg_stat_activity.or(base.pg_stat_activity),
        }
    }

    /// What was not to be done at all.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            enabled: Some(false),
            ..Self::default()
        }
    }
}

/// What the recorder does, complete and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Seconds of a CPU profile.
    pub profile_s: u64,
    /// Samples a second of it.
    pub frequency_hz: u64,
    /// Whether a heap profile is taken too.
    pub heap: bool,
    /// Seconds between two takings for the same reason.
    pub quiet_s: u64,
    /// Most takings of a run.
    pub max_takings: u64,
    /// Largest taking.
    pub max_bytes: u64,
    /// Where `/debug/pprof/` is, when not at the target.
    pub pprof: Option<Target>,
    /// Resident memory beyond which evidence is taken.
    pub memory_mark_bytes: Option<u64>,
    /// How `psql` connects, when `pg_stat_activity` is to be read.
    pub pg_stat_activity: Option<String>,
}

impl Recording {
    /// Fills in defaults and checks everything; `None` when nothing is to be recorded.
    ///
    /// # Errors
    /// When a value is out of range, is no size or no address, or holds a password.
    pub fn resolve(settings: Option<&RecorderSettings>) -> Result<Option<Self>, ScenarioError> {
        let said = settings.cloned().unwrap_or_default();
        let size = |key: &str, text: &Option<String>| {
            let bytes = text.as_deref().map(parse_bytes).transpose();
            bytes.map_err(|problem| wrong(&format!("recorder.{key}: {problem}")))
        };
        let max_bytes = size("max_bytes", &said.max_bytes)?;
        let recording = Self {
            profile_s: within("profile_s", said.profile_s, PROFILE_S)?,
            frequency_hz: within("frequency_hz", said.frequency_hz, FREQUENCY_HZ)?,
            heap: said.heap.unwrap_or(true),
            quiet_s: within("quiet_s", said.quiet_s, QUIET_S)?,
            max_takings: within("max_takings", said.max_takings, MAX_TAKINGS)?,
            max_bytes: within("max_bytes", max_bytes, MAX_BYTES)?,
            pprof: said.pprof.as_deref().map(address).transpose()?,
            memory_mark_bytes: size("memory_mark", &said.memory_mark)?,
            pg_stat_activity: said.pg_stat_activity.map(without_password).transpose()?,
        };
        Ok(said.enabled.unwrap_or(true).then_some(recording))
    }

    /// As it goes into `run.json`.
    #[must_use]
    pub fn record(&self) -> RecorderRecord {
        RecorderRecord {
            profile_s: self.profile_s,
            frequency_hz: self.frequency_hz,
            heap: self.heap,
            quiet_s: self.quiet_s,
            max_takings: self.max_takings,
            max_bytes: self.max_bytes,
            pprof: self.pprof.as_ref().map(ToString::to_string),
            memory_mark_bytes: self.memory_mark_bytes,
            pg_stat_activity: self.pg_stat_activity.clone(),
        }
    }

    /// The address of a profile: `path` with its query, below `/debug/pprof/`.
    pub(super) fn profile_at(&self, scenario: &Scenario, path: &str) -> Target {
        let base = self.pprof.as_ref();
        let endpoint = base.map_or(&scenario.target.endpoint, |base| &base.endpoint);
        let prefix = base.map_or("", |base| base.path.trim_end_matches('/'));
        endpoint.at(format!("{prefix}/debug/pprof/{path}"))
    }
}

/// What the recorder did, as `run.json` has it; there is none when it did nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecorderRecord {
    /// Seconds of a CPU profile.
    pub profile_s: u64,
    /// Samples a second of it.
    pub frequency_hz: u64,
    /// Whether a heap profile was taken too.
    pub heap: bool,
    /// Seconds between two takings for the same reason.
    pub quiet_s: u64,
    /// Most takings.
    pub max_takings: u64,
    /// Largest taking.
    pub max_bytes: u64,
    /// Where `/debug/pprof/` is, when not at the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pprof: Option<String>,
    /// Resident memory beyond which evidence was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mark_bytes: Option<u64>,
    /// How `psql` connected, when `pg_stat_activity` was read; there is no password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_stat_activity: Option<String>,
}

impl RecorderRecord {
    /// The settings that it was made with.
    #[must_use]
    pub fn settings(&self) -> RecorderSettings {
        RecorderSettings {
            enabled: Some(true),
            profile_s: Some(self.profile_s),
            frequency_hz: Some(self.frequency_hz),
            heap: Some(self.heap),
            quiet_s: Some(self.quiet_s),
            max_takings: Some(self.max_takings),
            max_bytes: Some(format!("{}B", self.max_bytes)),
            pprof: self.pprof.clone(),
            memory_mark: self.memory_mark_bytes.map(|bytes| format!("{bytes}B")),
            pg_stat_activity: self.pg_stat_activity.clone(),
        }
    }
}

fn within(
    key: &str,
    said: Option<u64>,
    (default, range): (u64, std::ops::RangeInclusive<u64>),
) -> Result<u64, ScenarioError> {
    let value = said.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    let (first, last) = (range.start(), range.end());
    Err(wrong(&format!(
        "recorder.{key} must be {first} to {last}, got {value}"
    )))
}

fn address(text: &str) -> Result<Target, ScenarioError> {
    let target: Target = text
        .parse()
        .map_err(|error| wrong(&format!("recorder.pprof: {error}")))?;
    if target.path.contains(['?', '{']) {
        return Err(wrong(&format!(
            "recorder.pprof: {text:?} is to be the address that /debug/pprof/ is below"
        )));
    }
    Ok(target)
}

/// What is said here is recorded and is an argument of `psql`, which others can see.
fn without_password(conninfo: String) -> Result<String, ScenarioError> {
    let authority = conninfo
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    let in_authority = authority.is_some_and(|authority| {
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.is_some_and(|user| user.contains(':'))
    });
    if in_authority || conninfo.to_ascii_lowercase().contains("password") {
        // The value is not shown.
        return Err(wrong(
            "recorder.pg_stat_activity holds a password: leave it out and put it into a password file \
             (PGPASSFILE, ~/.pgpass) or into a service file, and name the service as service=NAME",
        ));
    }
    if conninfo.trim().is_empty() || conninfo.contains(char::is_control) {
        return Err(wrong(
            "recorder.pg_stat_activity must say how psql connects, as service=NAME",
        ));
    }
    Ok(conninfo)
}

fn wrong(problem: &str) -> ScenarioError {
    ScenarioError::Value(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(toml: &str) -> Result<Option<Recording>, String> {
        let settings: RecorderSettings = toml::from_str(toml).map_err(|error| error.to_string())?;
        Recording::resolve(Some(&settings)).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_on_unless_told_otherwise() {
        let plain = Recording::resolve(None).unwrap().unwrap();
        assert_eq!((plain.profile_s, plain.frequency_hz), (5, 49));
        assert_eq!((plain.quiet_s, plain.max_takings), (300, 20));
        assert_eq!(plain.max_bytes, 8 << 20);
        assert_eq!(resolve("enabled = false").unwrap(), None);
        let flags = RecorderSettings::disabled();
        let file: RecorderSettings = toml::from_str("enabled = true\nquiet_s = 9").unwrap();
        let both = flags.or(file);
        assert_eq!((both.enabled, both.quiet_s), (Some(false), Some(9)));
    }

    #[test]
    fn what_is_recorded_reads_back() {
        let text = "heap = false\nquiet_s = 7\nmax_bytes = \"1MiB\"\npprof = \"http://127.0.0.1:6060/x/\"\n\
                    memory_mark = \"512MiB\"\npg_stat_activity = \"service=alfred\"";
        let recording = resolve(text).unwrap().unwrap();
        assert_eq!(recording.memory_mark_bytes, Some(512 << 20));
        let again = Recording::resolve(Some(&recording.record().settings())).unwrap();
        assert_eq!(again, Some(recording));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, problem) in [
            ("enabeld = true", "unknown field `enabeld`"),
            ("profile_s = 0", "1 to 60"),
            ("frequency_hz = 1000", "1 to 999"),
            ("max_bytes = \"1KiB\"", "65536 to 67108864"),
            ("max_bytes = \"lots\"", "not a size"),
            ("memory_mark = \"512\"", "not a size"),
            ("pprof = \"localhost\"", "must begin with"),
            ("pprof = \"http://x/?a=b\"", "is to be the address"),
            ("pg_stat_activity = \"\"", "service=NAME"),
            (
                "pg_stat_activity = \"host=x Password = hunter2\"",
                "password file",
            ),
            (
                "pg_stat_activity = \"postgres://me:hunter2@x/db\"",
                "password file",
            ),
            (
                "pg_stat_activity = \"postgres://x/db?password=hunter2\"",
                "password file",
            ),
        ] {
            let error = resolve(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(resolve("pg_stat_activity = \"postgres://me@x:5433/db\"").is_ok());
    }
}
