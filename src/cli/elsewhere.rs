//! A daemon that is named by its address: whom to take for it, and the key that it is asked with.

use super::Context;
use super::daemon::Daemon;
use crate::client::Trust;
use crate::failure::Failure;
use crate::secret::Secret;
use clap::Args;
use http::HeaderValue;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The environment variable that holds a key.
const VARIABLE: &str = "ALFRED_API_KEY";
/// Largest file with a key.
const MAX_KEY_BYTES: u64 = 4_096;

/// Flags of verbs that ask a daemon anywhere.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Elsewhere {
    /// Ask this daemon, as http://127.0.0.1:8080 or https://alfred.example
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Trust these authorities over https [default: those of this machine]
    #[arg(
        long,
        value_name = "FILE",
        requires = "url",
        conflicts_with = "insecure"
    )]
    ca_file: Option<PathBuf>,
    /// Take any certificate over https
    #[arg(long, requires = "url")]
    insecure: bool,
    /// With --url: the file that holds the API key [default: $ALFRED_API_KEY]
    #[arg(long, value_name = "FILE", requires = "url")]
    api_key_file: Option<PathBuf>,
}

impl Elsewhere {
    /// The daemon that was named, if one was.
    pub(super) fn daemon(&self, context: &Context) -> Result<Option<Daemon>, Failure> {
        let Some(url) = &self.url else {
            return Ok(None);
        };
        let key = match &self.api_key_file {
            Some(file) => Some(read(file)?),
            None => context.environment.get(VARIABLE).map(Secret::new),
        };
        let authorization = key.map(|key| header(&key)).transpose()?;
        Daemon::at(url, self.trust(), authorization).map(Some)
    }

    fn trust(&self) -> Trust {
        match (&self.ca_file, self.insecure) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, true) => Trust::Anybody,
            (None, false) => Trust::System,
        }
    }
}

fn read(path: &Path) -> Result<Secret, Failure> {
    let what = || Failure::usage(format!("--api-key-file {}", path.display()));
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_KEY_BYTES).read_to_string(&mut text))
        .map_err(|error| what().because(error))?;
    let key = text.trim();
    if key.is_empty() {
        return Err(what().because("it is empty"));
    }
    Ok(Secret::new(key))
}

/// Never shown by who prints headers, and no reason to show the key when it is not fit for one.
fn header(key: &Secret) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::try_from(format!("Bearer {}", key.reveal().trim()));
    let mut value = value.map_err(|_| {
        Failure::usage("the API key has characters that no key has")
            .hint("one key, on one line, as `alfred key new` prints it")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_no_message() {
        let header = header(&Secret::new("alfred_secret\n")).unwrap();
        assert_eq!(header.as_bytes(), b"Bearer alfred_secret");
        assert!(!format!("{header:?}").contains("secret"));
        let refused = super::header(&Secret::new("alfred_secret\nalfred_other")).unwrap_err();
        assert!(!refused.render().contains("secret"), "{}", refused.render());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, " \n").unwrap();
        assert!(read(&file).unwrap_err().render().contains("it is empty"));
        assert!(read(folder.path()).is_err());
    }
}
