//! The text of a file of keys. It holds hashes, so it may be backed up and looked at; still nothing of
//! what stands in a wrong place is repeated in an error, since that may be a key.

use super::key::{Digest, KEY_PREFIX, Role, check_name};
use super::keys::MAX_KEYS;
use super::scope::Scope;
use crate::domain::CollectionName;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEAD: &str = "# API keys of alfred, as SHA-256. Written by `alfred key`. After a change by hand: alfred reload\n";
const FIELDS: [&str; 5] = ["name", "role", "collections", "sha256", "created_at"];

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, another one than those of all others.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where.
    pub scope: Scope,
    /// What it is known by.
    pub digest: Digest,
    /// When it was made, RFC 3339, as far as known.
    pub created_at: Option<String>,
}

/// Why a text holds no keys. Says where, and never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not TOML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// From 1.
        line: usize,
        /// The parser's words.
        problem: String,
    },
    /// There is something else than keys in it.
    #[error("there is `{0}`, and only [[key]] is known")]
    Unknown(String),
    /// There are too many.
    #[error("there are {0} keys, and {MAX_KEYS} are the most")]
    TooMany(usize),
    /// A key is not as it has to be.
    #[error("key {which}: {problem}")]
    Wrong {
        /// Its name where that is sound, else its number from 1.
        which: String,
        /// What is wrong.
        problem: String,
    },
}

/// The keys of a file, each with a name and a hash of its own. A text without any is right.
///
/// # Errors
/// See [`FileError`].
pub fn parse(text: &str) -> Result<Vec<Entry>, FileError> {
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().iter().take(at);
        FileError::Syntax {
            line: before.filter(|byte| **byte == b'\n').count() + 1,
            problem: masked(error.message()),
        }
    })?;
    if let Some(other) = table.keys().find(|name| *name != "key") {
        return Err(FileError::Unknown(masked(other)));
    }
    let Some(keys) = table.get("key") else {
        return Ok(Vec::new());
    };
    let keys = keys
        .as_array()
        .ok_or_else(|| wrong("1", "write [[key]], with two brackets"))?;
    if keys.len() > MAX_KEYS {
        return Err(FileError::TooMany(keys.len()));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let entry = entry(&(index + 1).to_string(), key)?;
        if entries.iter().any(|other| other.name == entry.name) {
            return Err(wrong(&entry.name, "there are two of that name"));
        }
        let same = |other: &&Entry| other.digest.short() == entry.digest.short();
        if let Some(other) = entries.iter().find(same) {
            let problem = format!("it has the `sha256` of the key {}", other.name);
            return Err(wrong(&entry.name, &problem));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(number: &str, key: &toml::Value) -> Result<Entry, FileError> {
    let table = key
        .as_table()
        .ok_or_else(|| wrong(number, "write [[key]], with two brackets"))?;
    let text = |field: &str, which: &str| match table.get(field) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(wrong(which, &format!("`{field}` has to be text in quotes"))),
    };
    let missing = |which: &str, field: &str| wrong(which, &format!("`{field}` is missing"));
    let name = text("name", number)?.ok_or_else(|| missing(number, "name"))?;
    check_name(name).map_err(|problem| wrong(number, &format!("`name` {problem}")))?;
    if let Some(other) = table.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        let problem = format!(
            "there is no field `{}`; the fields are: {}",
            masked(other),
            FIELDS.join(", ")
        );
        return Err(wrong(name, &problem));
    }
    let role = text("role", name)?.ok_or_else(|| missing(name, "role"))?;
    let role = Role::of_name(role)
        .ok_or_else(|| wrong(name, "`role` has to be \"query\", \"write\" or \"admin\""))?;
    let hash = text("sha256", name)?.ok_or_else(|| missing(name, "sha256"))?;
    let digest = Digest::parse(hash).ok_or_else(|| {
        let problem = "`sha256` has to be the SHA-256 of the key, 64 hexadecimal digits";
        let note = ", and not the key itself";
        let is_key = hash.starts_with(KEY_PREFIX);
        wrong(
            name,
            &format!("{problem}{}", if is_key { note } else { "" }),
        )
    })?;
    Ok(Entry {
        name: name.to_owned(),
        role,
        scope: scope(name, table.get("collections"))?,
        digest,
        created_at: text("created_at", name)?.map(str::to_owned),
    })
}

fn scope(key: &str, collections: Option<&toml::Value>) -> Result<Scope, FileError> {
    let Some(collections) = collections else {
        return Ok(Scope::default());
    };
    let name = |value: &toml::Value| CollectionName::new(value.as_str()?).ok();
    let names = collections
        .as_array()
        .filter(|names| !names.is_empty())
        .and_then(|names| names.iter().map(name).collect::<Option<BTreeSet<_>>>());
    let problem = "`collections` has to be a list of names of collections, as [\"handbook\"]; leave it \
                   out for all";
    names
        .map(Scope::bound_to)
        .ok_or_else(|| wrong(key, problem))
}

fn wrong(which: &str, problem: &str) -> FileError {
    FileError::Wrong {
        which: which.to_owned(),
        problem: problem.to_owned(),
    }
}

/// Without anything that may be a key.
fn masked(text: &str) -> String {
    if text.contains(KEY_PREFIX) {
        return "***".to_owned();
    }
    text.chars().take(80).collect()
}

/// The text of a file with these keys.
#[must_use]
pub fn render(entries: &[Entry]) -> String {
    let mut text = HEAD.to_owned();
    for entry in entries {
        // Names, roles and hashes need no escapes.
        let _ = write!(
            text,
            "\n[[key]]\nname = \"{}\"\nrole = \"{}\"\n",
            entry.name, entry.role
        );
        if entry.scope.is_bound() {
            let names: Vec<String> = entry
                .scope
                .names()
                .map(|name| format!("\"{name}\""))
                .collect();
            let _ = writeln!(text, "collections = [{}]", names.join(", "));
        }
        let _ = writeln!(text, "sha256 = \"{}\"", entry.digest.hex());
        if let Some(at) = &entry.created_at {
            let _ = writeln!(text, "created_at = {}", toml::Value::String(at.clone()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: &str) -> String {
        Digest::of(key.as_bytes()).hex()
    }

    #[test]
    fn what_is_written_is_read() {
        let name = |name| CollectionName::new(name).unwrap();
        let entries = vec![
            Entry {
                name: "app".to_owned(),
                role: Role::Query,
                scope: Scope::bound_to([name("handbook"), name("a-1")].into()),
                digest: Digest::of(b"one"),
                created_at: Some("2026-11-23T09:00:00Z".to_owned()),
            },
            Entry {
                name: "ops".to_owned(),
                role: Role::Admin,
                scope: Scope::default(),
                digest: Digest::of(b"two"),
                created_at: None,
            },
        ];
        assert_eq!(parse(&render(&entries)).unwrap(), entries);
        assert_eq!(parse(&render(&[])).unwrap(), []);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_said_without_a_value() {
        let good = format!("[[key]]\nname='a'\nrole='query'\nsha256='{}'\n", hash("a"));
        let secret = "alfred_SecretSecretSecret";
        for (text, says) in [
            ("[[key".to_owned(), "line 1: "),
            (format!("\n\nx = {secret}"), "line 3: "),
            (secret.to_owned(), "line 1: "),
            (format!("{secret} = 1"), "`***`"),
            ("[keys]".to_owned(), "`keys`, and only [[key]]"),
            ("[key]\nname='a'".to_owned(), "two brackets"),
            ("key = [1]".to_owned(), "two brackets"),
            (
                "[[key]]\nrole='query'".to_owned(),
                "key 1: `name` is missing",
            ),
            (
                format!("[[key]]\nname='{secret}'"),
                "key 1: `name` must not",
            ),
            (
                format!("{good}{secret}=1"),
                "key a: there is no field `***`",
            ),
            (format!("{good}roles=1"), "no field `roles`"),
            (good.replace("'query'", "'root'"), "key a: `role` has to be"),
            (good.replace("'query'", "7"), "`role` has to be text"),
            (good.replace(&hash("a"), secret), "not the key itself"),
            (good.replace(&hash("a"), "abc"), "64 hexadecimal digits"),
            (
                format!("{good}collections=[]"),
                "list of names of collections",
            ),
            (format!("{good}collections='{secret}'"), "list of names"),
            (format!("{good}collections=['{secret}']"), "list of names"),
            (format!("{good}{good}"), "key a: there are two"),
            (
                format!("{good}{}", good.replace("'a'", "'b'")),
                "key b: it has the `sha256` of the key a",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(says), "{text}: {shown}");
            assert!(!shown.contains("Secret"), "{text}: {shown}");
        }
    }

    #[test]
    fn there_is_a_most() {
        let many = (0..=MAX_KEYS).fold(String::new(), |mut text, n| {
            let digest = hash(&n.to_string());
            write!(
                text,
                "[[key]]\nname='k{n}'\nrole='query'\nsha256='{digest}'\n"
            )
            .unwrap();
            text
        });
        assert_eq!(parse(&many), Err(FileError::TooMany(MAX_KEYS + 1)));
    }
}
