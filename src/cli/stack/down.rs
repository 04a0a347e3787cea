//! `alfred down`

use super::EngineArgs;
use crate::cli::{Context, Outcome, output};
use crate::stack::service;
use clap::Args;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  Everything; documents and metrics stay for the next time:
    alfred down

  One service:
    alfred down grafana

  And the data:
    alfred down --volumes

  The units that `alfred up --engine systemd` started, and no others:
    sudo alfred down --engine systemd";

/// Arguments of `alfred down`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct DownArgs {
    /// What to stop [default: everything]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Delete the data as well: documents, objects, metrics, logs
    #[arg(long, short)]
    volumes: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(in crate::cli) fn run(arguments: &DownArgs, context: &Context) -> Outcome {
    let services = service::chosen(&arguments.services)?;
    let chosen = arguments.engine.choose(context)?;
    let left = chosen.engine().down(&services, arguments.volumes)?;
    if context.json {
        let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
        return output::print_json(&json!({
            "engine": chosen.engine().name(),
            "services": names,
            "left_alone": left,
        }));
    }
    for line in left {
        output::error(&line);
    }
    Ok(())
}
