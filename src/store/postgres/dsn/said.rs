//! The settings of a DSN by key, each read as what it is.

use super::DsnError;
use super::words::Setting;
use std::path::PathBuf;
use std::time::Duration;

/// The settings by key.
pub(super) struct Said(Vec<Setting>);

impl Said {
    /// # Errors
    /// When something is asked for that libpq would obey and that is not here.
    pub(super) fn new(settings: Vec<Setting>) -> Result<Self, DsnError> {
        let said = Self(settings);
        said.refuse()?;
        Ok(said)
    }

    /// The value of `key`; the last one counts.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let setting = self.0.iter().rev().find(|(known, _)| *known == key);
        setting.map(|(_, value)| value.as_str())
    }

    /// As [`Said::get`]; an empty value is none, as in libpq.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// Which of `choices`; the first where nothing is said.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, DsnError> {
        let Some(text) = self.text(key) else {
            return Ok(choices[0].1);
        };
        let chosen = choices.iter().find(|(word, _)| *word == text);
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words = choices
                .iter()
                .map(|(word, _)| *word)
                .filter(|word| !word.is_empty());
            let words: Vec<_> = words.collect();
            DsnError::new(format!("`{key}` is none of {}", words.join(", ")))
        })
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u32>, DsnError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.trim().parse::<i64>() {
            Ok(number) => Ok(Some(u32::try_from(number).unwrap_or(0))),
            Err(_) => Err(DsnError::new(format!("`{key}` is no number"))),
        }
    }

    /// A time in units of `unit_ms`, `default` where not said, `None` for 0 or less.
    pub(super) fn timeout(
        &self,
        key: &str,
        unit_ms: u64,
        default: Duration,
    ) -> Result<Option<Duration>, DsnError> {
        Ok(match self.number(key)? {
            None => Some(default),
            Some(0) => None,
            Some(number) => Some(Duration::from_millis(u64::from(number) * unit_ms)),
        })
    }

    /// Refuses what would be obeyed by libpq and is not here.
    fn refuse(&self) -> Result<(), DsnError> {
        const REFUSED: &[(&str, &str)] = &[
            (
                "service",
                "service files are not read; write the settings out",
            ),
            (
                "servicefile",
                "service files are not read; write the settings out",
            ),
            ("replication", "a replication connection takes no queries"),
            (
                "require_auth",
                "it is not supported; use `channel_binding=require` or verify-full",
            ),
            ("requirepeer", "it is not supported"),
            (
                "sslcrldir",
                "it is not supported; put the lists into one file and name it with `sslcrl`",
            ),
            (
                "sslpassword",
                "encrypted keys are not supported; decrypt the key and protect its file",
            ),
            ("sslkeylogfile", "keys are not logged"),
            ("scram_client_key", "it is not supported; use a password"),
            ("scram_server_key", "it is not supported; use a password"),
            ("oauth_issuer", "OAuth is not supported"),
            ("oauth_client_id", "OAuth is not supported"),
            ("oauth_client_secret", "OAuth is not supported"),
            ("oauth_scope", "OAuth is not supported"),
        ];
        for (key, reason) in REFUSED {
            if self.text(key).is_some() {
                return Err(DsnError::new(format!("`{key}`: {reason}")));
            }
        }
        if self.get("gssencmode") == Some("require") {
            return Err(DsnError::new(
                "`gssencmode=require`: Kerberos is not supported; use TLS",
            ));
        }
        match self
            .text("client_encoding")
            .map(|name| name.to_ascii_lowercase())
        {
            None => Ok(()),
            Some(name) if ["utf8", "utf-8", "unicode", "auto"].contains(&name.as_str()) => Ok(()),
            Some(_) => Err(DsnError::new("`client_encoding` can be UTF8 only")),
        }
    }
}
