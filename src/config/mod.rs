//! The resolved configuration: defaults, then files, environment and flags; the last one wins.
//!
//! An unknown key, a wrong type and a value out of range are errors that name the key and where
//! it was written. Nothing else in the crate reads configuration files or the environment.

pub mod change;
pub mod environment;
pub mod keys;
mod layers;
pub mod raw;

pub use change::Changes;
pub use environment::Environment;
pub use raw::Raw;

use crate::secret::Secret;
use config::{Value, ValueKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The system-wide state folder of the package (systemd's `StateDirectory=alfred`).
pub const STATE_DIR: &str = "/var/lib/alfred";
/// The origin of what the command line said.
const FLAG: &str = "flag";
const MAIN_FILES: [&str; 2] = ["/etc/alfred/alfred.toml", "./alfred.toml"];

/// What was configured, and where each value came from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The values.
    pub raw: Raw,
    /// The main file that was read, if any.
    pub main_file: Option<PathBuf>,
    /// Which store; `POSTGRES_DSN` makes it PostgreSQL where `store.kind` is not said.
    pub store_kind: StoreKind,
    /// Which embedder, where that was said; else the model recorded in the store decides.
    pub embedding_kind: Option<EmbeddingKind>,
    /// Folder of the embedded store.
    pub store_dir: PathBuf,
    /// Folder of recorded soak runs.
    pub runs_dir: PathBuf,
    /// The only folder in which models are looked for, where one was said.
    pub models_dir: Option<PathBuf>,
    /// This user's own data: `$XDG_DATA_HOME/alfred`.
    pub data_home: PathBuf,
    /// The credential that holds API keys, and is read instead of the file of keys.
    pub keys_credential: Option<PathBuf>,
    /// The `AWS_…` variables, by whose names everybody knows how object storage is reached.
    pub aws: BTreeMap<String, Secret>,
    origins: BTreeMap<&'static str, (String, String)>,
    /// The value of each key, by which a change shows without a secret being kept twice.
    digests: BTreeMap<&'static str, blake3::Hash>,
}

/// Where documents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// SQLite in a folder of this machine.
    Embedded,
    /// PostgreSQL with pgvector.
    Postgres,
}

/// Who embeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingKind {
    /// A model on this machine.
    Local,
    /// A server that speaks OpenAI's API.
    OpenAi,
}

/// One line of `alfred config show`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// `section.key`.
    pub key: &'static str,
    /// The value as TOML; secrets masked.
    pub value: String,
    /// `default`, a file, an environment variable, or `flag`.
    pub source: String,
}

impl Config {
    /// Resolves everything. `explicit`: the file of `--config`; `flags`: `(path, value)`.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or a key or value is wrong.
    pub fn load(
        explicit: Option<&Path>,
        environment: &Environment,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let found = || {
            MAIN_FILES
                .map(PathBuf::from)
                .into_iter()
                .find(|path| path.exists())
        };
        let main_file = explicit.map(Path::to_owned).or_else(found);
        let mut all = vec![layers::defaults()?];
        if let Some(main) = &main_file {
            all.push(layers::file(main)?);
            for path in layers::drop_ins(main)? {
                all.push(layers::file(&path)?);
            }
        }
        all.push(layers::credentials(environment, main_file.as_deref())?);
        all.push(layers::environment(environment)?);
        all.push(layers::flags(flags)?);
        Self::of_layers(all, main_file, environment)
    }

    /// A main file that says `text`, and nothing else.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_text(text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let main = layers::parse(text, "alfred.toml", false)?;
        Self::of_layers(vec![layers::defaults()?, main], None, environment)
    }

    fn of_layers(
        all: Vec<layers::Layer>,
        main_file: Option<PathBuf>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        let mut origins = BTreeMap::new();
        let mut digests = BTreeMap::new();
        for layer in all {
            for (key, value) in &layer.0 {
                origins.insert(key.path, shown(key, value));
                digests.insert(key.path, blake3::hash(toml(&value.kind).as_bytes()));
            }
            builder = builder.add_source(layer);
        }
        let raw: Raw = builder
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| ConfigError::Syntax {
                origin: "configuration".to_owned(),
                problem: error.to_string(),
            })?;
        let mut config = Self::resolve(raw, main_file, environment, origins)?;
        config.digests = digests;
        Ok(config)
    }

    fn resolve(
        raw: Raw,
        main_file: Option<PathBuf>,
        environment: &Environment,
        origins: BTreeMap<&'static str, (String, String)>,
    ) -> Result<Self, ConfigError> {
        let said = |path: &str| {
            origins
                .get(path)
                .is_some_and(|(_, source)| source != "default")
        };
        let store_kind = match raw.store.kind.as_str() {
            "postgres" => StoreKind::Postgres,
            _ if !said("store.kind") && !raw.store.dsn.is_empty() => StoreKind::Postgres,
            _ => StoreKind::Embedded,
        };
        let embedding_kind = said("embedding.kind").then_some(match raw.embedding.kind.as_str() {
            "openai" => EmbeddingKind::OpenAi,
            _ => EmbeddingKind::Local,
        });
        if store_kind == StoreKind::Postgres && raw.store.dsn.is_empty() {
            return Err(ConfigError::Missing {
                key: "store.dsn",
                because: "`store.kind` is \"postgres\"",
                hint: "set POSTGRES_DSN, as postgresql://alfred@localhost/alfred",
            });
        }
        if raw.answer.kind == crate::domain::AnswerKind::Generated && raw.answer.model.is_empty() {
            return Err(ConfigError::Missing {
                key: "answer.model",
                because: "`answer.kind` is \"generated\"",
                hint: "name a chat model of the provider, as \"gpt-4o-mini\"",
            });
        }
        check_tls(&raw.server)?;
        check(&raw, &origins)?;
        let data_home = environment.data_home();
        let state = Some(PathBuf::from(STATE_DIR)).filter(|path| is_writable_dir(path));
        let base = state.unwrap_or_else(|| data_home.clone());
        let path_or = |said: &str, default: PathBuf| match said {
            "" => default,
            said => PathBuf::from(said),
        };
        Ok(Self {
            keys_credential: layers::keys_credential(environment, main_file.as_deref()),
            store_dir: path_or(&raw.store.path, base.clone()),
            runs_dir: path_or(&raw.soak.runs_dir, base.join("soak")),
            store_kind,
            embedding_kind,
            models_dir: Some(&raw.embedding.models_dir)
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from),
            data_home,
            aws: environment
                .with_prefix("AWS_")
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (format!("AWS_{name}"), Secret::new(value)))
                .collect(),
            raw,
            main_file,
            origins,
            digests: BTreeMap::new(),
        })
    }

    /// The file that API keys are kept in: `server.keys_file`, else `keys.toml` in the folder of the store.
    #[must_use]
    pub fn keys_file(&self) -> PathBuf {
        match self.raw.server.keys_file.as_str() {
            "" => self.store_dir.join("keys.toml"),
            said => PathBuf::from(said),
        }
    }

    /// Whether a file, the environment or a flag gave the key a value.
    #[must_use]
    pub fn is_said(&self, path: &str) -> bool {
        self.origins
            .get(path)
            .is_some_and(|(_, source)| source != "default")
    }

    /// Whether TLS is spoken over TCP.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        !self.raw.server.tls_cert.is_empty()
    }

    /// Whether a flag of the command line gave the key its value.
    #[must_use]
    pub fn is_from_flag(&self, path: &str) -> bool {
        self.origins
            .get(path)
            .is_some_and(|(_, source)| source == FLAG)
    }

    /// Every key with its value and source, secrets masked, in the order of the shipped file.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        let line = |key: &keys::Key| {
            let (value, source) = self.origins.get(key.path)?.clone();
            Some(Shown {
                key: key.path,
                value,
                source,
            })
        };
        keys::KEYS.iter().filter_map(line).collect()
    }
}

fn toml(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| toml(&item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        // With its point, as TOML has it.
        ValueKind::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    }
}

/// A value as TOML, and where it came from.
fn shown(key: &keys::Key, value: &Value) -> (String, String) {
    let text = toml(&value.kind);
    let masked = if key.secret && text != "\"\"" {
        "\"********\"".to_owned()
    } else {
        text
    };
    (masked, value.origin().unwrap_or("default").to_owned())
}

/// A certificate without its key is of no use, nor the other way round.
fn check_tls(server: &raw::Server) -> Result<(), ConfigError> {
    let (key, because) = match (server.tls_cert.is_empty(), server.tls_key.is_empty()) {
        (true, false) => ("server.tls_cert", "`server.tls_key` is"),
        (false, true) => ("server.tls_key", "`server.tls_cert` is"),
        _ => return Ok(()),
    };
    let hint = "set both for TLS, or neither";
    Err(ConfigError::Missing { key, because, hint })
}

/// What no key's own range says.
fn check(raw: &Raw, origins: &BTreeMap<&'static str, (String, String)>) -> Result<(), ConfigError> {
    let webhook = &raw.notify.webhook_url;
    if !(webhook.is_empty() || is_http_url(webhook.reveal())) {
        return Err(ConfigError::WrongValue {
            key: "notify.webhook_url",
            origin: origins["notify.webhook_url"].1.clone(),
            expected: "a URL that begins with https:// or http://".to_owned(),
            got: "a secret".to_owned(),
        });
    }
    let limits = &raw.ingest;
    if limits.overlap_tokens > limits.chunk_tokens / 4 {
        return Err(ConfigError::WrongValue {
            key: "ingest.overlap_tokens",
            origin: origins["ingest.overlap_tokens"].1.clone(),
            expected: format!(
                "at most a quarter of chunk_tokens ({})",
                limits.chunk_tokens
            ),
            got: limits.overlap_tokens.to_string(),
        });
    }
    Ok(())
}

fn is_http_url(text: &str) -> bool {
    let uri: Option<http::Uri> = text.trim().parse().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Whether this process may create files in `path`.
fn is_writable_dir(path: &Path) -> bool {
    use rustix::fs::{Access, access};
    path.is_dir() && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{origin} is not a valid configuration: {problem}")]
    Syntax {
        /// Which file.
        origin: String,
        /// The parser's words, with line and column.
        problem: String,
    },
    /// There is no such key.
    #[error("unknown key `{key}` in {origin}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where it was written.
        origin: String,
        /// The known key nearest in spelling.
        closest: Option<&'static str>,
    },
    /// The key is needed because of another one.
    #[error("`{key}` is not set, and {because}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What needs it.
        because: &'static str,
        /// What to try next.
        hint: &'static str,
    },
    /// The value is of the wrong type or out of range.
    #[error("`{key}` in {origin} must be {expected}, got {got}")]
    WrongValue {
        /// The key.
        key: &'static str,
        /// Where it was written.
        origin: String,
        /// What it may be.
        expected: String,
        /// What it was.
        got: String,
    },
}

impl ConfigError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::UnknownKey {
                closest: Some(closest),
                ..
            } => format!("did you mean `{closest}`?"),
            Self::UnknownKey { .. } | Self::Syntax { .. } => {
                "the shipped alfred.toml lists every key; `alfred config show` prints them".into()
            }
            Self::Missing { hint, .. } => (*hint).to_owned(),
            Self::Read { .. } => {
                "check the path; without --config, /etc/alfred/alfred.toml is read, else \
                 ./alfred.toml, else the built-in defaults hold"
                    .into()
            }
            Self::WrongValue { .. } => return None,
        };
        Some(text)
    }
}

impl From<ConfigError> for crate::failure::Failure {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint();
        let failure = if matches!(&error, ConfigError::WrongValue { origin, .. } if origin == FLAG)
        {
            Self::usage("the command line is wrong")
        } else {
            Self::configuration("the configuration is wrong")
        };
        failure.because(error).maybe_hint(hint)
    }
}

#[cfg(test)]
mod tests;
