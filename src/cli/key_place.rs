//! Which file of keys a command changes, and who has to hear of it.

use super::Context;
use super::daemon::Daemon;
use super::keys::Source;
use crate::failure::Failure;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct FileArgs {
    /// The file of keys [default: `server.keys_file`]
    #[arg(long, value_name = "PATH")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct ReloadArgs {
    /// Leave the running daemon as it is
    #[arg(long)]
    no_reload: bool,
}

const BY_RELOAD: &str = "; a daemon that runs has to be told: alfred reload";
const BY_RESTART: &str = "; systemd hands it to the daemon at a start: systemctl restart alfred";

/// A file of keys, and the daemon that reads it, if it runs.
pub(super) struct Place {
    pub(super) path: PathBuf,
    daemon: Option<Daemon>,
    /// How a daemon that was not told hears of a change.
    otherwise: &'static str,
}

/// The file that the running daemon reads, as far as it says so; reading does no harm wherever that is.
pub(super) fn to_read(arguments: &FileArgs, context: &Context) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.file {
        return Ok(path.clone());
    }
    let config = context.config()?;
    let reads = Daemon::find(&config).and_then(|daemon| reads(&daemon));
    Ok(reads.unwrap_or_else(|| Source::of(&config).path))
}

/// Where a daemon reads its keys. One that is too ill to say still has a key taken from it.
fn reads(daemon: &Daemon) -> Option<PathBuf> {
    let status = daemon.get("/v1/status").ok()?;
    Some(status["access"]["keys_file"].as_str()?.into())
}

impl Place {
    /// To be changed: what a running daemon reads, so that nobody gets a key that opens nothing.
    pub(super) fn to_change(arguments: &FileArgs, context: &Context) -> Result<Self, Failure> {
        let config = context.config()?;
        let source = Source::of(&config);
        let daemon = Daemon::find(&config);
        let reads = daemon.as_ref().and_then(reads);
        if let Some(path) = &arguments.file {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let daemon = daemon.filter(|_| reads.as_ref() == Some(&path));
            return Ok(Self {
                path,
                daemon,
                otherwise: if source.is_credential {
                    BY_RESTART
                } else {
                    BY_RELOAD
                },
            });
        }
        if source.is_credential {
            let what = format!(
                "the keys come from the credential {}",
                source.path.display()
            );
            return Err(Failure::failed(what).hint(
                "name the file that the credential is made of with --file, then restart the daemon",
            ));
        }
        if let Some(reads) = reads.filter(|reads| *reads != source.path) {
            let what = format!(
                "the running daemon reads its keys from {}, not from {}",
                reads.display(),
                source.path.display()
            );
            return Err(Failure::failed(what).hint(
                "run it as root or as the daemon's user, with the daemon's --config, or name the file \
                 with --file",
            ));
        }
        if source.path.parent() == Some(&config.store_dir) {
            std::fs::create_dir_all(&config.store_dir).map_err(|error| {
                let what = format!("cannot make the folder {}", config.store_dir.display());
                Failure::failed(what).because(error)
            })?;
        }
        Ok(Self {
            path: source.path,
            daemon,
            otherwise: BY_RELOAD,
        })
    }

    /// What to say of a change that is in force, or is not yet.
    pub(super) fn in_force(&self, is_in_force: bool) -> &'static str {
        if is_in_force {
            ", and in force"
        } else {
            self.otherwise
        }
    }

    /// Has the daemon read the file; whether one did.
    pub(super) fn reload(&self, arguments: &ReloadArgs) -> Result<bool, Failure> {
        match &self.daemon {
            Some(daemon) if !arguments.no_reload => {
                daemon.post("/v1/reload", &Value::Null)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
