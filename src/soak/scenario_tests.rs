//! Defaults, what a file says, and what is refused.

use super::*;

#[test]
fn errors_have_a_threshold_unless_one_is_given_or_none_is_wanted() {
    let held = |said: Option<&[&str]>| {
        let said = said.map(|said| said.iter().map(|text| text.parse().unwrap()).collect());
        let thresholds = thresholds_of(said);
        thresholds
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(held(None), ["p95<300ms", "error_rate<1%"]);
    assert_eq!(held(Some(&["p95<2s"])), ["p95<2s", "error_rate<1%"]);
    assert_eq!(held(Some(&["error_rate<5%"])), ["error_rate<5%"]);
    assert_eq!(held(Some(&["throughput>9/s"])), ["throughput>9/s"]);
    assert!(held(Some(&[])).is_empty());
}

fn read(text: &str) -> Result<Settings, ScenarioError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("night ly.toml");
    std::fs::write(&path, text).unwrap();
    Settings::read(&path)
}

const WHOLE: &str = r#"
    target = "unix:/run/alfred/alfred.sock:/v1/query"
    queries = "queries.txt"
    qps = 2.5
    duration = "1h"
    window = "30s"
    warmup = "5s"
    arrivals = "poisson"
    seed = 9
    timeout = "2s"
    max_in_flight = 50
    thresholds = ["p99<1s", "p99<2s in every 5m"]
    drift = { rss = "1MiB", p95 = "5ms/h" }
    steps = { p95 = "10%" }
    expected_status = [200, "404-410"]
    headers = { Authorization = "Bearer x" }
"#;

#[test]
fn a_file_says_everything() {
    let scenario = Scenario::resolve(read(WHOLE).unwrap()).unwrap();
    assert_eq!(scenario.name, "night-ly");
    assert_eq!(scenario.load.schedule().count(), 9_000);
    assert_eq!(scenario.grace, Duration::from_secs(2));
    assert!(scenario.queries.as_ref().unwrap().is_absolute());
    let record = scenario.record(&QuerySet::default());
    assert_eq!(record.expected_status, ["200", "404-410"]);
    assert_eq!(record.header_names, ["authorization"]);
    assert_eq!(
        record.thresholds,
        ["p99<1s", "p99<2s in every 5m", "error_rate<1%"]
    );
    assert_eq!(record.drift, ["p95_growth<5ms/h", "rss_growth<1MiB/h"]);
    assert_eq!(record.steps, ["p95<10%"]);
}

#[test]
fn flags_win_over_the_file() {
    let flags = Settings {
        qps: Some(Rate::new(100.0).unwrap()),
        ..Settings::default()
    };
    let scenario = Scenario::resolve(flags.or(read(WHOLE).unwrap())).unwrap();
    assert_eq!(scenario.load.rate.unwrap().to_string(), "100");
    assert_eq!(scenario.load.seed, 9);
}

#[test]
fn unknown_keys_name_the_closest() {
    let error = read("treshold = []").unwrap_err();
    let ScenarioError::UnknownKey { key, closest, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((key.as_str(), closest), ("treshold", "thresholds"));
}

#[test]
fn refuses_what_makes_no_sense() {
    for (text, reason) in [
        ("qps = 0", "above 0"),
        ("qps = 1000000000", "at most"),
        ("duration = 60", "invalid type"),
        ("duration = \"0s\"", "at least 100ms"),
        ("window = \"2h\"", "whole duration"),
        ("timeout = \"0s\"", "1ms to 50m"),
        ("timeout = \"51m\"", "1ms to 50m"),
        ("max_in_flight = 0", "must be 1"),
        ("target = \"ftp://x/\"", "must begin with"),
        ("body = \"{{query\"", "without }}"),
        ("body = \"{}\"\nunique = true", "neither body nor path"),
        ("ca_file = \"a\"\ninsecure = true", "leave one out"),
        ("connections = 0", "must be 1"),
        ("checks = [\"status\"]", "is none of"),
        ("expected_status = [99]", "not an HTTP status"),
        ("thresholds = [\"p95\"]", "not a threshold"),
        (
            "thresholds = [\"p95<1s in every 45s\"]",
            "multiple of the window (30s)",
        ),
        ("thresholds = [\"p95<1s in every 2h\"]", "whole duration"),
        ("drift = { rss = \"1ms\" }", "not a limit such as 1MiB/h"),
        ("drift = { cats = \"1\" }", "cats_growth"),
        ("steps = { p95 = \"1%\" }", "at least 5%"),
        ("steps = { p95 = \"10ms\" }", "not a step budget"),
        ("method = \"G T\"", "not an HTTP method"),
        ("headers = { \"a b\" = \"x\" }", "header"),
        ("qps = ", "is wrong"),
    ] {
        let key = text.split(' ').next().unwrap();
        let base: String = WHOLE
            .lines()
            .filter(|line| !line.trim_start().starts_with(key))
            .fold(String::new(), |all, line| all + line + "\n");
        let error = read(&format!("{base}{text}\n"))
            .and_then(Scenario::resolve)
            .map_or_else(|error| error.to_string(), |_| "no error".to_owned());
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn says_what_is_missing() {
    let error = Scenario::resolve(Settings::default()).unwrap_err();
    assert!(matches!(
        error,
        ScenarioError::Missing { what: "target", .. }
    ));
}
