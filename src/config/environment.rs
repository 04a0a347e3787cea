//! The one place that reads the process environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A snapshot of the environment, so that everything else is a function of its input.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A made-up environment, for tests.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self(
            variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable as an absolute path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }

    /// Variables whose name starts with `prefix`, without it.
    pub fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.0
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, &**value)))
    }

    /// `$XDG_DATA_HOME/alfred`, else `~/.local/share/alfred`, else `./alfred-data`.
    #[must_use]
    pub fn data_home(&self) -> PathBuf {
        self.path("XDG_DATA_HOME")
            .or_else(|| Some(self.path("HOME")?.join(".local/share")))
            .map_or_else(|| PathBuf::from("alfred-data"), |base| base.join("alfred"))
    }
}
