//! libpq's password file: lines of `host:port:database:user:password`.
//!
//! Read at every connect, so that a changed password counts without a restart. As in libpq, a file
//! that others may read is not used.

use super::{Dsn, Endpoint, Host};
use crate::secret::Secret;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Far more than any password file holds.
const BYTES_MAX: u64 = 1 << 20;

/// The password for `endpoint` in `file`, or in `~/.pgpass`.
pub(super) fn look_up(file: Option<&Path>, dsn: &Dsn, endpoint: &Endpoint) -> Option<Secret> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => std::env::home_dir()?.join(".pgpass"),
    };
    let about = std::fs::metadata(&path).ok()?;
    if !about.is_file() || about.len() > BYTES_MAX {
        return None;
    }
    if about.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "the password file is not used: others than its owner may read it"
        );
        return None;
    }
    find(&std::fs::read_to_string(&path).ok()?, dsn, endpoint)
}

fn find(text: &str, dsn: &Dsn, endpoint: &Endpoint) -> Option<Secret> {
    let host = match &endpoint.host {
        Host::Tcp { name, .. } => name.clone(),
        Host::Unix(folder) if folder == Path::new(super::servers::DEFAULT_SOCKET_FOLDER) => {
            "localhost".to_owned()
        }
        Host::Unix(folder) => folder.to_string_lossy().into_owned(),
    };
    let user = dsn.user.as_deref()?;
    let database = dsn.database.as_deref().unwrap_or(user);
    let wanted = [&host, &endpoint.port.to_string(), database, user];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(fields)
        .find(|fields| {
            fields.len() >= 5
                && wanted
                    .iter()
                    .zip(fields)
                    .all(|(wanted, field)| field == "*" || field == wanted)
        })
        .and_then(|mut fields| fields.drain(4..).next())
        .map(Secret::new)
}

/// The fields of a line; `\` takes the meaning from `:` and `\`.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            // The password is the rest of the line, colons and all.
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => {
                if let (Some(field), Some(next)) = (fields.last_mut(), characters.next()) {
                    field.push(next);
                }
            }
            other => {
                if let Some(field) = fields.last_mut() {
                    field.push(other);
                }
            }
        }
    }
    fields
}
