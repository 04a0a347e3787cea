//! The running daemon as the command line sees it: found through its socket, asked over HTTP.

use crate::client::{ClientError, Endpoint, Limits, Outgoing, Response, Trust, request_blocking};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, STATE_DIR, StoreKind};
use crate::failure::Failure;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The socket of the system-wide daemon.
pub(super) const SYSTEM_SOCKET: &str = "/run/alfred/alfred.sock";
/// Longest wait for one answer: the daemon's own limit for storing documents.
const TIMEOUT: Duration = Duration::from_mins(5);
/// How often a daemon that answers 503 is asked again.
const MAX_RETRIES: u32 = 10;
/// Largest answer that is read: 100 citations of the largest chunks, with room.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;

/// A daemon that answers.
pub(super) struct Daemon {
    endpoint: Endpoint,
    trust: Trust,
    /// What it is asked with where its socket is not what lets in.
    authorization: Option<HeaderValue>,
}

/// Where the daemon over this store listens for local commands.
///
/// Elsewhere than in the system's place it has a name of its own for each database, so that a
/// command for one never reaches the daemon of another.
pub(super) fn socket_of(config: &Config) -> PathBuf {
    let system = Path::new(SYSTEM_SOCKET);
    let is_system = config.store_dir == Path::new(STATE_DIR);
    match (system.parent(), config.store_kind) {
        (Some(folder), _) if is_system && folder.is_dir() => system.to_owned(),
        (_, StoreKind::Embedded) => config.store_dir.join("alfred.sock"),
        (_, StoreKind::Postgres) => {
            let digest = blake3::hash(config.raw.store.dsn.reveal().as_bytes()).to_hex();
            config
                .store_dir
                .join(format!("alfred-{}.sock", &digest[..12]))
        }
    }
}

/// Whether an answer may be another one soon: a daemon that is busy, stopping or limits the rate, and for
/// who changes something also one whose database or provider is down. Who asks wants to know that.
fn is_worth_waiting(response: &Response, path: &str) -> bool {
    let is_busy = || {
        let problem: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        problem["kind"] == "overloaded"
    };
    let is_for_documents = path.starts_with("/v1/documents");
    match response.status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => is_for_documents || is_busy(),
        _ => false,
    }
}

impl Daemon {
    /// A daemon in the file system.
    fn over(socket: PathBuf) -> Self {
        Self {
            endpoint: Endpoint::Unix(socket),
            trust: Trust::default(),
            authorization: None,
        }
    }

    /// The daemon at `url`, which has to be in this trust, asked with this `Authorization`.
    pub(super) fn at(
        url: &str,
        trust: Trust,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, Failure> {
        let endpoint = url
            .trim_end_matches('/')
            .parse()
            .map_err(|error: ClientError| Failure::usage(format!("--url {url}")).because(error))?;
        Ok(Self {
            endpoint,
            trust,
            authorization,
        })
    }

    /// The daemon over the configured store, else the system-wide one when no store was said;
    /// `None` when nobody listens.
    pub(super) fn find(config: &Config) -> Option<Self> {
        let mut sockets = vec![socket_of(config)];
        if !config.is_said("store.path") {
            sockets.push(PathBuf::from(SYSTEM_SOCKET));
        }
        sockets.into_iter().map(Self::over).find(Self::is_alive)
    }

    /// As [`Daemon::find`]; where the configuration has changed what its socket is called by, the one whose
    /// socket is beside the store, or the system's.
    ///
    /// # Errors
    /// When there are several.
    pub(super) fn find_any(config: &Config) -> Result<Option<Self>, Failure> {
        if let Some(daemon) = Self::find(config) {
            return Ok(Some(daemon));
        }
        let beside = std::fs::read_dir(&config.store_dir).into_iter().flatten();
        let mut sockets: Vec<PathBuf> = beside
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "sock"))
            .collect();
        if config.main_file.as_deref() == Some(Path::new("/etc/alfred/alfred.toml")) {
            sockets.push(PathBuf::from(SYSTEM_SOCKET));
        }
        sockets.sort();
        let mut alive = sockets
            .into_iter()
            .filter_map(|path| Some((Self::alive_at(path.clone())?, path)));
        let Some((first, path)) = alive.next() else {
            return Ok(None);
        };
        if let Some((_, other)) = alive.next() {
            let both = format!("{} and {}", path.display(), other.display());
            return Err(
                Failure::failed(format!("several daemons are running: {both}"))
                    .hint("name the socket of one with --socket"),
            );
        }
        Ok(Some(first))
    }

    /// The daemon at a socket, if one listens there.
    pub(super) fn alive_at(socket: PathBuf) -> Option<Self> {
        let daemon = Self::over(socket);
        daemon.is_alive().then_some(daemon)
    }

    fn is_alive(&self) -> bool {
        let limits = Limits {
            timeout: Duration::from_secs(2),
            max_response_bytes: 1 << 20,
        };
        request_blocking(&self.endpoint.at("/healthz"), Outgoing::default(), limits)
            .is_ok_and(|response| response.status == StatusCode::OK)
    }

    /// Asks for `path` and returns the JSON of the answer.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a problem.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(path, &Outgoing::default())
    }

    /// Posts JSON to `path` and returns the JSON of the answer.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a problem.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut outgoing = Outgoing {
            method: Method::POST,
            body: body.to_string().into(),
            ..Outgoing::default()
        };
        let json = HeaderValue::from_static("application/json");
        outgoing.headers.insert(header::CONTENT_TYPE, json);
        self.send(path, &outgoing)
    }

    /// Deletes `path` and returns the JSON of the answer.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a problem.
    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(
            path,
            &Outgoing {
                method: Method::DELETE,
                ..Outgoing::default()
            },
        )
    }

    fn send(&self, path: &str, outgoing: &Outgoing) -> Result<Value, Failure> {
        let target = self.endpoint.at(path);
        let mut outgoing = Outgoing {
            trust: self.trust.clone(),
            ..outgoing.clone()
        };
        if let Some(key) = &self.authorization {
            outgoing.headers.insert(header::AUTHORIZATION, key.clone());
        }
        let limits = Limits {
            timeout: TIMEOUT,
            max_response_bytes: MAX_RESPONSE_BYTES,
        };
        let once = || {
            request_blocking(&target, outgoing.clone(), limits).map_err(|error| {
                let hint = hint(&error);
                Failure::failed(format!("no answer from {target}"))
                    .because(error)
                    .hint(hint)
            })
        };
        let mut response = once()?;
        for _ in 0..MAX_RETRIES {
            if !is_worth_waiting(&response, path) {
                break;
            }
            SystemClock.sleep(retry_after(&response));
            response = once()?;
        }
        let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        // A call whose documents were all refused says of each why.
        if response.status.is_success() || body["documents"].is_array() {
            return Ok(body);
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let what = format!("{target} answered {}: {}", response.status, text("detail"));
        let hint = match body["kind"].as_str() {
            Some("unknown_collection") => "list them with `alfred store info`",
            Some("unauthorized") => {
                "give a key that `alfred key new` has made in ALFRED_API_KEY, or with --api-key-file"
            }
            _ => return Err(Failure::failed(what)),
        };
        Err(Failure::failed(what).hint(hint))
    }
}

fn hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Tls { .. } => {
            "name the authority of its certificate with --ca-file, and the daemon as the certificate does"
        }
        _ => "is the daemon running? start it with `alfred serve`",
    }
}

/// How long a busy daemon asks to be left alone, 1 to 30 s.
fn retry_after(response: &Response) -> Duration {
    let header = response.headers.get(header::RETRY_AFTER);
    let seconds = header
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(1);
    Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

impl std::fmt::Display for Daemon {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.endpoint.fmt(formatter)
    }
}
