//! `alfred up`, `alfred down` and `alfred ps`: the stack, by containers or by units of this machine.

pub(super) mod down;
mod progress;
mod provision;
pub(super) mod ps;
pub(super) mod up;

use super::Context;
use crate::config::Environment;
use crate::failure::Failure;
use crate::stack::compose::{self, Compose};
use crate::stack::systemd::Systemd;
use crate::stack::{Addresses, Engine};
use clap::Args;
use std::path::PathBuf;

/// Names a program for compose files that is to be used, whatever else is there.
const PROGRAM_VARIABLE: &str = "ALFRED_COMPOSE";
/// Names the folder where the record of started units is.
const RECORD_VARIABLE: &str = "ALFRED_STACK_DIR";
/// Its name in `/run`, and for who is not root in the folder of the session. Both go with the machine's end, as the
/// units do.
const RECORD_FOLDER: &str = "alfred-stack";

/// What all three verbs take.
#[derive(Args, Clone, Debug)]
pub(super) struct EngineArgs {
    /// Containers from a compose file, or the units of this machine
    #[arg(
        long,
        value_enum,
        value_name = "ENGINE",
        default_value = "compose",
        env = "ALFRED_ENGINE",
        hide_env_values = true
    )]
    engine: Kind,
    /// The compose file [default: the one that came with this alfred]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Compose,
    Systemd,
}

/// An engine that was chosen.
enum Chosen {
    Compose(Compose),
    Systemd(Systemd),
}

impl Chosen {
    fn engine(&self) -> &dyn Engine {
        match self {
            Self::Compose(compose) => compose,
            Self::Systemd(systemd) => systemd,
        }
    }

    /// The compose file, where there is one.
    fn file(&self) -> Option<String> {
        match self {
            Self::Compose(compose) => Some(compose.file().display().to_string()),
            Self::Systemd(_) => None,
        }
    }
}

impl EngineArgs {
    fn addresses(&self, context: &Context) -> Result<Addresses, Failure> {
        let addresses = Addresses::of(|name| context.environment.get(name).map(str::to_owned))?;
        Ok(match self.engine {
            Kind::Compose => addresses,
            Kind::Systemd => addresses.with_own_password(),
        })
    }

    /// The engine; a program for compose files is looked for.
    fn choose(&self, context: &Context) -> Result<Chosen, Failure> {
        let addresses = self.addresses(context)?;
        let environment = &context.environment;
        if self.engine == Kind::Systemd {
            if self.file.is_some() {
                return Err(Failure::usage("--file is for --engine compose"));
            }
            let systemd = Systemd::new(addresses, &record_folder(environment));
            return Ok(Chosen::Systemd(systemd));
        }
        let program = std::env::current_exe().ok();
        let file = compose::find_file(self.file.as_deref(), program.as_deref())?;
        let program = compose::find_program(environment.get(PROGRAM_VARIABLE))?;
        Ok(Chosen::Compose(Compose::new(program, file, addresses)))
    }
}

fn record_folder(environment: &Environment) -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    let of_session = || environment.path("XDG_RUNTIME_DIR").filter(|_| !is_root);
    environment.path(RECORD_VARIABLE).unwrap_or_else(|| {
        of_session()
            .unwrap_or_else(|| PathBuf::from("/run"))
            .join(RECORD_FOLDER)
    })
}
