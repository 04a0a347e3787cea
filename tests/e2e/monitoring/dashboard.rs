//! The dashboards as files: laid out, explained, and tied to one choice of a Prometheus.

use super::{shipped, text, values};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const ALL: [&str; 2] = ["alfred-overview", "alfred-soak"];

pub(super) fn read(name: &str) -> Value {
    serde_json::from_str(&text(&format!("grafana/dashboards/{name}.json"))).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// Every expression with the panel that asks for it.
pub(super) fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let asked = move |target: Value| {
            let expression = target["expr"].as_str().unwrap().to_owned();
            (title.clone(), expression)
        };
        targets.into_iter().map(asked)
    };
    panels(dashboard).iter().flat_map(of_panel).collect()
}

#[test]
fn panels_have_units_and_words_and_do_not_overlap() {
    for name in ALL {
        let dashboard = read(name);
        assert_eq!(dashboard["uid"], name);
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{title}: its id is taken"
            );
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{title} is too wide");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{title} lies on another panel");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            let told = panel["description"].as_str().unwrap_or_default();
            assert!(told.len() > 10, "{title} has no description");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
            assert!(
                unit.is_some_and(|unit| !unit.is_empty()),
                "{title} has no unit"
            );
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{title} asks for nothing");
            for asked in targets.iter().chain([panel]) {
                let source = json!({"type": "prometheus", "uid": "${datasource}"});
                assert_eq!(asked["datasource"], source, "{title}");
            }
        }
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables.len(), 1, "{name}");
        assert_eq!(
            (&variables[0]["name"], &variables[0]["type"]),
            (&json!("datasource"), &json!("datasource"))
        );
    }
}

#[test]
fn the_panels_to_watch_during_a_test_ask_what_is_promised() {
    let dashboard = read("alfred-overview");
    let asked = expressions(&dashboard);
    for promised in super::living::PROMISED {
        assert!(
            asked.iter().any(|(_, expression)| expression == promised),
            "{promised}"
        );
    }
    let find = |title: &str| {
        panels(&dashboard)
            .iter()
            .find(|panel| panel["title"] == title)
            .unwrap()
    };
    let latency = &find("Latency of queries")["fieldConfig"]["defaults"];
    assert_eq!(latency["custom"]["thresholdsStyle"]["mode"], "line");
    assert_eq!(latency["thresholds"]["steps"][1]["value"], 300);
    let errors = &find("Errors by kind")["fieldConfig"]["defaults"];
    assert_eq!(errors["custom"]["stacking"]["mode"], "normal");
}

#[test]
fn grafana_is_told_where_the_dashboards_are_installed() {
    let provider = text("grafana/provisioning/dashboards/alfred.yml");
    let path = values(&provider, "path");
    assert_eq!(path, ["/usr/share/alfred/grafana/dashboards"]);
    let installed = path[0].strip_prefix("/usr/share/alfred/").unwrap();
    for name in ALL {
        assert!(shipped(installed).join(format!("{name}.json")).exists());
    }
    let source = text("grafana/provisioning/datasources/alfred.yml");
    assert_eq!(values(&source, "type"), ["prometheus"]);
}
