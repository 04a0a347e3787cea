//! `alfred config show|check`

use super::{Context, Outcome, output};
use clap::{Args, Subcommand};
use std::fmt::Write as _;

/// Arguments of `alfred config`.
#[derive(Args)]
#[command(after_help = "Examples:\n  alfred config show\n  alfred config check --config new.toml")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Every value in force and where it came from; secrets masked
    Show,
    /// Find mistakes; exit 78 when there are any
    Check,
}

pub(super) fn run(arguments: &ConfigArgs, context: &Context) -> Outcome {
    let config = context.config()?;
    if matches!(arguments.verb, ConfigVerb::Check) {
        let door = super::serve::checked(&config)?;
        super::serve::warn_of(&door);
    }
    let shown = config.show();
    if context.json {
        return match arguments.verb {
            ConfigVerb::Show => output::print_json(&shown),
            ConfigVerb::Check => output::print_json(&serde_json::json!({
                "valid": true, "file": config.main_file,
            })),
        };
    }
    if matches!(arguments.verb, ConfigVerb::Check) {
        let file = config
            .main_file
            .as_ref()
            .map(|path| path.display().to_string());
        let place = file.as_deref().unwrap_or("built-in defaults");
        return output::print(&format!("the configuration is good ({place})"));
    }
    let width = |length: &dyn Fn(&crate::config::Shown) -> usize| {
        shown.iter().map(length).max().unwrap_or(0)
    };
    let (keys, values) = (width(&|s| s.key.len()), width(&|s| s.value.len()));
    let mut text = String::new();
    for line in &shown {
        let _ = writeln!(
            text,
            "{:keys$} = {:values$}  # {}",
            line.key, line.value, line.source
        );
    }
    output::print(&text)
}
