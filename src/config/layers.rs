//! Where values come from: defaults, files, environment, flags; each layer checked key by key.

use super::environment::Environment;
use super::keys::{self, KEYS, Key, Kind};
use super::{ConfigError, FLAG};
use config::{Map, Source as _, Value, ValueKind};
use std::path::{Path, PathBuf};

/// Largest file of configuration: far above what every key with a comment takes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where systemd's credentials come from, for those who may read them: root's commands then speak of the
/// same store as the daemon.
const CREDENTIAL_STORE: &str = "/etc/credstore";
/// The configuration that the daemon of the packages has.
const SYSTEM_FILE: &str = "/etc/alfred/alfred.toml";

/// Values of one origin, keyed by path (`section.key`), all known and within their limits.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(pub(super) Vec<(&'static Key, Value)>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self
            .0
            .iter()
            .map(|(key, value)| (key.path.to_owned(), value.clone()))
            .collect())
    }
}

/// The built-in defaults.
pub(super) fn defaults() -> Result<Layer, ConfigError> {
    let mut text = String::new();
    for key in KEYS {
        text.push_str(key.path);
        text.push_str(" = ");
        text.push_str(key.default);
        text.push('\n');
    }
    parse(&text, "default", true)
}

/// Reads a file, which has to be a regular one: a pipe would hold up a reload for ever.
fn read(path: &Path) -> std::io::Result<String> {
    let found = std::fs::metadata(path)?;
    let wrong = |problem: String| {
        Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            problem,
        ))
    };
    if !found.is_file() {
        return wrong("it is no regular file".to_owned());
    }
    if found.len() > MAX_FILE_BYTES {
        return wrong(format!(
            "it has {} bytes, and {MAX_FILE_BYTES} are the most",
            found.len()
        ));
    }
    std::fs::read_to_string(path)
}

/// One file. A missing file is an error.
pub(super) fn file(path: &Path) -> Result<Layer, ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, &path.display().to_string(), false)
}

/// `conf.d/*.toml` beside the main file, in name order.
pub(super) fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = main.parent().unwrap_or(Path::new(".")).join("conf.d");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(ConfigError::Read {
                path: folder,
                source,
            });
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// Where credentials are, and what their names begin with there.
fn credentials_folder(
    environment: &Environment,
    main_file: Option<&Path>,
) -> Option<(PathBuf, &'static str)> {
    let is_system = main_file == Some(Path::new(SYSTEM_FILE));
    match environment.path("CREDENTIALS_DIRECTORY") {
        Some(folder) => Some((folder, "")),
        None if is_system => Some((PathBuf::from(CREDENTIAL_STORE), "alfred.")),
        None => None,
    }
}

/// The credential `api_keys`, where there is one with something in it. One that was handed over and
/// cannot be read is there, too: who reads it will say why.
pub(super) fn keys_credential(
    environment: &Environment,
    main_file: Option<&Path>,
) -> Option<PathBuf> {
    let (folder, prefix) = credentials_folder(environment, main_file)?;
    let file = folder.join(format!("{prefix}api_keys"));
    let is_there = match std::fs::read(&file) {
        Ok(text) => !text.trim_ascii().is_empty(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound && prefix.is_empty(),
    };
    is_there.then_some(file)
}

/// Secrets that systemd handed over: files in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
pub(super) fn credentials(
    environment: &Environment,
    main_file: Option<&Path>,
) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    let Some((folder, prefix)) = credentials_folder(environment, main_file) else {
        return Ok(layer);
    };
    let known = [
        ("postgres_dsn", "store.dsn"),
        ("openai_api_key", "embedding.api_key"),
        ("redis_url", "embedding.redis_url"),
        ("webhook_url", "notify.webhook_url"),
        ("otlp_headers", "telemetry.otlp_headers"),
        ("tls_cert", "server.tls_cert"),
        ("tls_key", "server.tls_key"),
    ];
    for (name, path) in known {
        let file = folder.join(format!("{prefix}{name}"));
        let is_file = path.starts_with("server.tls_");
        let text = match std::fs::read_to_string(&file) {
            // The unit's stand-in for a credential that is not there is a line without text.
            Ok(text) if text.trim().is_empty() => continue,
            // Of these it is the place that is configured; who may not read them knows it all the same.
            Ok(_) if is_file => file.display().to_string(),
            Err(_) if is_file && file.exists() => file.display().to_string(),
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            // The store is root's; others have the daemon.
            Err(_) if !prefix.is_empty() => continue,
            Err(source) => return Err(ConfigError::Read { path: file, source }),
        };
        let origin = if prefix.is_empty() {
            format!("credential {name}")
        } else {
            file.display().to_string()
        };
        layer.0.push(from_text(
            known_key(path, &origin)?,
            text.trim_end(),
            &origin,
        )?);
    }
    Ok(layer)
}

/// `ALFRED__SECTION__KEY` and the names users already know.
pub(super) fn environment(environment: &Environment) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    let known = [
        ("POSTGRES_DSN", "store.dsn"),
        ("OPENAI_API_KEY", "embedding.api_key"),
        ("OPENAI_BASE_URL", "embedding.base_url"),
        ("REDIS_URL", "embedding.redis_url"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "telemetry.otlp_headers"),
    ];
    for (name, path) in known {
        if let Some(value) = environment.get(name) {
            let origin = format!("environment {name}");
            layer
                .0
                .push(from_text(known_key(path, &origin)?, value, &origin)?);
        }
    }
    for (rest, value) in environment.with_prefix("ALFRED__") {
        let origin = format!("environment ALFRED__{rest}");
        let path = rest.to_ascii_lowercase().replace("__", ".");
        let key = known_key(&path, &origin)?;
        if !value.is_empty() {
            layer.0.push(from_text(key, value, &origin)?);
        }
    }
    Ok(layer)
}

/// What flags said: `(path, value as text)`.
pub(super) fn flags(values: &[(String, String)]) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    for (path, value) in values {
        layer
            .0
            .push(from_text(known_key(path, FLAG)?, value, FLAG)?);
    }
    Ok(layer)
}

pub(super) fn parse(text: &str, origin: &str, defaults: bool) -> Result<Layer, ConfigError> {
    let collected = config::File::from_str(text, config::FileFormat::Toml)
        .collect()
        .map_err(|error| ConfigError::Syntax {
            origin: origin.into(),
            problem: error.to_string(),
        })?;
    let mut flat = Vec::new();
    flatten("", Value::new(None, collected), &mut flat);
    flat.sort_by(|a, b| a.0.cmp(&b.0));
    let mut layer = Layer::default();
    for (path, value) in flat {
        let key = known_key(&path, origin)?;
        let unset = matches!(&value.kind, ValueKind::String(text) if text.is_empty());
        if defaults || !unset {
            layer.0.push((
                key,
                check(key, Value::new(Some(&origin.to_owned()), value.kind))?,
            ));
        }
    }
    Ok(layer)
}

fn flatten(prefix: &str, value: Value, into: &mut Vec<(String, Value)>) {
    let ValueKind::Table(table) = value.kind else {
        into.push((prefix.to_owned(), value));
        return;
    };
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        flatten(&path, value, into);
    }
}

fn known_key(path: &str, origin: &str) -> Result<&'static Key, ConfigError> {
    keys::find(path).ok_or_else(|| ConfigError::UnknownKey {
        key: path.to_owned(),
        origin: origin.to_owned(),
        closest: keys::closest(path),
    })
}

fn from_text(
    key: &'static Key,
    text: &str,
    origin: &str,
) -> Result<(&'static Key, Value), ConfigError> {
    let kind = match key.kind {
        Kind::List => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            ValueKind::Array(items.map(Value::from).collect())
        }
        Kind::Integer(..) => text
            .trim()
            .parse()
            .map_or_else(|_| ValueKind::String(text.into()), ValueKind::I64),
        Kind::Bool => text
            .trim()
            .parse()
            .map_or_else(|_| ValueKind::String(text.into()), ValueKind::Boolean),
        Kind::Ratio => text
            .trim()
            .parse()
            .map_or_else(|_| ValueKind::String(text.into()), ValueKind::Float),
        Kind::Text | Kind::Choice(_) => ValueKind::String(text.to_owned()),
    };
    Ok((key, check(key, Value::new(Some(&origin.to_owned()), kind))?))
}

/// The value, when it is of the key's type and within its range.
fn check(key: &'static Key, value: Value) -> Result<Value, ConfigError> {
    let expected = match (key.kind, &value.kind) {
        (Kind::Bool, ValueKind::Boolean(_))
        | (Kind::Text, ValueKind::String(_))
        | (Kind::Ratio, ValueKind::I64(0 | 1)) => None,
        (Kind::Bool, _) => Some("true or false".to_owned()),
        (Kind::Text, _) => Some("text in quotes".to_owned()),
        (Kind::Integer(low, high), ValueKind::I64(number)) if (low..=high).contains(number) => None,
        (Kind::Integer(low, high), _) => Some(format!("a whole number from {low} to {high}")),
        (Kind::Ratio, ValueKind::Float(share)) if (0.0..=1.0).contains(share) => None,
        (Kind::Ratio, _) => Some("a number from 0 to 1".to_owned()),
        (Kind::Choice(words), ValueKind::String(word))
            if words.contains(&word.as_str()) || word.is_empty() =>
        {
            None
        }
        (Kind::Choice(words), _) => Some(format!("one of \"{}\"", words.join("\", \""))),
        (Kind::List, ValueKind::Array(items))
            if items
                .iter()
                .all(|item| matches!(item.kind, ValueKind::String(_))) =>
        {
            None
        }
        (Kind::List, _) => Some("a list of texts, as [\"a\", \"b\"]".to_owned()),
    };
    let Some(expected) = expected else {
        return Ok(value);
    };
    Err(ConfigError::WrongValue {
        key: key.path,
        origin: value.origin().unwrap_or("default").to_owned(),
        expected,
        got: if key.secret {
            "a secret".to_owned()
        } else {
            value.to_string()
        },
    })
}
