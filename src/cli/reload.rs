//! `alfred reload`

use super::daemon::{Daemon, SYSTEM_SOCKET};
use super::{Context, Outcome, output};
use crate::failure::Failure;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Arguments of `alfred reload`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  alfred reload\n  systemctl reload alfred\n\n\
    Asks the daemon through its socket, and fails with the reason when the new configuration is \
    refused: the daemon goes on with the one it has. Keys that take effect at the next start alone \
    are named."
)]
pub(super) struct ReloadArgs {
    /// The daemon's socket [default: that of the configured store, else of the system]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub(super) fn run(arguments: &ReloadArgs, context: &Context) -> Outcome {
    let daemon = match &arguments.socket {
        Some(path) => Daemon::alive_at(path.clone()),
        None => find(context)?,
    };
    let daemon = daemon.ok_or_else(|| {
        Failure::failed("no daemon is running over this store")
            .hint("start it with `alfred serve`, or name its socket with --socket")
    })?;
    let changed = daemon.post("/v1/reload", &Value::Null)?;
    if context.json {
        return output::print_json(&changed);
    }
    output::print(&told(&changed))
}

/// The daemon. Where the configuration is broken so that it does not tell where that is, the system's
/// hears of it, too, and says why it refuses.
fn find(context: &Context) -> Result<Option<Daemon>, Failure> {
    match context.config() {
        Ok(config) => Daemon::find_any(&config),
        Err(failure) => match Daemon::alive_at(SYSTEM_SOCKET.into()) {
            Some(daemon) => Ok(Some(daemon)),
            None => Err(failure),
        },
    }
}

fn told(changed: &Value) -> String {
    let keys = |name: &str| -> String {
        let keys = changed[name].as_array().into_iter().flatten();
        let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
        keys.join(", ")
    };
    let (now, later) = (keys("changed"), keys("needs_restart"));
    let mut text = match now.as_str() {
        "" => "reloaded; nothing changed that takes effect at once".to_owned(),
        now => format!("reloaded; changed: {now}"),
    };
    if !later.is_empty() {
        let _ = write!(text, "\na restart is needed for: {later}");
    }
    text
}
