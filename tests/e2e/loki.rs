//! What is shipped for Loki: sound as far as can be seen without it, and of fields that there are.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use alfred::telemetry::events;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn shipped(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/loki");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

/// YAML of maps, of lists of maps and of plain values, as `a.b.0.c` to value.
fn yaml(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    // Indentation and name of the maps around.
    let mut around: Vec<(usize, String)> = Vec::new();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let indentation = line.len() - line.trim_start().len();
        assert!(indentation % 2 == 0 && !line.contains('\t'), "{line}");
        around.retain(|(of, _)| *of < indentation);
        let mut rest = line.trim_start();
        let mut at = indentation;
        if let Some(item) = rest.strip_prefix("- ") {
            around.push((at, "0".to_owned()));
            rest = item;
            at += 1;
        }
        let (name, value) = rest.split_once(':').unwrap_or_else(|| panic!("{line}"));
        let path = around.iter().map(|(_, name)| name.as_str()).chain([name]);
        let path = path.collect::<Vec<_>>().join(".");
        if value.is_empty() {
            around.push((at, name.to_owned()));
        } else {
            let value = value.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
            let before = values.insert(path, value.trim_matches('"').to_owned());
            assert_eq!(before, None, "twice: {line}");
        }
    }
    values
}

#[test]
fn loki_keeps_what_it_gets_on_this_machine_and_not_for_ever() {
    let values = yaml(&shipped("loki.yaml"));
    for (path, value) in [
        ("server.http_listen_address", "127.0.0.1"),
        ("server.grpc_listen_address", "127.0.0.1"),
        ("server.http_listen_port", "3100"),
        (
            "common.storage.filesystem.chunks_directory",
            "/var/lib/loki/chunks",
        ),
        // Structured metadata needs both.
        ("schema_config.configs.0.schema", "v13"),
        ("schema_config.configs.0.store", "tsdb"),
        ("limits_config.allow_structured_metadata", "true"),
        // Retention needs an index of a day, and somebody who deletes.
        ("schema_config.configs.0.index.period", "24h"),
        ("compactor.retention_enabled", "true"),
    ] {
        assert_eq!(values[path], value, "{path}");
    }
    let object_store = &values["schema_config.configs.0.object_store"];
    assert_eq!(&values["compactor.delete_request_store"], object_store);
    let hours = values["limits_config.retention_period"]
        .strip_suffix('h')
        .unwrap();
    assert_eq!(hours.parse::<u32>().unwrap() % 24, 0);
}

/// The words, texts in quotes and signs of a configuration of Alloy.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
            let length = match first {
                '"' => rest[1..].find('"').unwrap_or_else(|| panic!("{line}")) + 2,
                first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                '{' | '}' | '[' | ']' | '=' | ',' => 1,
                _ => panic!("{line}"),
            };
            words.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
    }
    words
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to}")).0
}

#[test]
fn alloy_joins_components_that_there_are() {
    let text = shipped("alloy/config.alloy");
    let words = words(&text);
    for (open, close) in [("{", "}"), ("[", "]")] {
        let count = |sign: &str| words.iter().filter(|word| *word == sign).count();
        assert_eq!(count(open), count(close), "{open}");
    }
    let defined: BTreeSet<String> = words
        .windows(3)
        .filter(|three| three[0].contains('.') && three[1].starts_with('"') && three[2] == "{")
        .map(|three| format!("{}.{}", three[0], three[1].trim_matches('"')))
        .collect();
    let kinds = ["process", "relabel", "source.journal", "write"];
    let expected = BTreeSet::from(kinds.map(|kind| format!("loki.{kind}.alfred")));
    assert_eq!(defined, expected);
    let used: BTreeSet<String> = words
        .iter()
        .filter(|word| word.starts_with("loki."))
        .filter_map(|word| word.rsplit_once('.'))
        .filter(|(_, export)| ["receiver", "rules"].contains(export))
        .map(|(component, _)| component.to_owned())
        .collect();
    assert_eq!(used.len(), 3, "{used:?}");
    assert!(used.is_subset(&defined), "{used:?} of {defined:?}");
    let listens = yaml(&shipped("loki.yaml"));
    let push = format!(
        "\"http://{}:{}/loki/api/v1/push\"",
        listens["server.http_listen_address"], listens["server.http_listen_port"]
    );
    assert!(words.contains(&push), "{push}");
}

#[test]
fn what_identifies_a_request_is_structured_metadata_and_never_a_label() {
    let text = shipped("alloy/config.alloy");
    let taken = between(&text, "expressions = {", "}");
    let taken: BTreeMap<&str, &str> = taken
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once('='))
        .map(|(name, field)| (name.trim(), field.trim().trim_matches('"')))
        .collect();
    let logged: BTreeSet<String> = events::ALL
        .iter()
        .flat_map(|(_, fields)| fields.iter())
        .map(|field| format!("ALFRED_{}", field.to_uppercase()))
        .collect();
    for (name, field) in &taken {
        let is_logged = logged.contains(*field) || ["MESSAGE", "MESSAGE_ID"].contains(field);
        assert!(is_logged, "{name} is of {field}, which nobody logs");
    }
    for wanted in ["ALFRED_REQUEST_ID", "ALFRED_TRACE_ID", "ALFRED_DURATION_MS"] {
        assert!(taken.values().any(|field| *field == wanted), "{wanted}");
    }
    let kept = between(&text, "values = {", "}");
    let kept: BTreeSet<&str> = kept
        .lines()
        .filter_map(|line| Some(line.trim().split_once('=')?.0.trim()))
        .collect();
    let expected = taken.keys().copied().filter(|name| *name != "message");
    assert_eq!(kept, expected.collect::<BTreeSet<&str>>());
    let labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("target_label"))
        .map(|rest| rest.trim_start_matches([' ', '=']).trim_matches('"'))
        .collect();
    assert_eq!(labels, ["unit", "level", "host"]);
    assert!(!text.contains("stage.labels"), "a label for each value");
}
