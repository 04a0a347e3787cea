//! Evidence from the target itself: `/v1/status`, `/metrics`, and profiles where it has `/debug/pprof/`.
//! Each on a connection of its own, outside the load, and each with a limit on time and size: a target that
//! hangs, or never stops answering, costs what is missing and nothing else.

use super::piece::Piece;
use super::settings::Recording;
use crate::client::{ClientError, Limits, Outgoing, Response, Target, Trust, request_blocking};
use crate::soak::sampler::metrics::parse;
use crate::soak::scenario::Scenario;
use http::{HeaderMap, StatusCode, header};
use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STATUS: &str = "what the target says of itself (/v1/status)";
const METRICS: &str = "metrics of the target";
const HEAP: &str = "heap profile of the target";
/// For an answer that costs a target nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// For a heap profile, and for a CPU profile beyond the time that it takes.
const PROFILE_PATIENCE: Duration = Duration::from_secs(2);
/// Series that stand out in a stall: what waits, and for what.
const SERIES: [&str; 6] = [
    "http_server_in_flight*",
    "db_pool_connections",
    "db_pool_timeouts_total",
    "process_open_fds",
    "process_threads",
    "retrieval_errors_total",
];
/// How many of them the summary names.
const NAMED: usize = 8;

/// Asks the target, taking after taking.
#[derive(Debug)]
pub(super) struct Asker {
    own: Target,
    metrics: Target,
    profile: Target,
    heap: Option<Target>,
    profile_s: u64,
    profile_what: String,
    headers: HeaderMap,
    trust: Trust,
    has_no_profile: AtomicBool,
    has_no_heap: AtomicBool,
}

impl Asker {
    pub(super) fn new(scenario: &Scenario, recording: &Recording) -> Self {
        let endpoint = &scenario.target.endpoint;
        let (seconds, hz) = (recording.profile_s, recording.frequency_hz);
        let mut headers = scenario.headers.clone();
        // They are of the body, and there is none.
        for of_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            headers.remove(of_body);
        }
        Self {
            own: endpoint.at("/v1/status"),
            metrics: scenario
                .sampling
                .metrics
                .clone()
                .unwrap_or_else(|| endpoint.at("/metrics")),
            profile: recording.profile_at(
                scenario,
                &format!("profile?seconds={seconds}&frequency={hz}"),
            ),
            heap: recording
                .heap
                .then(|| recording.profile_at(scenario, "heap")),
            profile_s: seconds,
            profile_what: format!("CPU profile of the target, {seconds} s at {hz} Hz"),
            headers,
            trust: scenario.trust.clone(),
            has_no_profile: AtomicBool::new(false),
            has_no_heap: AtomicBool::new(false),
        }
    }

    /// `status.json`.
    pub(super) fn status(&self, max_bytes: u64) -> Piece {
        let response = match self.get(&self.own, PATIENCE, max_bytes) {
            Ok(response) => response,
            Err(failed) => return Piece::missing(STATUS, &failed.why),
        };
        let line = status_line(&response.body);
        let mut piece = Piece::file("status.json", STATUS, response.body.to_vec(), max_bytes);
        if let Some(line) = line {
            piece.say(&line);
        }
        piece
    }

    /// `metrics.txt`.
    pub(super) fn metrics(&self, max_bytes: u64) -> Piece {
        let response = match self.get(&self.metrics, PATIENCE, max_bytes) {
            Ok(response) => response,
            Err(failed) => return Piece::missing(METRICS, &failed.why),
        };
        let text = String::from_utf8_lossy(&response.body);
        let series = parse(&text, &SERIES.map(str::to_owned));
        let named: Vec<String> = series
            .iter()
            .filter(|(_, value)| **value != 0.0)
            .take(NAMED)
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let mut piece = Piece::file("metrics.txt", METRICS, response.body.to_vec(), max_bytes);
        if !named.is_empty() {
            piece.say(&format!("metrics: {}", named.join(", ")));
        }
        piece
    }

    /// `profile.pb.gz`, then `heap.pb.gz`: one after the other, as a profile of the CPU would show the
    /// taking of the other.
    pub(super) fn profiles(&self, cpu_bytes: u64, heap_bytes: u64) -> Piece {
        let patience = Duration::from_secs(self.profile_s) + PROFILE_PATIENCE;
        let (mut piece, is_there) = self.pprof(
            &self.profile,
            (self.profile_what.as_str(), "profile"),
            &self.has_no_profile,
            (patience, cpu_bytes),
        );
        let Some(heap) = &self.heap else {
            return piece;
        };
        if is_there {
            let limits = (PROFILE_PATIENCE, heap_bytes);
            let (of_heap, _) = self.pprof(heap, (HEAP, "heap"), &self.has_no_heap, limits);
            piece.add(of_heap);
        } else {
            piece.lacks(
                HEAP,
                "not asked: the target did not answer the question before",
            );
        }
        piece
    }

    /// A profile, and whether the target answered at all.
    fn pprof(
        &self,
        target: &Target,
        (what, name): (&str, &str),
        has_none: &AtomicBool,
        (patience, max_bytes): (Duration, u64),
    ) -> (Piece, bool) {
        if has_none.load(Ordering::Relaxed) {
            let why = "the target has none: it answered 404 earlier in this run";
            return (Piece::missing(what, why), true);
        }
        match self.get(target, patience, max_bytes) {
            Ok(response) => {
                // Whoever writes profiles packs them; a server that answers anything with 200 does not.
                if !response.body.starts_with(&[0x1f, 0x8b]) {
                    let why = format!("{target}: the answer is no profile (not gzip)");
                    return (Piece::missing(what, &why), true);
                }
                let name = format!("{name}.pb.gz");
                let piece = Piece::file(&name, what, response.body.to_vec(), max_bytes);
                (piece, true)
            }
            Err(failed) => {
                if failed.status == Some(StatusCode::NOT_FOUND) {
                    has_none.store(true, Ordering::Relaxed);
                }
                (Piece::missing(what, &failed.why), failed.status.is_some())
            }
        }
    }

    fn get(&self, target: &Target, timeout: Duration, most: u64) -> Result<Response, Failed> {
        // What the target was given as a header is nobody else's.
        let is_own = target.endpoint == self.own.endpoint;
        let outgoing = Outgoing {
            headers: if is_own {
                self.headers.clone()
            } else {
                HeaderMap::new()
            },
            trust: self.trust.clone(),
            ..Outgoing::default()
        };
        let limits = Limits {
            timeout,
            max_response_bytes: most,
        };
        let answer = request_blocking(target, outgoing, limits);
        let response = answer.map_err(|error| Failed::of(target, &error))?;
        if response.status.is_success() {
            return Ok(response);
        }
        let status = response.status;
        let body = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]);
        let why = format!("{target}: status {}: {body}", status.as_u16());
        Err(Failed {
            status: Some(status),
            why: why.trim_end_matches([':', ' ']).to_owned(),
        })
    }
}

/// Why there is no answer, or none to use.
struct Failed {
    status: Option<StatusCode>,
    why: String,
}

impl Failed {
    fn of(target: &Target, error: &ClientError) -> Self {
        let cause = error
            .source()
            .map_or_else(String::new, |source| format!(": {source}"));
        Self {
            status: None,
            why: format!("{target}: {error}{cause}"),
        }
    }
}

/// The numbers and words of a status, as `status: a.b 3, a.c ready`.
fn status_line(body: &[u8]) -> Option<String> {
    let status: serde_json::Value = serde_json::from_slice(body).ok()?;
    let mut words = Vec::new();
    flatten("", &status, &mut words);
    (!words.is_empty()).then(|| format!("status: {}", words.join(", ")))
}

/// Most words of a status, and how deep they are looked for.
const MAX_WORDS: usize = 24;
const MAX_DEPTH: usize = 3;

fn flatten(name: &str, value: &serde_json::Value, words: &mut Vec<String>) {
    if words.len() >= MAX_WORDS || name.matches('.').count() >= MAX_DEPTH {
        return;
    }
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                flatten(&name, value, words);
            }
        }
        serde_json::Value::String(text) => words.push(format!("{name} {text}")),
        serde_json::Value::Number(number) => words.push(format!("{name} {number}")),
        serde_json::Value::Bool(yes) => words.push(format!("{name} {yes}")),
        serde_json::Value::Null | serde_json::Value::Array(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::settings::Settings;

    fn asker(more: &str) -> Asker {
        let text = format!(
            "target = \"http://127.0.0.1:1/v1/query\"\nbody = \"\"\nqps = 10\nduration = \"10m\"\n\
             headers = {{ Authorization = \"Bearer x\", Content-Type = \"text/x\" }}\n{more}"
        );
        let settings: Settings = toml::from_str(&text).unwrap();
        let scenario = Scenario::resolve(settings).unwrap();
        let recording = scenario.recording.clone().unwrap();
        Asker::new(&scenario, &recording)
    }

    #[test]
    fn profiles_are_below_the_target_or_where_the_scenario_says() {
        let own = asker("");
        let profile = own.profile.to_string();
        let expected = "http://127.0.0.1:1/debug/pprof/profile?seconds=5&frequency=49";
        assert_eq!(profile, expected);
        assert_eq!(own.headers.len(), 1);
        let elsewhere =
            asker("[recorder]\npprof = \"http://127.0.0.1:6060/x/\"\nprofile_s = 2\nheap = false");
        let profile = elsewhere.profile.to_string();
        assert!(profile.starts_with("http://127.0.0.1:6060/x/debug/pprof/profile?seconds=2&"));
        assert!(elsewhere.heap.is_none());
        let unix = asker("[recorder]\npprof = \"unix:/run/x.sock\"");
        assert!(
            unix.profile
                .to_string()
                .starts_with("unix:/run/x.sock:/debug/pprof/profile?")
        );
    }

    #[test]
    fn a_status_is_one_line() {
        let body = br#"{"version": "1", "pool": {"busy": 4, "deep": {"er": {"est": 1}}}, "x": [1], "ok": true}"#;
        let line = status_line(body).unwrap();
        assert_eq!(line, "status: ok true, pool.busy 4, version 1");
        assert_eq!(status_line(b"<html>"), None);
    }
}
