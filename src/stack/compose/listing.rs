//! Pure: what `ps --format json` prints, in the three shapes that there are.
//!
//! `docker compose` prints an object a line, before its version 2.21 an array; `podman-compose` prints the array of
//! `podman ps`, in which the service is a label.

use super::super::engine::{Seen, State};
use super::super::service::Service;
use serde_json::Value;

/// Services that it lists; containers of others are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Seen>, serde_json::Error> {
    let mut seen = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value? {
            Value::Array(containers) => seen.extend(containers.iter().filter_map(container)),
            one => seen.extend(container(&one)),
        }
    }
    Ok(seen)
}

fn container(value: &Value) -> Option<Seen> {
    let labels = &value["Labels"];
    let service = [
        &value["Service"],
        &labels["com.docker.compose.service"],
        &labels["io.podman.compose.service"],
    ]
    .into_iter()
    .find_map(Value::as_str)?;
    let name = value["Name"].as_str().or(value["Names"][0].as_str());
    Some(Seen {
        service: Service::named(service)?,
        state: state(value),
        name: name.unwrap_or_default().to_owned(),
    })
}

fn state(value: &Value) -> State {
    let is_error = value["ExitCode"].as_i64().is_some_and(|code| code != 0);
    let word = value["State"].as_str().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "running" => State::Running,
        "restarting" | "initialized" | "stopping" => State::Starting,
        "dead" => State::Failed,
        "exited" | "stopped" if is_error => State::Failed,
        _ => State::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let seen = parse(text).unwrap();
        let line = |one: &Seen| format!("{} {} {}", one.service, one.state.name(), one.name);
        seen.iter().map(line).collect()
    }

    #[test]
    fn all_three_shapes_are_read() {
        let lines = r#"{"Name":"alfred-pg-1","Service":"pg","State":"running","Health":"healthy","ExitCode":0}
{"Name":"alfred-server-1","Service":"server","State":"exited","ExitCode":78}
{"Name":"alfred-extra-1","Service":"extra","State":"running"}
"#;
        let expected = ["pg running alfred-pg-1", "server failed alfred-server-1"];
        assert_eq!(shown(lines), expected);
        let array = format!("[{}]", lines.trim().replace('\n', ","));
        assert_eq!(shown(&array), expected);
        let podman = r#"[{"Names": ["alfred_redis_1"], "State": "exited", "ExitCode": 0,
            "Labels": {"com.docker.compose.service": "redis"}},
            {"Names": ["other"], "State": "running", "Labels": null}]"#;
        assert_eq!(shown(podman), ["redis stopped alfred_redis_1"]);
        assert!(shown("").is_empty());
        assert!(shown("[]").is_empty());
        assert!(parse("NAME IMAGE").is_err());
    }
}
