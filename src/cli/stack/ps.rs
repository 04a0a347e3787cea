//! `alfred ps`

use super::EngineArgs;
use crate::cli::{Context, Outcome, output};
use crate::stack::{Addresses, Engine, Loopback, Prober as _, Seen, State};
use clap::Args;
use serde_json::json;
use std::fmt::Write as _;

const EXAMPLES: &str = "\
Examples:
  alfred ps
  alfred ps --json | jq '.services[] | select(.ready | not)'
  alfred ps --engine systemd";

/// Arguments of `alfred ps`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct PsArgs {
    #[command(flatten)]
    engine: EngineArgs,
}

/// A service that is listed.
struct Line {
    seen: Seen,
    /// Whether it answers, else why not; nothing where nothing runs.
    answers: Option<Result<(), String>>,
}

pub(in crate::cli) fn run(arguments: &PsArgs, context: &Context) -> Outcome {
    let chosen = arguments.engine.choose(context)?;
    let addresses = arguments.engine.addresses(context)?;
    let engine = chosen.engine();
    let lines: Vec<Line> = engine
        .look()?
        .into_iter()
        .map(|s| line(s, engine))
        .collect();
    if context.json {
        let services: Vec<_> = lines.iter().map(|one| shown(one, &addresses)).collect();
        return output::print_json(&json!({
            "engine": engine.name(),
            "file": chosen.file(),
            "services": services,
        }));
    }
    output::print(&table(&lines, &addresses))
}

fn line(seen: Seen, engine: &dyn Engine) -> Line {
    let runs = matches!(seen.state, State::Running | State::Starting);
    let answers = runs.then(|| Loopback.ask(&engine.asked(seen.service)));
    Line { seen, answers }
}

fn table(lines: &[Line], addresses: &Addresses) -> String {
    let mut text = format!("{:<12}{:<10}{:<8}ADDRESS\n", "SERVICE", "STATE", "READY");
    for Line { seen, answers } in lines {
        let (ready, rest) = match answers {
            None => ("-", String::new()),
            Some(Ok(())) => ("yes", addresses.url(seen.service)),
            Some(Err(cause)) => ("no", cause.clone()),
        };
        let (service, state) = (seen.service, seen.state.name());
        let _ = writeln!(text, "{service:<12}{state:<10}{ready:<8}{rest}");
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

fn shown(line: &Line, addresses: &Addresses) -> serde_json::Value {
    let cause = line
        .answers
        .as_ref()
        .and_then(|answer| answer.as_ref().err());
    json!({
        "service": line.seen.service.name(),
        "state": line.seen.state.name(),
        "ready": matches!(line.answers, Some(Ok(()))),
        "cause": cause,
        "url": addresses.url(line.seen.service),
        "name": line.seen.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Service;

    #[test]
    fn the_table_says_what_runs_and_what_answers() {
        let line = |service, state, answers| Line {
            seen: Seen {
                service,
                state,
                name: String::new(),
            },
            answers,
        };
        let lines = [
            line(Service::Redis, State::Running, Some(Ok(()))),
            line(
                Service::Server,
                State::Running,
                Some(Err("503: no".to_owned())),
            ),
            line(Service::Loki, State::Absent, None),
        ];
        let text = table(&lines, &Addresses::of(|_| None).unwrap());
        assert_eq!(
            text,
            "SERVICE     STATE     READY   ADDRESS\n\
             redis       running   yes     redis://localhost:6379\n\
             server      running   no      503: no\n\
             loki        absent    -\n"
        );
    }
}
