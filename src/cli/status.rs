//! `alfred status`

use super::daemon::Daemon;
use super::elsewhere::Elsewhere;
use super::{Context, Outcome, output};
use crate::failure::Failure;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;

/// Arguments of `alfred status`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  alfred status\n  alfred status --url http://127.0.0.1:8080 --json\n  \
                  alfred status --ready && echo 'queries are answered'"
)]
pub(super) struct StatusArgs {
    /// Only say whether a query would be answered: exit 0, or 1 with what is missing
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

pub(super) fn run(arguments: &StatusArgs, context: &Context) -> Outcome {
    let daemon = match arguments.elsewhere.daemon(context)? {
        Some(daemon) => daemon,
        None => Daemon::find(&context.config()?).ok_or_else(|| {
            Failure::failed("no daemon is running over this store")
                .hint("start it with `alfred serve`, or name one with --url")
        })?,
    };
    if arguments.ready {
        return ready(&daemon, context);
    }
    let mut status = daemon.get("/v1/status")?;
    if context.json {
        return output::print_json(&status);
    }
    // Of the last minutes the figures of the whole minute; slot by slot is for plots.
    if let Some(recent) = status.get_mut("recent").and_then(Value::as_object_mut) {
        recent.retain(|name, _| name == "minute");
    }
    let mut text = format!("alfred at {daemon}\n");
    lines(&mut text, "", &status);
    output::print(&text)
}

fn ready(daemon: &Daemon, context: &Context) -> Outcome {
    let answer = daemon.get("/readyz")?;
    if context.json {
        output::print_json(&answer)
    } else {
        output::print(&format!("alfred at {daemon} is ready"))
    }
}

/// One line a value, nested names joined by dots.
fn lines(text: &mut String, prefix: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                lines(text, &path, value);
            }
        }
        Value::String(word) => {
            let _ = writeln!(text, "  {prefix:28} {word}");
        }
        other => {
            let _ = writeln!(text, "  {prefix:28} {other}");
        }
    }
}
