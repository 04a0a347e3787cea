//! `alfred up`

use super::progress::Lines;
use super::{Chosen, EngineArgs, Kind, provision};
use crate::cli::{Context, Outcome, output};
use crate::clock::SystemClock;
use crate::failure::Failure;
use crate::stack::engine::with_needs;
use crate::stack::follow::{Interrupt, until_interrupted};
use crate::stack::up::{Lift, Ready};
use crate::stack::{Addresses, Loopback, Service, service};
use clap::Args;
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  The whole stack in containers, in the background:
    alfred up -d pg redis minio server grafana prometheus loki

  Some of it, with its logs until Ctrl-C, which stops it:
    alfred up server

  On another port, when 5432 is taken:
    ALFRED_PG_PORT=5433 alfred up -d pg server

  The services of this machine, with a database made for alfred:
    sudo alfred up --engine systemd --provision -d pg redis server

Services: pg redis minio server grafana prometheus loki; without any, all of them.";

/// Arguments of `alfred up`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct UpArgs {
    /// What to start, with what it needs [default: everything]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Leave them running, instead of following their logs until Ctrl-C
    #[arg(long, short)]
    detach: bool,
    /// Longest wait for the services to be ready, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait_timeout: u64,
    /// With --engine systemd: make the role, the database and the extension in PostgreSQL, and have the
    /// daemon use them; as POSTGRES_DSN says, where it is set
    #[arg(long)]
    provision: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// What came of it.
struct Up {
    services: Vec<Service>,
    ready: Vec<Ready>,
    provided: Vec<String>,
}

pub(in crate::cli) fn run(arguments: &UpArgs, context: &Context) -> Outcome {
    if context.json && !arguments.detach {
        return Err(Failure::usage("--json needs -d: logs are no JSON document"));
    }
    let services = service::chosen(&arguments.services)?;
    if arguments.provision && arguments.engine.engine != Kind::Systemd {
        return Err(Failure::usage("--provision is for --engine systemd")
            .hint("the container pg makes its role and its database by itself"));
    }
    let chosen = arguments.engine.choose(context)?;
    let addresses = arguments.engine.addresses(context)?;
    let services = installed(&chosen, services, arguments.services.is_empty())?;
    let interrupt = Interrupt::listen()
        .map_err(|error| Failure::failed("cannot listen for signals").because(error))?;
    let is_interrupted = || interrupt.has_come();
    let lift = Lift {
        engine: chosen.engine(),
        prober: &Loopback,
        clock: &SystemClock,
        addresses: &addresses,
        patience: Duration::from_secs(arguments.wait_timeout),
        is_interrupted: &is_interrupted,
    };
    let raised = raise(&lift, &chosen, &services, arguments, context);
    if raised.is_err() && interrupt.has_come() && !arguments.detach {
        // As a person does who ends it later: nothing stays.
        stop(&chosen, &services)?;
    }
    let up = raised?;
    tell(&up, &chosen, &addresses, context)?;
    if arguments.detach {
        return Ok(());
    }
    follow(&up.services, &chosen, &is_interrupted)
}

/// Those that are on this machine. What was named has to be; of all services, those that are missing are told.
fn installed(
    chosen: &Chosen,
    services: Vec<Service>,
    is_all: bool,
) -> Result<Vec<Service>, Failure> {
    let Chosen::Systemd(systemd) = chosen else {
        return Ok(services);
    };
    let missing = systemd.missing(&services)?;
    let lines: Vec<String> = missing
        .iter()
        .map(|(service, how)| format!("{service}: {how}"))
        .collect();
    if missing.is_empty() {
        return Ok(services);
    }
    if !is_all || missing.len() == services.len() {
        let names: Vec<&str> = missing.iter().map(|(service, _)| service.name()).collect();
        return Err(Failure::failed(format!(
            "not installed on this machine: {}",
            names.join(" ")
        ))
        .hint(lines.join("\n      ")));
    }
    for line in lines {
        output::error(&format!("not installed, left out: {line}"));
    }
    let is_missing = |service: &Service| missing.iter().any(|(one, _)| one == service);
    Ok(services
        .into_iter()
        .filter(|one| !is_missing(one))
        .collect())
}

/// Starts them and waits; the database first, when something is to be made in it.
fn raise(
    lift: &Lift<'_>,
    chosen: &Chosen,
    services: &[Service],
    arguments: &UpArgs,
    context: &Context,
) -> Result<Up, Failure> {
    let services = with_needs(lift.engine, services);
    let mut provided = Vec::new();
    let mut first = Vec::new();
    if let (true, Chosen::Systemd(systemd)) = (arguments.provision, chosen) {
        let plan = provision::Plan::of(&services, lift.addresses, context)?;
        first = lift.up(&[Service::Pg], &mut Lines::start())?;
        provided = plan.carry_out(systemd)?;
        for line in &provided {
            output::error(line);
        }
    }
    let mut ready = lift.up(&services, &mut Lines::start())?;
    // What was started before the others did not run before this command.
    for one in &mut ready {
        if let Some(earlier) = first.iter().find(|other| other.service == one.service) {
            one.clone_from(earlier);
        }
    }
    Ok(Up {
        services,
        ready,
        provided,
    })
}

fn tell(up: &Up, chosen: &Chosen, addresses: &Addresses, context: &Context) -> Outcome {
    if context.json {
        let services: Vec<_> = up.ready.iter().map(|one| shown(one, addresses)).collect();
        return output::print_json(&json!({
            "engine": chosen.engine().name(),
            "file": chosen.file(),
            "provisioned": up.provided,
            "services": services,
        }));
    }
    let mut text = String::new();
    for one in &up.ready {
        let took = if one.ran_before {
            "ran before".to_owned()
        } else {
            format!("{:.1} s", one.after.as_secs_f64())
        };
        let url = addresses.url(one.service);
        let _ = writeln!(text, "{:<12}{took:>10}   {url}", one.service);
    }
    output::print(&text)
}

fn shown(ready: &Ready, addresses: &Addresses) -> serde_json::Value {
    let after_s = (ready.after.as_secs_f64() * 1e3).round() / 1e3;
    json!({
        "service": ready.service.name(),
        "ready_after_s": after_s,
        "ran_before": ready.ran_before,
        "url": addresses.url(ready.service),
    })
}

/// Shows their logs; an interrupt stops them.
fn follow(services: &[Service], chosen: &Chosen, is_interrupted: &dyn Fn() -> bool) -> Outcome {
    let mut log = chosen.engine().follow(services)?;
    let ended = until_interrupted(&mut log, is_interrupted, &SystemClock)
        .map_err(|error| Failure::failed("cannot follow the logs").because(error))?;
    match ended {
        None => stop(chosen, services),
        Some(status) if status.success() => Ok(()),
        // Ctrl-C reaches the program that shows the logs as well, and it may end first.
        Some(_) if is_interrupted() => stop(chosen, services),
        Some(status) => Err(Failure::failed("following the logs failed")
            .because(status.to_string())
            .hint("the services go on: `alfred ps`, `alfred down`")),
    }
}

fn stop(chosen: &Chosen, services: &[Service]) -> Outcome {
    let services = with_needs(chosen.engine(), services);
    output::error("stopping");
    for line in chosen.engine().stop(&services)? {
        output::error(&line);
    }
    Ok(())
}
